"""`precision=` and `fast=1` of a model spec: another precision, batch norms folded into convolutions, channels last.

What comes out is another base classifier by rounding, sound to certify as itself: the spec of a run says what was done,
the model's fingerprint tells them apart, and all that loads the run's model does the same.
"""

import copy
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from certmix.errors import InvalidArgument, check_choice
from certmix.models.architectures import Normalized
from certmix.models.denoised import DenoisedClassifier
from certmix.models.own_range import InRange

OPTIONS = ("precision", "fast")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Wrappers of our own that check their inputs, which torch.fx cannot trace, and the models in them.
_PARTS: dict[type[nn.Module], tuple[str, ...]] = {
    Normalized: ("model",),
    DenoisedClassifier: ("denoiser", "classifier"),
    InRange: ("model",),
}


class Accelerated(nn.Module):
    """A classifier that computes in a precision, with its weights and inputs laid out channels last where `fast`.

    Noise is added before, in float32 or in integers; logits come back in float32.

    Args:
        model: (batch, ...) float32 -> logits; changed in place.
        precision: "fp32", "bf16" or "fp16".
        fast: channels last.
    """

    def __init__(self, model: nn.Module, precision: str, fast: bool) -> None:
        super().__init__()
        self.precision, self.fast, self.dtype = precision, fast, PRECISIONS[precision]
        self.model = model.to(self.dtype)
        if fast:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for name, part in list(self.model.named_modules()):
                if name and repr(part) == repr(nn.MaxPool2d(2)) and not part.return_indices:
                    self.model.set_submodule(name, HalvingMaxPool(2))

    def extra_repr(self) -> str:
        """What was done, which fingerprints take in."""
        return f"precision={self.precision}, fast={self.fast}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Float32 logits of inputs in float32 or in the precision."""
        if self.fast and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        outputs: torch.Tensor = self.model(inputs.to(self.dtype))
        return outputs.float()


class HalvingMaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d(2)` by two maxima of slices: the same bits, hence the same name, in a fraction of the time in bf16."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Shape (..., height, width) -> (..., height // 2, width // 2)."""
        if maps.requires_grad and torch.is_grad_enabled():  # the backward pass of slices is slow
            pooled: torch.Tensor = super().forward(maps)
            return pooled
        height, width = maps.shape[-2] // 2 * 2, maps.shape[-1] // 2 * 2
        maps = torch.maximum(maps[..., 0:height:2, :width], maps[..., 1:height:2, :width])
        return torch.maximum(maps[..., 0::2], maps[..., 1::2])

    def _get_name(self) -> str:
        return "MaxPool2d"


def input_buffer(model: nn.Module, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Zeros of a batch's shape in the precision and layout that the model computes in, so that it converts nothing."""
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    if not isinstance(model, Accelerated):
        return torch.zeros(shape, device=device)
    layout = torch.channels_last if model.fast and len(shape) == 4 else torch.contiguous_format
    return torch.zeros(shape, dtype=model.dtype, device=device).to(memory_format=layout)


def accelerate(model: nn.Module, *, precision: str = "fp32", fast: bool = False) -> nn.Module:
    """The classifier that a spec with these options names: the model itself where they ask for nothing.

    Args:
        model: float32 classifier; left as it is.
        precision: "fp32", "bf16" or "fp16".
        fast: fold batch norms and lay out channels last.
    Raises: InvalidArgument: another precision.
    Example:
        >>> accelerate(nn.Linear(2, 2), precision="bf16")(torch.zeros(1, 2)).dtype
        torch.float32
    """
    check_choice("precision", precision, tuple(PRECISIONS))
    if precision == "fp32" and not fast:
        return model
    own = copy.deepcopy(model)
    return Accelerated(fold_batch_norms(own) if fast else own, precision, fast).train(model.training)


def accelerate_as(model: nn.Module, options: dict[str, str], spec: str) -> nn.Module:
    """`accelerate` by the options of a spec: `precision=NAME` and `fast=0|1`. Raises InvalidArgument for other values."""
    fast = options.get("fast", "0")
    if fast not in ("0", "1"):
        raise InvalidArgument(f"fast must be 0 or 1 in {spec!r}, got {fast!r}.")
    return accelerate(model, precision=options.get("precision", "fp32"), fast=fast == "1")


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """A copy in eval mode with every batch norm that follows a convolution folded into it, where torch.fx can trace it.

    Returns the model itself where it cannot (control flow that depends on values), or where there is nothing to fold.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        return model
    if type(model) in _PARTS:
        whole = copy.deepcopy(model)
        for name in _PARTS[type(model)]:
            setattr(whole, name, fold_batch_norms(getattr(whole, name)))
        return whole
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model).eval())
    except Exception:  # torch.fx raises whatever the model's code raises on symbols
        return model
    parts = dict(traced.named_modules())
    uses = Counter(node.target for node in traced.graph.nodes)
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.args else None
        if not (node.op == "call_module" and isinstance(before, fx.Node) and before.op == "call_module"):
            continue
        convolution, norm = parts[before.target], parts[node.target]
        pair = isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats
        if pair and len(before.users) == uses[before.target] == 1:
            folded = fuse_conv_bn_eval(convolution, norm)
            parts[before.target] = folded
            traced.set_submodule(str(before.target), folded)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
