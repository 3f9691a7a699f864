"""`certmix plot`: certified accuracy against radius of stored runs, or the distribution of p_A."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from certmix.cli.command import command, need, option, own
from certmix.cli.options import OUTPUT, JsonOption, PromiseOptions, StemOption
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import choice
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from certmix.certification.certify import Certificates
    from certmix.plots.canvas import Look


@dataclass(frozen=True)
class FigureOptions:
    """Where a figure goes, and how it is dressed."""

    panel: ClassVar[str] = OUTPUT
    out: StemOption = None
    width: str = own("text", "--width", "NAME", "column (3.25 inches) or text (6.75).", choice("column", "text"))
    style: str | None = own(None, "--style", "SHEET", "Matplotlib style sheet laid over ours: a name or a file.")

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
    certificates: Annotated[
        list[Path] | None, option("--certificates", "FOLDER", "A chain beside its runs, from chain --out; repeatable.")
    ] = None,
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
    A chain beside the runs that are its nodes, on the inputs that it was reported on:
      certmix plot runs/quarter runs/half --certificates chained --out figures/chain
    """
    from certmix.formats.certificates import read_certificates
    from certmix.plots.certified import plot_certified_accuracy
    from certmix.plots.probabilities import plot_top_probabilities
    from certmix.runs.grouping import read_runs

    if len(runs) > 1:
        need("plot of several runs", out=figure.out)
    if certificates and show == "probabilities":
        raise InvalidArgument("--certificates goes with --show accuracy; leave one out.")
    stored, notes = [run.statistics for run in read_runs(runs)], []
    if show == "probabilities":
        stem = figure.out or runs[0] / "top-probabilities"
        files = plot_top_probabilities([promise.bounds(run) for run in stored], stem, look=figure.look)
    else:
        made: list[Sequence[Certificates]] = [promise.certify(run, promise.rules()) for run in stored]
        chains = [read_certificates(folder) for folder in certificates or []]
        made = [*(_shared_inputs(run, chains) for run in made), *chains]
        stem = figure.out or runs[0] / "certified-accuracy"
        files = plot_certified_accuracy(made, stem, overlay=overlay or bool(chains), look=figure.look)
        notes = promise.left_out(promise.rules())
        notes += [f"{folder}: as stored; certmix verify checks it." for folder in certificates or []]
    Output(as_json=as_json).show({"files": files}, "\n".join(files), notes)


def _shared_inputs(
    run: "Sequence[Certificates]", chains: "Sequence[Sequence[Certificates]]"
) -> "Sequence[Certificates]":
    """A run's certificates of the inputs that the chains are about, so that all curves are of the same ones.

    Raises: InvalidArgument: chains that are about others.
    """
    import numpy as np

    if not chains:
        return run

    def inputs(made: "Certificates") -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
        assert made.indices is not None
        assert made.labels is not None
        return made.indices, made.labels

    (indices, labels), (wanted, _) = inputs(run[0]), inputs(chains[0][0])
    held, asked = set(zip(indices, labels, strict=True)), [set(zip(*inputs(chain[0]), strict=True)) for chain in chains]
    if not asked[0] <= held or any(one != asked[0] for one in asked):
        raise InvalidArgument(
            "--certificates must be of the same inputs, and these in every run; certify the chain of these runs again."
        )
    kept = np.isin(indices, wanted)
    return [made.rows(kept) for made in run]
