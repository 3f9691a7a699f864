"""The mixture of g and of a smoothed h, as a predictor with a stated chance of a wrong class.

A certificate is about the exactly smoothed classifier; what answers in practice only estimates it. `MixturePredictor`
returns the class of the exact mixture, or ABSTAIN. Source: Cohen et al. 2019, PREDICT, extended to mixtures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certification.schedule import FUTILITY
from certmix.certifiers import CERTIFIERS
from certmix.datasets import OwnData
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper
from certmix.prediction.predictor import Looks, Prediction, Predictor
from certmix.rules import LinearRule, Rule

_ROUNDING = 1e-6  # g is recorded in float32
_ALONE = LinearRule(1.0)


@dataclass(frozen=True)
class MixtureLooks(Looks):
    """Looks until the mixture's class is decided.

    Attributes:
        rule: how g and h become one classifier.
        sigma: of the noise.
        num_selection: selection draws.
    """

    rule: Rule
    sigma: float
    num_selection: int

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> bool:
        """Whether the class is decided after so many estimation draws, or can hardly be by all of them."""
        most = self.looks[-1]
        if draws >= most or self.decide(counts, draws, accurate)[0] != ABSTAIN:
            return True
        chosen, votes, g = self._candidate(counts, accurate)
        own = np.arange(len(votes)) == chosen
        low, high = (bound(votes, draws, FUTILITY / 2) for bound in (clopper_pearson_lower, clopper_pearson_upper))
        # The best that may come: votes for the candidate as frequent as they may be, all others as rare.
        hoped = np.floor(np.where(own, high, low) * most).astype(np.int64)
        return self._lead(chosen, hoped, most, g) <= 0

    def decide(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> tuple[int, float]:
        """(class or ABSTAIN, radius) from the votes, as `Looks` has them."""
        chosen, votes, g = self._candidate(counts, accurate)
        if self._lead(chosen, votes, draws, g) <= 0:
            return ABSTAIN, 0.0
        if chosen != int(counts[0, :-1].argmax()):  # the robust model's own class is another: nothing is certified
            return chosen, 0.0
        rival = max(int(count) for i, count in enumerate(counts[1]) if i != chosen)
        lower = max(float(self.lower(votes[chosen], draws, 0.5)), 0.0)
        upper = min(float(self.upper(rival, draws, 0.5)), float(np.nextafter(1.0 - lower, 2.0)), 1.0)
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
        lower = self.lower(votes, draws, 0.5)
        upper = np.minimum(self.upper(votes, draws, 0.5), 1.0 - lower[chosen])
        return self.rule.lead(chosen, g, lower, upper) - _ROUNDING


@dataclass(kw_only=True)
class MixturePredictor(Predictor):
    """The mixture of g and of h smoothed by Gaussian noise, as a predictor that may abstain.

    Guarantee: for each image separately, the probability over the draws that `predict` returns a class other than that of
    the mixture of g and the exactly smoothed h is at most failure_probability. Exact means in exact arithmetic: g comes in
    float32, so that classes within 1e-6 of a tie are an abstention.

    Args:
        robust: base classifier of h, logits; its votes are drawn.
        accurate: g, logits; None for the smoothed h alone (rule LinearRule(1.0)).
        rule: how g and h become one classifier.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        num_classes, failure_probability, num_selection, num_estimation, grid_levels, confidence, batch_size, device, seed: as
            `Predictor`.
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

    def __post_init__(self) -> None:
        if self.accurate is None and self.rule != LinearRule(1.0, self.rule.accurate_vote):
            raise InvalidArgument(f"rule must be weight 1 without an accurate model, got {self.rule.label}.")
        self._check(self.sigma)

    def predict(self, images: torch.Tensor | ArrayLike | OwnData) -> Prediction:
        """The class of the exact mixture for each image, or ABSTAIN; with the certified radius.

        Args:
            images: in [0, 1] or uint8, shape (images, *input_shape); or a data set, as `certmix.sample` takes it.
        Returns: Prediction.
        """
        data = self._dataset(images)
        noise = self._noise(data, self.sigma)
        rule = MixtureLooks(*self._looks(), noise.total_variation, self.rule, self.sigma, self.num_selection)
        drawn = self._draw((self.robust, self.accurate), data, rule, noise, self.sigma)
        return Prediction.of([(*rule.decide(one.votes, one.draws, one.accurate), one.draws) for one in drawn])
