"""Splitting noise: every pixel is shown as an interval, and all that is random is one shift of all intervals' ends.

Inputs lie on the grid of 1/q. In grid steps X = q x, a pixel with offset v is split at the half-integers S + 1/2 + k m, where
S = (v + t) mod m, k runs over the integers and m = 2 Lambda q is a whole number; the network sees the middle of the interval
between the two splits around X, cut to [0, q]. In pixel units, with s = (S + 1/2) / q, this is
    (min(2 Lambda ceil((x - s) / (2 Lambda)) + s, 1) + max(2 Lambda (ceil((x - s) / (2 Lambda)) - 1) + s, 0)) / 2.
The shift t = 0, ..., m - 1 is shared by all pixels; the offsets v are fixed numbers from a seed, the same for every input.

Theorem (Levine and Feizi 2021, arXiv:2103.10834, on deterministic smoothing): for every function F of what the network
sees, the share of shifts t at which F takes a given value is 1 / (2 Lambda)-Lipschitz in l1 on the grid.
Proof. Let pixel i of two inputs of the grid lie n_i steps apart. What is shown of it differs at t only if a split lies
between the two. There are n_i half-integers between them, and each is a split for exactly one S in {0, ..., m - 1}, so for
exactly one t, since t -> (v_i + t) mod m is a bijection whatever v_i is. So pixel i differs for at most n_i of the m shifts,
and some pixel does for at most sum n_i = q ||x - x'||_1 of them: a share of q ||x - x'||_1 / m = ||x - x'||_1 / (2 Lambda).

Nothing is drawn: all m shifts are evaluated, the shares are exact, and a certificate fails with probability 0. It is about
perturbed inputs on the same grid (as 8-bit images are). Off the grid it would not hold: half a step crosses a split.
"""

import torch

from certmix.errors import InvalidArgument
from certmix.noise.audit import NoiseAudit
from certmix.noise.integer import check_on_grid
from certmix.noise.stream import Purpose, WordStream
from certmix.runs.draws import splitting_values


def splitting_offsets(seed: int, size: int, values: int, device: torch.device) -> torch.Tensor:
    """The offsets v of all pixels: pseudo-random integers in [0, values), shape (size,), int64."""
    words = WordStream(seed, size, device).words(0, "estimation", 0, 1)[0, :size]
    return (words.to(torch.int64) & 0xFFFFFFFF) % values


def split_inputs(steps: torch.Tensor, splits: torch.Tensor, *, values: int, levels: int) -> torch.Tensor:
    """What the network sees: the middle of each pixel's interval, float32, in [0, 1] for inputs in [0, 1].

    Args:
        steps: inputs in grid steps, integers.
        splits: S = (v + t) mod values of each pixel, integers that broadcast with `steps`.
        values: m, the distance of two splits in grid steps.
        levels: q, grid steps per pixel unit.
    """
    # In half steps, where splits are integers and inputs even: no rounding before the last division.
    below = 2 * splits + 1 + 2 * values * torch.div(steps - splits - 1, values, rounding_mode="floor")
    middle = below.clamp(min=0) + (below + 2 * values).clamp(max=2 * levels)
    return middle.to(torch.float32).div_(4 * levels)


class SplittingNoise:
    """Enumerates splitting noise: "draw" t is shift t, for t = 0, ..., 2 Lambda q - 1, whatever the index and purpose.

    Args:
        seed: of the offsets.
        split: Lambda, half the distance of two splits, in [0, 1] pixel units; a multiple of 1 / (2 levels).
        size: elements of one input.
        device: where it is wanted.
        levels: q, grid steps per pixel unit.
    Raises: InvalidArgument: another Lambda; from `accept`, an input off the grid or outside [0, 1].
    """

    audit: NoiseAudit | None = None

    def __init__(self, seed: int, split: float, size: int, device: torch.device, *, levels: int) -> None:
        self.values, self.levels = splitting_values(split, levels), levels
        self._offsets = splitting_offsets(seed, size, self.values, device)

    def check(self) -> None:
        """Nothing is random, and so nothing is audited."""

    def accept(self, clean: torch.Tensor, index: int) -> None:
        """Raise InvalidArgument where `clean` is off the grid or outside [0, 1]."""
        check_on_grid(clean, self.levels, f"input {index}", "splitting")

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, *, index: int, purpose: Purpose, start: int) -> None:
        """See `Noise.add_to`; `clean` is one that `accept` took."""
        if start + len(noisy) > self.values:
            raise InvalidArgument(f"splitting noise has {self.values} values, got draw {start + len(noisy) - 1}.")
        steps = (clean * self.levels).round().to(torch.int64)
        shifts = torch.arange(start, start + len(noisy), device=clean.device)
        splits = (self._offsets + shifts[:, None]) % self.values
        noisy.copy_(split_inputs(steps, splits, values=self.values, levels=self.levels).view(noisy.shape))

    def shift_randomly(self, clean: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """A batch at one random shift for each input, for training; shape (batch, ...), float32.

        Args:
            clean: inputs; rounded to the grid where augmentation left it.
            generator: torch's global one of the device where left out.
        """
        steps = (clean * self.levels).round().to(torch.int64).flatten(1)
        shifts = torch.randint(self.values, (len(steps), 1), generator=generator, device=clean.device)
        splits = (self._offsets + shifts) % self.values
        return split_inputs(steps, splits, values=self.values, levels=self.levels).view(clean.shape)
