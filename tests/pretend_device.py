"""A device that is not the CPU, where there is no other: its tensors wrap tensors of the CPU, so that values are real.

What runs on it runs on the CPU, bit for bit. What a GPU refuses it refuses: an operation on tensors of both places (single
numbers and the indices of a lookup aside), `numpy()`, and a random generator of the other place. It counts how often the host
reads values, which makes it wait for a GPU.
"""

import contextlib
import importlib
from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
MOVES = ("aten::_to_copy", "aten::copy_", "aten::to")
LOOKUPS = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")
READS = (
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
)
_registered = []


class _Backend(backend_registration._DummyBackendModule):
    """Has no random state of its own, which torch saves and restores, nor autocast, which it asks about."""

    def get_rng_state(self, device=None):
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state, device=None):
        pass

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


def device():
    """The pretended device."""
    if not _registered:
        backend_registration._setup_privateuseone_for_python_backend("pretend", _Backend())
        _registered.append(torch.device("pretend", 0))
    return _registered[0]


class Elsewhere(torch.Tensor):
    """A tensor that claims to be on the device."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=device(),
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {}, Counter())

    def __tensor_flatten__(self):
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, _, size, stride):
        return Elsewhere(inner["inner"])


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.reads = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {}, self.reads)


def _run(func, args, kwargs, reads):
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    named = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    place = named or (ours[0].device if ours else CPU)
    name = func._schema.name
    if name == "aten::copy_":
        place = args[0].device
    _check(name, args, tensors, ours)
    crossing = bool(tensors) and (place != CPU) != bool(ours)
    masked = name in LOOKUPS and any(tensor.dtype in (torch.bool, torch.uint8) for tensor in ours[1:])
    if ours and (name in READS or masked or (name in MOVES and place == CPU)):
        reads[name] += 1
    known = {id(_inner(tensor)): tensor for tensor in tensors}

    def placed(value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in known and (not crossing or name == "aten::copy_"):
            return known[id(value)]
        value = value.clone() if id(value) in known else value
        return value if place == CPU else Elsewhere(value)

    inner_args, inner_kwargs = pytree.tree_map(_inner, (args, kwargs))
    with torch.inference_mode(False), torch.no_grad():  # a view of a wrapper that is an inference tensor fails
        return pytree.tree_map(placed, func(*inner_args, **inner_kwargs))


def _inner(value):
    if isinstance(value, Elsewhere):
        return value.inner
    return CPU if isinstance(value, torch.device) else value


def _check(name, args, tensors, ours):
    """What a GPU refuses: tensors of both places in one operation."""
    if not ours or name in MOVES or (name in LOOKUPS and isinstance(args[0], Elsewhere)):
        return
    strange = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.dim() > 0]
    if strange:
        raise RuntimeError(
            f"{name} needs all tensors on one device, got one of shape {tuple(strange[0].shape)} on the CPU"
        )


class Generator(torch.Generator):
    """Draws on the CPU whatever place it is for."""

    def __new__(cls, place="cpu"):
        made = super().__new__(cls, "cpu")
        made.place = torch.device(place).type
        return made


class _Functions(TorchFunctionMode):
    """Refuses a generator of another place than the tensor that it fills; `tolist()`, which a wrapper refuses, reads."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].cpu().tolist()
        generator = kwargs.get("generator")
        if isinstance(generator, Generator):
            own = args[0].device if args and isinstance(args[0], torch.Tensor) else CPU
            wanted = torch.device(kwargs.get("device") or own).type
            if generator.place != wanted:
                raise RuntimeError(f"{func} on {wanted} needs a generator of {wanted}, got one of {generator.place}")
        return func(*args, **kwargs)


@contextlib.contextmanager
def pretended(monkeypatch):
    """Inside, certmix can be told to use the device; yields a counter of the operations that made the host wait."""
    place = device()

    def choose(name):
        return place if str(name).startswith("pretend") else CPU

    # All imported before the first is changed, which the others import it from.
    names = ("sampling.devices", "sampling.sample", "training.loop")
    for module in [importlib.import_module(f"certmix.{name}") for name in names]:
        monkeypatch.setattr(module, "choose_device", choose)
    monkeypatch.setattr(torch, "Generator", Generator)
    operations = _Operations()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) then passes by the mode
    try:
        with _Functions(), operations:
            yield operations.reads
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
