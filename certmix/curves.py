"""Certificates + labels -> certified accuracy against radius, with the interval of a finite test set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import Certificates, certified_at
from certmix.errors import InvalidArgument
from certmix.promise import Norm, Promise
from certmix.rules import Form
from certmix.tables import default_radii, short_list


@dataclass(frozen=True)
class CertifiedAccuracyCurve:
    """Certified accuracy at some radii, one row per rule.

    Attributes:
        radii: shape (radii,), pixel units.
        rules: how g and h become one classifier, one per row.
        accuracy: share of inputs that are right and certified at the radius, shape (rules, radii).
        lower, upper: Clopper-Pearson interval of the accuracy over test sets of this size, shape (rules, radii).
        confidence: of that interval.
        num_inputs: size of the test set.
        certifier, sigma, promise, norm: of the certificates.
    """

    radii: NDArray[np.float64]
    rules: tuple[Form, ...]
    accuracy: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    confidence: float
    num_inputs: int
    certifier: str
    sigma: float
    promise: Promise | None = None
    norm: Norm = "l2"

    def __repr__(self) -> str:
        rules = short_list(rule.label for rule in self.rules)
        return (
            f"CertifiedAccuracyCurve({self.num_inputs} inputs, {rules}, {self.certifier}, sigma {self.sigma:g}, "
            f"{len(self.radii)} radii up to {self.radii.max(initial=0.0):g})"
        )

    def to_json(self) -> list[dict[str, object]]:
        """A row per rule, as plain values."""
        return [
            {
                "sigma": self.sigma,
                "certifier": self.certifier,
                "norm": self.norm,
                "votes": "hard" if self.promise is None else self.promise.votes,
                "confidence": None if self.promise is None else self.promise.confidence,
                "rule": rule.label,
                rule.title: rule.parameter,
                "inputs": self.num_inputs,
                "radii": self.radii.tolist(),
                "certified_accuracy": self.accuracy[position].tolist(),
                "lower": self.lower[position].tolist(),
                "upper": self.upper[position].tolist(),
            }
            for position, rule in enumerate(self.rules)
        ]


def certified_accuracy(
    certificates: Certificates, labels: ArrayLike, radii: ArrayLike, *, confidence: float = 0.95
) -> CertifiedAccuracyCurve:
    """Share of inputs whose prediction is right and whose radius is positive and at least r. Source: Cohen et al. 2019.

    Radius 0 counts the inputs with a positive radius: it is not clean accuracy.

    Args:
        certificates: radii of shape (rules, inputs).
        labels: true classes, shape (inputs,).
        radii: where to evaluate, >= 0, shape (radii,), pixel units.
        confidence: of the interval, in (0, 1).
    Raises: InvalidArgument: labels of another shape, or a value out of range.
    """
    truth, at = np.asarray(labels), np.atleast_1d(np.asarray(radii, dtype=np.float64))
    if truth.shape != certificates.prediction.shape:
        raise InvalidArgument(f"labels must have shape {certificates.prediction.shape}, got {truth.shape}.")
    if not (np.isfinite(at) & (at >= 0)).all():
        raise InvalidArgument(f"radii must be >= 0 and finite (pixel units), got {at[~(at >= 0)][:1]}.")
    right = certificates.prediction == truth
    counted = right[None, :, None] & certified_at(certificates.radius[:, :, None], at)
    return _curve(certificates, at, counted.sum(axis=1), len(truth), confidence)


def _curve(
    certificates: Certificates, at: NDArray[np.float64], counts: NDArray[np.int64], inputs: int, confidence: float
) -> CertifiedAccuracyCurve:
    lower, upper = accuracy_interval(counts, inputs, confidence)
    return CertifiedAccuracyCurve(
        radii=at,
        rules=certificates.rules,
        accuracy=counts / inputs,
        lower=lower,
        upper=upper,
        confidence=confidence,
        num_inputs=inputs,
        certifier=certificates.certifier,
        sigma=certificates.sigma,
        promise=certificates.promise,
        norm=certificates.norm,
    )


def accuracy_interval(
    counts: ArrayLike, total: int, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clopper-Pearson interval of an accuracy: `counts` of `total` inputs. Returns (lower, upper), the counts' shape.

    Raises: InvalidArgument: confidence outside (0, 1), or no inputs.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0.0 < confidence < 1.0:
        raise InvalidArgument(f"confidence must be in (0, 1), got {confidence}; 0.95 is customary.")
    if total < 1:
        raise InvalidArgument("an accuracy needs at least one input, got none.")
    lower, upper = proportion_confint(np.asarray(counts), total, alpha=1.0 - confidence, method="beta")
    return np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)


def exact_steps(radius: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The whole curve as a step function: no grid.

    Args:
        radius: certified radii of one rule, shape (inputs,).
        right: whether each prediction is right, shape (inputs,).
    Returns: (r, accuracy): accuracy[k] holds for radii in (r[k-1], r[k]]; r starts at 0 and ends where accuracy is 0.
    """
    values, good = np.asarray(radius, dtype=np.float64), np.asarray(right, dtype=bool)
    kept = np.sort(values[good & (values > 0)])
    edges = np.unique(np.concatenate([[0.0], kept]))
    reached = len(kept) - np.searchsorted(kept, edges, side="left")
    return edges, reached / max(len(values), 1)


def radii_within(certificates: Sequence[Certificates]) -> list[float]:
    """Radii for a table of all these certificates; see `default_radii`."""
    return default_radii(max((float(made.radius.max(initial=0.0)) for made in certificates), default=0.0))
