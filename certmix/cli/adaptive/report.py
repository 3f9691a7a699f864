"""What `certmix certify` and `certmix pareto` say about an adaptive mixture of the models of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certmix.cli.options import Sources
from certmix.errors import InvalidArgument
from certmix.tables import percent_text

if TYPE_CHECKING:
    from certmix.adaptive.mixture import AdaptiveMixture
    from certmix.promise import Votes


def check_mixture(path: str, sources: Sources, votes: str) -> None:
    """Refuse, before anything is sampled, a mixture that cannot be certified or that is of other models.

    Args:
        path: the mixture's file.
        sources: models and data of the run to be drawn.
        votes: that will be certified, "hard" or "soft".
    """
    from certmix.adaptive.certification import check_floor, check_votes

    if sources.accurate is None:
        raise InvalidArgument("--mixture needs --accurate SPEC: the mixture's own accurate model.")
    mixture = _load(path, sources)
    check_floor(mixture.floor)
    check_votes(float(mixture.logit_scales[1]), votes)


def record_mixture(run: Path, path: str, sources: Sources, device: str) -> None:
    """Write the gate at a run's inputs into its folder. Raises InvalidArgument: other base models than the run's."""
    from certmix.adaptive.certification import check_bases, write_gate
    from certmix.adaptive.evaluation import measure_gate
    from certmix.runs.manifest import read_manifest
    from certmix.sampling.devices import choose_device

    mixture = _load(path, sources).to(choose_device(device))
    values = measure_gate(mixture, sources.load_dataset(), spec=path)
    check_bases(values, read_manifest(run).draws)
    write_gate(run, values)


def summarise_adaptive(folders: Sequence[Path], votes: "Votes | None") -> list[dict[str, Any]]:
    """For each run with stored a(x), certified by these votes: the floor, the range, and clean accuracy at a(x)."""
    from dataclasses import asdict

    from certmix.adaptive.certification import certify_adaptive, read_gate
    from certmix.runs.grouping import read_runs

    found = []
    for run in read_runs(folders):
        group, values = run.folders, read_gate(*run.folders)
        if values is None:
            continue
        made = certify_adaptive(run.statistics, values, votes=votes)
        text = (
            f"{group[0]}: adaptive mixture {values.mixture.spec}, a(x) in [{values.floor:.9g}, {values.ceiling:.9g}]: radii "
            f"are certified at the floor, weight {values.floor:.9g}, and hold for a(x); clean accuracy at a(x) itself (mean "
            f"{made.gate.mean():.3f}): {percent_text(made.clean_accuracy)} %."
        )
        found.append(
            {
                "run": [str(folder) for folder in group],
                "mixture": asdict(values.mixture),
                "floor": values.floor,
                "ceiling": values.ceiling,
                "mean_gate": float(made.gate.mean()),
                "clean_accuracy": made.clean_accuracy,
                "text": text,
            }
        )
    return found


def _load(path: str, sources: Sources) -> "AdaptiveMixture":
    from certmix.adaptive.files import load_mixture

    bases = {"accurate": sources.accurate, "robust": sources.robust}
    typed = {name: ",".join([str(spec), *(sources.model or [])]) for name, spec in bases.items() if spec is not None}
    return load_mixture(path, trust_model=sources.trust_model, **typed)
