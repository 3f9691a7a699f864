"""The l1, l2 and l_inf balls as attacks need them: length, projection, steepest direction, uniform start."""

import difflib
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from certmix.errors import InvalidArgument


class Norm(ABC):
    """A norm on inputs, over all axes but the first.

    Attributes:
        name: "l1", "l2" or "linf".
        dual: name of the dual norm: gradient length of that norm = steepest slope in this one.
        path: length, in radii, that all steps of an attack have together by default: enough to turn round.
    """

    name: ClassVar[str]
    dual: ClassVar[str]
    path: ClassVar[float] = 5.0

    @abstractmethod
    def _length(self, rows: Tensor) -> Tensor: ...

    @abstractmethod
    def _project(self, rows: Tensor, radius: Tensor) -> Tensor: ...

    @abstractmethod
    def _steepest(self, rows: Tensor) -> Tensor: ...

    @abstractmethod
    def _uniform(self, like: Tensor, generator: torch.Generator | None) -> Tensor: ...

    def length(self, difference: Tensor) -> Tensor:
        """Norm of each row, shape (batch,)."""
        return self._length(difference.flatten(1))

    def project(self, difference: Tensor, radius: Tensor) -> Tensor:
        """Nearest point (in l2) of the ball of that radius, shape of `difference`; radius of shape (batch,)."""
        rows = difference.flatten(1)
        return self._project(rows, radius[:, None]).view_as(difference)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of length 1 along which a function of this gradient rises most; 0 where the gradient is 0.

        Rows are first divided by their largest entry, so that gradients far below 1e-20 keep their direction.
        """
        rows = gradient.flatten(1)
        largest = rows.abs().amax(dim=1, keepdim=True)
        scaled = torch.where(largest > 0, rows / torch.where(largest > 0, largest, 1.0), 0.0)
        return self._steepest(scaled).view_as(gradient)

    def uniform(self, like: Tensor, radius: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Differences drawn uniformly from the balls of those radii, shape of `like`."""
        return (self._uniform(like.flatten(1), generator) * radius[:, None]).view_as(like)


class L2(Norm):
    """Euclidean."""

    name, dual = "l2", "l2"

    def _length(self, rows: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return length

    def _project(self, rows: Tensor, radius: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return torch.where(length > radius, rows * (radius / length.clamp_min(torch.finfo(rows.dtype).tiny)), rows)

    def _steepest(self, rows: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return torch.where(length > 0, rows / length.clamp_min(torch.finfo(rows.dtype).tiny), 0.0)

    def _uniform(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        direction = self._steepest(_normal(like, generator))
        return direction * _rand(like[:, :1], generator) ** (1.0 / like.shape[1])


class Linf(Norm):
    """Largest absolute entry."""

    name, dual = "linf", "l1"

    def _length(self, rows: Tensor) -> Tensor:
        return rows.abs().amax(dim=1)

    def _project(self, rows: Tensor, radius: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(rows, radius), -radius)

    def _steepest(self, rows: Tensor) -> Tensor:
        return rows.sign()

    def _uniform(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        return 2.0 * _rand(like, generator) - 1.0


class L1(Norm):
    """Sum of absolute entries. Steepest direction: the one coordinate with the largest slope."""

    name, dual, path = "l1", "linf", 10.0

    def _length(self, rows: Tensor) -> Tensor:
        return rows.abs().sum(dim=1)

    def _project(self, rows: Tensor, radius: Tensor) -> Tensor:
        # Soft thresholding at the level found by sorting. Source: Duchi et al. 2008, ICML, Figure 1.
        size = rows.abs()
        ordered = size.sort(dim=1, descending=True).values
        place = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype)
        level = (ordered.cumsum(dim=1) - radius) / place
        kept = (ordered > level).sum(dim=1, keepdim=True).clamp_min(1)
        threshold = level.gather(1, kept - 1)
        inside = size.sum(dim=1, keepdim=True) <= radius
        return torch.where(inside, rows, rows.sign() * (size - threshold).clamp_min(0.0))

    def _steepest(self, rows: Tensor) -> Tensor:
        where = rows.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(rows).scatter(1, where, rows.gather(1, where).sign())

    def _uniform(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        # Exponential variables over their sum are uniform on the simplex.
        exponential = -torch.log1p(-_rand(like, generator))
        sign = 1.0 - 2.0 * (_rand(like, generator) < 0.5).to(like.dtype)
        shrink = _rand(like[:, :1], generator) ** (1.0 / like.shape[1])
        return sign * exponential / exponential.sum(dim=1, keepdim=True) * shrink


NORMS: dict[str, Norm] = {norm.name: norm for norm in (L2(), Linf(), L1())}


def get_norm(name: str) -> Norm:
    """The norm of that name. Raises InvalidArgument, with the choices and the nearest match, where there is none."""
    if name not in NORMS:
        near = difflib.get_close_matches(str(name), NORMS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InvalidArgument(f"norm must be one of {', '.join(NORMS)}, got {name!r}{hint}")
    return NORMS[name]


def _rand(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
