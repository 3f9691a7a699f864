"""`timm:NAME`, `torchvision:NAME`, `hf:NAME` and `pt2:FILE`: models of other libraries, as classifiers."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from certmix.errors import InvalidArgument
from certmix.models.checkpoints import fit_state, read_state, refuse_foreign_file
from certmix.models.normalisation import Loaded, Normalisation
from certmix.specs import call_factory, import_extra, in_one_line, refuse_unknown

# Others reach timm's own loaders of files (checkpoint_path), which unpickle without restriction.
_TIMM_OPTIONS = ("num_classes", "in_chans", "img_size", "patch_size", "window_size", "global_pool")
_TORCHVISION_OPTIONS = ("num_classes", "image_size", "width_mult", "init_weights", "aux_logits", "transform_input")


def load_timm(name: str, settings: Mapping[str, Any], spec: str) -> Loaded:
    """A model of timm. Weights: `weights=FILE` (its normalisation must be stated), timm's own, or random.

    Args:
        name: e.g. "resnet18.a1_in1k".
        settings: `weights=FILE|pretrained|none` (pretrained where left out), and num_classes, in_chans, img_size,
            patch_size, window_size, global_pool.
        spec: for errors.
    Raises: InvalidArgument: timm is absent, no such model, or weights that cannot be had.
    """
    library = import_extra("timm", "timm")
    rest = dict(settings)
    weights = str(rest.pop("weights", "pretrained"))
    own = weights == "pretrained"
    refuse_unknown(rest, _TIMM_OPTIONS, spec)
    model = _module(
        in_one_line(
            lambda: call_factory(library.create_model, {"model_name": name, "pretrained": own} | rest, spec), spec
        )
    )
    if not own and weights != "none":
        return _with_file(model, weights)
    described: Any = getattr(model, "pretrained_cfg", {})
    return Loaded(model, _normalisation(described.get("mean"), described.get("std")))


def load_torchvision(name: str, settings: Mapping[str, Any], spec: str) -> Loaded:
    """A classifier of torchvision.models. Weights: `weights=DEFAULT`, another of its names, a file, or none (random).

    Args:
        name: e.g. "resnet50".
        settings: `weights` (must be given), num_classes, and a few other arguments of the model.
        spec: for errors.
    Raises: InvalidArgument: torchvision is absent, no such model or weights, or weights not stated.
    """
    library = import_extra("torchvision.models", "vision")
    rest = dict(settings)
    if "weights" not in rest:
        raise InvalidArgument(
            f"{spec!r} must state its weights: weights=DEFAULT, weights=FILE or weights=none (random)."
        )
    weights = str(rest.pop("weights"))
    refuse_unknown(rest, _TORCHVISION_OPTIONS, spec)
    file = "/" in weights or Path(weights).suffix in (".pt", ".pth", ".safetensors", ".tar")
    enum = None
    if not file and weights != "none":
        enum = in_one_line(lambda: library.get_model_weights(name)[weights], spec)
        # torchvision itself unpickles its cached file without restriction: first see that it holds tensors only.
        in_one_line(lambda: enum.get_state_dict(progress=False, check_hash=True, weights_only=True), spec)
    build = library.get_model
    model = _module(in_one_line(lambda: call_factory(build, {"name": name, "weights": enum} | rest, spec), spec))
    if file:
        return _with_file(model, weights)
    if enum is None:
        return Loaded(model, "unknown")
    transforms = enum.transforms()
    return Loaded(model, _normalisation(getattr(transforms, "mean", None), getattr(transforms, "std", None)))


def load_hugging_face(name: str, settings: Mapping[str, Any], spec: str) -> Loaded:
    """An image classifier of Transformers: safetensors only, and no code of the repository is run.

    Args:
        name: a folder, or `org/name[@REVISION]`.
        settings: none.
        spec: for errors.
    Raises: InvalidArgument: Transformers is absent, or the model cannot be had.
    """
    if settings:
        raise InvalidArgument(f"options of {spec!r} must be mean, std, normalize or bounds, got {min(settings)!r}.")
    library = import_extra("transformers", "hf")
    where, _, revision = name.partition("@")
    kind = library.AutoModelForImageClassification
    model = in_one_line(
        lambda: kind.from_pretrained(
            where, revision=revision or "main", trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ),
        spec,
    )
    return Loaded(_Logits(model), _preprocessing(library, where, revision or "main"))


def load_exported(path: str) -> Loaded:
    """A program of `torch.export.save`. Loading one can run code, so that the caller must have asked for trust.

    Args:
        path: a .pt2 file, exported with a dynamic batch dimension.
    Raises: InvalidArgument: no such file, or not such a program.
    """
    refuse_foreign_file(path)
    program = in_one_line(lambda: torch.export.load(path), path)
    return Loaded(_Exported(program.module(), hashlib.sha256(Path(path).read_bytes()).hexdigest()), "unknown")


class _Logits(nn.Module):
    """Takes the logits out of what Transformers' models return."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(inputs).logits
        return logits


class _Exported(nn.Module):
    """An exported program: its mode was fixed by the export. The file's hash stands for its graph in fingerprints."""

    def __init__(self, program: nn.Module, sha256: str) -> None:
        super().__init__()
        self.program, self._sha256 = program, sha256

    def train(self, mode: bool = True) -> "_Exported":
        self.training = mode
        return self

    def extra_repr(self) -> str:
        return f"sha256={self._sha256}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.program(inputs)
        return outputs


def _with_file(model: nn.Module, path: str) -> Loaded:
    fit_state(model, read_state(path)[0], path)
    return Loaded(model, "unknown")


def _normalisation(mean: Any, std: Any) -> Normalisation | str:
    if mean is None or std is None:
        return "unknown"
    return Normalisation(tuple(float(value) for value in mean), tuple(float(value) for value in std))


def _preprocessing(library: Any, where: str, revision: str) -> Normalisation | str:
    """The normalisation of a repository's preprocessor_config.json, where its images are in [0, 1] before it."""
    try:
        path = library.utils.cached_file(where, "preprocessor_config.json", revision=revision)
        stated = json.loads(Path(path).read_text())
        scale = stated.get("rescale_factor", 1 / 255)
        if not stated.get("do_rescale", True) or abs(scale * 255 - 1) > 1e-6:
            return "unknown"
        if not stated.get("do_normalize", True):
            return "inside"
        return _normalisation(stated.get("image_mean"), stated.get("image_std"))
    except (OSError, ValueError, TypeError, AttributeError):
        return "unknown"


def _module(made: object) -> nn.Module:
    assert isinstance(made, nn.Module)
    return made
