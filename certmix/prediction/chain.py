"""A chain of smoothed classifiers, then g, as a predictor with a stated chance of a wrong class."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers.arguments import check_threshold
from certmix.datasets import Dataset, OwnData, Subset
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN
from certmix.models.own_range import in_range_of
from certmix.prediction.predictor import Drawn, Looks, Prediction, Predictor
from certmix.rules.chain import chain_radius


@dataclass(frozen=True)
class ChainNode:
    """A node of a chain that predicts: its base classifier, sigma and threshold."""

    robust: torch.nn.Module
    sigma: float
    threshold: float


@dataclass(frozen=True)
class NodeLooks(Looks):
    """Looks at one node's votes until it is decided whether, and for which class, it answers."""

    threshold: float

    def bounds(self, counts: NDArray[np.int64], draws: int) -> tuple[int, float, NDArray[np.float64]]:
        """(class, lower bound on it, upper bounds on all classes and on invalid draws), from votes as `Looks` has them.

        A quarter of what the look may spend is for an upper bound: the node's largest class or its second can matter.
        """
        chosen = int(counts[0, :-1].argmax())
        lower = float(self.lower(counts[1, chosen], draws, 0.5))
        upper = self.upper(counts[1], draws, 0.25)
        return chosen, max(lower - 1e-15, 0.0), np.minimum(upper + 1e-15, 1.0)

    def may_answer(self, counts: NDArray[np.int64], draws: int) -> tuple[bool, set[int]]:
        """Whether the node surely answers, and the classes that it may answer with."""
        chosen, lower, upper = self.bounds(counts, draws)
        if lower > self.threshold and lower > np.delete(upper, chosen).max():
            return True, {chosen}
        return False, set(np.flatnonzero(upper > self.threshold).tolist())

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> bool:
        """Whether it is decided that the node answers, or that it does not."""
        surely, classes = self.may_answer(counts, draws)
        return draws >= self.looks[-1] or surely or not classes


@dataclass(kw_only=True)
class ChainPredictor(Predictor):
    """A chain of smoothed classifiers, then g, as a predictor that may abstain and draws no more than it needs.

    Nodes are drawn one after another, up to the one that answers. A node that cannot be decided is passed where it could
    answer with one class only, which must then be the answer of the rest.
    Guarantee: for each image separately, the probability over the draws that `predict` returns a class other than that of
    the exact chain, or a radius on which the exact chain leaves it, is at most failure_probability. Proof: each node spends
    an equal share, and on it one lower bound (of the class chosen by its selection draws) and the upper bounds of two fixed
    classes, the truly largest and the second, on which every wrong statement about it rests.

    Args:
        nodes: in their order.
        accurate: g, logits.
        num_classes, failure_probability, num_selection, num_estimation, grid_levels, confidence, batch_size, device, seed: as
            `Predictor`; the draws are per node.
    Raises: InvalidArgument: no nodes, or a value out of range.
    """

    nodes: Sequence[ChainNode]
    accurate: torch.nn.Module

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InvalidArgument("a chain needs at least one node, got none.")
        check_threshold([node.threshold for node in self.nodes])
        self._check(*(node.sigma for node in self.nodes))

    def predict(self, images: torch.Tensor | ArrayLike | OwnData) -> Prediction:
        """As `MixturePredictor.predict`; `draws` are those of all nodes that were asked."""
        data = self._dataset(images)
        states = [_State() for _ in range(len(data))]
        for node in self.nodes:
            open_ = [i for i, state in enumerate(states) if state.open]
            if not open_:
                break
            part = Subset(data, open_)
            noise = self._noise(part, node.sigma)
            rule = NodeLooks(*self._looks(len(self.nodes)), noise.total_variation, node.threshold)
            for i, one in zip(open_, self._draw((node.robust, None), part, rule, noise, node.sigma), strict=True):
                states[i].take(node, rule, one)
        for i in (i for i, state in enumerate(states) if state.open):
            states[i].end(self._accurate_class(data, i))
        return Prediction.of([(state.answer, state.radius(), state.draws) for state in states])

    @torch.inference_mode()
    def _accurate_class(self, data: Dataset, position: int) -> int:
        device, image = torch.device(self.device), data[position][0]
        accurate = in_range_of(self.accurate, data).eval().to(device)
        return int(accurate(image.to(device, torch.float32).unsqueeze(0)).argmax())


@dataclass
class _State:
    """One image on its way through a chain."""

    answer: int = ABSTAIN
    open: bool = True
    draws: int = 0
    only: int | None = None  # the one class that an undecided node could answer with
    passed: list[tuple[ChainNode, int, float, NDArray[np.float64]]] = field(default_factory=list)

    def take(self, node: ChainNode, rule: NodeLooks, drawn: Drawn) -> None:
        """A node's votes: answer, pass on, or abstain."""
        self.draws += drawn.draws
        self.passed.append((node, *rule.bounds(drawn.votes, drawn.draws)))
        surely, classes = rule.may_answer(drawn.votes, drawn.draws)
        if surely:
            self.end(*classes)
        elif len(classes | ({self.only} - {None})) > 1:
            self.open = False  # undecided between several classes
        elif classes:
            (self.only,) = classes

    def end(self, answer: int) -> None:
        """The chain's answer, unless an undecided node could say otherwise."""
        self.open = False
        self.answer = answer if self.only in (None, answer) else ABSTAIN

    def radius(self) -> float:
        """Certified from the nodes that were drawn; what later ones would add is left out."""
        if self.answer == ABSTAIN or not self.passed:
            return 0.0
        nodes, chosen, lower, upper = zip(*self.passed, strict=True)
        top = [low if name == self.answer else 0.0 for name, low in zip(chosen, lower, strict=True)]
        rival = [float(np.delete(one, self.answer).max()) for one in upper]
        return float(chain_radius(top, rival, [n.threshold for n in nodes], [n.sigma for n in nodes]))
