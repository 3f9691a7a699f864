"""`certmix bracket`: certified accuracy below, attacked accuracy above, on the same axes."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.attack import RestartsOption, SeedOption, StepsOption
from certmix.cli.options import (
    CertifierOption,
    FailureProbabilityOption,
    FormatOption,
    JsonOption,
    MixingWeightOption,
    ModelOption,
    QuietOption,
    RadiiOption,
    TrustOption,
    key_values,
)

RunRobustOption = Annotated[
    str | None, typer.Option("--robust", metavar="SPEC", help="The smoothed model, where it is not at its old path.")
]
RunAccurateOption = Annotated[
    str | None, typer.Option("--accurate", metavar="SPEC", help="Likewise the accurate model.")
]
RunDatasetOption = Annotated[str | None, typer.Option("--dataset", metavar="SPEC", help="Likewise the data set.")]


@app.command("bracket")
def bracket_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    robust: RunRobustOption = None,
    accurate: RunAccurateOption = None,
    dataset: RunDatasetOption = None,
    mixing_weight: MixingWeightOption = None,
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    radii: RadiiOption = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 2,
    draws: Annotated[int, typer.Option("--draws", help="Noise draws per gradient.")] = 16,
    votes: Annotated[int, typer.Option("--votes", help="Fresh draws that judge an attack.")] = 1000,
    soft_accurate: Annotated[
        bool, typer.Option("--soft-accurate", help="Mix the accurate model's softmax, not its class.")
    ] = False,
    max_inputs: Annotated[int | None, typer.Option("--max", help="Attack at most so many inputs.")] = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="STEM", help="Figure path without ending; in the run by default.")
    ] = None,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Plot certified accuracy below and attacked accuracy above: the truth lies between.

    \b
      certmix bracket runs/half --mixing-weight 0.8 --mixing-weight 1 --radii 0,0.25,0.5,0.75,1
    """
    import certmix
    from certmix.attacks.bracket import attack_smoothed_mixture
    from certmix.certification.certify import certified_at
    from certmix.cli.progress import progress_bar
    from certmix.cli.run_models import load_run
    from certmix.plots.bracket import Bracket, plot_brackets
    from certmix.tables import default_radii

    weights = mixing_weight or [1.0]
    loaded = load_run(
        run, robust=robust, accurate=accurate, dataset=dataset,
        options={"trust_model": trust_model, **key_values(model)},
    )  # fmt: skip
    statistics, kept = loaded.statistics, slice(0, max_inputs)
    made = [
        certmix.certify(statistics, mixing_weight=weights, certifier=name, failure_probability=failure_probability)
        for name in certifier or ["exact"]
    ]
    reach = max(float(certificates.radius.max()) for certificates in made)
    further = 1.5 * max(reach, statistics.sigma)  # attacks get further than certificates
    at = list(radii.values) if radii else default_radii(further)
    rows: list[dict[str, Any]] = []
    brackets = []
    for position, weight in enumerate(weights):
        with progress_bar(f"attacking at weight {weight:g}", quiet=quiet) as progress:
            attacked = attack_smoothed_mixture(
                loaded.robust, loaded.accurate, loaded.inputs[kept], loaded.labels[kept], sigma=statistics.sigma,
                mixing_weight=weight, radii=at, hard_accurate=not soft_accurate, grid_levels=loaded.grid_levels,
                steps=steps, restarts=restarts, draws=draws, votes=votes, seed=seed, progress=progress,
            )  # fmt: skip
        row: dict[str, Any] = {"mixing_weight": weight, "radii": at, "attacked": attacked.accuracy.tolist()}
        for certificates in made:
            right, radius = (certificates.prediction == statistics.labels)[kept], certificates.radius[position, kept]
            row[certificates.certifier] = [float((right & certified_at(radius, r)).mean()) for r in at]
        brackets.append(Bracket(made, position, at, attacked.right))
        rows.append(row)
    files = plot_brackets(brackets, out or run / "bracket")
    if as_json:
        print(json.dumps({"sigma": statistics.sigma, "brackets": rows, "files": files}, indent=2))
        return
    print(_table(rows, table_format))
    if not quiet:
        print(
            "Accuracy in %: certified holds against every attack and any accurate model; attacked against the attack "
            f"tried here on the stated one ({steps} steps x {restarts}), so the truth lies between.\n"
            f"Written: {', '.join(files)}",
            file=sys.stderr,
        )


def _table(rows: list[dict[str, Any]], table_format: str) -> str:
    from certmix.tables import percent_text, render_table

    cells = []
    for row in rows:
        for kind in row:
            if kind not in ("mixing_weight", "radii"):
                name = kind if kind == "attacked" else f"certified ({kind})"
                cells.append([f"{row['mixing_weight']:g}", name, *(percent_text(value) for value in row[kind])])
    return render_table(["weight", "accuracy", *(f"r = {r:g}" for r in rows[0]["radii"])], cells, table_format)
