"""A part of a data set set aside for choosing things on: never trained on, never reported."""

import numpy as np

from certmix.datasets.base import Dataset, Subset
from certmix.errors import InvalidArgument

VALIDATION_SEED = 1  # of the part that a training is judged on: not that of the inputs held out for choosing parameters


def hold_out(dataset: Dataset, share: float, *, seed: int = 0) -> tuple[Subset, Subset]:
    """(the rest, the part held out): a random part of the inputs, the same for the same data set size, share and seed.

    Args:
        dataset: the whole.
        share: of the inputs held out, in (0, 1); at least one input is on each side.
        seed: of the choice.
    Raises: InvalidArgument: a share outside (0, 1), or fewer than two inputs.
    Example:
        >>> from certmix.datasets import load_dataset
        >>> rest, held = hold_out(load_dataset("digits", split="train"), 0.25)
        >>> len(rest), len(held)
        (898, 300)
    """
    if not 0.0 < share < 1.0:
        raise InvalidArgument(f"holdout must be in (0, 1) (share of inputs), got {share}; 0.25 is a common choice.")
    if len(dataset) < 2:
        raise InvalidArgument(f"holdout needs two inputs or more, got {len(dataset)} of {dataset.spec}.")
    order = np.random.default_rng(seed).permutation(len(dataset))
    cut = min(max(round(share * len(dataset)), 1), len(dataset) - 1)
    chosen = {"holdout": share, "holdout_seed": seed}
    held, rest = np.sort(order[:cut]), np.sort(order[cut:])
    return Subset(dataset, rest, **chosen, part="rest"), Subset(dataset, held, **chosen, part="held out")
