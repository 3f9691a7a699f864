"""`certmix export`: the votes of a run, and the accurate model's answers, in text formats that others read."""

from pathlib import Path
from typing import Annotated

import typer

from certmix.cli.command import command
from certmix.cli.options import ForceOption, JsonOption
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import output_path


@command(app, "export")
def export_command(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    counts: Annotated[
        Path | None,
        typer.Option("--counts", metavar="FILE", help="Where the estimation votes go.", parser=output_path),
    ] = None,
    selection: Annotated[
        Path | None,
        typer.Option("--selection", metavar="FILE", help="Where the selection votes go.", parser=output_path),
    ] = None,
    accurate_log: Annotated[
        Path | None,
        typer.Option(
            "--accurate-log", metavar="FILE", help="Log of the accurate model's predictions.", parser=output_path
        ),
    ] = None,
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
    import certmix
    from certmix.errors import InvalidArgument
    from certmix.files import check_target
    from certmix.formats.certification_log import write_predictions
    from certmix.formats.count_table import export_counts

    if (counts is None and accurate_log is None) or (selection is not None and counts is None):
        raise InvalidArgument("export needs --counts FILE (also beside --selection), or --accurate-log FILE.")
    asked = {"counts": counts, "selection": selection, "accurate_log": accurate_log}
    for path in filter(None, asked.values()):
        check_target(path, force=force)
    statistics = certmix.read_statistics(run)
    if accurate_log is not None:
        write_predictions(accurate_log, statistics, force=force)
    if counts is not None:
        export_counts(statistics, counts, selection, force=force)
    written = {name: str(path) for name, path in asked.items() if path is not None}
    values = {**written, "inputs": len(statistics), "classes": statistics.num_classes, "sigma": statistics.sigma}
    text = f"{', '.join(written.values())}: {len(statistics)} inputs, sigma {statistics.sigma:g}"
    Output(as_json=as_json).show(values, text)
