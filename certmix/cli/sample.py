"""`certmix sample`: draw what a run lacks, and store it; every certificate is derived from it afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certmix.cli import app
from certmix.cli.command import command, need
from certmix.cli.options import (
    DrawOptions,
    ExecutionOptions,
    FailureProbabilityOption,
    MixingWeightOption,
    RunOption,
    Sources,
)
from certmix.cli.output import Output

if TYPE_CHECKING:
    from certmix.certification.schedule import Schedule


@command(app, "sample")
def sample_command(
    *,
    sources: Sources,
    draws: DrawOptions,
    execution: ExecutionOptions,
    mixing_weight: MixingWeightOption = None,
    failure_probability: FailureProbabilityOption = None,
    out: RunOption = None,
    output: Output,
) -> None:
    """Draw the votes of a smoothed model into a run folder.

    \b
    Draws once; certify reads them for every weight, certifier and failure probability:
      certmix sample --robust h.safetensors --accurate g.safetensors --dataset digits --sigma 0.5 --out runs/half
      certmix certify runs/half --mixing-weight 0.8
    One run from many processes, or in parts:
      torchrun --nproc-per-node 8 -m certmix sample --robust h.safetensors --dataset digits --sigma 0.5 --out runs/half
      certmix sample --robust h.safetensors --dataset digits --sigma 0.5 --seed 1 --shard 0/4 --out runs/part-0
    Early stopping (--stop-at-radius, --radius-tolerance) decides at --mixing-weight and --failure-probability.
    """
    from certmix.certification.certify import DEFAULT_FAILURE_PROBABILITY
    from certmix.runs.store import read_statistics

    need("sample", robust=sources.robust, dataset=sources.dataset, sigma=draws.sigma, out=out)
    assert out is not None
    err = DEFAULT_FAILURE_PROBABILITY if failure_probability is None else failure_probability
    plan = Plan(sources, draws, execution, out, tuple(mixing_weight or [1.0]), err, "pair")
    if not draw(plan, output):
        return
    statistics = read_statistics(out)
    values = {"run": str(out), "inputs": len(statistics), "sigma": statistics.sigma, "seed": hex(statistics.draws.seed)}
    output.show(values, f"{out}: {len(statistics)} inputs drawn at sigma {statistics.sigma:g}.")


@dataclass(frozen=True)
class Plan:
    """Draws that are asked for, and at which weights and failure probability they will be certified."""

    sources: Sources
    draws: DrawOptions
    execution: ExecutionOptions
    out: Path
    weights: tuple[float, ...]
    failure_probability: float
    interval: str


def draw(plan: Plan, output: Output) -> bool:
    """Draw what the run folder lacks; whatever can be refused is refused before. Returns whether this process reports."""
    import certmix
    from certmix.cli.progress import progress_bar
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.sampling.execution import Execution
    from certmix.sampling.ranks import join_group, local_device, parse_shard

    sources, draws, execution = plan.sources, plan.draws, plan.execution
    assert sources.robust is not None
    assert draws.sigma is not None
    shard = (0, 1) if execution.shard is None else parse_shard(execution.shard)
    reach, schedule = reach_text(plan), _schedule(plan)
    group = join_group()
    how = Execution(
        device=local_device(execution.device),
        batch_size=execution.batch_size,
        compile=execution.compiled,
        shard=shard,
        group=group,
    )
    data, h = sources.load_dataset(), sources.load_model(sources.robust)
    check_denoiser_sigma(h, draws.sigma)
    g = sources.load_model(sources.accurate) if sources.accurate else None
    if group.leads:
        output.say(reach)
    quiet = output.quiet or not group.leads
    with progress_bar(f"sampling at sigma {draws.sigma:g}", quiet=quiet) as progress:
        certmix.sample(
            h,
            data,
            accurate=g,
            sigma=draws.sigma,
            num_selection=draws.num_selection,
            num_estimation=draws.num_estimation,
            votes=draws.votes,  # type: ignore[arg-type]
            noise=draws.noise,  # type: ignore[arg-type]
            seed=draws.seed,
            seed_from=draws.seed_from,
            on_invalid=draws.on_invalid,  # type: ignore[arg-type]
            schedule=schedule,
            out=plan.out,
            execution=how,
            progress=progress,
        )
    return group.leads


def reach_text(plan: Plan) -> str:
    """The largest radius that so many draws can certify at each weight. Raises InvalidArgument: none at any weight."""
    from certmix.certification.certify import maximum_radius
    from certmix.certifiers import exact_radius
    from certmix.intervals import clopper_pearson_lower

    draws, share = plan.draws, {"pair": 0.5, "cohen": 1.0}[plan.interval]
    assert draws.sigma is not None
    maximum_radius(draws.num_estimation, plan.failure_probability, draws.sigma, plan.interval)
    top = float(clopper_pearson_lower(draws.num_estimation, draws.num_estimation, plan.failure_probability * share))
    parts = []
    for weight in plan.weights:
        reach = float(exact_radius(top, 1.0 - top, weight, draws.sigma))
        why = " (certificates need a weight above 0.5)" if weight <= 0.5 else ""
        parts.append(f"{reach:.3f} at weight {weight:g}{why}")
    return f"{draws.num_estimation} draws can certify radii up to {', '.join(parts)}."


def _schedule(plan: Plan) -> "Schedule | None":
    from certmix.certification.schedule import make_schedule
    from certmix.errors import InvalidArgument

    draws = plan.draws
    if draws.stop_at_radius is None and draws.radius_tolerance is None:
        return None
    if len(plan.weights) != 1:
        raise InvalidArgument(
            f"--stop-at-radius and --radius-tolerance decide at one --mixing-weight, got {len(plan.weights)}; give one, "
            "and certify the run again for the others."
        )
    if plan.interval != "pair":
        raise InvalidArgument(f"--interval must be pair where sampling may stop early, got {plan.interval}.")
    assert draws.sigma is not None
    return make_schedule(
        draws.num_estimation,
        sigma=draws.sigma,
        failure_probability=plan.failure_probability,
        mixing_weight=plan.weights[0],
        target_radius=draws.stop_at_radius,
        radius_tolerance=draws.radius_tolerance,
    )
