"""`certmix attack certificates`: attack every certified input inside its radius; a success is an error."""

from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli.attack import app
from certmix.cli.attack.options import AttackedOption, GradientDrawsOption, JudgingDrawsOption, certify_hard_votes
from certmix.cli.command import command, option
from certmix.cli.options import (
    CERTIFIERS,
    FailureProbabilityOption,
    JsonOption,
    MixingWeightOption,
    Placement,
    QuietOption,
    RestartsOption,
    RuleOptions,
    SeedOption,
    StepsOption,
    ThresholdOption,
)
from certmix.cli.output import Output
from certmix.cli.run_models import Places, load_run
from certmix.cli.values import SHARE, choice


@command(app, "certificates")
def certificates_command(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    places: Places,
    mixing_weight: MixingWeightOption = None,
    threshold: ThresholdOption = None,
    certifier: Annotated[
        str, option("--certifier", "NAME", "Whose radii are attacked.", choice(*CERTIFIERS))
    ] = "exact",
    failure_probability: FailureProbabilityOption = None,
    share_of_radius: Annotated[
        float, option("--share-of-radius", "SHARE", "Attack up to this share of each radius.", SHARE)
    ] = 0.99,
    steps: StepsOption = 100,
    restarts: RestartsOption = 10,
    gradient_draws: GradientDrawsOption = 16,
    judging_draws: JudgingDrawsOption = 10_000,
    max_inputs: AttackedOption = None,
    seed: SeedOption = 0,
    placement: Placement,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack inside certified radii; exit code 1 if one falls.

    \b
    Every certificate by l2 PGD through the noise, for the worst accurate model there is:
      certmix attack certificates runs/half --mixing-weight 0.8 --threshold 0.5
    """
    import certmix
    from certmix.attacks.certificates import attack_certificates
    from certmix.cli.progress import progress_bar

    output, loaded = Output(as_json=as_json, quiet=quiet), load_run(run, places)
    rules, statistics = RuleOptions(mixing_weight, threshold).rules(), loaded.statistics
    made = certify_hard_votes(statistics, rules, certifier, failure_probability)
    rows = loaded.some(max_inputs)
    made = made.rows(rows)
    with progress_bar("attacking certificates", quiet=quiet) as progress:
        found = attack_certificates(
            placement.place(loaded.robust), loaded.inputs(rows), made.prediction, made.radius,
            rules, sigma=statistics.sigma, grid_levels=loaded.grid_levels, share_of_radius=share_of_radius,
            restarts=restarts, steps=steps, draws=gradient_draws, votes=judging_draws, seed=seed,
            batch_size=placement.batch_size, progress=progress,
        )  # fmt: skip
    values: dict[str, Any] = {
        "attacked": len(found.row),
        "broken": int(found.broken.sum()),
        "broken_indices": statistics.indices[rows[found.row[found.broken]]].tolist(),
        "smallest_lead": float(found.lead.min()) if len(found.row) else None,
        "restarts": restarts,
        "steps": steps,
    }
    smallest = f"{found.lead.min():.4f}" if len(found.row) else "none was certified"
    text = (
        f"{len(found.row)} certificates of {len(rows)} inputs attacked ({restarts} restarts x {steps} steps, "
        f"{100 * share_of_radius:g} % of the radius), {values['broken']} broken; smallest lead left: {smallest}."
    )
    output.show(values, text)
    if found.broken.any():
        try:
            found.check()
        except certmix.CertmixError as error:
            typer.echo(f"certmix: ERROR: {error}", err=True)
            raise typer.Exit(1) from None
