"""What an attack maximises: functions (logits of shape (batch, classes), labels of shape (batch,)) -> (batch,)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from certmix.errors import InvalidArgument

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log of the label's probability, shape (batch,)."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's, shape (batch,): > 0 exactly where the label is not predicted.

    On log-probabilities or probabilities it is the margin of those.
    """
    return _best_other(logits, labels) - _own(logits, labels)


def logit_difference_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """`margin` over the distance between the largest and the third-largest logit (DLR), shape (batch,).

    It does not change when logits are shifted or scaled. Source: Croce and Hein 2020, arXiv:2003.01690, Eq. 6.
    Raises: InvalidArgument: fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise InvalidArgument(
            f"logit_difference_ratio needs 3 classes or more, got {logits.shape[1]}; use the margin loss."
        )
    ordered = logits.topk(3, dim=1).values
    return margin(logits, labels) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


def class_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax probability of one class per input, shape (batch,); negate it to attack that class."""
    return functional.softmax(logits, dim=1).gather(1, classes[:, None])[:, 0]


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "dlr": logit_difference_ratio,
}


def get_loss(name: str) -> Loss:
    """The loss of that name. Raises InvalidArgument with the choices."""
    if name not in LOSSES:
        raise InvalidArgument(f"loss must be one of {', '.join(LOSSES)}, got {name!r}.")
    return LOSSES[name]


def _own(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _best_other(logits: Tensor, labels: Tensor) -> Tensor:
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return torch.where(own, float("-inf"), logits).amax(dim=1)
