"""Deployment: the mixed classifier whose robust part is smoothed by draws, with a stated chance of a wrong class.

A certificate is about the exactly smoothed classifier; what answers in practice only estimates it. `MixturePredictor`
returns the class of the exact mixture, or ABSTAIN. Source: Cohen et al. 2019, PREDICT, extended to mixtures.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import maximum_radius
from certmix.certification.schedule import FUTILITY, look_schedule, look_spending
from certmix.certifiers import CERTIFIERS
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper
from certmix.noise import Purpose, describe_noise, make_noise
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, check_confidence
from certmix.rules import LinearRule, Rule
from certmix.sampling.loop import DrawLoop, DrawPlan

_ROUNDING = 1e-6  # g is recorded in float32
_ALONE = LinearRule(1.0)


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

    def predict(self, images: torch.Tensor | ArrayLike) -> Prediction:
        """The class of the exact mixture for each image, or ABSTAIN; with the certified radius.

        Args:
            images: in [0, 1], shape (images, *input_shape).
        Returns: Prediction.
        """
        values = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
        data = ArrayDataset(values, np.zeros(len(values)), num_classes=self.num_classes, grid_levels=self.grid_levels)
        size, device = int(np.prod(data.input_shape)), torch.device(self.device)
        noise = describe_noise("auto", sigma=self.sigma, size=size, grid_levels=self.grid_levels)
        looks = look_schedule(self.num_estimation)
        spending = look_spending(looks, self.failure_probability)
        rule = _Looks(looks, spending, self.rule, self.sigma, noise.total_variation, self.num_selection)
        for model in (self.robust, self.accurate):
            if model is not None:
                model.eval().to(device)
        made = make_noise(noise, seed=self._next_seed(), sigma=self.sigma, size=size, device=device)
        # Streams of their own: no draw of a certificate is drawn again.
        purposes: tuple[Purpose, Purpose] = ("prediction-selection", "prediction")
        plan = DrawPlan(
            self.num_classes,
            self.num_selection,
            looks,
            on_invalid="count",
            purposes=purposes,
            confidence=self.confidence,
        )
        loop = DrawLoop(self.robust, self.accurate, data, plan, made, device, self.batch_size, rule)
        answers = []
        for record in sorted(loop.records(iter(range(len(data))), {}), key=lambda record: record.index):
            selection = np.append(record.selection_counts, record.selection_invalid)
            votes = np.stack([selection, np.append(record.estimation_counts, record.estimation_invalid)])
            used = int(votes[1].sum()) + record.estimation_deferred
            answers.append((*rule.decide(votes, used, record.accurate_probabilities), used))
        classes, radius, draws = zip(*answers, strict=True) if answers else ((), (), ())
        return Prediction(
            np.array(classes, dtype=np.int64), np.array(radius, dtype=np.float64), np.array(draws, dtype=np.int64)
        )

    def _next_seed(self) -> int:
        seed = secrets.randbits(128) if self.seed is None else self.seed + self._calls
        self._calls += 1
        return seed
