"""Models by spec: classifiers of [0, 1] inputs that return logits, and the mixture of two (Eq. 5)."""

import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from certmix.errors import InvalidArgument
from certmix.models.adaptive import AdaptiveMixture, describe_base
from certmix.models.architectures import ARCHITECTURES, Normalized
from certmix.models.mixture import MixedClassifier
from certmix.specs import parse_spec

__all__ = [
    "ARCHITECTURES",
    "AdaptiveMixture",
    "MixedClassifier",
    "describe_base",
    "fingerprint",
    "load_model",
    "make_architecture",
    "normalized",
]

_LOADER_OPTIONS = ("arch", "mean", "std")


def load_model(spec: str, *, trust_model: bool = False, **options: str) -> torch.nn.Module:
    """The classifier of a spec, in eval mode, on the CPU: inputs in [0, 1] -> logits.

    Specs: `FILE.safetensors[,arch=NAME|pkg.module:factory][,mean=M/M/M,std=S/S/S][,key=value]` (a file that certmix
    wrote names its architecture itself), and `py:FILE.py:factory[,key=value]`. Other keys go to the factory.

    Args:
        spec: see above.
        trust_model: allow sources that run code: `py:`, and `arch=pkg.module:factory`.
        options: more key=value options.
    Raises: InvalidArgument: an unknown source or architecture, a missing or foreign file, weights of another shape.
    """
    if spec.partition(",")[0].endswith(".safetensors"):
        _, reference, found = parse_spec(f"safetensors:{spec}", ["safetensors"], "model")
        source = "safetensors"
    else:
        source, reference, found = parse_spec(spec, ["FILE.safetensors", "py"], "model")
    settings = {**found, **options}
    loader = {key: settings.pop(key) for key in _LOADER_OPTIONS if key in settings}
    if ("mean" in loader) != ("std" in loader):
        raise InvalidArgument(f"mean and std must be given together, got only one in {spec!r}.")
    if source == "py":
        path, _, factory = reference.rpartition(":")
        _need_trust(spec, trust_model)
        model = _call(_from_file(path, factory, spec), settings, spec)
    else:
        model = _load_safetensors(reference, loader.get("arch"), settings, trust_model)
    if "mean" in loader:
        model = normalized(model, loader["mean"], loader["std"])
    return model.eval()


def make_architecture(name: str, **settings: Any) -> torch.nn.Module:
    """A built-in architecture with fresh weights. Raises InvalidArgument with the choices for an unknown name."""
    if name not in ARCHITECTURES:
        raise InvalidArgument(f"arch must be one of {', '.join(ARCHITECTURES)}, or pkg.module:factory, got {name!r}.")
    return _call(ARCHITECTURES[name], settings, name)


def normalized(model: torch.nn.Module, mean: str, std: str) -> Normalized:
    """A classifier of [0, 1] inputs from one of normalised inputs; mean and std as text, such as 0.49/0.48/0.45."""
    return Normalized(model, _numbers("mean", mean), _numbers("std", std))


def fingerprint(model: torch.nn.Module) -> str:
    """Hex sha256 of what a model's repr shows, and of the names, types, shapes and bytes of its state."""
    shown = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses differ from process to process
    digest = hashlib.sha256(f"{type(model).__qualname__}\n{shown}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def _load_safetensors(path: str, arch: str | None, settings: dict[str, str], trust_model: bool) -> torch.nn.Module:
    if not Path(path).is_file():
        raise InvalidArgument(f"model file must exist, got {path!r}; check the path.")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        html = Path(path).read_bytes()[:512].lstrip().lower().startswith((b"<!doctype", b"<html"))
        what = "an HTML page (a failed download?)" if html else str(error)
        raise InvalidArgument(f"{path} must be a safetensors file, got {what}.") from None
    own = json.loads(metadata.get("certmix", "{}"))
    if arch is None and "architecture" not in own:
        raise InvalidArgument(f"{path} does not name its architecture; add ,arch=NAME or ,arch=pkg.module:factory.")
    if arch is not None and ":" in arch:
        _need_trust(f"arch={arch}", trust_model)
        module, _, factory = arch.partition(":")
        model = _call(_attribute(importlib.import_module(module), factory, arch), settings, arch)
    else:  # a name read from a file is only ever looked up among the built-in ones
        model = make_architecture(arch or own["architecture"], **{**own.get("settings", {}), **settings})
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InvalidArgument(f"weights of {path} must fit the architecture, got {reason[:300]}") from None
    return model


def _need_trust(what: str, trust_model: bool) -> None:
    if not trust_model:
        raise InvalidArgument(f"{what} runs code when loaded; add --trust-model (trust_model=True) if you trust it.")


def _from_file(path: str, factory: str, spec: str) -> Callable[..., object]:
    if not factory or not Path(path).is_file():
        raise InvalidArgument(f"py model must be py:FILE.py:factory with an existing file, got {spec!r}.")
    name = f"certmix_user_{hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:12]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise InvalidArgument(f"py model must be a Python file, got {path!r}.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(f"{path} must run without error, got {type(error).__name__}: {error}") from error
    return _attribute(module, factory, spec)


def _attribute(module: object, name: str, spec: str) -> Callable[..., object]:
    factory: Callable[..., object] | None = getattr(module, name, None)
    if factory is None or not callable(factory):
        raise InvalidArgument(f"{spec!r} must name a function that returns a model, found no callable {name!r}.")
    return factory


def _call(factory: Callable[..., object], settings: dict[str, Any], spec: str) -> torch.nn.Module:
    typed = {key: int(value) if str(value).lstrip("-").isdigit() else value for key, value in settings.items()}
    try:
        model = factory(**typed)
    except TypeError as error:
        raise InvalidArgument(f"options of {spec!r} must be what its factory takes, got: {error}") from None
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgument(f"{spec!r} must return a torch.nn.Module, got {type(model).__name__}.")
    return model


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split("/")]
    except ValueError:
        raise InvalidArgument(
            f"{name} must be numbers separated by /, got {text!r}; for example 0.49/0.48/0.45."
        ) from None
