"""`certmix verify`: trust a published run by drawing some of it again and recomputing its certificates."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certmix.cli import values
from certmix.cli.command import command
from certmix.cli.options import DeviceOption, JsonOption, PromiseOptions, QuietOption
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.run_models import Places

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.runs.store import Statistics
    from certmix.verification.redraw import Verification


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
    promise: PromiseOptions,
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
    from certmix.verification.published import check_published
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
    published = check_published(statistics, certificates or runs[0], result, required=certificates is not None)
    made = published or promise.certify(statistics, promise.rules())
    for own in [] if published else made:
        check_certificates(statistics, own, result)
    escape = {str(forged): result.escape_probability(forged) for forged in _forged(len(statistics))}
    values = {"holds": result.holds, **vars(result), "escape": escape, "draws": statistics.draws.to_json()}
    text = verdict(statistics, result, made, published=bool(published))
    output.show(values, text, [f"Note: {line}." for line in result.remarks])
    if not result.holds:
        raise typer.Exit(1)


def verdict(
    statistics: "Statistics", result: "Verification", certificates: "Sequence[Certificates]", *, published: bool
) -> str:
    """What was checked and found, what the certificates promise, and what forgers would have had to hope for."""
    draws, inputs = statistics.draws, len(statistics)
    whose = "of certificates.parquet " if published else ""
    source = draws.seed_source + (f" from {draws.seed_text!r}" if draws.seed_source == "derived" else "")
    lines = [
        f"{'The run holds' if result.holds else 'The run does NOT hold'}: {len(result.redrawn)} of {inputs} inputs drawn "
        f"again ({result.draws_repeated} draws), {result.certificates_checked} radii {whose}recomputed at 50 digits, "
        f"{len(result.differences)} differences.",
        *(f"- {line}" for line in result.differences),
        f"{inputs} of {draws.dataset.inputs} inputs of {draws.dataset.spec} ({draws.dataset.subset_text}), "
        f"{draws.scale_text}, seed {source}.",
        *sorted({made.promise.text for made in certificates if made.promise}),
    ]
    escapes = (
        f"{forged} ({share}) {result.escape_probability(forged):.3g}" for forged, share in _forged(inputs).items()
    )
    return "\n".join([*lines, f"Chance that forged inputs escape this redraw: {', '.join(escapes)}."])


def _forged(inputs: int) -> dict[int, str]:
    """Numbers of forged inputs to speak of: one in a hundred, and one in ten; at least one."""
    return {max(1, round(inputs * share)): f"{share:.0%}" for share in (0.01, 0.1)}
