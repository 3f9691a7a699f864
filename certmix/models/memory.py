"""How many inputs at a time: what a gradient keeps of each is counted, so that memory does not grow with the data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from certmix.errors import need_at_least
from certmix.models.placement import device_of

# One figure per kind of device, and not the memory that is free now: random starts belong to batches, and results should
# not depend on what else is running.
_BUDGET = {"cpu": 2**27, "cuda": 2**32}  # bytes kept for gradients; the peak is about twice as high
_MOST = 250


def inputs_at_once(input_shape: Sequence[int], *models: nn.Module, wanted: int | None = None, copies: int = 1) -> int:
    """As many inputs as the models' gradients fit for into 128 MiB, on a GPU 4 GiB; at most 250, at least 1.

    Args:
        input_shape: of one input.
        models: whose gradients are held together.
        wanted: what was asked for, >= 1, which is then the answer.
        copies: noisy copies of each input.
    Raises: InvalidArgument: wanted < 1.
    """
    if wanted is not None:
        need_at_least(1, batch_size=wanted)
        return wanted
    kept = copies * sum(kept_bytes(model, input_shape) for model in models)
    return max(1, min(_MOST, _BUDGET["cuda" if device_of(models[0]).type == "cuda" else "cpu"] // max(kept, 1)))


def kept_bytes(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Bytes that a forward pass keeps of each input for its gradient: what two inputs take more than one.

    Weights are kept too, once for all inputs, and drop out of the difference.
    """
    dtypes = {one.dtype for one in model.parameters() if one.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32  # of several, wrappers convert
    blank = torch.zeros((2, *input_shape), dtype=dtype, device=device_of(model))
    one, two = (_kept(model, blank[:rows].clone()) for rows in (1, 2))
    return max(two - one, 0)


def _kept(model: nn.Module, inputs: Tensor) -> int:
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()  # a tensor that two operations keep is there once
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model(inputs.requires_grad_())  # held until all is counted: freed memory would be used again
    del outputs
    return sum(storages.values())
