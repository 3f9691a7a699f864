"""Random bounds in every regime, and half-spaces that attain them: h along a line is known exactly."""

import numpy as np
from scipy import special


def random_bounds(rng, shape):
    """(p_A, p_B) with p_A + p_B <= 1: confident, hesitant, nearly tied and nearly certain inputs."""
    top = np.where(rng.random(shape) < 0.5, rng.uniform(0.02, 1, shape), 1 - 10 ** rng.uniform(-12, -0.4, shape))
    share = np.where(rng.random(shape) < 0.5, rng.random(shape), 10 ** rng.uniform(-9, 0, shape))
    return top, np.clip(share * (1 - top), 1e-12, 1 - top)


def along(top, rival, distance):
    """(h_y, h_i) of the half-spaces with these values at the input, moved by `distance` (in sigmas) towards i.

    The rest of the mass is spread over many classes, none of which matters.
    """
    z_top = np.where(top > 0.5, -special.ndtri(1 - top), special.ndtri(top))
    return special.ndtr(z_top - distance), special.ndtr(special.ndtri(rival) + distance)
