"""Models by spec: classifiers of [0, 1] inputs that return logits, and the mixture of two (Eq. 5)."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from certmix.errors import InvalidArgument
from certmix.models import acceleration, normalisation
from certmix.models.architectures import ARCHITECTURES, Normalized
from certmix.models.checkpoints import CHECKPOINT_SUFFIXES, fit_state, read_state
from certmix.models.cohen import load_cohen
from certmix.models.denoiser_options import denoiser_of
from certmix.models.normalisation import Loaded
from certmix.models.own_range import state_range
from certmix.specs import (
    Factory,
    call_factory,
    factory_of_file,
    factory_of_package,
    in_one_line,
    need_trust,
    parse_spec,
    refuse_unknown,
)

SOURCES = ("FILE.safetensors", "FILE.pt", "cohen", "timm", "torchvision", "hf", "pt2", "py")
_MOST_PARAMETERS = 10**9  # of a built-in architecture, whose settings a file may state


def load_model(spec: str, /, *, trust_model: bool = False, **options: str) -> torch.nn.Module:
    """The classifier of a spec, in eval mode, on the CPU: inputs in [0, 1] -> logits.

    Specs: `FILE.safetensors` or `FILE.pt` with `,arch=NAME|pkg.module:factory|FILE.py:factory` (a file that certmix wrote
    names its architecture itself), `cohen:FILE.pth.tar`, `timm:NAME`, `torchvision:NAME`, `hf:NAME[@REVISION]`,
    `pt2:FILE`, and `py:FILE.py:factory`. Normalisation: `,mean=M/M/M,std=S/S/S` or `,normalize=cifar10|imagenet|none`,
    which weights that do not say it themselves need, or `,bounds=LOW/HIGH` for a model of inputs in that range. Denoised
    smoothing: `,denoiser=SPEC` for an image-to-image module, or `,diffusion=SPEC,schedule=linear|cosine|FILE.npy,sigma=S`;
    see `certmix.models.denoiser_options`. Another base classifier by rounding: `,precision=bf16|fp16` and `,fast=1` (batch
    norms folded, channels last). Other key=value options go to the factory.

    Args:
        spec: see above.
        trust_model: allow sources that run code: `py:`, `pt2:`, and `arch=` with a colon. Give it to no spec that a run's
            manifest or another file names.
        options: more key=value options.
    Raises: InvalidArgument: an unknown source or architecture, a missing, hostile or foreign file, weights of another
        shape, or a normalisation that nobody states.
    """
    source, reference, found = _parse(spec)
    settings = {**found, **options}
    how = {key: settings.pop(key) for key in normalisation.OPTIONS if key in settings}
    stated = normalisation.chosen(how, spec) is not None
    faster = {key: settings.pop(key) for key in acceleration.OPTIONS if key in settings}

    def load_part(part: str, its_options: dict[str, str]) -> torch.nn.Module:
        kind, its_reference, its_own = _parse(part)
        return _load(kind, its_reference, {**its_own, **its_options}, part, trust_model, stated=True).model

    make_denoiser = denoiser_of(settings, spec, load_part)
    loaded = _load(source, reference, settings, spec, trust_model, stated=stated)
    model = make_denoiser(normalisation.normalised(loaded, how, spec)).eval()
    model = acceleration.accelerate_as(model, faster, spec)
    pairs = [f"{key}={value}" for key, value in {**found, **options}.items() if isinstance(value, str)]
    vars(model)["certmix_spec"] = ",".join([spec.partition(",")[0], *pairs])  # recorded by `certmix.sample`
    state_range(model, stated=stated or loaded.normalisation != "own")
    return model


def _parse(spec: str) -> tuple[str, str, dict[str, str]]:
    main = spec.partition(",")[0]
    before_colon = main.partition(":")[0]
    is_path = ":" not in main or "/" in before_colon or (before_colon not in SOURCES and Path(main).is_file())
    sources: tuple[str, ...] = SOURCES
    for suffixes, source in (((".safetensors", *CHECKPOINT_SUFFIXES), "file"), ((".pt2",), "pt2")):
        if is_path and main.endswith(suffixes):
            spec, sources = f"{source}:{spec}", (source,)
            break
    source, reference, found = parse_spec(spec, sources, "model")
    return source, os.path.expanduser(reference), found  # a shell leaves the ~ of cohen:~/models alone


def _load(
    source: str, reference: str, settings: dict[str, Any], spec: str, trust_model: bool, *, stated: bool
) -> Loaded:
    if source == "py":
        need_trust(spec, trust_model)
        return Loaded(_build_from_file(reference, settings, spec), "own")
    if source == "cohen":
        refuse_unknown(settings, normalisation.OPTIONS, spec)
        return load_cohen(reference)
    if source == "file":
        return _load_file(reference, settings.pop("arch", None), settings, trust_model, stated)
    from certmix.models import foreign

    if source == "pt2":
        need_trust(spec, trust_model)
        refuse_unknown(settings, normalisation.OPTIONS, spec)
        return foreign.load_exported(reference)
    if source == "timm" and ":" in reference:
        need_trust(spec, trust_model)  # hf-hub:NAME may load a pickle
    loaders = {"timm": foreign.load_timm, "torchvision": foreign.load_torchvision, "hf": foreign.load_hugging_face}
    return loaders[source](reference, settings, spec)


def make_architecture(name: str, /, **settings: Any) -> torch.nn.Module:
    """A built-in architecture with fresh weights.

    Args:
        name: of the architecture.
        settings: of its factory; `mean` and `std`, lists of a number per channel, put a normalisation before it.
    Raises: InvalidArgument: another name, with the choices, or settings that it does not take.
    """
    if name not in ARCHITECTURES:
        raise InvalidArgument(f"arch must be one of {', '.join(ARCHITECTURES)}, or pkg.module:factory, got {name!r}.")
    if "mean" in settings:
        how = {key: settings.pop(key, None) for key in ("mean", "std")}
        model = make_architecture(name, **settings)
        return in_one_line(lambda: Normalized(model, **how), name)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in _build(ARCHITECTURES[name], settings, name).parameters())
    if size > _MOST_PARAMETERS:
        raise InvalidArgument(f"{name} must have at most {_MOST_PARAMETERS:,} parameters, got {size:,} by {settings}.")
    return _build(ARCHITECTURES[name], settings, name)


def fingerprint(model: torch.nn.Module) -> str:
    """Hex sha256 of what a model's repr shows, the names, types, shapes and bytes of its state, and its `py:` file."""
    shown = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses differ from process to process
    digest = hashlib.sha256(f"{type(model).__qualname__}\n{shown}".encode())
    for part in model.modules():
        digest.update(vars(part).get("certmix_source", "").encode())
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def _load_file(path: str, arch: str | None, settings: dict[str, Any], trust_model: bool, stated: bool) -> Loaded:
    state, metadata = read_state(path)
    own = _own_metadata(metadata) if path.endswith(".safetensors") else {}
    # All that is missing in one message: each of these alone would cost a user a round.
    unsaid = (
        "" if stated or "architecture" in own else f"how its inputs are normalised: add {normalisation.HOW_TO_SAY}."
    )
    if arch is None and "architecture" not in own:
        raise InvalidArgument(
            f"{path} does not name its architecture; add ,arch=NAME, ,arch=pkg.module:factory or ,arch=FILE.py:factory "
            f"(the last two run code: --trust-model).{unsaid and f' Nor does it say {unsaid}'}"
        )
    if arch is None and own["architecture"] == "adaptive-mixture":
        raise InvalidArgument(f"{path} is an adaptive mixture, not a model; load it with certmix.load_mixture.")
    if arch is not None and ":" in arch:
        need_trust(f"arch={arch}", trust_model, besides=unsaid and f" {path} does not say {unsaid}")
        in_file = arch.rpartition(":")[0].endswith(".py")
        model = _build_from_file(arch, settings, arch) if in_file else _build(factory_of_package(arch), settings, arch)
    else:  # a name read from a file is only ever looked up among the built-in ones
        model = make_architecture(arch or own["architecture"], **{**own.get("settings", {}), **settings})
    fit_state(model, state, path)
    return Loaded(model, "inside" if "architecture" in own else "unknown")


def _own_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """What certmix wrote into a safetensors file; nothing where another program did."""
    try:
        own: dict[str, Any] = json.loads(metadata.get("certmix", "{}"))
        sound = isinstance(own.get("architecture", ""), str) and isinstance(own.get("settings", {}), dict)
    except (ValueError, AttributeError, RecursionError):
        sound = False
    return own if sound else {}


def _build_from_file(reference: str, settings: dict[str, Any], spec: str) -> torch.nn.Module:
    factory = factory_of_file(reference, spec)
    model = _build(factory, settings, spec)
    vars(model)["certmix_source"] = factory.sha256  # for `fingerprint`
    return model


def _build(factory: Factory, settings: dict[str, Any], spec: str) -> torch.nn.Module:
    model = in_one_line(lambda: call_factory(factory, settings, spec), spec)
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgument(f"{spec!r} must return a torch.nn.Module, got {type(model).__name__}.")
    return model
