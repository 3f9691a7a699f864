"""SmoothAdv: adversarial training of the smoothed classifier. Source: Salman et al. 2019, arXiv:1906.04584, Section 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.attacks.norms import get_norm
from certmix.attacks.pgd import pgd
from certmix.training.methods.gaussian import check_at_least, check_noisy, copies_of


@dataclass(frozen=True)
class SmoothAdv:
    """PGD on the mean softmax of noisy copies, then cross-entropy on the attacked input with the same noise.

    The attack climbs -log mean_j p_y(x + d + e_j) from d = 0, in steps of 2 radius / steps, the network in eval mode; its
    radius grows linearly over the warm-up. Differs: the best iterate is kept, not the last.

    Attributes:
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        attack_radius: of the attack, > 0, in the norm, pixel units; .25 to 2 in the source.
        norm: "l2" in the source.
        attack_steps: of PGD, >= 1; 2 or 10 in the source.
        copies: noisy copies of each input, >= 1; 1 to 8 in the source.
        warm_up: epochs until the radius is whole, >= 0; 10 in the source.
    Raises: InvalidArgument: a value out of range.
    """

    sigma: float
    attack_radius: float
    norm: str = "l2"
    attack_steps: int = 2
    copies: int = 2
    warm_up: float = 10.0

    def __post_init__(self) -> None:
        check_noisy(self.sigma, "smoothadv")
        get_norm(self.norm)
        check_at_least(0.0, attack_radius=self.attack_radius, warm_up=self.warm_up)
        check_at_least(1, attack_steps=self.attack_steps, copies=self.copies)

    def radius(self, epochs_done: float) -> float:
        """The attack radius inside the epoch: radius * min(1, (epoch + 1) / warm_up), epoch counted from 0."""
        return self.attack_radius * min(1.0, (math.floor(epochs_done) + 1) / max(self.warm_up, 1.0))

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the attacked copies."""
        noise = self.sigma * torch.randn((self.copies * len(inputs), *inputs.shape[1:]), device=inputs.device)
        radius = self.radius(epochs_done)
        model.eval()
        attacked = pgd(
            lambda points: soft_vote_loss(model(copies_of(points, self.copies) + noise), labels),
            inputs,
            norm=self.norm,
            attack_radius=radius,
            steps=self.attack_steps,
            step_size=2.0 * radius / self.attack_steps,
            schedule="constant",
            random_start=False,
        ).inputs
        model.train()
        logits = model(copies_of(attacked, self.copies) + noise)
        return functional.cross_entropy(logits, copies_of(labels, self.copies)), logits


def soft_vote_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-log mean_j softmax(logits_j)_y, shape (batch,), of logits of shape (copies * batch, classes)."""
    logs = functional.log_softmax(logits, dim=1).view(-1, len(labels), logits.shape[1])
    of_label = logs[:, torch.arange(len(labels), device=logits.device), labels]
    return math.log(len(logs)) - of_label.logsumexp(dim=0)
