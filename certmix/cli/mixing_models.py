"""Files of adaptive mixtures, for the commands that read and write them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certmix.adaptive.mixture import AdaptiveMixture


def save_mixture(
    mixture: "AdaptiveMixture", out: Path, *, accurate: str, robust: str, training: dict[str, Any], force: bool
) -> None:
    """Write a mixture with descriptions of its base models, from their specs."""
    from certmix.adaptive.mixture import describe_base
    from certmix.training.train import save_model

    bases = {"accurate": describe_base(accurate), "robust": describe_base(robust)}
    save_model(
        mixture,
        out,
        architecture="adaptive-mixture",
        settings={**training, "accurate_spec": accurate, "robust_spec": robust},
        build={**mixture.settings(), **bases},
        force=force,
    )


def load_mixture(
    path: str, *, accurate: str | None = None, robust: str | None = None, **options: Any
) -> "AdaptiveMixture":
    """The mixture of a file. Base models that it cannot rebuild itself are given by spec.

    Raises: InvalidArgument: a file of something else, or a base model that is missing.
    """
    import certmix
    from certmix.adaptive.mixture import AdaptiveMixture, describe_base
    from certmix.errors import InvalidArgument

    own = describe_base(path)
    if own is not None and own["architecture"] != "adaptive-mixture":
        raise InvalidArgument(f"--mixture must be a file of train-mixing, got {path} of {own['architecture']!r}.")
    given: dict[str, Any] = {}
    for name, spec in (("accurate", accurate), ("robust", robust)):
        if own is not None and own["settings"].get(name) is None and spec is not None:
            given[name] = certmix.load_model(spec, **options)
    model = certmix.load_model(path, **given)
    if not isinstance(model, AdaptiveMixture):
        raise InvalidArgument(f"--mixture must be a file of train-mixing, got {path}.")
    return model


def seen_held_out(spec: str, fingerprint: str) -> bool:
    """Whether a model that certmix trained was trained on other inputs than the rest of the hold-out, by its file."""
    import json

    from certmix.adaptive.mixture import describe_base

    if describe_base(spec) is None:
        return False
    from safetensors import safe_open

    with safe_open(spec.partition(",")[0], framework="pt") as handle:
        training = json.loads(handle.metadata()["certmix"]).get("training", {})
    return "fingerprint" in training and training["fingerprint"] != fingerprint
