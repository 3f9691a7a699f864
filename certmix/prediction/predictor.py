"""What every predictor shares: its draws, looks at the votes until they decide, and its answers."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import maximum_radius
from certmix.certification.schedule import look_schedule, look_spending
from certmix.datasets import ArrayDataset, Dataset, as_dataset
from certmix.datasets.own import is_dataset
from certmix.intervals import ABSTAIN, clopper_pearson_lower, clopper_pearson_upper
from certmix.models import fingerprint
from certmix.models.own_range import in_range_of
from certmix.noise import describe_noise, make_noise
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, check_confidence
from certmix.runs.draws import NoiseRecord
from certmix.sampling.batch_size import calibrate_batch_size
from certmix.sampling.loop import DrawLoop, DrawPlan, StoppingRule

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

    @classmethod
    def of(cls, answers: Sequence[tuple[int, float, int]]) -> "Prediction":
        """Of (class, radius, draws) of each image."""
        classes, radius, draws = zip(*answers, strict=True) if answers else ((), (), ())
        return cls(np.array(classes, np.int64), np.array(radius, np.float64), np.array(draws, np.int64))


@dataclass(frozen=True)
class Looks:
    """Looks at the votes of one smoothed classifier; each look's bounds have their own failure probability.

    Votes have the shape (2, classes + 1): selection and estimation draws, last invalid ones.

    Attributes:
        looks: after how many estimation draws.
        spending: failure probability of each.
        total_variation: distance of the drawn noise from the Gaussian.
    """

    looks: tuple[int, ...]
    spending: tuple[float, ...]
    total_variation: float

    def lower(self, votes: ArrayLike, draws: int, share: float) -> NDArray[np.float64]:
        """Lower bounds on probabilities, at a share of what the look may spend."""
        return clopper_pearson_lower(votes, draws, self._spent(draws) * share) - self.total_variation

    def upper(self, votes: ArrayLike, draws: int, share: float) -> NDArray[np.float64]:
        """Upper bounds, likewise."""
        return clopper_pearson_upper(votes, draws, self._spent(draws) * share) + self.total_variation

    def _spent(self, draws: int) -> float:
        return self.spending[int(np.searchsorted(self.looks, draws))]


@dataclass(frozen=True)
class Drawn:
    """One image's votes, as `Looks` has them; estimation draws and g's probabilities."""

    votes: NDArray[np.int64]
    draws: int
    accurate: NDArray[Any] | None


@dataclass(kw_only=True)
class Predictor:
    """How a predictor draws.

    Args:
        num_classes: number of classes.
        failure_probability: in (0, 1), per image.
        num_selection, num_estimation: draws per image; the second is the most that it may take.
        grid_levels: G where image values are multiples of 1/G, for exact integer noise; None for float noise.
        confidence: count confident votes alone: h is then the share of draws that are; see
            `certmix.intervals.confidence`. None counts every draw.
        batch_size: draws per forward pass; None calibrates, as `certmix.sample` does, and takes no more than the images'
            first looks need.
        device, seed: as `certmix.sample`; without a seed every call draws fresh noise. The draws are of a stream of their
            own, so that those of a certificate with the same seed are not used again.
    """

    num_classes: int
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY
    num_selection: int = 100
    num_estimation: int = 10_000
    grid_levels: int | None = None
    confidence: float | None = None
    batch_size: int | None = None
    device: str = "cpu"
    seed: int | None = None
    _calls: int = field(default=0, repr=False)

    def _check(self, *sigmas: float) -> None:
        """Raise InvalidArgument where nothing could be certified, or a value is out of range."""
        if self.confidence is not None:
            check_confidence(self.confidence)
        for sigma in sigmas:
            maximum_radius(self.num_estimation, self.failure_probability / len(sigmas), sigma)

    def _dataset(self, images: Any) -> Dataset:
        if is_dataset(images):
            return images
        if not isinstance(images, (torch.Tensor, np.ndarray, list)):  # a pair, or a data set of torch
            return as_dataset(images, num_classes=self.num_classes, grid_levels=self.grid_levels)
        return ArrayDataset(images, np.zeros(len(images)), num_classes=self.num_classes, grid_levels=self.grid_levels)

    def _noise(self, data: Dataset, sigma: float) -> NoiseRecord:
        size = int(np.prod(data.input_shape))
        return describe_noise("auto", sigma=sigma, size=size, grid_levels=data.grid_levels)

    def _looks(self, nodes: int = 1) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """After how many draws to look, and what each look may spend where so many nodes share the failure probability."""
        looks = look_schedule(self.num_estimation)
        return looks, look_spending(looks, self.failure_probability / nodes)

    def _draw(
        self,
        models: tuple[torch.nn.Module, torch.nn.Module | None],
        data: Dataset,
        rule: StoppingRule,
        noise: NoiseRecord,
        sigma: float,
    ) -> list[Drawn]:
        """Votes of every image, in their order, from noise streams that no certificate uses."""
        where = torch.device(self.device)
        robust = in_range_of(models[0], data).eval().to(where)
        accurate = None if models[1] is None else in_range_of(models[1], data).eval().to(where)
        seed = secrets.randbits(127) if self.seed is None else self.seed + self._calls
        self._calls += 1
        made = make_noise(noise, seed=seed, sigma=sigma, size=int(np.prod(data.input_shape)), device=where)
        plan = DrawPlan(self.num_classes, self.num_selection, rule.looks, confidence=self.confidence, **_APART)
        loop = DrawLoop(
            robust, accurate, data, plan, made, where, self._batch(robust, data, where, rule.looks[0]), rule
        )
        found = []
        for record in sorted(loop.records(iter(range(len(data))), {}), key=lambda record: record.index):
            selection = np.append(record.selection_counts, record.selection_invalid)
            votes = np.stack([selection, np.append(record.estimation_counts, record.estimation_invalid)])
            draws = int(votes[1].sum()) + record.estimation_deferred
            found.append(Drawn(votes, draws, record.accurate_probabilities))
        return found

    def _batch(self, robust: torch.nn.Module, data: Dataset, device: torch.device, first_look: int) -> int:
        """Rows of every pass; the calibration is remembered by the model's weights."""
        if self.batch_size is not None:
            return self.batch_size
        calibrated = calibrate_batch_size(robust, data.input_shape, device, key=fingerprint(robust))
        return max(1, min(calibrated, len(data) * (self.num_selection + first_look)))
