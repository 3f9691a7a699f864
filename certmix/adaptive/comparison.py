"""Adaptive mixtures of one pair of models, beside the pair, its fixed-weight mixture and the oracle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from certmix.adaptive.attacks import SETTINGS, AttackBudget
from certmix.adaptive.calibration import fixed_mixture
from certmix.adaptive.evaluation import Right, TradeOff, right_under_attack, trade_off
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.oracle import Oracle
from certmix.adaptive.sharpening import sharpened_mixture
from certmix.datasets import Dataset
from certmix.errors import InvalidArgument
from certmix.models import fingerprint


def compare_mixtures(
    mixtures: Mapping[str, AdaptiveMixture],
    validation: Dataset,
    dataset: Dataset,
    budget: AttackBudget,
    *,
    settings: Sequence[str] = tuple(SETTINGS),
    seed: int = 0,
    batch_size: int | None = None,
    sharpened: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Right]:
    """The paper's Table 2: g, h, the fixed weight of the first mixture's clean accuracy, and every mixture, attacked.

    Args:
        mixtures: by name, of the same g and h.
        validation: where the fixed weight is chosen.
        dataset: attacked and reported.
        budget, settings, seed, batch_size: see `right_under_attack`.
        sharpened: a row for `sharpened_mixture` of the same clean accuracy too.
        progress: called after every batch with (inputs done, inputs in all, name of what is attacked).
    Returns: name -> whether it is right under each attack.
    Raises: InvalidArgument: mixtures of different models.
    """
    first = _first(mixtures)
    clean = right_under_attack(first, validation, budget, settings=(), batch_size=batch_size)["clean"]
    fixed = fixed_mixture(
        accurate=first.accurate, robust=first.robust, validation=validation, target=float(clean.mean()),
        batch_size=batch_size,
    )  # fmt: skip
    models: dict[str, nn.Module] = {"g (accurate)": first.accurate, "h (robust)": first.robust}
    models[f"fixed weight {fixed.mixing_weight:.4f}"] = fixed
    if sharpened:
        nuts = sharpened_mixture(
            accurate=first.accurate, robust=first.robust, validation=validation, target=float(clean.mean()),
            budget=budget, batch_size=batch_size,
        )  # fmt: skip
        models[f"MixedNUTS, weight {nuts.mixing_weight:.4f}"] = nuts
    models |= mixtures
    rows = {}
    for row, (name, model) in enumerate(models.items()):

        def done(inputs: int, total: int, row: int = row, name: str = name) -> None:
            if progress:
                progress(row * total + inputs, len(models) * total, f"{name}, {inputs} of {total} inputs")

        rows[name] = right_under_attack(
            model, dataset, budget, settings=settings, seed=seed, batch_size=batch_size, progress=done
        )
    return rows


@dataclass(frozen=True)
class TradeOffs:
    """Attacked (setting B) against clean accuracy.

    Attributes:
        curves: of every mixture, beside fixed weights.
        bases: of "g" and "h".
        oracle: of Theorem 4.1's gate: "clean" and "attacked".
    """

    curves: Mapping[str, Sequence[TradeOff]]
    bases: Mapping[str, Right]
    oracle: Right


def compare_trade_offs(
    mixtures: Mapping[str, AdaptiveMixture],
    validation: Dataset,
    dataset: Dataset,
    budget: AttackBudget,
    *,
    targets: Sequence[float],
    scales: Sequence[float] = (2.0,),
    seed: int = 0,
    batch_size: int | None = None,
) -> TradeOffs:
    """Every mixture at several clean accuracies, beside fixed weights, both models and the oracle; see `trade_off`."""
    first = _first(mixtures)
    curves = {
        name: trade_off(
            mixture, validation, dataset, budget, targets=targets, scales=scales, seed=seed, batch_size=batch_size
        )
        for name, mixture in mixtures.items()
    }
    bases = {
        name: right_under_attack(model, dataset, budget, settings="B", seed=seed, batch_size=batch_size)
        for name, model in (("g", first.accurate), ("h", first.robust))
    }
    oracle = Oracle(accurate=first.accurate, robust=first.robust)
    return TradeOffs(curves, bases, oracle.right_under_attack(dataset, budget, seed=seed, batch_size=batch_size))


def _first(mixtures: Mapping[str, AdaptiveMixture]) -> AdaptiveMixture:
    found = list(mixtures.values())
    if len({(fingerprint(mixture.accurate), fingerprint(mixture.robust)) for mixture in found}) != 1:
        raise InvalidArgument(f"mixtures must be of the same two models, got those of {', '.join(mixtures) or 'none'}.")
    return found[0]
