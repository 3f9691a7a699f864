"""`certmix verify`: trust a published run by drawing some of it again and recomputing its certificates."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    CertifierOption,
    DeviceOption,
    FailureProbabilityOption,
    JsonOption,
    MixingWeightOption,
    ModelOption,
    QuietOption,
    RuleOption,
    TrustOption,
    key_values,
)


@app.command("verify")
def verify_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    sample: Annotated[int, typer.Option("--sample", metavar="K", help="Random inputs to draw again.")] = 16,
    robust: Annotated[
        str | None,
        typer.Option("--robust", metavar="SPEC", help="The smoothed model, where it is not at its old path."),
    ] = None,
    accurate: Annotated[
        str | None, typer.Option("--accurate", metavar="SPEC", help="Likewise the accurate model.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="SPEC", help="Likewise the data set.")] = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    rule: RuleOption = "pair",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the choice of inputs; unforeseeable by default.")
    ] = None,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw random inputs of a run again and recompute its certificates at 50 digits; exit code 1 where they differ.

    \b
    Models and data are found where the run's manifest says, or where options say:
      certmix verify runs/half --sample 16
      certmix verify downloads/run --robust h.safetensors --accurate g.safetensors --dataset digits
    The run's certificates.parquet is checked where there is one; else those of the weights and certifiers asked for.
    """
    import certmix
    from certmix.cli.progress import progress_bar
    from certmix.cli.run_models import load_parts
    from certmix.sampling.execution import Execution
    from certmix.verification.recompute import check_certificates
    from certmix.verification.redraw import Verification, redraw

    statistics = certmix.read_statistics(run)
    draws = statistics.draws
    options = {"trust_model": trust_model, **key_values(model)}
    data, models = load_parts(draws, robust=robust, accurate=accurate, dataset=dataset, options=options)
    assert models["model"] is not None
    result = Verification()
    with progress_bar("drawing again", quiet=quiet) as progress:
        redraw(
            statistics,
            result,
            robust=models["model"],
            accurate=models["accurate"],
            dataset=data,
            count=sample,
            seed=seed,
            execution=Execution(device=device),
            progress=progress,
        )
    published, promise = _published(run, statistics)
    for made in published or [
        certmix.certify(
            statistics,
            mixing_weight=mixing_weight or [1.0],
            certifier=name,
            failure_probability=failure_probability,
            rule=rule,
        )
        for name in certifier or ["exact"]
    ]:
        check_certificates(statistics, made, result, **(promise or {"rule": rule}))
    if as_json:
        print(json.dumps({"holds": result.holds, **vars(result)}, indent=2))
    else:
        source = "of certificates.parquet " if published else ""
        print(
            f"{'The run holds' if result.holds else 'The run does NOT hold'}: {len(result.redrawn)} of "
            f"{len(statistics)} inputs drawn again ({result.draws_repeated} draws), {result.certificates_checked} radii "
            f"{source}recomputed at 50 digits, {len(result.differences)} differences."
        )
        for line in result.differences:
            print(f"- {line}")
        if not quiet:
            for line in result.remarks:
                print(f"Note: {line}.", file=sys.stderr)
    if not result.holds:
        raise typer.Exit(1)


def _published(run: Path, statistics: Any) -> tuple[list[Any], dict[str, str] | None]:
    """Certificates of certificates.parquet and the bounds behind them; ([], None) where there is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from certmix.errors import RunError
    from certmix.verification.recompute import certificates_of

    path = run / "certificates.parquet"
    if not path.exists():
        return [], None
    try:
        table = pq.read_table(path)
        promise = json.loads((table.schema.metadata or {})[b"certmix"])
        return certificates_of(table.to_pydict(), promise, statistics), {
            name: promise[name] for name in ("rule", "bound")
        }
    except (pa.ArrowException, KeyError, ValueError, OSError):
        raise RunError(f"{path} must be one that certmix wrote, got something else; certify the run again.") from None
