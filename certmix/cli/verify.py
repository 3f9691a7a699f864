"""`certmix verify`: trust a published run by drawing some of it again and recomputing its certificates."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app, values
from certmix.cli.command import command
from certmix.cli.options import (
    CertifierOption,
    DeviceOption,
    FailureProbabilityOption,
    IntervalOption,
    JsonOption,
    MixingWeightOption,
    QuietOption,
)
from certmix.cli.output import Output
from certmix.cli.run_models import Places

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.runs.store import Statistics


@command(app, "verify")
def verify_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folder, or all parts of one run.")],
    sample: Annotated[
        int, typer.Option("--sample", metavar="K", help="Random inputs to draw again.", parser=values.COUNT)
    ] = 16,
    certificates: Annotated[
        Path | None,
        typer.Option("--certificates", metavar="FOLDER", help="Where certify --out put them; beside the draws if not."),
    ] = None,
    places: Places,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    interval: IntervalOption = "pair",
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Of the choice; unforeseeable by default.", parser=values.SEED),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Redraw some inputs of a run, and recompute its radii.

    \b
    Exit code 1 where they differ. Models and data are found where the manifest says, or where options say:
      certmix verify runs/half --sample 16
      certmix verify downloads/run --robust h.safetensors --accurate g.safetensors --dataset digits
      certmix verify runs/part-0 runs/part-1 --certificates certified
    The run's certificates.parquet is checked where there is one; else those of the weights and certifiers asked for.
    """
    import certmix
    from certmix.cli.progress import progress_bar
    from certmix.cli.run_models import load_parts
    from certmix.sampling.execution import Execution
    from certmix.verification.recompute import check_certificates
    from certmix.verification.redraw import Verification, redraw

    statistics = certmix.read_statistics(*runs)
    parts = load_parts(statistics.draws, places)
    result, output = Verification(), Output(as_json=as_json, quiet=quiet)
    with progress_bar("drawing again", quiet=quiet or as_json) as progress:
        redraw(
            statistics,
            result,
            robust=parts.robust,
            accurate=parts.accurate,
            dataset=parts.dataset,
            count=sample,
            seed=seed,
            execution=Execution(device=device),
            progress=progress,
        )
    published, promise = _published(certificates or runs[0], statistics)
    for made in published or [
        certmix.certify(
            statistics,
            mixing_weight=mixing_weight or [1.0],
            certifier=name,
            failure_probability=failure_probability,
            rule=interval,
        )
        for name in certifier or ["exact"]
    ]:
        check_certificates(statistics, made, result, **(promise or {"rule": interval}))
    verdict = (
        f"{'The run holds' if result.holds else 'The run does NOT hold'}: {len(result.redrawn)} of "
        f"{len(statistics)} inputs drawn again ({result.draws_repeated} draws), {result.certificates_checked} radii "
        f"{'of certificates.parquet ' if published else ''}recomputed at 50 digits, {len(result.differences)} differences."
    )
    text = "\n".join([verdict, *(f"- {line}" for line in result.differences)])
    output.show({"holds": result.holds, **vars(result)}, text, [f"Note: {line}." for line in result.remarks])
    if not result.holds:
        raise typer.Exit(1)


def _published(folder: Path, statistics: "Statistics") -> "tuple[list[Certificates], dict[str, Any] | None]":
    """Certificates of certificates.parquet and the bounds behind them; ([], None) where there is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from certmix.errors import RunError
    from certmix.verification.recompute import certificates_of

    path = folder / "certificates.parquet"
    if not path.exists():
        return [], None
    try:
        table = pq.read_table(path)
        promise = json.loads((table.schema.metadata or {})[b"certmix"])
        made = certificates_of(table.to_pydict(), promise, statistics)
        return made, {name: promise[name] for name in ("rule", "bound")}
    except (pa.ArrowException, KeyError, ValueError, OSError):
        raise RunError(f"{path} must be one that certmix wrote, got something else; certify the run again.") from None
