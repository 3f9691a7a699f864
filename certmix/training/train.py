"""Clean and Gaussian-augmented training: base classifiers that are worth smoothing."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch.nn import functional

from certmix.datasets import Dataset
from certmix.datasets.batches import batches, stack
from certmix.errors import InvalidArgument
from certmix.files import write_whole
from certmix.models import make_architecture

Progress = Callable[[int, int], None]  # (epochs done, epochs in all)
Perturb = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]  # (model, inputs, labels) -> inputs


def train(
    dataset: Dataset,
    *,
    architecture: str = "digits-cnn",
    sigma: float = 0.0,
    epochs: int = 40,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    perturb: Perturb | None = None,
    progress: Progress | None = None,
) -> torch.nn.Module:
    """A classifier trained by cross-entropy on inputs with fresh N(0, sigma^2) noise in every step.

    Source: Cohen et al. 2019, arXiv:1902.02918, Section 3.3 (Lecuyer et al. 2019). AdamW with a one-cycle schedule; the
    same seed gives the same weights on the same machine. Noise comes before the network and is not clipped.

    Args:
        dataset: inputs in [0, 1] with labels; held in memory while training.
        architecture: a built-in name.
        sigma: standard deviation of the noise, >= 0, in [0, 1] pixel units; 0 trains on clean inputs.
        epochs, batch_size, learning_rate: of the optimiser.
        seed: of weights, order and noise.
        device: where to train.
        perturb: replaces each batch after the noise; `certmix.attacks.adversarial_examples` for adversarial training.
        progress: called with (epochs done, epochs in all).
    Returns: the model, in eval mode.
    Raises: InvalidArgument: a value out of range.
    """
    for name, value, low in (("sigma", sigma, 0), ("epochs", epochs, 1), ("batch_size", batch_size, 1)):
        if not low <= value < float("inf"):
            raise InvalidArgument(f"{name} must be >= {low} and finite, got {value}.")
    if not 0 < learning_rate < float("inf"):
        raise InvalidArgument(f"learning_rate must be > 0 and finite, got {learning_rate}.")
    inputs, labels = (part.to(device) for part in stack(dataset))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make_architecture(architecture, num_classes=dataset.num_classes).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-3)
        steps = -(-len(labels) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
        for epoch in range(epochs):
            for rows in torch.split(torch.randperm(len(labels)).to(device), batch_size):
                noisy = inputs[rows] + sigma * torch.randn(inputs[rows].shape).to(device)
                if perturb is not None:
                    noisy = perturb(model, noisy, labels[rows])
                optimizer.zero_grad()
                functional.cross_entropy(model(noisy), labels[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            if progress:
                progress(epoch + 1, epochs)
    return model.eval().cpu()


@torch.inference_mode()
def accuracy(model: torch.nn.Module, dataset: Dataset) -> float:
    """Share of the data set's inputs that the model classifies correctly, without noise."""
    model = copy.copy(model).eval()
    right = sum(int((model(inputs).argmax(dim=1) == labels).sum()) for inputs, labels in batches(dataset))
    return right / len(dataset)


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
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    write_whole(path, save(state, metadata={"certmix": json.dumps(own)}), force=force)
