"""`certmix leaderboard`: runs of many people in one static page, of which nothing is believed that was not found out here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certmix.cli import values
from certmix.cli.command import command, option
from certmix.cli.options import OUTPUT, DeviceOption, ForceOption, RadiiOption
from certmix.cli.output import Answer
from certmix.cli.root import app
from certmix.errors import CertmixError
from certmix.files import check_target, write_whole

if TYPE_CHECKING:
    from certmix.runs.store import Statistics
    from certmix.verification.redraw import Verification


@command(app, "leaderboard")
def leaderboard_command(
    *,
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders that hold some.")],
    out: Annotated[Path, option("--out", "FILE", "The HTML file to write.", values.output_path, OUTPUT)],
    redraw: Annotated[
        int | None, option("--redraw", "K", "Draw K random inputs of each run again, with its models.", values.COUNT)
    ] = None,
    device: DeviceOption = "auto",
    radii: RadiiOption = None,
    title: Annotated[
        str, option("--title", "TEXT", "Of the page.", None, OUTPUT)
    ] = "Certified robustness: leaderboard",
    force: ForceOption = False,
    output: Answer,
) -> None:
    """Compare certified runs in one page; refuse forged ones.

    \b
    Radii and accuracies are recomputed from the votes; with --redraw, votes are drawn again, which marks a run verified.
    Exit code 1 where a run was refused:
      certmix leaderboard submissions --redraw 16 --out leaderboard.html
    Models and data are found where each run's manifest says; a run whose models are not there is only recomputed.
    """
    from certmix.report.leaderboard import render_leaderboard
    from certmix.verification.entry import judge, run_folders

    check_target(out, force=force)
    again = None if redraw is None else lambda run, found: draw_again(run, found, redraw, device)
    entries = [judge(folder, again) for folder in run_folders(folders)]
    write_whole(out, render_leaderboard(entries, title=title, radii=radii.values if radii else None), force=force)
    marks = [{"run": entry.name, "mark": entry.mark, **vars(entry.found)} for entry in entries]
    notes = [
        f"{entry.name}: {entry.mark}{''.join(f'; {line}' for line in (*entry.found.differences[:1], *entry.found.remarks))}"
        for entry in entries
    ]
    refused = sum(entry.mark == "refused" for entry in entries)
    text = f"{out}: {len(entries) - refused} runs, {refused} refused; open it in a browser."
    output.show({"file": str(out), "runs": marks}, text, notes)
    if refused:
        raise typer.Exit(1)


def draw_again(statistics: "Statistics", found: "Verification", count: int, device: str) -> None:
    """Draw some inputs again; where the models and data are not at hand, note that, which is no difference."""
    from certmix.cli.run_models import Places, check_parts, load_parts
    from certmix.sampling.execution import Execution
    from certmix.verification.redraw import redraw

    try:
        parts = load_parts(statistics.draws, Places())
        check_parts(parts, statistics.draws, Path("the run"))
    except CertmixError as error:
        found.remarks.append(f"not drawn again: {error}")
        return
    models = {"robust": parts.robust, "accurate": parts.accurate}
    redraw(statistics, found, dataset=parts.dataset, count=count, execution=Execution(device=device), **models)  # type: ignore[arg-type]
