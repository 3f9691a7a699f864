"""`certmix attack bracket`: certified accuracy below, attacked accuracy above, on the same axes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli.attack import app
from certmix.cli.attack.options import AttackedOption, GradientDrawsOption, JudgingDrawsOption, certify_hard_votes
from certmix.cli.command import command
from certmix.cli.options import (
    AccurateVoteOption,
    CertifierOption,
    FailureProbabilityOption,
    MixingWeightOption,
    Placement,
    RadiiOption,
    RestartsOption,
    RuleOptions,
    SeedOption,
    StemOption,
    StepsOption,
    ThresholdOption,
)
from certmix.cli.output import Output
from certmix.cli.run_models import Places, load_run

if TYPE_CHECKING:
    from certmix.attacks.bracket import AttackedAccuracy
    from certmix.certification.certify import Certificates


@command(app, "bracket")
def bracket_command(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    places: Places,
    mixing_weight: MixingWeightOption = None,
    threshold: ThresholdOption = None,
    accurate_vote: AccurateVoteOption = "class",
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 2,
    gradient_draws: GradientDrawsOption = 16,
    judging_draws: JudgingDrawsOption = 1000,
    max_inputs: AttackedOption = None,
    seed: SeedOption = 0,
    placement: Placement,
    radii: RadiiOption = None,
    out: StemOption = None,
    output: Output,
) -> None:
    """Certified accuracy below, attacked accuracy above.

    \b
    The truth lies between; the figure goes into the run by default:
      certmix attack bracket runs/half --mixing-weight 0.8 --threshold 0.5 --radii 0,0.25,0.5,0.75,1
    """
    from certmix.attacks.bracket import attack_smoothed_mixture
    from certmix.cli.progress import progress_bar
    from certmix.plots.bracket import Bracket, plot_brackets
    from certmix.tables import default_radii

    loaded, rules = load_run(run, places), RuleOptions(mixing_weight, threshold).rules(accurate_vote)
    statistics = loaded.statistics
    chosen = loaded.some(max_inputs)
    whole = [certify_hard_votes(statistics, rules, name, failure_probability) for name in certifier or ["exact"]]
    made = [certificates.rows(chosen) for certificates in whole]
    h, g = placement.place(loaded.robust), None if loaded.accurate is None else placement.place(loaded.accurate)
    furthest = max(statistics.sigma, *(float(certificates.radius.max(initial=0.0)) for certificates in whole))
    at = radii.values if radii else default_radii(1.5 * furthest)  # attacks get further than certificates
    attacked = []
    for rule in rules:
        with progress_bar(f"attacking at {rule.label}", quiet=output.quiet) as progress:
            attacked.append(
                attack_smoothed_mixture(
                    loaded.inputs(chosen), robust=h, accurate=g, sigma=statistics.sigma, rule=rule, radii=at,
                    grid_levels=loaded.grid_levels, steps=steps, restarts=restarts,
                    draws=gradient_draws, votes=judging_draws, seed=seed, batch_size=placement.batch_size,
                    progress=progress,
                )
            )  # fmt: skip
    rows = [_row(made, position, attacked[position]) for position in range(len(rules))]
    brackets = [Bracket(made, position, at, above.right) for position, above in enumerate(attacked)]
    files = plot_brackets(brackets, out or run / "bracket")
    notes = [
        "Accuracy in %: certified holds against every attack and any accurate model; attacked against the attack tried "
        f"here on the stated one ({steps} steps x {restarts}), so the truth lies between.",
        f"{len(chosen)} of {statistics.draws.dataset.inputs} inputs. Written: {', '.join(files)}",
    ]
    values = {"sigma": statistics.sigma, "inputs": len(chosen), "brackets": rows, "files": files}
    output.show(values, _table(rows, output.table_format), notes)


def _row(made: "Sequence[Certificates]", position: int, attacked: "AttackedAccuracy") -> dict[str, Any]:
    """Attacked and certified accuracies of one rule, as plain values."""
    from certmix.certification.certify import certified_at

    row: dict[str, Any] = {"rule": made[0].rules[position].label, "radii": attacked.radii.tolist()}
    row["attacked"] = attacked.accuracy.tolist()
    for certificates in made:
        right = certificates.prediction == certificates.labels
        radius = certificates.radius[position]
        row[certificates.certifier] = [float((right & certified_at(radius, r)).mean()) for r in attacked.radii]
    return row


def _table(rows: list[dict[str, Any]], table_format: str) -> str:
    from certmix.tables import percent_text, render_table

    cells = []
    for row in rows:
        for kind in row:
            if kind not in ("rule", "radii"):
                name = kind if kind == "attacked" else f"certified ({kind})"
                cells.append([row["rule"], name, *(percent_text(value) for value in row[kind])])
    return render_table(["rule", "accuracy", *(f"r = {r:g}" for r in rows[0]["radii"])], cells, table_format)
