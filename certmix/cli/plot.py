"""`certmix plot`: certified accuracy against radius of stored runs, or the distribution of p_A."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from certmix.cli import app
from certmix.cli.options import (
    CertifierOption,
    FailureProbabilityOption,
    IntervalOption,
    JsonOption,
    MixingWeightOption,
)

WidthOption = Annotated[
    Literal["column", "text"], typer.Option("--width", help="Of the figure: column (3.25 inches) or text (6.75).")
]
StyleOption = Annotated[
    str | None,
    typer.Option("--style", metavar="SHEET", help="Matplotlib style sheet laid over ours: a name or a file."),
]


@app.command("plot")
def plot_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; one panel per sigma.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="STEM", help="Figure path without ending; in the first run by default."),
    ] = None,
    show: Annotated[
        Literal["accuracy", "probabilities"],
        typer.Option("--show", help="Certified accuracy, or the distribution of the bounds on p_A."),
    ] = "accuracy",
    overlay: Annotated[bool, typer.Option("--overlay", help="All sigmas in one axis, a colour each.")] = False,
    width: WidthOption = "text",
    style: StyleOption = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    interval: IntervalOption = "pair",
    as_json: JsonOption = False,
) -> None:
    """Plot certified accuracy against radius.

    \b
    PNG, PDF, and the plotted numbers as CSV.
    One curve per certifier (line style) and mixing weight (colour), a panel per run:
      certmix plot runs/half --mixing-weight 0.79 --mixing-weight 1 --certifier exact --certifier theorem-a1
    All sigmas in one axis, for a column of a paper:
      certmix plot runs/quarter runs/half runs/one --overlay --width column
    """
    from certmix.certification.bounds import bound_statistics, promise_of
    from certmix.certification.certify import certify
    from certmix.plots.canvas import Look
    from certmix.plots.certified import plot_certified_accuracy
    from certmix.plots.probabilities import plot_top_probabilities
    from certmix.runs.grouping import read_runs

    stored, look = [run.statistics for run in read_runs(runs)], Look(width, style)
    err = failure_probability
    if show == "probabilities":
        bounds = [bound_statistics(run, promise_of(run, failure_probability=err, interval=interval)) for run in stored]
        files = plot_top_probabilities(bounds, out or runs[0] / "top-probabilities", look=look)
    else:
        weights, names = mixing_weight or [1.0], certifier or ["exact"]
        made = [
            [
                certify(run, mixing_weight=weights, certifier=name, failure_probability=err, interval=interval)
                for name in names
            ]
            for run in stored
        ]
        files = plot_certified_accuracy(made, out or runs[0] / "certified-accuracy", overlay=overlay, look=look)
    print(json.dumps({"files": files}) if as_json else "\n".join(files))
