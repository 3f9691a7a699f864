"""`certmix export`: the votes of a run, and the accurate model's answers, in text formats that others read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

import certmix
from certmix.cli.command import command, own
from certmix.cli.options import OUTPUT, ForceOption, JsonOption
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import output_path
from certmix.errors import InvalidArgument
from certmix.files import check_target


@dataclass(frozen=True)
class Targets:
    """What is written."""

    panel: ClassVar[str] = OUTPUT
    counts: Path | None = own(None, "--counts", "FILE", "Where the estimation votes go.", output_path)
    selection: Path | None = own(None, "--selection", "FILE", "Where the selection votes go.", output_path)
    accurate_log: Path | None = own(
        None, "--accurate-log", "FILE", "Log of the accurate model's predictions.", output_path
    )


@command(app, "export")
def export_command(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    targets: Targets,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write votes, or g's answers, as text.

    \b
    Votes: a count per class, then the label:
      certmix export runs/half --counts counts.txt --selection selection.txt
      certmix certify --counts counts.txt,selection=selection.txt --sigma 0.5
    The accurate model's log; the robust model's is written by certify, into the run folder as certificates*.tsv:
      certmix export runs/half --accurate-log g.tsv
      certmix pareto --log runs/half/certificates.tsv:0.5 --accurate-log g.tsv --baseline 0.5
    """
    from certmix.formats.certification_log import write_predictions
    from certmix.formats.count_table import export_counts

    asked = {name: path for name, path in vars(targets).items() if path is not None}
    if not {"counts", "accurate_log"} & set(asked) or ("selection" in asked and "counts" not in asked):
        raise InvalidArgument("export needs --counts FILE (also beside --selection), or --accurate-log FILE.")
    for path in asked.values():
        check_target(path, force=force)
    statistics = certmix.read_statistics(run)
    if targets.accurate_log is not None:
        write_predictions(targets.accurate_log, statistics, force=force)
    if targets.counts is not None:
        export_counts(statistics, targets.counts, targets.selection, force=force)
    written = {name: str(path) for name, path in asked.items()}
    values = {**written, "inputs": len(statistics), "classes": statistics.num_classes, "sigma": statistics.sigma}
    text = f"{', '.join(written.values())}: {len(statistics)} inputs, sigma {statistics.sigma:g}"
    Output(as_json=as_json).show(values, text)
