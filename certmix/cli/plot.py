"""`certmix plot`: certified accuracy against radius of stored runs, or the distribution of p_A."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from certmix.cli.command import command, need, option
from certmix.cli.options import OUTPUT, JsonOption, PromiseOptions, StemOption
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import choice

if TYPE_CHECKING:
    from certmix.plots.canvas import Look


@dataclass(frozen=True)
class FigureOptions:
    """Where a figure goes, and how it is dressed."""

    panel: ClassVar[str] = OUTPUT
    out: StemOption = None
    width: Annotated[
        str, option("--width", "NAME", "column (3.25 inches) or text (6.75).", choice("column", "text"))
    ] = "text"
    style: Annotated[
        str | None, option("--style", "SHEET", "Matplotlib style sheet laid over ours: a name or a file.")
    ] = None

    @property
    def look(self) -> "Look":
        """Size and style."""
        from certmix.plots.canvas import Look

        return Look(self.width, self.style)  # type: ignore[arg-type]  # choices were checked while parsing


@command(app, "plot")
def plot_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; one panel per sigma.")],
    promise: PromiseOptions,
    show: Annotated[
        str,
        option("--show", "NAME", "accuracy, or probabilities: bounds on p_A.", choice("accuracy", "probabilities")),
    ] = "accuracy",
    overlay: Annotated[bool, option("--overlay", None, "All sigmas in one axis, a colour each.")] = False,
    figure: FigureOptions,
    as_json: JsonOption = False,
) -> None:
    """Plot certified accuracy against radius.

    \b
    PNG, PDF, and the plotted numbers as CSV; of one run into its folder, unless --out says where.
    One curve per certifier (line style) and rule (colour), a panel per run:
      certmix plot runs/half --mixing-weight 0.79 --mixing-weight 1 --certifier exact --certifier theorem-a1
    All sigmas in one axis, for a column of a paper:
      certmix plot runs/quarter runs/half runs/one --overlay --width column --out figures/all
    """
    from certmix.plots.certified import plot_certified_accuracy
    from certmix.plots.probabilities import plot_top_probabilities
    from certmix.runs.grouping import read_runs

    if len(runs) > 1:
        need("plot of several runs", out=figure.out)
    stored, notes = [run.statistics for run in read_runs(runs)], []
    if show == "probabilities":
        stem = figure.out or runs[0] / "top-probabilities"
        files = plot_top_probabilities([promise.bounds(run) for run in stored], stem, look=figure.look)
    else:
        made = [promise.certify(run, promise.rules()) for run in stored]
        stem = figure.out or runs[0] / "certified-accuracy"
        files = plot_certified_accuracy(made, stem, overlay=overlay, look=figure.look)
        notes = promise.left_out(promise.rules())
    Output(as_json=as_json).show({"files": files}, "\n".join(files), notes)
