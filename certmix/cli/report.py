"""`certmix report`: what runs prove, as one HTML file that opens in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from certmix.cli.command import command, option
from certmix.cli.options import (
    OUTPUT,
    CertifiedVotesOption,
    FailureProbabilityOption,
    ForceOption,
    IntervalOption,
    JsonOption,
    MeanBoundOption,
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
    from certmix.certification.bounds import promise_of
    from certmix.files import check_target, read_whole, write_whole
    from certmix.report import build_report, render_page
    from certmix.runs.grouping import read_runs

    check_target(out, force=force)
    found = read_runs(runs)
    promises = [
        promise_of(
            run.statistics,
            failure_probability=failure_probability,
            interval=interval,  # type: ignore[arg-type]  # choices were checked while parsing
            votes=certify_votes,  # type: ignore[arg-type]
            mean_bound=mean_bound,  # type: ignore[arg-type]
            real_valued=real_valued,
        )
        for run in found
    ]
    names = None
    if class_names is not None:
        names = read_whole(class_names, "file of class names", 1 << 24).decode(errors="replace").splitlines()
    page = render_page(build_report(found, promises, title=title, classes=names))
    write_whole(out, page, force=force)
    size = len(page.encode())
    Output(as_json=as_json, quiet=quiet).show(
        {"file": str(out), "bytes": size, "runs": [run.name for run in found]},
        f"{out}: {len(found)} runs, {size / 1e6:.2f} MB; open it in a browser.",
    )
