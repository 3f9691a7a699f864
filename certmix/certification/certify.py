"""Bounds -> Certificates: radii for every rule asked for, by one certifier, under one promise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import bound_statistics, promise_of
from certmix.certifiers import USUAL_CERTIFIER, Certifier, check_noise, get_certifier
from certmix.certifiers.arguments import check_mixing_weight
from certmix.errors import InvalidArgument, check_choice
from certmix.intervals import ABSTAIN, DistributionBounds, ProbabilityBounds
from certmix.promise import NORMS, Interval, MeanBound, Norm, Promise, Votes
from certmix.rules import Form, LinearRule, Rule
from certmix.tables import short_list

if TYPE_CHECKING:
    from certmix.runs.store import Statistics


@dataclass(frozen=True)
class Certificates:
    """Certified radii of mixed classifiers, for every input and rule, by one certifier.

    Guarantee: for each input separately, with probability at least 1 - promise.failure_probability over the draws, the
    mixture by rules[k] predicts prediction[i] on the open ball of radius[k, i] in `norm`, whatever the accurate model is;
    that holds for all rules at once, or for each by itself where the certifier is "cdf".

    Attributes:
        prediction: class of the robust model, shape (inputs,), int64; ABSTAIN (-1) where none was selected. The
            certificate by rule k says something about it only where radius[k] > 0.
        radius: shape (rules, inputs), float64, pixel units; 0 = nothing certified (the certifier abstains).
        rules: how g and h become one classifier, one per row of radii; or one chain.
        certifier: name of the certifier.
        sigma: standard deviation of the noise, or Lambda of splitting noise, in [0, 1] pixel units; of a chain, its first
            node's.
        promise: how the failure probability was spent; None where the bounds' source does not say.
        labels, indices: true classes and stable positions, shape (inputs,), when known.
        norm: of the balls: that of the noise, or another one by `in_norm`.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    rules: tuple[Form, ...]
    certifier: str
    sigma: float
    promise: Promise | None = None
    labels: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None
    norm: Norm = "l2"

    def __len__(self) -> int:
        return len(self.prediction)

    def __repr__(self) -> str:
        promised = "" if self.promise is None else f", failure probability {self.promise.failure_probability:g}"
        rules = short_list(rule.label for rule in self.rules)
        return f"Certificates({len(self)} inputs, {rules}, {self.certifier}, sigma {self.sigma:g}{promised})"

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Certificates":
        """Those of some inputs, as `ProbabilityBounds.rows`."""
        labels, indices = (None if values is None else values[chosen] for values in (self.labels, self.indices))
        return replace(
            self, prediction=self.prediction[chosen], radius=self.radius[:, chosen], labels=labels, indices=indices
        )

    def in_norm(self, norm: Norm, size: int) -> "Certificates":
        """What these certificates say about balls of another norm, by ||d||_p <= size^(1/p - 1/q) ||d||_q for q > p.

        Args:
            norm: of the balls that are wanted; radii in a smaller norm than the certificates' own stay as they are.
            size: elements of one input.
        Returns: radii divided by size^max(0, 1/p - 1/q), from l2 to linf by sqrt(size); rounded down.
        Raises: InvalidArgument: another name.
        """
        inverse = {"l1": 1.0, "l2": 0.5, "linf": 0.0}
        power = inverse[self.norm] - inverse[check_choice("norm", norm, NORMS)]
        if power <= 0.0:
            return replace(self, norm=norm)
        # Two floats up: for a power that is not correctly rounded.
        factor = np.nextafter(np.nextafter(float(size) ** power, np.inf), np.inf)
        return replace(self, norm=norm, radius=np.maximum(np.nextafter(self.radius / factor, -1.0), 0.0))


def certified_at(radius: ArrayLike, at: ArrayLike) -> NDArray[np.bool_]:
    """Whether a certified radius covers `at`: radius > 0 and radius >= at (the certified ball is open)."""
    radius = np.asarray(radius, dtype=np.float64)
    return np.asarray((radius > 0) & (radius >= np.asarray(at, dtype=np.float64)))


def certify(
    statistics_or_bounds: "Statistics | ProbabilityBounds",
    *,
    rules: Rule | Sequence[Rule] = (),
    mixing_weight: float | Sequence[float] | NDArray[np.float64] | None = None,
    certifier: str | None = None,
    failure_probability: float | None = None,
    interval: Interval = "pair",
    votes: Votes | None = None,
    mean_bound: MeanBound = "betting",
    real_valued: bool = False,
    confidence: float | None = None,
    lipschitz: float | None = None,
) -> Certificates:
    """Certified radii of the mixture by any number of rules, from one set of draws.

    One region (p_A, p_B) covers every rule, weight and radius at once, so that asking for more costs no confidence. It
    covers every certifier that uses (p_A, p_B) too. "cdf" spends the failure probability anew on distributions, so that
    taking the better of it and another certifier, input by input, can be wrong twice as often; and where an input is
    certified by its distributions, the promise is of each rule by itself: other rules may rest on another rival's.

    Args:
        statistics_or_bounds: votes, or bounds on the smoothed probabilities.
        rules: one rule or several, of `certmix.rules`.
        mixing_weight: one weight of Eq. 5 or several, in [0, 1], before the rules; 1 where neither is given. Up to 1/2
            nothing can be certified.
        certifier: "exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper", or for soft votes "cdf", or "lipschitz-smoothed"
            with `lipschitz`; "theorem-3.5-l1" for splitting noise. The first, or the last, of the noise where left out.
        failure_probability: in (0, 1), per input; 0.001, or that of the run's early stopping, where left out.
        interval: "pair" or "cohen"; see `bound_probabilities`.
        votes: "hard", "soft" or "confident"; what the run was drawn for where left out. Fixed before looking: choosing what
            certifies more voids the failure probability.
        mean_bound: of soft votes: "betting", "bernstein" or "hoeffding"; fixed before looking, too.
        real_valued: certify perturbed inputs off the grid of integer noise too, for a predictor that quantises its
            input first: `quantisation_distance` is subtracted from every radius.
        confidence: kappa of confident votes, for a run that holds soft ones; fixed, or chosen on other inputs.
        lipschitz: L such that every class probability of h's network is L-Lipschitz in l2: a supposition of the certificate,
            for certifier "lipschitz-smoothed" and runs of float noise alone. Known by construction, never an estimate.
    Returns: Certificates, radius of shape (rules, inputs).
    Raises: InvalidArgument: a value out of range or an unknown name; a promise asked of bounds, which have their own.
    """
    source, chosen = statistics_or_bounds, _rules(rules, mixing_weight)
    norm = source.norm if isinstance(source, ProbabilityBounds) else source.draws.norm
    method = get_certifier(USUAL_CERTIFIER[norm] if certifier is None else certifier)
    check_noise(method, norm)
    asked = (failure_probability, interval, votes, mean_bound, real_valued, confidence, lipschitz)
    moved = 0.0
    if isinstance(source, ProbabilityBounds):
        if asked != (None, "pair", None, "betting", False, None, None):
            raise InvalidArgument(
                "failure_probability, interval, votes, mean_bound, real_valued, confidence and lipschitz must be left out "
                "with bounds, which were made under a promise of their own; pass the Statistics, or make other bounds."
            )
        bounds = source
    else:
        bounds = _bounds(source, method, *asked)
        moved = source.draws.quantisation_distance if real_valued else 0.0
    method = method.supposing(None if bounds.promise is None else bounds.promise.lipschitz)
    if method.needs == "distributions" and not isinstance(bounds, DistributionBounds):
        raise InvalidArgument("certifier 'cdf' needs soft votes, got hard ones or bounds; sample with --votes soft.")
    radius = np.stack([rule.radius(method, bounds) for rule in chosen])
    if real_valued:
        radius = np.where(radius > 0, np.maximum(np.nextafter(radius - moved, -1.0), 0.0), 0.0)
    if bounds.splitting_levels is not None:
        radius = next_on_grid(radius, bounds.splitting_levels)
    return Certificates(
        prediction=bounds.prediction,
        radius=np.where(bounds.prediction == ABSTAIN, 0.0, radius),
        rules=chosen,
        certifier=method.name,
        sigma=bounds.sigma,
        promise=bounds.promise,
        labels=bounds.labels,
        indices=bounds.indices,
        norm=norm,
    )


def next_on_grid(radius: ArrayLike, levels: int) -> NDArray[np.float64]:
    """Radii of l1 balls raised to the next multiple of 1/levels: the open ball then holds no other input of the grid.

    Distances on the grid are multiples of 1/levels, and between the two radii there is none. Rounded down where that
    multiple is no float.

    Args:
        radius: of open balls, >= 0.
        levels: grid steps per pixel unit.
    Example:
        >>> next_on_grid([0.0, 0.01, 0.25, 0.26], 16).tolist()
        [0.0, 0.0625, 0.25, 0.3125]
    """
    steps = np.ceil(np.asarray(radius, dtype=np.float64) * levels).astype(np.int64)
    # A quotient is a float where the denominator is a power of 2: rounding of the product cannot pass a whole number.
    denominator = levels // np.gcd(steps, levels)
    exact = denominator & (denominator - 1) == 0
    return np.where(exact, steps / levels, np.nextafter(steps / levels, 0.0))


def _rules(
    rules: Rule | Sequence[Rule], mixing_weight: float | Sequence[float] | NDArray[np.float64] | None
) -> tuple[Rule, ...]:
    """The weights of Eq. 5, then the other rules; h alone where nothing is asked."""
    others = tuple(rules) if isinstance(rules, Sequence) else (rules,)
    if mixing_weight is None:
        return others or (LinearRule(1.0),)
    weights = np.atleast_1d(check_mixing_weight(mixing_weight)).ravel().tolist()
    return (*(LinearRule(weight) for weight in weights), *others)


def _bounds(
    statistics: "Statistics",
    method: Certifier,
    failure_probability: float | None,
    interval: Interval,
    votes: Votes | None,
    mean_bound: MeanBound,
    real_valued: bool,
    confidence: float | None,
    lipschitz: float | None,
) -> ProbabilityBounds:
    """Bounds under the promise asked for, with what the certifier needs."""
    if method.needs is not None and (votes in ("hard", "confident") or confidence is not None):
        raise InvalidArgument(
            f"certifier {method.name!r} needs soft votes, got votes {votes or 'confident'!r}; leave --certify-votes and "
            "--confidence out."
        )
    if method.needs != "lipschitz" and lipschitz is not None:
        raise InvalidArgument(f"lipschitz is for certifier 'lipschitz-smoothed' alone, got certifier {method.name!r}.")
    method.supposing(lipschitz)
    promise = promise_of(
        statistics,
        failure_probability=failure_probability,
        interval=interval,
        votes=votes if method.needs is None else "soft",
        mean_bound=mean_bound,
        real_valued=real_valued,
        confidence=confidence,
        lipschitz=lipschitz,
    )
    return bound_statistics(statistics, promise, distributions=method.needs == "distributions")
