"""`certmix attack-certificates`: attack every certified input inside its radius; a success is an error."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.attack import SeedOption
from certmix.cli.bracket import RunAccurateOption, RunDatasetOption, RunRobustOption
from certmix.cli.options import (
    FailureProbabilityOption,
    JsonOption,
    MixingWeightOption,
    ModelOption,
    QuietOption,
    TrustOption,
    key_values,
)


@app.command("attack-certificates")
def attack_certificates_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    robust: RunRobustOption = None,
    accurate: RunAccurateOption = None,
    dataset: RunDatasetOption = None,
    mixing_weight: MixingWeightOption = None,
    certifier: Annotated[str, typer.Option("--certifier", metavar="NAME", help="Whose radii are attacked.")] = "exact",
    failure_probability: FailureProbabilityOption = 1e-3,
    share: Annotated[float, typer.Option("--share", help="Attack up to this share of each radius.")] = 0.99,
    steps: Annotated[int, typer.Option("--steps", help="PGD steps.")] = 100,
    restarts: Annotated[int, typer.Option("--restarts", help="PGD restarts.")] = 10,
    draws: Annotated[int, typer.Option("--draws", help="Noise draws per gradient.")] = 16,
    votes: Annotated[int, typer.Option("--votes", help="Fresh draws that judge an attack.")] = 10_000,
    max_inputs: Annotated[int | None, typer.Option("--max", help="Attack at most so many inputs.")] = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack every certified input inside its radius, for the worst accurate model; exit code 1 where one falls.

    \b
      certmix attack-certificates runs/half --mixing-weight 0.8 --mixing-weight 1
    """
    import certmix
    from certmix.attacks.certificates import CertificateBroken, attack_certificates
    from certmix.cli.progress import progress_bar
    from certmix.cli.run_models import load_run

    loaded = load_run(
        run, robust=robust, accurate=accurate, dataset=dataset,
        options={"trust_model": trust_model, **key_values(model)},
    )  # fmt: skip
    weights = mixing_weight or [1.0]
    made = certmix.certify(
        loaded.statistics, mixing_weight=weights, certifier=certifier, failure_probability=failure_probability
    )
    kept = slice(0, max_inputs)
    with progress_bar("attacking certificates", quiet=quiet) as progress:
        result = attack_certificates(
            loaded.robust, loaded.inputs[kept], made.prediction[kept], made.radius[:, kept], weights,
            sigma=loaded.statistics.sigma, grid_levels=loaded.grid_levels, share_of_radius=share, restarts=restarts,
            steps=steps, draws=draws, votes=votes, seed=seed, progress=progress,
        )  # fmt: skip
    slack = result.margin - result.required
    summary: dict[str, Any] = {
        "attacked": len(result.row),
        "broken": int(result.broken.sum()),
        "broken_indices": loaded.statistics.indices[result.row[result.broken]].tolist(),
        "smallest_slack": float(slack.min()) if len(slack) else None,
        "restarts": restarts,
        "steps": steps,
    }
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        print(
            f"{summary['attacked']} certificates attacked ({restarts} restarts x {steps} steps, {100 * share:g} % of the "
            f"radius), {summary['broken']} broken; smallest margin left above what was promised: "
            + (f"{slack.min():.4f}." if len(slack) else "none was certified.")
        )
    try:
        result.check()
    except CertificateBroken as error:
        print(f"certmix: ERROR: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
