"""Local Lipschitz constants of class probabilities, estimated by PGD: what Theorem 3.5 would need, never a certificate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from certmix.attacks.norms import get_norm
from certmix.attacks.pgd import Objective, movable, pgd, value_and_gradient
from certmix.certifiers.lipschitz import lipschitz_radius, lipschitz_top_radius
from certmix.errors import InvalidArgument, need_at_least
from certmix.tables import shapes_repr

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class LocalConstants:
    """Lipschitz constants of the class probabilities on a ball around each input, estimated or proved.

    Attributes:
        norm: of the perturbations.
        attack_radius: e, of the (largest) ball, pixel units.
        prediction: the class y of each input, shape (inputs,), int64.
        probabilities: softmax of the model at the inputs, shape (inputs, classes).
        constant: shape (inputs, classes), per pixel unit.
    """

    norm: str
    attack_radius: float
    prediction: NDArray[np.int64]
    probabilities: Array
    constant: Array
    _per_input: ClassVar[tuple[str, ...]] = ("prediction", "probabilities", "constant")

    __repr__ = shapes_repr

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The constants of all inputs from those of batches, made with the same arguments."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls._per_input}
        return replace(parts[0], **arrays)  # type: ignore[arg-type]

    def _radius(self, mixing_weight: ArrayLike) -> Array:
        radius = local_lipschitz_radius(self.probabilities, self.prediction, self.constant, mixing_weight)
        return np.minimum(radius, self.attack_radius)


@dataclass(frozen=True, kw_only=True, repr=False)
class LipschitzEstimate(LocalConstants):
    """Estimated local constants. PGD finds lower bounds on maxima: every number here may be too small.

    Attributes:
        radii: of the nested balls that were searched, ascending, last e; shape (balls,).
        change: largest one-sided change found on each ball: h_y(x) - h_y(x+d) for y, h_i(x+d) - h_i(x) for the others;
            shape (inputs, balls, classes), >= 0.
    """

    radii: Array
    change: Array
    _per_input: ClassVar[tuple[str, ...]] = (*LocalConstants._per_input, "change")

    @property
    def equation_12(self) -> Array:
        """Corrected Eq. 12 per class: the change on the largest ball over e, shape (inputs, classes), per pixel unit."""
        return np.asarray(self.change[:, -1] / self.attack_radius)

    @property
    def class_average(self) -> Array:
        """The paper's scalar: `equation_12` averaged over classes, shape (inputs,). It understates L_y + L_i."""
        return np.asarray(self.equation_12.mean(axis=1))

    def estimated_radius(self, mixing_weight: ArrayLike) -> Array:
        """Theorem 3.5 with the estimated constants, at most e: an estimate, not a certificate.

        Args:
            mixing_weight: one or several, in [0, 1].
        Returns: shape (weights, inputs), pixel units.
        """
        return self._radius(mixing_weight)


def estimate_local_lipschitz(
    model: torch.nn.Module,
    inputs: Tensor,
    *,
    attack_radius: float,
    norm: str = "l2",
    steps: int = 20,
    restarts: int = 1,
    balls: int = 4,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
) -> LipschitzEstimate:
    """One-sided local Lipschitz constants of every class probability, each maximised separately by PGD.

    L_y = max_d [h_y(x) - h_y(x+d)] / ||d|| and L_i = max_d [h_i(x+d) - h_i(x)] / ||d|| over 0 < ||d|| <= e.
    Source: Bai et al., arXiv:2301.12554, Section C.3. These are estimates from below, not certificates.
    Differs: Eq. 12 as printed has both signs reversed. It divides by e alone, which says something at distance e only
    (the paper asks that the radius be at least e); here the quotient is searched on nested balls, and at the input itself
    by the gradient, so that radii below e mean something too. `equation_12` keeps the paper's quotient.

    Args:
        model: inputs in [0, 1] -> logits (or log-probabilities), shape (batch, classes).
        inputs: shape (inputs, ...).
        attack_radius: e, > 0, pixel units.
        norm: "l2", "linf" or "l1".
        steps, restarts: of PGD, per ball and class.
        balls: number of nested balls, of radii e/balls, 2e/balls, ..., e.
        clip: the box that perturbed inputs stay in; None for no box.
        seed: of the random starts.
    Returns: LipschitzEstimate.
    Raises: InvalidArgument: a value out of range.
    """
    if not 0.0 < attack_radius < float("inf"):
        raise InvalidArgument(f"attack_radius must be > 0 and finite (pixel units), got {attack_radius}.")
    need_at_least(1, balls=balls, steps=steps, restarts=restarts)
    with torch.no_grad():
        start = probabilities_of(model, inputs)
    prediction, radii = start.argmax(dim=1), [attack_radius * (k + 1) / balls for k in range(balls)]
    generator = torch.Generator(inputs.device).manual_seed(seed)
    distance_of, changes, constants = get_norm(norm).length, [], []
    for class_ in range(start.shape[1]):
        change = _one_sided_change(model, start[:, class_], class_, prediction)
        quotient, largest = _steepness(change, inputs, norm, clip), []
        for radius in radii:
            found = pgd(change, inputs, norm=norm, attack_radius=radius, steps=steps, restarts=restarts, clip=clip,
                        generator=generator)  # fmt: skip
            largest.append(found.objective.clamp_min(0.0))
            distance = distance_of(found.inputs - inputs)
            slope = torch.where(distance > 0, found.objective / distance.clamp_min(1e-30), 0.0)
            quotient = torch.maximum(quotient, slope)
        changes.append(torch.stack(largest, dim=1))
        constants.append(quotient)
    running = torch.stack(changes, dim=2).cummax(dim=1).values  # a ball contains the smaller ones
    return LipschitzEstimate(
        norm=norm,
        attack_radius=float(attack_radius),
        radii=np.array(radii),
        prediction=prediction.cpu().numpy(),
        probabilities=start.double().cpu().numpy(),
        change=running.double().cpu().numpy(),
        constant=torch.stack(constants, dim=1).double().cpu().numpy(),
    )


def local_lipschitz_radius(
    probabilities: ArrayLike, prediction: ArrayLike, constant: ArrayLike, mixing_weight: ArrayLike
) -> Array:
    """Theorem 3.5 with a Lipschitz constant per class: the smallest radius over the rivals.

    Guarantee: holds where the constants do: everywhere for global ones; inside their ball, and no further, for local
    ones (take the minimum with its radius); nowhere for estimates.

    Args:
        probabilities: h(x), shape (inputs, classes), in [0, 1].
        prediction: y, shape (inputs,).
        constant: Lipschitz constants of the class probabilities, >= 0, shape (inputs, classes) or (classes,).
        mixing_weight: one or several, in [0, 1].
    Returns: radius in pixel units, shape (weights, inputs); rounded down.
    Raises: InvalidArgument: a value out of range.
    """
    h, y = np.asarray(probabilities, dtype=np.float64), np.asarray(prediction, dtype=np.int64)
    constants = np.broadcast_to(np.asarray(constant, dtype=np.float64), h.shape)
    if not (np.isfinite(constants) & (constants >= 0)).all():
        raise InvalidArgument(f"lipschitz constants must be >= 0 and finite, got {constants[~(constants >= 0)][:1]}.")
    rows, weights = np.arange(len(h)), np.atleast_1d(np.asarray(mixing_weight, dtype=np.float64))
    constants = np.maximum(constants, 1e-150)  # a constant function: no division by 0
    # Softmax in floats reaches 0 and 1, which no probability here is: stay on the safe side of both.
    top = np.minimum(h[rows, y], np.nextafter(1.0, 0.0))
    rivals = np.maximum(h, np.finfo(np.float64).tiny)
    radius = lipschitz_radius(
        top[:, None], rivals, weights[:, None, None], constants[rows, y][:, None], constants
    )  # (weights, inputs, classes)
    radius[:, rows, y] = np.inf
    return np.asarray(radius.min(axis=2))


def local_threshold_radius(
    probabilities: ArrayLike, prediction: ArrayLike, constant: ArrayLike, threshold: ArrayLike
) -> Array:
    """The threshold rule with a Lipschitz constant per class: min((h_y - c) / L_y, the radius of h itself).

    Guarantee and arguments: as `local_lipschitz_radius`, with thresholds c, in [0, 1), in place of weights.
    Returns: radius in pixel units, shape (thresholds, inputs); rounded down.
    """
    alone = local_lipschitz_radius(probabilities, prediction, constant, 1.0)[0]
    h, y = np.asarray(probabilities, dtype=np.float64), np.asarray(prediction, dtype=np.int64)
    rows, thresholds = np.arange(len(h)), np.atleast_1d(np.asarray(threshold, dtype=np.float64))
    own = np.maximum(np.broadcast_to(np.asarray(constant, dtype=np.float64), h.shape)[rows, y], 1e-150)
    top = np.minimum(h[rows, y], np.nextafter(1.0, 0.0))
    return np.asarray(np.minimum(lipschitz_top_radius(top, thresholds[:, None], own), alone))


def probabilities_of(model: torch.nn.Module, inputs: Tensor) -> Tensor:
    """Softmax of the model's logits in float64, shape (batch, classes): float32 would round away from the safe side."""
    return functional.softmax(model(inputs).double(), dim=1)


def _one_sided_change(model: torch.nn.Module, start: Tensor, class_: int, prediction: Tensor) -> Objective:
    """What Theorem 3.5 fears: h_i rises for a rival, h_y falls for the prediction; inputs -> (batch,)."""
    sign = torch.where(prediction == class_, -1.0, 1.0)

    def change(points: Tensor) -> Tensor:
        return sign * (probabilities_of(model, points)[:, class_] - start)

    return change


def _steepness(change: Objective, inputs: Tensor, norm: str, clip: tuple[float, float] | None) -> Tensor:
    """Slope of the change at the inputs in the steepest direction that stays in the box, shape (batch,)."""
    _, gradient = value_and_gradient(change, inputs)
    return get_norm(get_norm(norm).dual).length(movable(gradient, inputs, clip))
