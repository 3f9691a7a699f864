"""Deployment: the mixed classifier whose robust part is smoothed by draws, with a stated chance of a wrong class.

A certificate is about the exactly smoothed classifier; what answers in practice only estimates it. `MixturePredictor`
returns the class of the exact mixture, or ABSTAIN. Source: Cohen et al. 2019, PREDICT, extended to mixtures.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import maximum_radius
from certmix.certification.schedule import FUTILITY, look_schedule, look_spending
from certmix.certifiers import CERTIFIERS
from certmix.certifiers.arguments import check_threshold
from certmix.datasets import ArrayDataset, Dataset, OwnData, Subset, as_dataset
from certmix.datasets.own import is_dataset
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper
from certmix.models.own_range import in_range_of
from certmix.noise import describe_noise, make_noise
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, check_confidence
from certmix.rules import LinearRule, Rule
from certmix.rules.chain import chain_radius
from certmix.runs.draws import NoiseRecord
from certmix.sampling.loop import DrawLoop, DrawPlan, StoppingRule

_ROUNDING = 1e-6  # g is recorded in float32
_ALONE = LinearRule(1.0)
# Streams of their own: no draw of a certificate is drawn again.
_APART: dict[str, Any] = {"on_invalid": "count", "purposes": ("prediction-selection", "prediction")}


@dataclass(frozen=True)
class Prediction:
    """What a smoothed mixture says about images.

    Attributes:
        classes: class of the exact mixture, or ABSTAIN (-1), shape (images,), int64.
        radius: certified l2 radius around each image, shape (images,), pixel units; 0 where it abstains or none holds.
            Class and radius hold together with the stated probability.
        draws: estimation draws used, shape (images,), int64.
    """

    classes: NDArray[np.int64]
    radius: NDArray[np.float64]
    draws: NDArray[np.int64]

    def __repr__(self) -> str:
        abstained = int((self.classes == ABSTAIN).sum())
        return f"Prediction({len(self.classes)} images, {abstained} abstained, {int(self.draws.sum())} draws)"


@dataclass(frozen=True)
class _Looks:
    """Looks at the votes until the mixture's class is decided; each look's bounds have their own failure probability."""

    looks: tuple[int, ...]
    spending: tuple[float, ...]
    rule: Rule
    sigma: float
    total_variation: float
    num_selection: int

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> bool:
        """Whether the class is decided after so many estimation draws, or can hardly be by all of them."""
        if draws >= self.looks[-1] or self.decide(counts, draws, accurate)[0] != ABSTAIN:
            return True
        chosen, votes, g = self._candidate(counts, accurate)
        own = np.arange(len(votes)) == chosen
        low, high = (bound(votes, draws, FUTILITY / 2) for bound in (clopper_pearson_lower, clopper_pearson_upper))
        # The best that may come: votes for the candidate as frequent as they may be, all others as rare.
        hoped = np.floor(np.where(own, high, low) * self.looks[-1]).astype(np.int64)
        return self._lead(chosen, hoped, self.looks[-1], g) <= 0

    def decide(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> tuple[int, float]:
        """(class or ABSTAIN, radius) from the votes, shape (2, classes + 1): selection and estimation, last invalid."""
        chosen, votes, g = self._candidate(counts, accurate)
        if self._lead(chosen, votes, draws, g) <= 0:
            return ABSTAIN, 0.0
        if chosen != int(counts[0, :-1].argmax()):  # the robust model's own class is another: nothing is certified
            return chosen, 0.0
        rival = max(int(count) for i, count in enumerate(counts[1]) if i != chosen)
        lower = max(float(self._lower(votes[chosen], draws)), 0.0)
        upper = min(float(self._upper(rival, draws)), float(np.nextafter(1.0 - lower, 2.0)), 1.0)
        bounds = ProbabilityBounds(np.array([chosen]), np.array([lower]), np.array([upper]), self.sigma)
        return chosen, float(self.rule.radius(CERTIFIERS["exact"], bounds)[0])

    def _candidate(
        self, counts: NDArray[np.int64], accurate: NDArray[Any] | None
    ) -> tuple[int, NDArray[np.int64], NDArray[np.float64]]:
        """The class that the selection draws suggest, the estimation votes, and g's probabilities."""
        classes = counts.shape[1] - 1
        g = np.zeros(classes) if accurate is None else np.asarray(accurate, dtype=np.float64)
        chosen = self.rule.decide(g[None], counts[:1, :-1], draws=[self.num_selection])
        return int(chosen[0]), counts[1, :-1], g

    def _lead(self, chosen: int, votes: NDArray[np.int64], draws: int, g: NDArray[np.float64]) -> float:
        """Lower bound on what the rule needs for `chosen`, shrunk for rounding.

        No union over rivals: a wrong class needs the bound of the one true winner to fail, or that of `chosen`.
        """
        lower = self._lower(votes, draws)
        upper = np.minimum(self._upper(votes, draws), 1.0 - lower[chosen])
        return self.rule.lead(chosen, g, lower, upper) - _ROUNDING

    def _lower(self, votes: ArrayLike, draws: int) -> NDArray[np.float64]:
        return clopper_pearson_lower(votes, draws, self._err(draws)) - self.total_variation

    def _upper(self, votes: ArrayLike, draws: int) -> NDArray[np.float64]:
        return clopper_pearson_upper(votes, draws, self._err(draws)) + self.total_variation

    def _err(self, draws: int) -> float:
        return self.spending[int(np.searchsorted(self.looks, draws))] / 2


@dataclass(kw_only=True)
class MixturePredictor:
    """The mixture of g and of h smoothed by Gaussian noise, as a predictor that may abstain.

    Guarantee: for each image separately, the probability over the draws that `predict` returns a class other than that of
    the mixture of g and the exactly smoothed h is at most failure_probability. Exact means in exact arithmetic: g comes in
    float32, so that classes within 1e-6 of a tie are an abstention.

    Args:
        robust: base classifier of h, logits; its votes are drawn.
        accurate: g, logits; None for the smoothed h alone (rule LinearRule(1.0)).
        rule: how g and h become one classifier.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        num_classes: number of classes.
        failure_probability: in (0, 1), per image.
        num_selection, num_estimation: draws per image; the second is the most that it may take.
        grid_levels: G where image values are multiples of 1/G, for exact integer noise; None for float noise.
        confidence: count confident votes alone: h is then the share of draws that are; see
            `certmix.intervals.confidence`. None counts every draw.
        batch_size, device, seed: as `certmix.sample`; without a seed every call draws fresh noise. The draws are of a
            stream of their own, so that those of a certificate with the same seed are not used again.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> import torch
        >>> h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> _ = h[1].weight.data.copy_(torch.tensor([[9.0, 9, 9, 9], [-9, -9, -9, -9]])), h[1].bias.data.zero_()
        >>> mixture = MixturePredictor(robust=h, sigma=0.25, num_classes=2, num_estimation=1000)
        >>> mixture.predict(torch.ones(1, 4)).classes
        array([0])
    """

    robust: torch.nn.Module
    accurate: torch.nn.Module | None = None
    rule: Rule = _ALONE
    sigma: float
    num_classes: int
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY
    num_selection: int = 100
    num_estimation: int = 10_000
    grid_levels: int | None = None
    confidence: float | None = None
    batch_size: int = 200
    device: str = "cpu"
    seed: int | None = None
    _calls: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.accurate is None and self.rule != LinearRule(1.0, self.rule.accurate_vote):
            raise InvalidArgument(f"rule must be weight 1 without an accurate model, got {self.rule.label}.")
        if self.confidence is not None:
            check_confidence(self.confidence)
        maximum_radius(self.num_estimation, self.failure_probability, self.sigma)

    def predict(self, images: torch.Tensor | ArrayLike | OwnData) -> Prediction:
        """The class of the exact mixture for each image, or ABSTAIN; with the certified radius.

        Args:
            images: in [0, 1] or uint8, shape (images, *input_shape); or a data set, as `certmix.sample` takes it.
        Returns: Prediction.
        """
        data = _as_dataset(images, self.num_classes, self.grid_levels)
        noise = _describe(data, self.sigma)
        looks = look_schedule(self.num_estimation)
        spending = look_spending(looks, self.failure_probability)
        rule = _Looks(looks, spending, self.rule, self.sigma, noise.total_variation, self.num_selection)
        plan = DrawPlan(self.num_classes, self.num_selection, looks, confidence=self.confidence, **_APART)
        models = (self.robust, self.accurate)
        answers = [
            (*rule.decide(one.votes, one.draws, one.accurate), one.draws)
            for one in _draw(
                models, data, plan, rule, noise, self.sigma, self._next_seed(), self.device, self.batch_size
            )
        ]
        classes, radius, draws = zip(*answers, strict=True) if answers else ((), (), ())
        return Prediction(
            np.array(classes, dtype=np.int64), np.array(radius, dtype=np.float64), np.array(draws, dtype=np.int64)
        )

    def _next_seed(self) -> int:
        seed = secrets.randbits(128) if self.seed is None else self.seed + self._calls
        self._calls += 1
        return seed


@dataclass(frozen=True)
class ChainNode:
    """A node of a chain that predicts: its base classifier, sigma and threshold."""

    robust: torch.nn.Module
    sigma: float
    threshold: float


@dataclass(frozen=True)
class _NodeLooks:
    """Looks at one node's votes until it is decided whether, and for which class, it answers."""

    looks: tuple[int, ...]
    spending: tuple[float, ...]
    threshold: float
    total_variation: float

    def bounds(self, counts: NDArray[np.int64], draws: int) -> tuple[int, float, NDArray[np.float64]]:
        """(class, lower bound on it, upper bounds on all classes and on invalid draws), from votes as `_Looks.decide`.

        A quarter of what the look may spend is for an upper bound: the node's largest class or its second can matter.
        """
        spent, chosen = self.spending[int(np.searchsorted(self.looks, draws))], int(counts[0, :-1].argmax())
        lower = float(clopper_pearson_lower(counts[1, chosen], draws, spent / 2)) - self.total_variation
        upper = clopper_pearson_upper(counts[1], draws, spent / 4) + self.total_variation
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
class ChainPredictor:
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
            `MixturePredictor`; the draws are per node.
    Raises: InvalidArgument: no nodes, or a value out of range.
    """

    nodes: Sequence[ChainNode]
    accurate: torch.nn.Module
    num_classes: int
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY
    num_selection: int = 100
    num_estimation: int = 10_000
    grid_levels: int | None = None
    confidence: float | None = None
    batch_size: int = 200
    device: str = "cpu"
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InvalidArgument("a chain needs at least one node, got none.")
        if self.confidence is not None:
            check_confidence(self.confidence)
        for node in self.nodes:
            check_threshold(node.threshold)
            maximum_radius(self.num_estimation, self.failure_probability / len(self.nodes), node.sigma)

    def predict(self, images: torch.Tensor | ArrayLike | OwnData) -> Prediction:
        """As `MixturePredictor.predict`; `draws` are those of all nodes that were asked."""
        data = _as_dataset(images, self.num_classes, self.grid_levels)
        states = [_ChainState() for _ in range(len(data))]
        looks = look_schedule(self.num_estimation)
        spending = look_spending(looks, self.failure_probability / len(self.nodes))
        plan = DrawPlan(self.num_classes, self.num_selection, looks, confidence=self.confidence, **_APART)
        first = secrets.randbits(127) if self.seed is None else self.seed
        for number, node in enumerate(self.nodes):
            open_ = [i for i, state in enumerate(states) if state.open]
            if not open_:
                break
            part = Subset(data, open_)
            noise = _describe(part, node.sigma)
            rule = _NodeLooks(looks, spending, node.threshold, noise.total_variation)
            drawn = _draw(
                (node.robust, None), part, plan, rule, noise, node.sigma, first + number, self.device, self.batch_size
            )
            for i, one in zip(open_, drawn, strict=True):
                states[i].take(node, rule, one)
        for i in (i for i, state in enumerate(states) if state.open):
            states[i].end(self._accurate_class(data, i))
        found = [(state.answer, state.radius(), state.draws) for state in states]
        classes, radius, draws = zip(*found, strict=True) if found else ((), (), ())
        return Prediction(
            np.array(classes, dtype=np.int64), np.array(radius, dtype=np.float64), np.array(draws, dtype=np.int64)
        )

    @torch.inference_mode()
    def _accurate_class(self, data: Dataset, position: int) -> int:
        device, image = torch.device(self.device), data[position][0]
        accurate = in_range_of(self.accurate, data).eval().to(device)
        return int(accurate(image.to(device, torch.float32).unsqueeze(0)).argmax())


@dataclass
class _ChainState:
    """One image on its way through a chain."""

    answer: int = ABSTAIN
    open: bool = True
    draws: int = 0
    only: int | None = None  # the one class that an undecided node could answer with
    passed: list[tuple[ChainNode, int, float, NDArray[np.float64]]] = field(default_factory=list)

    def take(self, node: ChainNode, rule: _NodeLooks, drawn: "_Drawn") -> None:
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


@dataclass(frozen=True)
class _Drawn:
    """One image's votes, shape (2, classes + 1): selection and estimation, last invalid; draws and g's probabilities."""

    votes: NDArray[np.int64]
    draws: int
    accurate: NDArray[Any] | None


def _as_dataset(images: Any, num_classes: int, grid_levels: int | None) -> Dataset:
    if is_dataset(images):
        return images
    if not isinstance(images, (torch.Tensor, np.ndarray, list)):  # a pair, or a data set of torch
        return as_dataset(images, num_classes=num_classes, grid_levels=grid_levels)
    return ArrayDataset(images, np.zeros(len(images)), num_classes=num_classes, grid_levels=grid_levels)


def _describe(data: Dataset, sigma: float) -> NoiseRecord:
    size = int(np.prod(data.input_shape))
    return describe_noise("auto", sigma=sigma, size=size, grid_levels=data.grid_levels)


def _draw(
    models: tuple[torch.nn.Module, torch.nn.Module | None],
    data: Dataset,
    plan: DrawPlan,
    rule: StoppingRule,
    noise: NoiseRecord,
    sigma: float,
    seed: int,
    device: str,
    batch_size: int,
) -> list[_Drawn]:
    """Votes of every image, in their order, from noise streams that no certificate uses."""
    where = torch.device(device)
    robust = in_range_of(models[0], data).eval().to(where)
    accurate = None if models[1] is None else in_range_of(models[1], data).eval().to(where)
    made = make_noise(noise, seed=seed, sigma=sigma, size=int(np.prod(data.input_shape)), device=where)
    loop = DrawLoop(robust, accurate, data, plan, made, where, batch_size, rule)
    found = []
    for record in sorted(loop.records(iter(range(len(data))), {}), key=lambda record: record.index):
        selection = np.append(record.selection_counts, record.selection_invalid)
        votes = np.stack([selection, np.append(record.estimation_counts, record.estimation_invalid)])
        draws = int(votes[1].sum()) + record.estimation_deferred
        found.append(_Drawn(votes, draws, record.accurate_probabilities))
    return found
