"""The confidence threshold: h's class where its smoothed probability exceeds c, elsewhere g's class."""

import numpy as np
from numpy.typing import ArrayLike

from certmix.certifiers.arguments import Array, check_bounds
from certmix.certifiers.envelope import EXACT, Envelope


def threshold_radius(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    threshold: ArrayLike,
    sigma: ArrayLike,
    *,
    envelope: Envelope = EXACT,
) -> Array:
    """Certified radius of "h's class y if h_y > c, else g's class": sup{r : L(r) > c and L(r) > U(r)}.

    With the exact envelope, r = max(0, min((s/2)(z(p_A) - z(p_B)), s (z(p_A) - z(c)))): that of h itself until the
    threshold binds. For p_B = 1 - p_A and c = 1 / (2a) it is `exact_radius` at weight a.
    Source: the Neyman-Pearson lemma, as for `exact_radius`; not in arXiv:2301.12554. Proof: inside r, h_y > c and
    h_y > h_i for every i, so that the rule keeps y whatever g says. Beyond r, the half-spaces that attain L and U lose
    one of the two, and the adversary names another class.
    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, the rule predicts y on the open ball of radius r whatever
    g is; with the exact envelope (l2, h smoothed by N(0, s^2)) no larger radius holds for all such h and g. Rounded down.

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on every h_i(x), in (0, 1]; replaced by min(rival_upper, 1 - top_lower).
        threshold: c, in [0, 1); 0 is h alone, c < 1/2 is allowed.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        envelope: of the certifier; any norm.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> round(float(threshold_radius(0.95, 0.01, 0.4, 1.0)), 3)
        1.898
    """
    top, rival = check_bounds(top_lower, rival_upper)
    return np.minimum(envelope.crossing_radius(top, rival, sigma), envelope.top_radius(top, threshold, sigma))
