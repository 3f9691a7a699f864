"""Chains: h at several sigmas, one classifier. Node k answers with h_k's class if its value exceeds c_k, else passes on.

After the last node g answers, whatever it is. For a class y, with the envelope (L_k, U_k) of node k,

    cert_k(r) = [L_k > c_k and L_k > U_k]  or  [U_k <= c_k and cert_(k+1)(r)],   cert_(K+1) = false.

Second clause: node k may or may not fire on the ball, but it can fire for y only, since every other class stays at or
below c_k; where it does not, the later nodes answer y.
Both clauses hold on an interval of radii from 0 (L falls, U rises): [0, a_k), a_k the threshold radius of the node, and
[0, b_k], b_k = sup{r : U_k(r) <= c_k}. By induction so does cert_k: unions and intersections of intervals from 0 are the
larger and the smaller one. Hence, in closed form,

    R_k = max(a_k, min(b_k, R_(k+1))),   R_(K+1) = 0,   that is   R = max over k of min(b_1, ..., b_(k-1), a_k).

It contains the constant-route rule min(R_route, R_expert) of Dual RS (arXiv:2512.01782) and ACES (arXiv:2204.00487),
where earlier nodes must not fire for any class, y included: their radii are at most b_1, ..., b_(k-1).
It is exact for what it knows: beyond R half-spaces in one direction attain every (L_k, U_k) at once. At node 1, either a
rival is above c_1 and not below y, and the chain answers with it; or nothing fires and it passes on, and so forth to g.

What the bounds must be. For one class y: top_lower <= h_k,y (0 where node k's selection draws chose another class, which
closes the first clause), and rival_upper >= h_k,i for every i != y, node k's own class included where that is not y.
With votes, rival_upper is the Clopper-Pearson upper bound at the largest count among the classes other than y.
Failure probability, err_k for node k and err_1 + ... + err_K in all, for every y and all thresholds at once: err_k / 2 for
the lower bound, and err_k / 2 for rival_upper if the selection draws of all nodes chose one class, else err_k / 4. For
y other than the truly most probable class of h_k the largest count is at least that of this one fixed class; for that
class it is at least that of the second: two fixed classes, two tests, however many y are asked about. Then every claim
about every y holds at once, at most one y has a positive radius, and the class with the largest one is the prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers.arguments import Array, check_bounds, check_sigma, check_threshold
from certmix.certifiers.envelope import EXACT, Envelope
from certmix.clean_accuracy import alone_on_top, vote_shares
from certmix.errors import InvalidArgument
from certmix.rules.rule import AccurateVote
from certmix.rules.threshold import threshold_radius


@dataclass(frozen=True)
class Chain:
    """The class of the first node whose value exceeds its threshold, else g's: one classifier of several sigmas.

    Args:
        sigmas: of each node, > 0, in [0, 1] pixel units.
        thresholds: c_k of each node, in [0, 1).
    Raises: InvalidArgument: a value out of range, no node, or another number of thresholds than of sigmas.
    Example:
        >>> Chain([0.25, 0.5], [0.8, 0.4]).label
        'chain (sigma 0.25: 0.8, sigma 0.5: 0.4)'
    """

    sigmas: Sequence[float]
    thresholds: Sequence[float]
    kind: ClassVar[str] = "chain"
    title: ClassVar[str] = "first threshold"
    accurate_vote: ClassVar[AccurateVote] = "class"

    def __post_init__(self) -> None:
        sigmas, thresholds = check_sigma(self.sigmas), check_threshold(self.thresholds)
        if sigmas.ndim != 1 or not len(sigmas) or sigmas.shape != thresholds.shape:
            raise InvalidArgument(f"a chain of {sigmas.size} runs needs as many thresholds, got {thresholds.size}.")
        object.__setattr__(self, "sigmas", tuple(sigmas.tolist()))
        object.__setattr__(self, "thresholds", tuple(thresholds.tolist()))

    @property
    def parameter(self) -> float:
        """The first node's threshold."""
        return self.thresholds[0]

    @property
    def label(self) -> str:
        """In tables, see the example."""
        nodes = (f"sigma {s:g}: {c:.4g}" for s, c in zip(self.sigmas, self.thresholds, strict=True))
        return f"chain ({', '.join(nodes)})"

    def to_json(self) -> dict[str, object]:
        """As plain values, which `rule_from_json` reads."""
        return {"kind": self.kind, "sigmas": list(self.sigmas), "thresholds": list(self.thresholds)}


def chain_radius(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    threshold: ArrayLike,
    sigma: ArrayLike,
    *,
    envelope: Envelope = EXACT,
) -> Array:
    """Certified radius of a chain for one class y per entry: max over k of min(b_1, ..., b_(k-1), a_k), exactly.

    Guarantee: given the bounds, the chain predicts y on the open ball of that radius, whatever g is; no larger radius
    holds for all such h_k and g where the envelope is exact. Proof and failure probability: in the module. Rounded down.

    Args:
        top_lower: lower bounds on h_k,y(x), shape (nodes, ...), in [0, 1); 0 where nothing is known.
        rival_upper: upper bounds on h_k,i(x) for every i != y, shape (nodes, ...), in (0, 1].
        threshold: c_k, shape (nodes,), in [0, 1).
        sigma: of each node, shape (nodes,), > 0, in [0, 1] pixel units.
        envelope: of the certifier; any norm.
    Returns: radius in pixel units, shape (...); 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not match.
    Example:
        >>> round(float(chain_radius([0.55, 0.95], [0.4, 0.03], [0.7, 0.5], [0.25, 1.0])), 3)  # node 1 may only fire for y
        0.194
    """
    return combine_nodes(*node_radii(top_lower, rival_upper, threshold, sigma, envelope=envelope))


def node_radii(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    threshold: ArrayLike,
    sigma: ArrayLike,
    *,
    envelope: Envelope = EXACT,
) -> tuple[Array, Array]:
    """(a_k, b_k): up to where node k fires for y, and up to where it fires for no other class; shapes (nodes, ...).

    Args and errors: as `chain_radius`.
    """
    top, rival = check_bounds(top_lower, rival_upper)
    each = [check_threshold(threshold), check_sigma(sigma)]
    if top.ndim == 0 or any(values.shape != (len(top),) for values in each):
        shapes = " and ".join(str(values.shape) for values in each)
        raise InvalidArgument(f"threshold and sigma must have one value per node, bounds {top.shape}, got {shapes}.")
    c, s = (values.reshape(-1, *[1] * (top.ndim - 1)) for values in each)
    rival = np.minimum(rival, np.nextafter(1.0 - top, 1.0))  # 1 - p_A is rounded where p_A < 1/2
    fires = threshold_radius(top, rival, c, s, envelope=envelope)
    return fires, envelope.rival_radius(rival, c, s)


def combine_nodes(fires: ArrayLike, silent: ArrayLike) -> Array:
    """R_1 of R_k = max(a_k, min(b_k, R_(k+1))), from `node_radii`, of one envelope or of one per node.

    Args:
        fires: a_k, shape (nodes, ...).
        silent: b_k, the same shape.
    Returns: shape (...).
    """
    a, b = np.asarray(fires, dtype=np.float64), np.asarray(silent, dtype=np.float64)
    radius = np.zeros(a.shape[1:])
    for first, second in zip(a[::-1], b[::-1], strict=True):
        radius = np.maximum(first, np.minimum(second, radius))
    return radius


def firing_node(top: ArrayLike, threshold: ArrayLike) -> NDArray[np.int64]:
    """The first node whose largest value exceeds its threshold; the number of nodes where g answers.

    Args:
        top: largest value of each h_k, shape (nodes, ...).
        threshold: c_k, shape (nodes,).
    Returns: shape (...).
    """
    values = np.asarray(top, dtype=np.float64)
    above = values > check_threshold(threshold).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(above.any(axis=0), above.argmax(axis=0), len(values))


def chain_right(
    accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, threshold: ArrayLike, *, draws: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Whether a chain's answer at each clean input is right; classes tied for the answering node's first place are wrong.

    Args:
        accurate: g's probabilities, shape (inputs, classes).
        robust: votes or shares of every node, shape (nodes, inputs, classes).
        labels: true classes, shape (inputs,).
        threshold: c_k, shape (nodes,), in [0, 1).
        draws: votes in all, shape (nodes, inputs); each row's sum where left out.
    Returns: shape (inputs,).
    """
    h, truth = vote_shares(robust, draws), np.asarray(labels)
    right = np.stack([alone_on_top(values, truth) for values in (*h, np.asarray(accurate, dtype=np.float64))])
    return np.asarray(right[firing_node(h.max(axis=-1), threshold), np.arange(len(truth))])
