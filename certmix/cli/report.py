"""`certmix report`: what runs prove, as one HTML file that opens in a browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli.command import command, option
from certmix.cli.options import (
    OUTPUT,
    CertifiedVotesOption,
    ConfidenceOption,
    FailureProbabilityOption,
    ForceOption,
    IntervalOption,
    JsonOption,
    MeanBoundOption,
    PromiseOptions,
    QuietOption,
    RealValuedOption,
)
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import output_path


@command(app, "report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, of one sigma or several.")],
    out: Annotated[Path, option("--out", "FILE", "The HTML file to write.", output_path, OUTPUT)],
    title: Annotated[str, option("--title", "TEXT", "Of the page.", None, OUTPUT)] = "Certified robustness",
    class_names: Annotated[
        Path | None, option("--class-names", "FILE", "A class name per line; numbers if not.", None, OUTPUT)
    ] = None,
    failure_probability: FailureProbabilityOption = None,
    interval: IntervalOption = "pair",
    certify_votes: CertifiedVotesOption = None,
    mean_bound: MeanBoundOption = "betting",
    confidence: ConfidenceOption = None,
    real_valued: RealValuedOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a report that opens in a browser: one file.

    \b
    Weights and thresholds move and certificates follow, without a server or the network:
      certmix report runs/quarter runs/half runs/one --out report.html
    """
    from certmix.files import check_target, read_whole

    check_target(out, force=force)
    names = None
    if class_names is not None:
        names = read_whole(class_names, "file of class names", 1 << 24).decode(errors="replace").splitlines()
    promise = PromiseOptions(
        failure_probability=failure_probability, interval=interval, certify_votes=certify_votes, mean_bound=mean_bound,
        real_valued=real_valued, confidence=confidence,
    )  # fmt: skip
    page = write_report(runs, out, promise, title=title, class_names=names, force=force)
    size = page.stat().st_size
    Output(as_json=as_json, quiet=quiet).show(
        {"file": str(page), "bytes": size}, f"{page}: {size / 1e6:.2f} MB; open it in a browser."
    )


def write_report(
    runs: Sequence[Path],
    out: Path,
    promise: PromiseOptions | None = None,
    *,
    title: str,
    class_names: Sequence[str] | None = None,
    force: bool = False,
) -> Path:
    """Write the page of some runs, under the promise asked for or the default one, and return its path."""
    from certmix.files import write_whole
    from certmix.report import build_report, render_page
    from certmix.runs.grouping import read_runs

    found, asked = read_runs(runs), promise or PromiseOptions()
    promises = [asked.promise(run.statistics) for run in found]
    write_whole(out, render_page(build_report(found, promises, title=title, classes=class_names)), force=force)
    return out
