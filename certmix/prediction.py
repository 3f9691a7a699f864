"""Deployment: the mixed classifier whose robust part is smoothed by draws, with a stated chance of a wrong class.

A certificate is about the exactly smoothed classifier; what answers in practice only estimates it. `SmoothedMixture`
returns the class of the exact mixture, or ABSTAIN. Source: Cohen et al. 2019, PREDICT, extended to mixtures.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import maximum_radius
from certmix.certification.schedule import FUTILITY, look_schedule, look_spending
from certmix.certifiers import exact_radius
from certmix.certifiers.arguments import check_mixing_weight
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, clopper_pearson_lower, clopper_pearson_upper
from certmix.noise import describe_noise, make_noise
from certmix.sampling.loop import DrawLoop


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
class _Rule:
    """Looks at the votes until the mixture's class is decided; each look's bounds have their own failure probability."""

    looks: tuple[int, ...]
    spending: tuple[float, ...]
    mixing_weight: float
    sigma: float
    hard_accurate: bool
    total_variation: float

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> bool:
        """Whether the class is decided after so many estimation draws, or can hardly be by all of them."""
        if draws >= self.looks[-1] or self.decide(counts, draws, accurate)[0] != ABSTAIN:
            return True
        chosen, votes, g = self._candidate(counts, accurate)
        lower = clopper_pearson_lower(votes, draws, FUTILITY / 2)
        best = np.where(np.arange(len(votes)) == chosen, clopper_pearson_upper(votes, draws, FUTILITY / 2), lower)
        hoped = np.floor(best * self.looks[-1]).astype(np.int64)
        return self._margin(chosen, hoped, self.looks[-1], g) <= 0

    def decide(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> tuple[int, float]:
        """(class or ABSTAIN, radius) from the votes, shape (2, classes + 1): selection and estimation, last invalid."""
        chosen, votes, g = self._candidate(counts, accurate)
        if self._margin(chosen, votes, draws, g) <= 0:
            return ABSTAIN, 0.0
        if chosen != int(counts[0, :-1].argmax()):  # the robust model's own class is another: nothing is certified
            return chosen, 0.0
        err = self.spending[int(np.searchsorted(self.looks, draws))]
        rival = max(int(count) for i, count in enumerate(counts[1]) if i != chosen)
        lower = max(float(clopper_pearson_lower(votes[chosen], draws, err / 2)) - self.total_variation, 0.0)
        upper = float(clopper_pearson_upper(rival, draws, err / 2)) + self.total_variation
        upper = min(upper, float(np.nextafter(1.0 - lower, 2.0)), 1.0)
        return chosen, float(exact_radius(lower, upper, self.mixing_weight, self.sigma))

    def _candidate(
        self, counts: NDArray[np.int64], accurate: NDArray[Any] | None
    ) -> tuple[int, NDArray[np.int64], NDArray[np.float64]]:
        """The class that the selection draws suggest, the estimation votes, and g's probabilities."""
        classes = counts.shape[1] - 1
        g = np.zeros(classes) if accurate is None else np.asarray(accurate, dtype=np.float64)
        if self.hard_accurate and accurate is not None:
            g = np.eye(classes)[int(g.argmax())]
        shares = counts[0, :-1] / max(int(counts[0].sum()), 1)
        mixed = (1.0 - self.mixing_weight) * g + self.mixing_weight * shares
        return int(mixed.argmax()), counts[1, :-1], g

    def _margin(self, chosen: int, votes: NDArray[np.int64], draws: int, g: NDArray[np.float64]) -> float:
        """Lower bound on the mixture's smallest lead of `chosen` over a class, shrunk for rounding.

        No union over rivals: a wrong class needs the bound of the one true winner to fail, or that of `chosen`.
        """
        err = self.spending[int(np.searchsorted(self.looks, draws))]
        lower = float(clopper_pearson_lower(votes[chosen], draws, err / 2)) - self.total_variation
        upper = clopper_pearson_upper(votes, draws, err / 2) + self.total_variation
        upper = np.minimum(upper, 1.0 - lower)
        lead = (1.0 - self.mixing_weight) * (g[chosen] - g) + self.mixing_weight * (lower - upper)
        lead[chosen] = np.inf
        return float(lead.min() - 1e-6)  # g is recorded in float32


@dataclass
class SmoothedMixture:
    """log((1 - a) g + a h) with h smoothed by Gaussian noise, as a predictor that may abstain.

    Guarantee: for each image separately, the probability over the draws that `predict` returns a class other than that of
    the mixture of g and the exactly smoothed h is at most failure_probability.

    Args:
        robust: base classifier of h, logits; its votes are drawn.
        accurate: g, logits; None for the smoothed h alone (mixing weight 1).
        mixing_weight: a in [0, 1].
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        num_classes: number of classes.
        failure_probability: in (0, 1), per image.
        num_selection, num_estimation: draws per image; the second is the most that it may take.
        hard_accurate: mix g's class rather than its softmax.
        grid_levels: G where image values are multiples of 1/G, for exact integer noise; None for float noise.
        batch_size, device, seed: as `certmix.sample`; without a seed every call draws fresh noise.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> import torch
        >>> h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> _ = h[1].weight.data.copy_(torch.tensor([[9.0, 9, 9, 9], [-9, -9, -9, -9]])), h[1].bias.data.zero_()
        >>> mixture = SmoothedMixture(h, None, mixing_weight=1.0, sigma=0.25, num_classes=2, num_estimation=1000)
        >>> mixture.predict(torch.ones(1, 4)).classes
        array([0])
    """

    robust: torch.nn.Module
    accurate: torch.nn.Module | None
    mixing_weight: float
    sigma: float
    num_classes: int
    failure_probability: float = 1e-3
    num_selection: int = 100
    num_estimation: int = 10_000
    hard_accurate: bool = False
    grid_levels: int | None = None
    batch_size: int = 200
    device: str = "cpu"
    seed: int | None = None
    _calls: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        check_mixing_weight(self.mixing_weight)
        if self.accurate is None and self.mixing_weight != 1.0:
            raise InvalidArgument(f"mixing_weight must be 1 without an accurate model, got {self.mixing_weight}.")
        maximum_radius(self.num_estimation, self.failure_probability, self.sigma)

    def predict(self, images: torch.Tensor | ArrayLike) -> Prediction:
        """The class of the exact mixture for each image, or ABSTAIN; with the certified radius.

        Args:
            images: in [0, 1], shape (images, *input_shape).
        Returns: Prediction.
        """
        values = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
        data = ArrayDataset(values, np.zeros(len(values)), num_classes=self.num_classes, grid_levels=self.grid_levels)
        seed = secrets.randbits(128) if self.seed is None else self.seed + self._calls
        self._calls += 1
        device = torch.device(self.device)
        size = int(np.prod(data.input_shape))
        noise = describe_noise("auto", sigma=self.sigma, size=size, grid_levels=self.grid_levels)
        looks = look_schedule(self.num_estimation)
        rule = _Rule(
            looks,
            look_spending(looks, self.failure_probability),
            self.mixing_weight,
            self.sigma,
            self.hard_accurate,
            noise.total_variation,
        )
        draws: dict[str, Any] = {
            "num_classes": self.num_classes,
            "num_selection": self.num_selection,
            "num_estimation": self.num_estimation,
            "votes": "hard",
            "on_invalid": "count",
        }
        for model in (self.robust, self.accurate):
            if model is not None:
                model.eval().to(device)
        made = make_noise(noise, seed=seed, sigma=self.sigma, size=size, device=device)
        loop = DrawLoop(self.robust, self.accurate, data, draws, made, device, self.batch_size, rule)
        records = sorted(loop.records(iter(range(len(data))), {}), key=lambda record: record.index)
        counts = [
            np.stack(
                [
                    np.append(r.selection_counts, r.selection_invalid),
                    np.append(r.estimation_counts, r.estimation_invalid),
                ]
            )
            for r in records
        ]
        used = [int(votes[1].sum()) for votes in counts]
        decided = [
            rule.decide(votes, n, r.accurate_probabilities) for votes, n, r in zip(counts, used, records, strict=True)
        ]
        return Prediction(
            np.array([label for label, _ in decided], dtype=np.int64),
            np.array([radius for _, radius in decided]),
            np.array(used, dtype=np.int64),
        )
