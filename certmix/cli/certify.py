"""`certmix certify`: sample what is missing, then certify the stored draws at any weight and by any certifier."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
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
    accurate: Annotated[
        str | None, typer.Option("--accurate", metavar="SPEC", help="Accurate model g; its predictions are recorded.")
    ] = None,
    mixture: Annotated[
        str | None,
        typer.Option("--mixture", metavar="FILE", help="Adaptive mixture of the two models: certify at its floor too."),
    ] = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = 1e-3,
    rule: RuleOption = "pair",
    num_selection: Annotated[
        int, typer.Option("--num-selection", "--N0", help="Draws that select the class, per input.")
    ] = 100,
    num_estimation: Annotated[
        int, typer.Option("--num-estimation", "--N", help="Fresh draws that bound its probability, per input.")
    ] = 10_000,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", help="Most draws per forward pass.")] = 1000,
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
    With run folders, certifies their draws again, without any model:
      certmix certify runs/half --mixing-weight 0.9 --certifier exact --certifier theorem-a1
    An adaptive mixture (certmix train-mixing) is certified at the floor of its weights; clean accuracy is at a(x):
      certmix certify --robust h.safetensors --accurate g.safetensors --mixture mixture.safetensors --dataset digits \
        --sigma 0.5 --out runs/half
    """
    from certmix.certification import maximum_radius
    from certmix.certifiers import get_certifier, required_margin
    from certmix.cli.adaptive_report import check_mixture, record_mixture, summarise_adaptive
    from certmix.cli.report import check_radii, report_runs
    from certmix.errors import InvalidArgument

    weights = mixing_weight or [1.0]
    certifiers = certifier or ["exact"]
    required_margin(weights)
    for name in certifiers:
        get_certifier(name)
    wanted_radii = check_radii(radii)
    folders = [Path(run) for run in runs or []]
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
        reach = maximum_radius(num_estimation, failure_probability, sigma, rule)
        if not quiet:
            print(f"{num_estimation} draws can certify radii up to {reach:.3f} at weight 1.", file=sys.stderr)
        _sample(
            dataset={"spec": dataset, **chosen},
            robust=robust,
            accurate=accurate,
            model_options={"trust_model": trust_model, **key_values(model)},
            quiet=quiet,
            sigma=sigma,
            out=out,
            num_selection=num_selection,
            num_estimation=num_estimation,
            batch_size=batch_size,
            seed=seed,
            noise=noise,
            on_invalid=on_invalid,
            device=device,
        )
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
        real_valued=real_valued,
        radii=wanted_radii,
        table_format=table_format,
        as_json=as_json,
        quiet=quiet,
    )


def _sample(
    *,
    dataset: dict[str, Any],
    robust: str,
    accurate: str | None,
    model_options: dict[str, Any],
    quiet: bool,
    **how: Any,
) -> None:
    import certmix
    from certmix.cli.progress import progress_bar

    data = certmix.load_dataset(dataset.pop("spec"), **dataset)
    h = certmix.load_model(robust, **model_options)
    g = certmix.load_model(accurate, **model_options) if accurate else None
    with progress_bar(f"sampling at sigma {how['sigma']:g}", quiet=quiet) as progress:
        certmix.sample(h, data, accurate=g, model_spec=robust, accurate_spec=accurate, progress=progress, **how)
