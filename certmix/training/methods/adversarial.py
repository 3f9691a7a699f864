"""Adversarial training: cross-entropy on PGD's inputs. Source: Madry et al. 2018, arXiv:1706.06083, Section 5."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from certmix.attacks.losses import cross_entropy
from certmix.attacks.norms import get_norm
from certmix.attacks.pgd import pgd
from certmix.training.methods.gaussian import add_noise, check_at_least


@dataclass(frozen=True)
class Adversarial:
    """Every input is replaced by the worst that PGD finds in a ball around it, the network in eval mode for the search.

    Attributes:
        attack_radius: > 0, in the norm, pixel units.
        norm: "linf", "l2" or "l1".
        attack_steps: of PGD, >= 1.
        sigma: of noise that comes before the attack, >= 0; noisy inputs are in no box.
    Raises: InvalidArgument: a value out of range.
    """

    attack_radius: float
    norm: str = "linf"
    attack_steps: int = 7
    sigma: float = 0.0

    def __post_init__(self) -> None:
        get_norm(self.norm)
        check_at_least(0.0, attack_radius=self.attack_radius, sigma=self.sigma)
        check_at_least(1, attack_steps=self.attack_steps)

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the attacked inputs."""
        model.eval()
        attacked = pgd(
            lambda points: cross_entropy(model(points), labels),
            add_noise(inputs, self.sigma),
            norm=self.norm,
            attack_radius=self.attack_radius,
            steps=self.attack_steps,
            clip=None if self.sigma else (0.0, 1.0),
        ).inputs
        model.train()
        logits = model(attacked)
        return functional.cross_entropy(logits, labels), logits
