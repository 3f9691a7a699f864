"""Adaptive smoothing: the mixture whose gate, a small network, weighs both models per input. arXiv:2301.12554, Section 4."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from certmix.adaptive.features import as_maps, choose_layers, resized, tapped
from certmix.adaptive.network import KINDS, GateNetwork
from certmix.errors import InvalidArgument
from certmix.models.placement import device_of

Pair = tuple[str, str]


@dataclass(frozen=True)
class Design:
    """What rebuilds the mixing network around the two base models; its state holds the rest.

    Attributes:
        input_shape: shape of one input.
        kind, width: of the mixing network.
        accurate_layers, robust_layers: the two layers of each whose features it sees.
    """

    input_shape: tuple[int, ...]
    kind: str
    width: int
    accurate_layers: Pair
    robust_layers: Pair


class AdaptiveMixture(nn.Module):
    """log((1 - a(x)) softmax(s_g g(x)) + a(x) softmax(s_h h(x))), a drop-in classifier whose outputs are log-probabilities.

    The gate is a(x) = a_min + (a_max - a_min) sigmoid(scale * network(x) + shift), from features of both base models. Both
    are frozen and stay in eval mode; only the network is trained. In training mode the range is (0, 1); (a_min, a_max)
    holds in eval mode. Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Eq. 5 and Sections 4.3, C.2 and D.1.
    Guarantee: in eval mode a(x) >= `floor` exactly, in float32 too, so that certificates at that weight hold (Lemma 3.2).

    Args:
        accurate: g, logits of shape (batch, classes). Its parameters are frozen in place.
        robust: h, the same.
        input_shape: shape of one input.
        kind: of the mixing network: "resnet18", "small", or "auto" (resnet18 for images of 32x32 and up).
        width: of the mixing network.
        accurate_layers, robust_layers: two layers of each; see `choose_layers`.
        gate_range: (a_min, a_max), 0 <= a_min < a_max <= 1; certificates need a_min > 1/2.
        scale, shift: of the sigmoid's argument; the paper's best scale is 2 (Table 7).
        accurate_scale, robust_scale: of the logits; the paper's s_g is 3 for its Table 4, s_h between 0 and 1.
    Raises: InvalidArgument: a value out of range, an unknown layer, or models with different outputs.
    """

    gate_range: torch.Tensor
    whole_range: torch.Tensor
    calibration: torch.Tensor
    logit_scales: torch.Tensor

    def __init__(
        self,
        *,
        accurate: nn.Module,
        robust: nn.Module,
        input_shape: Sequence[int],
        kind: str = "auto",
        width: int | None = None,
        accurate_layers: Sequence[str] | None = None,
        robust_layers: Sequence[str] | None = None,
        gate_range: tuple[float, float] = (0.0, 1.0),
        scale: float = 2.0,
        shift: float = 0.0,
        accurate_scale: float = 1.0,
        robust_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InvalidArgument(f"kind of the mixing network must be one of {', '.join(KINDS)}, got {kind!r}.")
        self.accurate, self.robust = accurate.eval().requires_grad_(False), robust.eval().requires_grad_(False)
        self.input_shape = tuple(input_shape)
        self.accurate_layers = _pair(accurate_layers or choose_layers(accurate, input_shape), "accurate_layers")
        self.robust_layers = _pair(robust_layers or choose_layers(robust, input_shape), "robust_layers")
        for name, value in (("accurate_scale", accurate_scale), ("robust_scale", robust_scale)):
            if not 0.0 < value < math.inf:
                raise InvalidArgument(f"{name} must be > 0 and finite, got {value}.")
        self.register_buffer("logit_scales", torch.tensor([accurate_scale, robust_scale], dtype=torch.float32))
        self.register_buffer("gate_range", torch.tensor([0.0, 1.0]))
        self.register_buffer("whole_range", torch.tensor([0.0, 1.0]), persistent=False)
        self.register_buffer("calibration", torch.tensor([2.0, 0.0]))
        self.set_gate_range(*gate_range)
        self.calibrate(scale=scale, shift=shift)
        if kind == "auto":
            kind = "resnet18" if len(self.input_shape) == 3 and min(self.input_shape[1:]) >= 32 else "small"
        _, _, first, second = self._run(torch.zeros(1, *self.input_shape, device=device_of(accurate)))
        self.network = GateNetwork(first.shape[1], second.shape[1], kind=kind, width=width).to(first.device)

    def forward(self, inputs: torch.Tensor, *, gate_gradient: bool = True) -> torch.Tensor:
        """Log-probabilities, shape (batch, classes), of [0, 1] inputs; `parts` explains gate_gradient."""
        return self.parts(inputs, gate_gradient=gate_gradient)[0]

    def parts(self, inputs: torch.Tensor, *, gate_gradient: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities (batch, classes), and the sigmoid's argument (batch,), from one pass through both models.

        Args:
            inputs: in [0, 1], shape (batch, *input_shape).
            gate_gradient: False treats a(x) as a constant, as the gray-box attacker of Section 4.2 must.
        """
        accurate, robust, argument = self.base_arguments(inputs, gate_gradient=gate_gradient)
        return self.mix(accurate, robust, argument), argument

    def base_arguments(
        self, inputs: torch.Tensor, *, gate_gradient: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities of g and of h with their logit scales, (batch, classes), and the sigmoid's argument (batch,)."""
        accurate, robust, first, second = self._run(inputs)
        with torch.set_grad_enabled(gate_gradient and torch.is_grad_enabled()):
            argument = self.argument(first, second)
        scaled = accurate * self.logit_scales[0], robust * self.logit_scales[1]
        return functional.log_softmax(scaled[0], dim=1), functional.log_softmax(scaled[1], dim=1), argument

    def mix(self, accurate: torch.Tensor, robust: torch.Tensor, argument: torch.Tensor) -> torch.Tensor:
        """Eq. 5 on log-probabilities of g and h, shape (batch, classes), at the gate of the argument, shape (batch,)."""
        low, high = self._limits()
        # Both weights from their own sigmoid: neither loses digits near 0, and neither log is -inf.
        tiny = torch.finfo(accurate.dtype).tiny
        of_robust = torch.maximum(low + (high - low) * torch.sigmoid(argument), low).clamp(min=tiny)
        of_accurate = ((1.0 - high) + (high - low) * torch.sigmoid(-argument)).clamp(min=tiny)
        return torch.logaddexp(accurate + of_accurate.log()[:, None], robust + of_robust.log()[:, None])

    def gate(self, inputs: torch.Tensor) -> torch.Tensor:
        """a(x), the weight of h, shape (batch,): 0 = accurate model, 1 = robust model."""
        _, _, first, second = self._run(inputs)
        return self.gate_of(self.argument(first, second))

    def gate_of(self, argument: torch.Tensor) -> torch.Tensor:
        """a of the sigmoid's argument, within the range of the current mode."""
        low, high = self._limits()
        return torch.maximum(low + (high - low) * torch.sigmoid(argument), low)

    def argument(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The sigmoid's argument, scale * network + shift, shape (batch,)."""
        numbers: torch.Tensor = self.network(first, second)
        return self.calibration[0] * numbers + self.calibration[1]

    def base_outputs(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """g's and h's probabilities with their logit scales, (batch, classes) each, and the network's numbers (batch,)."""
        accurate, robust, first, second = self._run(inputs)
        numbers: torch.Tensor = self.network(first, second)
        scaled = accurate * self.logit_scales[0], robust * self.logit_scales[1]
        return scaled[0].softmax(dim=1), scaled[1].softmax(dim=1), numbers

    def active_range(self) -> tuple[float, float]:
        """(a_min, a_max) in eval mode, (0, 1) in training mode, where attacks must meet the whole range (Section D.1)."""
        low, high = self._limits()
        return float(low), float(high)

    @property
    def floor(self) -> float:
        """A lower bound on a(x): the number that was asked for, whose float32 in the network is at or above it."""
        used = np.float32(float(self.gate_range[0]))
        texts = (str(number) for number in (used, np.nextafter(used, np.float32(0.0))))
        return float(min((text for text in texts if float(text) <= float(used)), key=len))

    @property
    def ceiling(self) -> float:
        """a_max as the network uses it."""
        return float(self.gate_range[1])

    def set_gate_range(self, low: float, high: float) -> None:
        """Restrict a(x) to (low, high) in eval mode. Raises InvalidArgument unless 0 <= low < high <= 1."""
        if not 0.0 <= low < high <= 1.0:
            raise InvalidArgument(f"gate_range must be 0 <= a_min < a_max <= 1, got ({low}, {high}).")
        floor = np.float32(low)
        if float(floor) < low:
            floor = np.nextafter(floor, np.float32(1.0))
        self.gate_range.copy_(torch.tensor([float(floor), high]))

    def calibrate(self, *, scale: float, shift: float) -> None:
        """Set scale (> 0) and shift of the sigmoid's argument."""
        if not 0.0 < scale < math.inf or not math.isfinite(shift):
            raise InvalidArgument(f"scale must be > 0 and finite, and shift finite, got {scale} and {shift}.")
        self.calibration.copy_(torch.tensor([scale, shift]))

    def gray_box(self) -> nn.Module:
        """The same classifier with a(x) treated as a constant in gradients: what attack A sees."""
        return GrayBox(self)

    def train(self, mode: bool = True) -> "AdaptiveMixture":
        """Training mode for the network only; the base models stay in eval mode."""
        super().train(mode)
        self.accurate.eval()
        self.robust.eval()
        return self

    @property
    def design(self) -> Design:
        """What rebuilds the mixing network around the two base models."""
        network = self.network
        return Design(self.input_shape, network.kind, network.width, self.accurate_layers, self.robust_layers)

    def extra_repr(self) -> str:
        """Shown by print, and part of the fingerprint."""
        return f"{self.input_shape}, accurate_layers={self.accurate_layers}, robust_layers={self.robust_layers}"

    def _limits(self) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = (self.whole_range if self.training else self.gate_range).unbind()
        return low, high

    def _run(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of g and h, and the concatenated features of both depths."""
        with tapped(self.accurate, self.accurate_layers) as of_accurate:
            accurate = self.accurate(inputs)
        with tapped(self.robust, self.robust_layers) as of_robust:
            robust = self.robust(inputs)
        if accurate.shape != robust.shape:
            raise InvalidArgument(
                "the accurate and the robust model must have outputs of one shape, "
                f"got {tuple(accurate.shape)} and {tuple(robust.shape)}."
            )
        joined = []
        for depth in (0, 1):
            one = _maps(of_accurate, self.accurate_layers[depth])
            other = _maps(of_robust, self.robust_layers[depth])
            size = max(one.shape[-2], other.shape[-2]), max(one.shape[-1], other.shape[-1])
            dtype = torch.promote_types(one.dtype, other.dtype)  # the network computes in the models' precision
            joined.append(torch.cat([resized(maps, size).to(dtype) for maps in (one, other)], dim=1))
        return accurate, robust, joined[0], joined[1]


class GrayBox(nn.Module):
    """An adaptive mixture whose gradient treats a(x) as a constant."""

    def __init__(self, mixture: AdaptiveMixture) -> None:
        super().__init__()
        self.mixture = mixture
        self.train(mixture.training)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the mixture, shape (batch, classes)."""
        log_probabilities: torch.Tensor = self.mixture(inputs, gate_gradient=False)
        return log_probabilities


def _maps(features: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    if name not in features:
        raise InvalidArgument(f"layers must run when the model does, but {name!r} does not; name a module inside it.")
    return as_maps(features[name], name)


def _pair(layers: Sequence[str], name: str) -> Pair:
    if len(layers) != 2:
        raise InvalidArgument(f"{name} must be two layers at different depths, got {', '.join(layers) or 'none'}.")
    return layers[0], layers[1]
