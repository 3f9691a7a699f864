"""Training in one call, and the files of trained models."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from certmix.datasets import OwnData, as_dataset
from certmix.datasets.batches import batches
from certmix.files import write_whole
from certmix.models.own_range import in_range_of
from certmix.training.loop import Progress, fit
from certmix.training.methods import Gaussian, Method
from certmix.training.network import Start
from certmix.training.recipe import Recipe


def train(
    dataset: OwnData,
    *,
    architecture: str = "digits-cnn",
    sigma: float = 0.0,
    method: Method | None = None,
    epochs: int = 40,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> torch.nn.Module:
    """A small classifier from fresh weights, by the recipe "small"; see `fit` for other recipes.

    Source: Cohen et al. 2019, arXiv:1902.02918, Section 3.3 (Lecuyer et al. 2019). The same seed gives the same weights
    on the same machine.

    Args:
        dataset: inputs with labels, as `certmix.sample` takes them.
        architecture: a built-in name.
        sigma: noise of Gaussian augmentation, >= 0, in [0, 1] pixel units; 0 trains on clean inputs.
        method: another method, in place of Gaussian augmentation.
        epochs, batch_size, learning_rate: of the optimiser.
        seed: of weights, order and noise.
        device: where to train.
        progress: see `fit`.
    Returns: the model, in eval mode, on the CPU.
    Raises: InvalidArgument: a value out of range.
    """
    recipe = Recipe(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    chosen = Gaussian(sigma) if method is None else method
    return fit(dataset, Start(architecture), chosen, recipe, device=device, progress=progress).model


@torch.inference_mode()
def accuracy(model: torch.nn.Module, dataset: OwnData) -> float:
    """Share of the data set's inputs that the model classifies correctly, without noise."""
    data = as_dataset(dataset)
    model = in_range_of(copy.copy(model).eval(), data)
    right = sum(int((model(inputs).argmax(dim=1) == labels).sum()) for inputs, labels in batches(data))
    return right / len(data)


def save_model(
    model: torch.nn.Module,
    path: str | Path,
    *,
    architecture: str,
    settings: dict[str, Any],
    build: dict[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Write a model as safetensors, atomically, with its architecture and settings as metadata.

    Args:
        model: of a built-in architecture.
        path: where; must not exist unless `force`.
        architecture: its name.
        settings: what it was trained with.
        build: what is passed to the architecture when loading; "num_classes" of the settings where left out.
        force: overwrite.
    Raises: InvalidArgument: the file exists. FileError: it cannot be written.
    """
    if build is None:
        build = {key: value for key, value in settings.items() if key == "num_classes"}
    own = {"architecture": architecture, "settings": build, "training": settings}
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    write_whole(path, save(state, metadata={"certmix": json.dumps(own)}), force=force)
