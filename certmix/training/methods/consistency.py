"""Consistency regularisation: noisy copies of an input are to agree. Source: Jeong and Shin 2020, arXiv:2006.04062."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from certmix.training.methods.gaussian import add_noise, check_at_least, check_noisy, copies_of


@dataclass(frozen=True)
class Consistency:
    """CE + consistency_weight * E KL(mean p || p(x + e)) + entropy_weight * H(mean p), over noisy copies. Eq. 7 there.

    Attributes:
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        consistency_weight: lambda, >= 0; 5 to 20 in the source, larger for smaller sigma.
        entropy_weight: eta, >= 0; .5 in the source, .1 on large images.
        copies: m >= 2 noisy copies of each input.
    Raises: InvalidArgument: a value out of range.
    """

    sigma: float
    consistency_weight: float = 10.0
    entropy_weight: float = 0.5
    copies: int = 2

    def __post_init__(self) -> None:
        check_noisy(self.sigma, "consistency")
        check_at_least(0.0, consistency_weight=self.consistency_weight, entropy_weight=self.entropy_weight)
        check_at_least(2, copies=self.copies)

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """Mean over the batch of the three terms."""
        logits = model(add_noise(copies_of(inputs, self.copies), self.sigma))
        divergence, entropy = disagreement(logits.view(self.copies, len(inputs), -1))
        loss = functional.cross_entropy(logits, copies_of(labels, self.copies))
        loss = loss + self.consistency_weight * divergence.mean() + self.entropy_weight * entropy.mean()
        return loss, logits


def disagreement(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(E KL(mean p || p), H(mean p)) of copies' logits, shape (copies, batch, classes); both of shape (batch,).

    By logarithms throughout, where the source clamps at 1e-20: exact for probabilities that underflow.
    """
    logs = functional.log_softmax(logits, dim=2)
    mean_log = logs.logsumexp(dim=0) - logs.new_tensor(len(logs)).log()
    mean = mean_log.exp()
    divergence = (mean * (mean_log - logs.mean(dim=0))).sum(dim=1)
    return divergence, -(mean * mean_log).sum(dim=1)
