"""`certmix verify`: trust a published run by drawing some of it again and recomputing its certificates."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certmix.cli import values
from certmix.cli.command import command, option, refuse_others
from certmix.cli.options import DeviceOption, PromiseOptions
from certmix.cli.output import Answer
from certmix.cli.progress import progress_bar
from certmix.cli.root import app
from certmix.cli.run_models import Places
from certmix.errors import InvalidArgument
from certmix.promise import DEFAULT_FAILURE_PROBABILITY

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.runs.store import Statistics
    from certmix.verification.redraw import Verification

_OF_ONE_RUN = {"robust", "model", "mixing_weight", "interval", "certify_votes", "mean_bound", "real_valued"}


@command(app, "verify")
def verify_command(
    context: typer.Context,
    *,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folder, all parts of one run, or a chain's, by node.")
    ],
    sample: Annotated[int, option("--sample", "K", "Random inputs to draw again.", values.COUNT)] = 16,
    certificates: Annotated[
        Path | None, option("--certificates", "FOLDER", "Where certify --out put them; beside the draws if not.")
    ] = None,
    places: Places,
    promise: PromiseOptions,
    seed: Annotated[int | None, option("--seed", "N", "Of the choice; unforeseeable by default.", values.SEED)] = None,
    device: DeviceOption = "auto",
    output: Answer,
) -> None:
    """Redraw some inputs of a run, and recompute its radii.

    \b
    Exit code 1 where they differ. Models and data are found where the manifest says, or where options say:
      certmix verify runs/half --sample 16
      certmix verify downloads/run --robust h.safetensors --accurate g.safetensors --dataset digits
      certmix verify runs/part-0 runs/part-1 --certificates certified
    The run's certificates.parquet is checked where there is one; else those of the weights and certifiers asked for.
    A chain, as `certmix chain` certified it, or at the thresholds given; every node is drawn again:
      certmix verify runs/quarter runs/half --certificates chained
      certmix verify runs/quarter runs/half --threshold 0.8 --threshold 0.4
    """
    from certmix.runs.grouping import read_nodes
    from certmix.verification.published import check_made, check_published
    from certmix.verification.redraw import Verification

    nodes = [run.statistics for run in read_nodes(runs)]
    if len(nodes) > 1:
        refuse_others(context, "verify of a chain", set(context.params) - _OF_ONE_RUN)
        _check_thresholds(nodes, promise.threshold or [], certificates)
    result = Verification()
    chosen = secrets.randbits(63) if seed is None else seed  # the same inputs of every node
    for node in nodes:
        _redraw(node, result, places, sample, chosen, device, output, several=len(nodes) > 1)
    folder = certificates or (runs[0] if len(nodes) == 1 else None)
    published = [] if folder is None else check_published(nodes, folder, result, required=certificates is not None)
    made = published or _certified(nodes, promise)
    if not published:
        result.remarks += [] if len(nodes) > 1 else [line.rstrip(".") for line in promise.left_out(promise.rules())]
        for own in made:
            check_made(nodes, own, result)
    escape = {str(forged): result.escape_probability(forged) for forged in _forged(len(nodes[0]))}
    draws = [node.draws.to_json() for node in nodes]
    values = {"holds": result.holds, **vars(result), "escape": escape, "draws": draws[0], "nodes": draws}
    output.show(
        values, verdict(nodes, result, made, published=bool(published)), [f"Note: {line}." for line in result.remarks]
    )
    if not result.holds:
        raise typer.Exit(1)


def _check_thresholds(nodes: "Sequence[Statistics]", thresholds: list[float], certificates: Path | None) -> None:
    """Refuse several runs that nothing says the chain of."""
    if certificates is None and len(thresholds) != len(nodes):
        sigmas = ", ".join(f"{node.sigma:g}" for node in nodes)
        raise InvalidArgument(
            f"{len(nodes)} runs of other draws (sigma {sigmas}) are a chain: give --certificates FOLDER or "
            f"{len(nodes)} --threshold, got {len(thresholds)}; verify each run by itself for its own certificates."
        )


def _redraw(
    node: "Statistics",
    result: "Verification",
    places: Places,
    sample: int,
    seed: int,
    device: str,
    output: Answer,
    *,
    several: bool,
) -> None:
    """Draw some inputs of one run again, the same ones of every node, and add what was found."""
    from certmix.cli.run_models import load_parts
    from certmix.sampling.execution import Execution
    from certmix.verification.redraw import Verification, redraw

    parts, found = load_parts(node.draws, places), Verification()
    with progress_bar("drawing again", quiet=output.quiet or output.as_json) as progress:
        redraw(
            node,
            found,
            robust=parts.robust,
            accurate=parts.accurate,
            dataset=parts.dataset,
            count=sample,
            seed=seed,
            execution=Execution(device=device),
            progress=progress,
        )
    name = f"sigma {node.sigma:g}: " if several else ""
    result.differences += [f"{name}{line}" for line in found.differences]
    result.remarks += [f"{name}{line}" for line in found.remarks]
    result.inputs, result.redrawn = found.inputs, found.redrawn
    result.draws_repeated += found.draws_repeated


def _certified(nodes: "Sequence[Statistics]", promise: PromiseOptions) -> "list[Certificates]":
    """Certificates as the options ask for them: of one run's rules, or of a chain."""
    from certmix.certification.chain import bound_chain, certify_chain

    if len(nodes) == 1:
        return promise.certify(nodes[0], promise.rules())
    err = promise.failure_probability or DEFAULT_FAILURE_PROBABILITY
    bounds = bound_chain(nodes, failure_probability=err, confidence=promise.confidence)
    return [certify_chain(bounds, promise.threshold or [], certifier=name) for name in promise.certifiers]


def verdict(
    nodes: "Sequence[Statistics]", result: "Verification", certificates: "Sequence[Certificates]", *, published: bool
) -> str:
    """What was checked and found, what the certificates promise, and what forgers would have had to hope for."""
    inputs = len(nodes[0])
    what = "run" if len(nodes) == 1 else "chain"
    whose = "of certificates.parquet " if published else ""
    lines = [
        f"The {what} {'holds' if result.holds else 'does NOT hold'}: {len(result.redrawn)} of {inputs} inputs drawn "
        f"again ({result.draws_repeated} draws), {result.certificates_checked} radii {whose}recomputed at 50 digits, "
        f"{len(result.differences)} differences.",
        *(f"- {line}" for line in result.differences),
        *(_drawn(node) for node in nodes),
        *sorted({made.promise.text for made in certificates if made.promise}),
    ]
    escapes = (
        f"{forged} ({share}) {result.escape_probability(forged):.3g}" for forged, share in _forged(inputs).items()
    )
    return "\n".join([*lines, f"Chance that forged inputs escape this redraw: {', '.join(escapes)}."])


def _drawn(node: "Statistics") -> str:
    """What one run was drawn from."""
    draws = node.draws
    source = draws.seed_source + (f" from {draws.seed_text!r}" if draws.seed_source == "derived" else "")
    return (
        f"{len(node)} of {draws.dataset.inputs} inputs of {draws.dataset.spec} ({draws.dataset.subset_text}), "
        f"{draws.scale_text}, seed {source}."
    )


def _forged(inputs: int) -> dict[int, str]:
    """Numbers of forged inputs to speak of: one in a hundred, and one in ten; at least one."""
    return {max(1, round(inputs * share)): f"{share:.0%}" for share in (0.01, 0.1)}
