"""`certmix sample`: draw what a run lacks, and store it; every certificate is derived from it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certmix.cli.command import command, need
from certmix.cli.exits import if_stopped
from certmix.cli.options import (
    DrawOptions,
    ExecutionOptions,
    FailureProbabilityOption,
    RuleOptions,
    RunOption,
    Sources,
)
from certmix.cli.output import Output
from certmix.cli.root import app

if TYPE_CHECKING:
    from certmix.certification.schedule import Schedule
    from certmix.promise import Promise
    from certmix.rules import Rule


@command(app, "sample")
def sample_command(
    *,
    sources: Sources,
    draws: DrawOptions,
    execution: ExecutionOptions,
    wanted: RuleOptions,
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
    Early stopping (--stop-at-radius, --radius-tolerance) decides by one rule, at --failure-probability.
    --confidence stores hard votes of confident draws alone; --votes soft or both hold those of every confidence.
    """
    from certmix.promise import DEFAULT_FAILURE_PROBABILITY, Promise
    from certmix.runs.store import read_statistics

    need("sample", robust=sources.robust, dataset=sources.dataset, sigma=draws.sigma, out=out)
    assert out is not None
    promise = Promise(failure_probability or DEFAULT_FAILURE_PROBABILITY)
    plan = Plan(sources, draws, execution, out, wanted.rules(), promise, wanted.confidence)
    with if_stopped():
        leads = draw(plan, output)
    if not leads:
        return
    statistics = read_statistics(out)
    values = {"run": str(out), "inputs": len(statistics), "sigma": statistics.sigma, "seed": hex(statistics.draws.seed)}
    output.show(values, f"{out}: {len(statistics)} inputs drawn at sigma {statistics.sigma:g}.")


@dataclass(frozen=True)
class Plan:
    """Draws that are asked for, and by which rules and under which promise they will be certified."""

    sources: Sources
    draws: DrawOptions
    execution: ExecutionOptions
    out: Path
    rules: "Sequence[Rule]"
    promise: "Promise"
    confidence: "float | None" = None  # declared before drawing


def draw(plan: Plan, output: Output) -> bool:
    """Draw what the run folder lacks; whatever can be refused is refused before. Returns whether this process reports."""
    import certmix
    from certmix.certification.bounds import check_certifiable
    from certmix.cli.progress import progress_bar
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.sampling.execution import Execution
    from certmix.sampling.ranks import join_group, local_device, parse_shard

    sources, draws, execution = plan.sources, plan.draws, plan.execution
    assert sources.robust is not None
    assert draws.sigma is not None
    shard = (0, 1) if execution.shard is None else parse_shard(execution.shard)
    reach = check_certifiable(plan.rules, draws.num_estimation, plan.promise, draws.sigma)
    schedule = _schedule(plan)
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
            confidence=plan.confidence,
            out=plan.out,
            execution=how,
            progress=progress,
        )
    return group.leads


def _schedule(plan: Plan) -> "Schedule | None":
    from certmix.certification.schedule import make_schedule
    from certmix.errors import InvalidArgument

    draws = plan.draws
    if draws.stop_at_radius is None and draws.radius_tolerance is None:
        return None
    if len(plan.rules) != 1:
        raise InvalidArgument(
            "--stop-at-radius and --radius-tolerance decide at one --mixing-weight or --threshold, got "
            f"{len(plan.rules)}; give one, and certify the run again for the others."
        )
    if plan.promise.interval != "pair":
        raise InvalidArgument(f"--interval must be pair where sampling may stop early, got {plan.promise.interval}.")
    assert draws.sigma is not None
    return make_schedule(
        draws.num_estimation,
        sigma=draws.sigma,
        failure_probability=plan.promise.failure_probability,
        rule=plan.rules[0],
        target_radius=draws.stop_at_radius,
        radius_tolerance=draws.radius_tolerance,
    )
