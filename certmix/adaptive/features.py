"""Features of frozen base models at named layers, taken by hooks that live for one forward pass only."""

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from certmix.errors import InvalidArgument
from certmix.models.placement import device_of


@contextlib.contextmanager
def tapped(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Outputs of named layers of the forward passes inside the block, by name; the model is left as it was.

    A layer's output is copied, so that in-place activations after it do not change it; gradients flow through the copy.
    Passes of other threads through the same model are not recorded.

    Args:
        model: whose forward pass is run inside the block.
        layers: names as in `model.named_modules()`; a layer that is used several times keeps its first output.
    Raises: InvalidArgument: no such layer; the nearest names are listed.
    """
    modules, features, owner = dict(model.named_modules()), {}, threading.get_ident()
    handles = []

    def keep(name: str) -> None:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if threading.get_ident() == owner and isinstance(output, torch.Tensor) and name not in features:
                features[name] = output.clone()

        if name not in modules:
            import difflib

            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.0)
            raise InvalidArgument(
                f"layers must be named modules of the model, got {name!r}; near it: {', '.join(near)}."
            )
        handles.append(modules[name].register_forward_hook(hook))

    try:
        for layer in layers:
            keep(layer)
        yield features
    finally:
        for handle in handles:
            handle.remove()


def choose_layers(model: nn.Module, input_shape: Sequence[int]) -> tuple[str, str]:
    """Two layers at different depths: the first convolution, and `layer2` (the second stage of a ResNet) or the middle one.

    Source: Bai et al., arXiv:2301.12554, Section D.1. Where there is no convolution, linear layers are taken.

    Args:
        model: any network; it is put in eval mode and run once on a zero input.
        input_shape: shape of one input.
    Raises: InvalidArgument: a model without convolutions or linear layers, or with only one.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    names = names or [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    blank = torch.zeros(1, *input_shape, device=device_of(model))
    with torch.no_grad(), tapped(model.eval(), names) as features:
        model(blank)
    used = list(features)  # in order of use
    if len(used) < 2:
        raise InvalidArgument(
            f"the mixing network needs two layers of each base model, found {len(used)} convolutions or linear layers in "
            f"{type(model).__name__}; name layers yourself."
        )
    stages = [name for name, _ in model.named_modules() if name.split(".")[-1] == "layer2"]
    with torch.no_grad(), tapped(model, stages) as features:  # none where the model calls what is in the stage
        model(blank)
    return used[0], next(iter(features), used[len(used) // 2])


def as_maps(features: torch.Tensor, name: str) -> torch.Tensor:
    """Features as maps of shape (batch, channels, height, width).

    Maps stay as they are; vectors (batch, channels) become maps of one pixel; tokens (batch, tokens, channels) become a
    square grid, without the class token where there is one.

    Raises: InvalidArgument: another shape, by the layer's name.
    """
    if features.ndim == 4:
        return features
    if features.ndim == 2:
        return features[:, :, None, None]
    if features.ndim == 3:
        side = math.isqrt(features.shape[1])
        tokens = features[:, features.shape[1] - side * side :]
        if side > 0 and features.shape[1] - side * side <= 1:
            return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    raise InvalidArgument(
        f"layer {name!r} must give maps (batch, channels, height, width), vectors or a square of tokens, "
        f"got shape {tuple(features.shape)}; name another layer."
    )


def resized(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps of another height and width: averaged down, repeated up."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    if maps.shape[-2] >= size[0] and maps.shape[-1] >= size[1]:
        return nn.functional.adaptive_avg_pool2d(maps, size)
    return nn.functional.interpolate(maps, size=size, mode="nearest")
