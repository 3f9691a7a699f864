"""`certmix sample`: draw what a run lacks, and store it; every certificate is derived from it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import certmix
from certmix.cli import options
from certmix.cli.command import command, need
from certmix.cli.exits import if_stopped
from certmix.cli.output import Output
from certmix.cli.progress import progress_bar
from certmix.cli.root import app
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    from certmix.certification.schedule import Schedule
    from certmix.promise import Promise
    from certmix.rules import Rule


@command(app, "sample")
def sample_command(
    *,
    sources: options.Sources,
    draws: options.DrawOptions,
    execution: options.ExecutionOptions,
    wanted: options.RuleOptions,
    failure_probability: options.FailureProbabilityOption = None,
    out: options.RunOption = None,
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
    All values of splitting noise, for l1 and without chance (of a model of train --method splitting):
      certmix sample --robust h.safetensors --dataset digits --noise splitting --lambda 1.5 --out runs/l1
    --confidence stores hard votes of confident draws alone; --votes soft or both hold those of every confidence.
    """
    from certmix.runs.store import read_statistics

    need("sample", robust=sources.robust, dataset=sources.dataset, **draws.scale, out=out)
    assert out is not None
    promise = draws.planned(failure_probability)
    plan = Plan(sources, draws, execution, out, wanted.rules(), promise, wanted.confidence)
    with if_stopped():
        leads = draw(plan, output)
    if not leads:
        return
    statistics = read_statistics(out)
    values = {"run": str(out), "inputs": len(statistics), "sigma": statistics.sigma, "seed": hex(statistics.draws.seed)}
    output.show(values, f"{out}: {len(statistics)} inputs drawn at {statistics.draws.scale_text}.")


@dataclass(frozen=True)
class Plan:
    """Draws that are asked for, and by which rules and under which promise they will be certified."""

    sources: options.Sources
    draws: options.DrawOptions
    execution: options.ExecutionOptions
    out: Path
    rules: "Sequence[Rule]"
    promise: "Promise"
    confidence: "float | None" = None  # declared before drawing

    @property
    def sigma(self) -> float:
        """Or Lambda of splitting noise; 0 where `need` was not asked."""
        (value,) = self.draws.scale.values()
        return value or 0.0


def draw(plan: Plan, output: Output) -> bool:
    """Draw what the run folder lacks; whatever can be refused is refused before. Returns whether this process reports."""
    from certmix.certification.bounds import check_certifiable
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.noise import describe_noise
    from certmix.runs.draws import NUM_ESTIMATION
    from certmix.sampling.execution import Execution
    from certmix.sampling.ranks import join_group, local_device, parse_shard

    sources, draws, execution = plan.sources, plan.draws, plan.execution
    assert sources.robust is not None
    shard = (0, 1) if execution.shard is None else parse_shard(execution.shard)
    reach = check_certifiable(plan.rules, draws.num_estimation or NUM_ESTIMATION, plan.promise, plan.sigma)
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
    if draws.enumerated:
        describe_noise(draws.noise, sigma=plan.sigma, size=1, grid_levels=data.grid_levels)  # refuses another lambda
    else:
        check_denoiser_sigma(h, plan.sigma)
    g = sources.load_model(sources.accurate) if sources.accurate else None
    if group.leads:
        output.say(reach)
    quiet = output.quiet or not group.leads
    name = "lambda" if draws.enumerated else "sigma"
    with progress_bar(f"sampling at {name} {plan.sigma:g}", quiet=quiet) as progress:
        certmix.sample(
            h,
            data,
            accurate=g,
            sigma=plan.sigma,
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
    from certmix.runs.draws import NUM_ESTIMATION

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
    return make_schedule(
        draws.num_estimation or NUM_ESTIMATION,
        sigma=plan.sigma,
        failure_probability=plan.promise.failure_probability,
        rule=plan.rules[0],
        target_radius=draws.stop_at_radius,
        radius_tolerance=draws.radius_tolerance,
    )
