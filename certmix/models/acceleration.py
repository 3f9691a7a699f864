"""A faster copy of a classifier: batch norms folded into convolutions, channels last, another precision.

What comes out is another base classifier by rounding, sound to certify as itself: a run records what was done, and the same
must be done to predict.
"""

import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from certmix.models.precision import to_precision


class ChannelsLast(nn.Module):
    """A convolutional network whose inputs and weights are laid out channels last.

    Args:
        model: (batch, channels, height, width) -> logits; changed in place.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes)."""
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        outputs: torch.Tensor = self.model(inputs)
        return outputs


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """A copy in eval mode with every batch norm that follows a convolution folded into it, where torch.fx can trace it.

    Returns the model itself where it cannot (control flow that depends on values), or where there is nothing to fold.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        return model
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model).eval())
    except Exception:  # torch.fx raises whatever the model's code raises on symbols
        return model
    parts = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.args else None
        if not (node.op == "call_module" and isinstance(before, fx.Node) and before.op == "call_module"):
            continue
        convolution, norm = parts[before.target], parts[node.target]
        pair = isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats
        if pair and len(before.users) == 1:
            folded = fuse_conv_bn_eval(convolution, norm)
            parts[before.target] = folded
            traced.set_submodule(str(before.target), folded)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def compile_model(model: nn.Module, device: torch.device) -> nn.Module:
    """The classifier compiled by torch.compile for one shape of batch; on a GPU its kernels run as one CUDA graph.

    Only the model is compiled, never the noise. Compiling takes seconds to minutes, and on the CPU a C++ compiler.
    """
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled: nn.Module = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]
    return compiled


def accelerate(model: nn.Module, *, precision: str = "fp32", fast: bool = False) -> nn.Module:
    """The classifier that a run really evaluates.

    Args:
        model: float32 classifier in eval mode; left as it is.
        precision: "fp32", "bf16" or "fp16", see `to_precision`.
        fast: fold batch norms and lay out channels last.
    Raises: InvalidArgument: another precision.
    """
    if fast:
        model = ChannelsLast(copy.deepcopy(fold_batch_norms(model)))
    return to_precision(model, precision).eval()
