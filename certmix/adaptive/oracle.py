"""Theorem 4.1's oracle: the gate that knows the labels, an upper bound on what choosing between two models can do."""

import torch
from torch import Tensor, nn

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.evaluation import Right
from certmix.attacks.apgd import apgd
from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.pgd import pgd
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of


class Oracle(nn.Module):
    """Theorem 4.1: a(x) = 0 where g is right and 1 otherwise, which needs the labels.

    `right` says where this mixture is right: wherever either model is. It bounds every a(x) in {0, 1} from above; a gate
    in between can, rarely, be right where both models are wrong.

    Args:
        accurate, robust: g and h.
    """

    def __init__(self, *, accurate: nn.Module, robust: nn.Module) -> None:
        super().__init__()
        self.accurate, self.robust = accurate, robust
        self.eval()

    def gate(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """a(x), shape (batch,), in {0, 1}."""
        with torch.no_grad():
            wrong = torch.as_tensor(self.accurate(inputs).argmax(dim=1) != labels)
            return wrong.to(inputs.dtype)

    def right(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Whether the mixture at that gate is right, shape (batch,), bool."""
        with torch.no_grad():
            gate = self.gate(inputs, labels)[:, None]
            mixed = (1 - gate) * self.accurate(inputs).softmax(1) + gate * self.robust(inputs).softmax(1)
            return torch.as_tensor(mixed.argmax(dim=1) == labels)

    def right_under_attack(
        self,
        dataset: Dataset,
        budget: AttackBudget,
        *,
        strong: bool = False,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> Right:
        """Where it is right, "clean" and "attacked": by PGD as in B on the smaller of both models' cross-entropies.

        A `strong` attack is one APGD run on the smaller of both margins instead, to stand beside C.
        """
        size = inputs_at_once(dataset.input_shape, self.accurate, self.robust, wanted=batch_size)
        device = device_of(self.robust)
        found: dict[str, list[Tensor]] = {"clean": [], "attacked": []}
        for number, (inputs, labels) in enumerate(batches(dataset, size)):
            x, y = inputs.to(device), labels.to(device)
            generator = torch.Generator(x.device).manual_seed(seed + 1_000_003 * number)
            moved = self._attack(x, y, budget, generator, strong=strong)
            found["clean"].append(self.right(x, y))
            found["attacked"].append(self.right(moved, y))
        return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}

    def _attack(
        self, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator, *, strong: bool
    ) -> Tensor:
        rate = margin if strong else cross_entropy

        def both_wrong(points: Tensor) -> Tensor:
            outputs = (model(points).log_softmax(dim=1) for model in (self.accurate, self.robust))
            return torch.stack([rate(output, y) for output in outputs]).amin(dim=0)

        norm, radius = budget.norm, budget.attack_radius
        if strong:
            found = apgd(both_wrong, x, norm=norm, attack_radius=radius, steps=budget.strong_steps, generator=generator)
        else:
            found = pgd(both_wrong, x, norm=norm, attack_radius=radius, steps=budget.steps, random_start=False)
        return found.inputs
