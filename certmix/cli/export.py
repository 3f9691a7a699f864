"""`certmix export`: the votes of a run in the text format that others read."""

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
        Path,
        typer.Option("--counts", metavar="FILE", help="Where the estimation votes go.", parser=output_path),
    ],
    selection: Annotated[
        Path | None,
        typer.Option("--selection", metavar="FILE", help="Where the selection votes go.", parser=output_path),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write votes as text: a count per class, then the label.

    \b
      certmix export runs/half --counts counts.txt --selection selection.txt
      certmix certify --counts counts.txt,selection=selection.txt --sigma 0.5
    Cohen-format logs need no export: certify writes them into the run folder as certificates*.tsv.
    """
    import certmix
    from certmix.files import check_target
    from certmix.formats.count_table import export_counts

    for path in (counts, *([selection] if selection else [])):
        check_target(path, force=force)
    statistics = certmix.read_statistics(run)
    export_counts(statistics, counts, selection, force=force)
    written = {"counts": str(counts), **({"selection": str(selection)} if selection else {})}
    values = {**written, "inputs": len(statistics), "classes": statistics.num_classes, "sigma": statistics.sigma}
    text = f"{', '.join(written.values())}: {len(statistics)} inputs, sigma {statistics.sigma:g}"
    Output(as_json=as_json).show(values, text)
