"""`certmix certify`: sample what is missing, then certify the stored draws at any weight and by any certifier."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    BoundOption,
    CertifiedVotesOption,
    CertifierOption,
    DatasetOption,
    DeviceOption,
    FailureProbabilityOption,
    FormatOption,
    IndicesOption,
    JsonOption,
    MaxOption,
    MixingWeightOption,
    ModelOption,
    QuietOption,
    RadiiOption,
    RuleOption,
    SkipOption,
    SplitOption,
    TrustOption,
    key_values,
)

if TYPE_CHECKING:
    from certmix.certification.schedule import Schedule


@app.command("certify")
def certify_command(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders to certify again; no model is needed.")
    ] = None,
    robust: Annotated[
        str | None, typer.Option("--robust", metavar="SPEC", help="Robust base classifier h, to be smoothed.")
    ] = None,
    dataset: DatasetOption = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", metavar="S", help="Noise standard deviation, in [0, 1] pixel units.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Run folder to write; the same command again resumes.")
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option("--counts", metavar="FILE[,selection=FILE]", help="Text table of votes made elsewhere."),
    ] = None,
    accurate: Annotated[
        str | None, typer.Option("--accurate", metavar="SPEC", help="Accurate model g; its predictions are recorded.")
    ] = None,
    mixture: Annotated[
        str | None,
        typer.Option("--mixture", metavar="FILE", help="Adaptive mixture of the two models: certify at its floor too."),
    ] = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    rule: RuleOption = "pair",
    num_selection: Annotated[
        int, typer.Option("--num-selection", "--N0", help="Draws that select the class, per input.")
    ] = 100,
    num_estimation: Annotated[
        int, typer.Option("--num-estimation", "--N", help="Fresh draws that bound its probability, per input.")
    ] = 10_000,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "--batch", help="Draws per forward pass; calibrated by default.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Draw every N-th input from the I-th on, for job arrays."),
    ] = None,
    skip: SkipOption = 1,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    indices: IndicesOption = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the noise; fresh operating-system entropy by default.")
    ] = None,
    noise: Annotated[
        str, typer.Option("--noise", help="auto (integer where inputs lie on a grid), integer or float.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="The robust model computes in fp32, bf16 or fp16; recorded.")
    ] = "fp32",
    fast: Annotated[
        bool, typer.Option("--fast", help="Fold the robust model's batch norms, lay out channels last; recorded.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Run the robust model through torch.compile; recorded.")
    ] = False,
    votes: Annotated[
        str,
        typer.Option("--votes", help="What to store of a draw: hard (its class), soft (its probabilities) or both."),
    ] = "hard",
    stop_at_radius: Annotated[
        float | None,
        typer.Option("--stop-at-radius", metavar="R", help="Stop an input when it is decided whether it reaches R."),
    ] = None,
    radius_tolerance: Annotated[
        float | None,
        typer.Option("--radius-tolerance", metavar="T", help="Stop an input when its radius is within this share."),
    ] = None,
    certify_votes: CertifiedVotesOption = None,
    bound: BoundOption = "betting",
    on_invalid: Annotated[
        str, typer.Option("--on-invalid", help="Non-finite outputs: error, or count (as votes against).")
    ] = "error",
    model: ModelOption = None,
    trust_model: TrustOption = False,
    device: DeviceOption = "auto",
    real_valued: Annotated[
        bool, typer.Option("--real-valued", help="With integer noise: certify inputs off the grid too, by less.")
    ] = False,
    radii: RadiiOption = None,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Certify a data set: l2 radii of the mixed classifier, whatever the accurate model does.

    \b
    With a model, draws what is missing in --out and certifies it:
      certmix certify --robust h.safetensors --accurate g.safetensors --dataset digits \\
        --sigma 0.5 --out runs/half --mixing-weight 0.79 --mixing-weight 1 --max 300
    The same under torchrun fills one run from many processes: torchrun --nproc-per-node 8 -m certmix certify ...
    With run folders, certifies their draws again, without any model:
      certmix certify runs/half --mixing-weight 0.9 --certifier exact --certifier theorem-a1
    With a table of votes (per line: a count per class, then the label), certifies those:
      certmix certify --counts counts.txt --sigma 0.5
    An adaptive mixture (certmix train-mixing) is certified at the floor of its weights; clean accuracy is at a(x):
      certmix certify --robust h.safetensors --accurate g.safetensors --mixture mixture.safetensors --dataset digits \\
        --sigma 0.5 --out runs/half
    """
    from certmix.certification.certify import DEFAULT_FAILURE_PROBABILITY, maximum_radius
    from certmix.certifiers import check_certifier, required_margin
    from certmix.cli.adaptive_report import check_mixture, record_mixture, summarise_adaptive
    from certmix.cli.report import check_radii, report_runs
    from certmix.errors import InvalidArgument
    from certmix.sampling.execution import Execution
    from certmix.sampling.ranks import join_group, local_device, parse_shard

    weights = mixing_weight or [1.0]
    certifiers = certifier or ["exact"]
    required_margin(weights)
    for name in certifiers:
        check_certifier(name)
    wanted_radii = check_radii(radii)
    folders = [Path(run) for run in runs or []]
    if counts is not None:
        from certmix.cli.counts import report_counts

        if folders or robust or dataset or accurate or real_valued:
            raise InvalidArgument(
                "--counts is certified by itself; leave out run folders, models, data and --real-valued."
            )
        report_counts(
            counts,
            sigma=sigma,
            out=out,
            weights=weights,
            certifiers=certifiers,
            failure_probability=(DEFAULT_FAILURE_PROBABILITY if failure_probability is None else failure_probability),
            rule=rule,
            radii=wanted_radii,
            table_format=table_format,
            as_json=as_json,
            quiet=quiet,
        )
        return
    sampling = {"--robust": robust, "--dataset": dataset, "--sigma": sigma, "--out": out}
    if any(value is not None for value in sampling.values()):
        missing = [name for name, value in sampling.items() if value is None]
        if missing or folders:
            what = f"also give {', '.join(missing)}" if missing else "leave out the run folders"
            raise InvalidArgument(f"to sample, certify needs --robust, --dataset, --sigma and --out; {what}.")
        assert robust is not None
        assert dataset is not None
        assert sigma is not None
        assert out is not None
        chosen = {"split": split, "skip": skip, "max": max_inputs, "indices": indices}
        if mixture is not None:
            check_mixture(mixture, robust=robust, accurate=accurate)
        err = DEFAULT_FAILURE_PROBABILITY if failure_probability is None else failure_probability
        reach = maximum_radius(num_estimation, err, sigma, rule)
        schedule = None
        if stop_at_radius is not None or radius_tolerance is not None:
            schedule = _schedule(weights, num_estimation, sigma, err, stop_at_radius, radius_tolerance)
        team = join_group()
        quiet = quiet or not team.leads
        _sample(
            dataset={"spec": dataset, **chosen, "trust_model": trust_model},
            robust=robust,
            accurate=accurate,
            model_options={"trust_model": trust_model, **key_values(model)},
            quiet=quiet,
            announce=f"{num_estimation} draws can certify radii up to {reach:.3f} at weight 1.",
            sigma=sigma,
            out=out,
            num_selection=num_selection,
            num_estimation=num_estimation,
            seed=seed,
            noise=noise,
            on_invalid=on_invalid,
            votes=votes,
            schedule=schedule,
            execution=Execution(
                device=local_device(device),
                batch_size=batch_size,
                compile=compiled,
                shard=(0, 1) if shard is None else parse_shard(shard),
                group=team,
            ),
            precision=precision,
            fast=fast,
        )
        if not team.leads:  # rank 0 reports
            return
        folders = [out]
        if mixture is not None:
            record_mixture(out, mixture, dataset={**chosen, "spec": dataset}, robust=robust, accurate=accurate)
    elif mixture is not None:
        raise InvalidArgument("--mixture goes with --robust, --accurate, --dataset, --sigma and --out; see --help.")
    elif not folders:
        raise InvalidArgument("certify needs run folders, or --robust, --dataset, --sigma and --out; see --help.")
    adaptive = summarise_adaptive(folders)
    report_runs(
        folders,
        weights=sorted({*(mixing_weight or []), *(entry["floor"] for entry in adaptive)}) if adaptive else weights,
        adaptive=adaptive,
        certifiers=certifiers,
        failure_probability=failure_probability,
        rule=rule,
        votes=certify_votes,
        bound=bound,
        real_valued=real_valued,
        radii=wanted_radii,
        table_format=table_format,
        as_json=as_json,
        quiet=quiet,
    )


def _schedule(
    weights: list[float], draws: int, sigma: float, err: float, radius: float | None, tolerance: float | None
) -> "Schedule":
    from certmix.certification.schedule import make_schedule
    from certmix.errors import InvalidArgument

    if len(weights) != 1:
        raise InvalidArgument(
            f"--stop-at-radius and --radius-tolerance decide at one --mixing-weight, got {len(weights)}; give one, and "
            "certify the run again for the others."
        )
    return make_schedule(
        draws,
        sigma=sigma,
        failure_probability=err,
        mixing_weight=weights[0],
        target_radius=radius,
        radius_tolerance=tolerance,
    )


def _sample(
    *,
    dataset: dict[str, Any],
    robust: str,
    accurate: str | None,
    model_options: dict[str, Any],
    quiet: bool,
    announce: str,
    **how: Any,
) -> None:
    import certmix
    from certmix.cli.progress import progress_bar
    from certmix.models.acceleration import accelerate
    from certmix.models.denoised import check_denoiser_sigma

    data = certmix.load_dataset(dataset.pop("spec"), **dataset)
    h = certmix.load_model(robust, **model_options)
    check_denoiser_sigma(h, how["sigma"])
    h = accelerate(h, precision=how.pop("precision"), fast=how.pop("fast"))
    vars(h)["certmix_spec"] = robust
    g = certmix.load_model(accurate, **model_options) if accurate else None
    if not quiet:
        print(announce, file=sys.stderr)
    with progress_bar(f"sampling at sigma {how['sigma']:g}", quiet=quiet) as progress:
        certmix.sample(h, data, accurate=g, progress=progress, **how)
