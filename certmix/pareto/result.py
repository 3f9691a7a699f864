"""What a sweep found: pairs of a sigma and a rule, and the frontier over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certmix.certification.certify import Certificates, certified_at
from certmix.curves import CertifiedAccuracyCurve
from certmix.rules import Rule
from certmix.tables import short_list

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MatchedPair:
    """One sigma by one rule, at the parameter that keeps the target, on the inputs that are reported.

    Attributes:
        sigma, rule: the pair.
        clean_accuracy: of the mixture on the reported inputs.
        certificates: of the reported inputs.
        curve: certified accuracy at the result's radii, with intervals, one row.
        p_value: exact McNemar test against the baseline at each radius, Holm's correction over the matched pairs, shape
            (radii,); NaN without a baseline.
        kind: "fixed" rule, or "adaptive": the weight is then the floor of a(x).
    """

    sigma: float
    rule: Rule
    clean_accuracy: float
    certificates: Certificates
    curve: CertifiedAccuracyCurve
    p_value: Floats
    kind: str = "fixed"

    def __repr__(self) -> str:
        return f"MatchedPair({self.label}, clean accuracy {self.clean_accuracy:.4f}, {len(self.certificates)} inputs)"

    @property
    def label(self) -> str:
        """Such as "sigma 0.5, weight 0.8123"."""
        name = "floor" if self.kind == "adaptive" else self.rule.title
        sure = "" if self.confidence is None else f", confident at {self.confidence:.4g}"
        return f"sigma {self.sigma:g}, {name} {self.rule.parameter:.4g}{sure}"

    @property
    def confidence(self) -> float | None:
        """Of confident votes; None for others."""
        return None if self.certificates.promise is None else self.certificates.promise.confidence

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return {
            "sigma": self.sigma,
            "kind": self.kind,
            "rule": self.rule.to_json(),
            "confidence": self.confidence,
            "clean_accuracy": self.clean_accuracy,
            "radii": self.curve.radii.tolist(),
            "certified_accuracy": self.curve.accuracy[0].tolist(),
            "lower": self.curve.lower[0].tolist(),
            "upper": self.curve.upper[0].tolist(),
            "p_value_against_baseline": None if np.isnan(self.p_value).any() else self.p_value.tolist(),
        }


@dataclass(frozen=True)
class Unreached:
    """A pair that a sweep leaves out, and why."""

    sigma: float
    rule: str
    why: str


@dataclass(frozen=True)
class ParetoResult:
    """A sweep: the baseline, a pair per sigma and rule, and the frontier over them.

    Attributes:
        certifier: that made all certificates.
        target: clean accuracy that every pair keeps on the inputs where parameters were chosen.
        baseline: h alone (weight 1) at the sigma that set the target; None where a target was given.
        matched: by ascending sigma, and in it by rule; pairs that cannot reach the target are in `unreached`.
        standalone: every sigma at weight 1, whatever its clean accuracy.
        unreached: pairs that no parameter brings to the target, or that the certifier cannot certify.
        radii: shape (radii,).
        frontier_pair: which of `matched` certifies most at each radius on the inputs where pairs were chosen (the first on
            ties), shape (radii,).
        frontier: its certified accuracy at that radius on the reported inputs, shape (radii,).
        num_chosen, num_reported: inputs that parameters and pairs were chosen on, and that are reported.
        split: share of inputs used to choose, or None: chosen and reported on the same inputs.
    """

    certifier: str
    target: float
    baseline: MatchedPair | None
    matched: list[MatchedPair]
    standalone: list[MatchedPair]
    unreached: list[Unreached]
    radii: Floats
    frontier: Floats
    frontier_pair: NDArray[np.int64]
    num_chosen: int
    num_reported: int
    split: float | None

    def __repr__(self) -> str:
        return (
            f"ParetoResult({self.num_reported} inputs, {self.certifier}, clean accuracy kept at {self.target:.4f}, "
            f"{len(self.matched)} pairs: {short_list(pair.label for pair in self.matched)}; {len(self.unreached)} unreached)"
        )

    def selection(self) -> str:
        """What was chosen by looking, on which inputs, and what no p-value corrects for, in words."""
        if self.split is None:
            chosen = (
                f"Rule parameters and the pair at each radius were chosen on the same {self.num_reported} inputs that are "
                "reported: selection, optimistic; --choose-on SHARE chooses on other inputs."
            )
        else:
            chosen = (
                f"Rule parameters and the pair at each radius were chosen on {self.num_chosen} inputs and reported on the "
                f"other {self.num_reported}."
            )
        if self.baseline is None:
            return chosen
        return (
            f"{chosen} p-values: exact McNemar against the baseline, Holm over the {len(self.matched)} pairs; not corrected "
            "over radii, certifiers or sweeps."
        )

    def frontier_steps(self) -> tuple[Floats, Floats]:
        """The frontier as a step curve (r, accuracy), accuracy[k] on (r[k-1], r[k]], as `certmix.curves.exact_steps`.

        Without a split it is the exact maximum over the pairs. With one, the exact curve of the pair chosen at each of
        `radii`, from the radius before up to it.
        """
        right = [(pair.certificates.prediction == pair.certificates.labels, pair.certificates) for pair in self.matched]
        ends = np.zeros(1) if self.split is None else self.radii
        edges = np.unique(np.concatenate([[0.0], ends, *(made.radius[0][good] for good, made in right)]))
        shares = np.array(
            [certified_at(made.radius[0][good][:, None], edges).sum(axis=0) / len(good) for good, made in right]
        )
        if self.split is None:
            return edges, shares.max(axis=0)
        known = edges <= self.radii[-1]
        chosen = self.frontier_pair[np.searchsorted(self.radii, edges[known])]
        accuracy = shares[:, known][chosen, np.arange(known.sum())]
        end = max(np.flatnonzero(accuracy), default=0) + 1  # it is 0 from there on
        return edges[known][:end], accuracy[:end]

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        attained = [self.matched[i] for i in self.frontier_pair]
        return {
            "certifier": self.certifier,
            "target_clean_accuracy": self.target,
            "selection": self.selection(),
            "baseline": self.baseline.to_json() if self.baseline else None,
            "matched": [pair.to_json() for pair in self.matched],
            "standalone": [pair.to_json() for pair in self.standalone],
            "unreached": [vars(entry) for entry in self.unreached],
            "frontier": {
                "radii": self.radii.tolist(),
                "certified_accuracy": self.frontier.tolist(),
                "sigma": [pair.sigma for pair in attained],
                "rule": [pair.rule.to_json() for pair in attained],
            },
        }
