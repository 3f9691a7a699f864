"""`certmix plot`: certified accuracy against radius of stored runs."""

from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.command import command
from certmix.cli.options import JsonOption, PromiseOptions, QuietOption, StemOption
from certmix.cli.output import Output


@command(app, "plot")
def plot_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; one panel per sigma.")],
    promise: PromiseOptions,
    out: StemOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Plot certified accuracy against radius.

    \b
    PNG, PDF, and the plotted numbers as CSV, in the first run unless --out says where.
    One curve per certifier (line style) and rule (colour), a panel per run:
      certmix plot runs/half --mixing-weight 0.79 --mixing-weight 1 --certifier exact --certifier theorem-a1
    """
    from certmix.plots.certified import certified_lines, plot_certified_accuracy
    from certmix.runs.grouping import read_runs

    panels = []
    for run in read_runs(runs):
        made = promise.certify(run.statistics, promise.rules())
        title = f"$\\sigma$ = {run.statistics.sigma:g}, {len(run.statistics)} inputs"
        panels.append((title, certified_lines(made)))
    files = plot_certified_accuracy(panels, out or runs[0] / "certified-accuracy")
    output = Output(as_json=as_json, quiet=quiet)
    output.show({"files": files}, "\n".join(files), ["Bands: 95 % interval of the test set."])
