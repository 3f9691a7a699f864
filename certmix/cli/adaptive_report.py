"""What `certmix certify` and `certmix pareto` say about an adaptive mixture of the models of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def check_mixture(path: str, *, robust: str, accurate: str | None) -> None:
    """Refuse, before anything is sampled, a mixture that cannot be certified or that is of other models."""
    from certmix.adaptive.certification import check_floor
    from certmix.cli.mixing_models import load_mixture
    from certmix.errors import InvalidArgument

    if accurate is None:
        raise InvalidArgument("--mixture needs --accurate SPEC: the mixture's own accurate model.")
    check_floor(load_mixture(path, accurate=accurate, robust=robust).floor)


def record_mixture(run: Path, path: str, *, dataset: dict[str, Any], robust: str, accurate: str | None) -> None:
    """Write a(x) of a run's inputs into its folder.

    Raises: InvalidArgument: the mixture's base models are not those of the run.
    """
    import certmix
    from certmix.adaptive.certification import write_adaptive_weights
    from certmix.adaptive.evaluation import adaptive_weights
    from certmix.cli.mixing_models import load_mixture
    from certmix.errors import InvalidArgument
    from certmix.runs.manifest import read_manifest

    choice = dict(dataset)
    data = certmix.load_dataset(choice.pop("spec"), **choice)
    weights = adaptive_weights(load_mixture(path, accurate=accurate, robust=robust), data, spec=path)
    draws = read_manifest(run).draws
    for name, stored in (("robust", draws.model), ("accurate", draws.accurate)):
        if stored is None or stored.sha256 != weights.mixture[name]:
            raise InvalidArgument(
                f"--mixture must be of the run's models, but its {name} model has sha256 {weights.mixture[name][:12]}, "
                f"the run's {stored.sha256[:12] if stored else 'none'}; give the models it was trained on."
            )
    write_adaptive_weights(run, weights)


def summarise_adaptive(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """For each run with stored a(x): the floor, the range, and clean accuracy at a(x)."""
    from certmix.adaptive.certification import certify_adaptive, read_adaptive_weights
    from certmix.runs.grouping import read_runs
    from certmix.tables import percent_text

    found = []
    for run in read_runs(folders):
        group, statistics = run.folders, run.statistics
        weights = read_adaptive_weights(*group)
        if weights is None:
            continue
        made = certify_adaptive(statistics, weights)
        text = (
            f"{group[0]}: adaptive mixture {weights.mixture['spec']}, a(x) in [{weights.floor:.9g}, "
            f"{weights.ceiling:.9g}]: radii are certified at the floor, weight {weights.floor:.9g}, and hold for a(x); "
            f"clean accuracy at a(x) itself (mean {made.mixing_weight.mean():.3f}): {percent_text(made.clean_accuracy)} %."
        )
        found.append(
            {
                "run": [str(folder) for folder in group],
                "mixture": weights.mixture,
                "floor": weights.floor,
                "ceiling": weights.ceiling,
                "mean_weight": float(made.mixing_weight.mean()),
                "clean_accuracy": made.clean_accuracy,
                "text": text,
            }
        )
    return found
