"""Noise schedules of diffusion models: how much noise each step has, and the step for a given sigma."""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.errors import InvalidArgument
from certmix.files import read_whole

_MOST_STEPS = 1_000_000


class NoiseSchedule:
    """alpha_bar of each step: x_t = sqrt(alpha_bar) x' + sqrt(1 - alpha_bar) N(0, 1), with x' in [-1, 1].

    Args:
        alpha_bar: shape (steps,), falling, in (0, 1).
    Attributes:
        alpha_bar: as given, float64.
        sigmas: noise of each step in [0, 1] pixel units, sqrt((1 - alpha_bar) / alpha_bar) / 2, shape (steps,), rising.
    Raises: InvalidArgument: values out of range or not falling.
    """

    def __init__(self, alpha_bar: ArrayLike) -> None:
        self.alpha_bar: NDArray[np.float64] = np.asarray(alpha_bar, dtype=np.float64)
        fine = self.alpha_bar.ndim == 1 and len(self.alpha_bar) > 0
        if not (fine and ((self.alpha_bar > 0) & (self.alpha_bar < 1)).all() and (np.diff(self.alpha_bar) < 0).all()):
            raise InvalidArgument(f"alpha_bar must fall from step to step within (0, 1), got {self.alpha_bar[:3]}, ...")
        self.sigmas = np.sqrt((1.0 - self.alpha_bar) / self.alpha_bar) / 2.0

    def step_of(self, sigma: float) -> int:
        """The first step with at least so much noise. Raises InvalidArgument: sigma <= 0 or beyond the last step.

        Example:
            >>> schedule = linear_schedule(1000)
            >>> step = schedule.step_of(0.5)
            >>> step, round(float(schedule.sigmas[step - 1]), 4), round(float(schedule.sigmas[step]), 4)
            (259, 0.4998, 0.5024)
        """
        if not (math.isfinite(sigma) and sigma > 0):
            raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}.")
        if sigma > self.sigmas[-1]:
            raise InvalidArgument(
                f"sigma must be at most {self.sigmas[-1]:g}, the noise of the last step, got {sigma}."
            )
        return int(np.searchsorted(self.sigmas, sigma, side="left"))


def linear_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
    """beta rises linearly. Source: Ho et al. 2020, arXiv:2006.11239, Section 4; other step counts scale beta by 1000 / steps.

    Args:
        steps: number of steps.
        first, last: beta of the first and last step, for 1000 steps.
    """
    scale = 1000 / steps
    return _of_betas(np.linspace(first * scale, last * scale, steps))


def cosine_schedule(steps: int = 4000, offset: float = 0.008) -> NoiseSchedule:
    """alpha_bar falls like a squared cosine, beta at most 0.999. Source: Nichol and Dhariwal 2021, arXiv:2102.09672, Eq. 17.

    Args:
        steps: number of steps.
        offset: keeps beta from vanishing at the first steps.
    """
    times = np.arange(steps + 1) / steps
    curve = np.cos((times + offset) / (1 + offset) * math.pi / 2) ** 2
    return _of_betas(np.minimum(1 - curve[1:] / curve[:-1], 0.999))


def parse_schedule(text: str) -> NoiseSchedule:
    """The schedule of "linear", "linear:STEPS", "linear:STEPS:FIRST:LAST", "cosine[:STEPS]", or FILE.npy of alpha_bar.

    Raises: InvalidArgument: another name, or numbers or a file that cannot be read.
    """
    kind, *numbers = text.split(":")
    makers: dict[str, Callable[..., NoiseSchedule]] = {"linear": linear_schedule, "cosine": cosine_schedule}
    if kind in makers:
        try:
            values = [int(numbers[0]), *(float(part) for part in numbers[1:])] if numbers else []
        except ValueError:
            raise InvalidArgument(f"numbers of a schedule must follow colons, got {text!r}; try linear:1000.") from None
        if values and not 1 <= values[0] <= _MOST_STEPS:
            raise InvalidArgument(f"a schedule must have 1 to {_MOST_STEPS:,} steps, got {text!r}.")
        if len(values) > (3 if kind == "linear" else 2):
            raise InvalidArgument(f"a schedule must be linear:STEPS:FIRST:LAST or cosine:STEPS:OFFSET, got {text!r}.")
        return makers[kind](*values)
    if not Path(text).is_file():
        raise InvalidArgument(f"schedule must be linear, cosine, or an existing .npy file of alpha_bar, got {text!r}.")
    content = read_whole(text, "schedule", 8 * _MOST_STEPS + 2**12)
    try:
        return NoiseSchedule(np.load(io.BytesIO(content), allow_pickle=False))
    except (ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(f"schedule {text} must be a .npy file of alpha_bar, got: {error}.") from None


def _of_betas(betas: NDArray[np.float64]) -> NoiseSchedule:
    if not ((betas > 0) & (betas < 1)).all():
        raise InvalidArgument(f"beta of each step must be in (0, 1), got {betas.min():g} to {betas.max():g}.")
    return NoiseSchedule(np.cumprod(1.0 - betas))
