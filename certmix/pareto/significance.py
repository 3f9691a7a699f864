"""Whether two sets of certificates differ by more than chance, and what looking at several pairs costs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.certification.certify import Certificates, certified_at

Floats = NDArray[np.float64]


def paired_p_values(one: Certificates, other: Certificates, radii: ArrayLike) -> Floats:
    """Exact McNemar test at each radius: do two sets of certificates over the same inputs differ? Shape (radii,).

    Args:
        one, other: certificates with labels, first rule of each.
        radii: pixel units.
    """
    right = [(c.prediction == c.labels)[:, None] & certified_at(c.radius[0][:, None], radii) for c in (one, other)]
    only_one, only_other = (right[0] & ~right[1]).sum(axis=0), (right[1] & ~right[0]).sum(axis=0)
    discordant = only_one + only_other
    return np.asarray(np.minimum(1.0, 2.0 * special.bdtr(np.minimum(only_one, only_other), discordant, 0.5)))


def holm(p_values: Sequence[Floats]) -> list[Floats]:
    """Holm's step-down correction over several tests, radius by radius. Source: Holm 1979.

    Guarantee: at each radius, the chance that any corrected p-value of a true hypothesis is at most q is at most q.

    Args:
        p_values: one array of shape (radii,) per test.
    Returns: the same shapes, never smaller.
    Example:
        >>> [p.tolist() for p in holm([np.array([0.01]), np.array([0.04]), np.array([0.03])])]
        [[0.03], [0.06], [0.06]]
    """
    stacked = np.stack(p_values)
    order = np.argsort(stacked, axis=0, kind="stable")
    factors = np.arange(len(stacked), 0, -1)[:, None]
    raised = np.minimum(1.0, np.maximum.accumulate(np.take_along_axis(stacked, order, axis=0) * factors, axis=0))
    corrected = np.empty_like(stacked)
    np.put_along_axis(corrected, order, raised, axis=0)
    return list(corrected)
