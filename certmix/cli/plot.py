"""`certmix plot`: certified accuracy against radius of stored runs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import (
    CertifierOption,
    FailureProbabilityOption,
    IntervalOption,
    JsonOption,
    MixingWeightOption,
    QuietOption,
)


@app.command("plot")
def plot_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; one panel per sigma.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="STEM", help="Figure path without ending; in the first run by default."),
    ] = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    interval: IntervalOption = "pair",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Plot certified accuracy against radius.

    \b
    PNG, PDF, and the plotted numbers as CSV.
    One curve per certifier (line style) and mixing weight (colour), a panel per run:
      certmix plot runs/half --mixing-weight 0.79 --mixing-weight 1 --certifier exact --certifier theorem-a1
    """
    from certmix.certification.certify import certify
    from certmix.plots.certified import certified_lines, plot_certified_accuracy
    from certmix.runs.grouping import read_runs

    panels = []
    for run in read_runs(runs):
        statistics = run.statistics
        made = [
            certify(
                statistics,
                mixing_weight=mixing_weight or [1.0],
                certifier=name,
                failure_probability=failure_probability,
                rule=interval,
            )
            for name in certifier or ["exact"]
        ]
        title = f"$\\sigma$ = {statistics.sigma:g}, {len(statistics)} inputs"
        panels.append((title, certified_lines(made)))
    files = plot_certified_accuracy(panels, out or runs[0] / "certified-accuracy")
    if as_json:
        print(json.dumps({"files": files}))
    else:
        print("\n".join(files))
        if not quiet:
            print("Bands: 95 % interval of the test set.", file=sys.stderr)
