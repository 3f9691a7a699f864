"""`certmix report`: what runs prove, as one HTML file that opens in a browser."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import certmix
from certmix.cli.command import command, option
from certmix.cli.options import OUTPUT, BoundOptions, ConfidenceOption, ForceOption, PromiseOptions, RealValuedOption
from certmix.cli.output import Answer
from certmix.cli.root import app
from certmix.cli.values import output_path, whole
from certmix.errors import CertmixError, InvalidArgument
from certmix.files import check_target, read_whole, write_whole

if TYPE_CHECKING:
    from certmix.report import Pictures
    from certmix.runs.grouping import Run

PICTURES = 300  # by default; a picture takes about one or two kilobytes


@command(app, "report")
def report_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, of one sigma or several.")],
    out: Annotated[Path, option("--out", "FILE", "The HTML file to write.", output_path, OUTPUT)],
    title: Annotated[str, option("--title", "TEXT", "Of the page.", None, OUTPUT)] = "Certified robustness",
    class_names: Annotated[
        Path | None, option("--class-names", "FILE", "A class name per line; numbers if not.", None, OUTPUT)
    ] = None,
    pictures: Annotated[
        int,
        option("--images", "N", "Inputs to show as pictures, if the data are at hand.", whole(0, 2_000), OUTPUT),
    ] = PICTURES,
    certificates: Annotated[
        Path | None, option("--certificates", "FOLDER", "Chains to show: of certmix chain --out.", None, OUTPUT)
    ] = None,
    bounds: BoundOptions,
    confidence: ConfidenceOption = None,
    real_valued: RealValuedOption = False,
    force: ForceOption = False,
    output: Answer,
) -> None:
    """Write a report that opens in a browser: one file.

    \b
    Weights and thresholds move and certificates follow, without a server or the network:
      certmix report runs/quarter runs/half runs/one --out report.html
    The curve of a chain beside them, as certmix chain stored it and computed again from the votes:
      certmix report runs/quarter runs/half --certificates chained --out report.html
    """
    check_target(out, force=force)
    names = None
    if class_names is not None:
        names = read_whole(class_names, "file of class names", 1 << 24).decode(errors="replace").splitlines()
    promise = PromiseOptions(**vars(bounds), real_valued=real_valued, confidence=confidence)
    page = write_report(
        runs, out, promise, title=title, class_names=names, pictures=pictures, certificates=certificates, say=output.say,
        force=force,
    )  # fmt: skip
    size = page.stat().st_size
    output.show({"file": str(page), "bytes": size}, f"{page}: {size / 1e6:.2f} MB; open it in a browser.")


def write_report(
    runs: Sequence[Path],
    out: Path,
    promise: PromiseOptions | None = None,
    *,
    title: str,
    class_names: Sequence[str] | None = None,
    pictures: int = PICTURES,
    certificates: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    force: bool = False,
) -> Path:
    """Write the page of some runs, under the promise asked for or the default one, and return its path."""
    from certmix.report import build_report, read_chains, render_page
    from certmix.runs.grouping import read_runs

    found, asked = read_runs(runs), promise or PromiseOptions()
    promises = [asked.promise(run.statistics) for run in found]
    chains = [] if certificates is None else read_chains(certificates, found)
    shown = _pictures(found[0], pictures, say)
    report = build_report(found, promises, title=title, classes=class_names, pictures=shown, chains=chains)
    write_whole(out, render_page(report), force=force)
    return out


def _pictures(run: "Run", most: int, say: Callable[[str], None]) -> "Pictures":
    """The first inputs of a run as pictures, from the data that its manifest names; none, and why, where they are not there.

    A manifest is never trusted to run code.
    """
    from certmix.report import Pictures, picture

    record = run.statistics.draws.dataset
    if not most or len(record.input_shape) != 3 or record.input_shape[0] not in (1, 3):
        return Pictures()
    try:
        data = certmix.load_dataset(record.spec, **record.subset)  # type: ignore[arg-type]
        if data.fingerprint != record.fingerprint:
            raise InvalidArgument(f"{record.spec} is not what the run was drawn from (its fingerprint differs).")
        place = {int(index): position for position, index in enumerate(data.indices)}
        wanted = run.statistics.indices[:most].tolist()
        return Pictures(record.fingerprint, {index: picture(data[place[index]][0].numpy()) for index in wanted})
    except CertmixError as error:
        say(f"Without pictures of the inputs: {error}")
        return Pictures()
