"""What a model, a data set or a run is, as plain values: the questions to answer before hours of sampling."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from certmix.datasets import Dataset, OwnData, Subset, as_dataset
from certmix.datasets.base import bounds_of
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument
from certmix.models import fingerprint
from certmix.models.acceleration import Accelerated
from certmix.models.architectures import Normalized
from certmix.models.denoised import DenoisedClassifier, DiffusionDenoiser
from certmix.models.own_range import InRange, in_range_of
from certmix.models.placement import device_of
from certmix.runs.store import Statistics


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Size, shape, classes, grid, subset, and the range and shape of a first input, which is read for it."""
    first, label = dataset[0]
    shares = Counter(dataset.labels.tolist())
    return {
        "spec": dataset.spec,
        "inputs": len(dataset),
        "input_shape": list(dataset.input_shape),
        "num_classes": dataset.num_classes,
        "classes_present": len(shares),
        "largest_class": max(shares.values()) / len(dataset),
        "grid_levels": dataset.grid_levels,
        "bounds": None if bounds_of(dataset) is None else str(bounds_of(dataset)),
        "subset": dict(dataset.subset),
        "first_input": {
            "index": int(dataset.indices[0]),
            "label": label,
            "range": [float(first.min()), float(first.max())],
            "channel_means": [float(value) for value in first.flatten(1).mean(1)] if first.ndim == 3 else None,
        },
    }


def describe_model(model: torch.nn.Module) -> dict[str, Any]:
    """The classifier (parameters, precision, normalisation, channels that its first layer wants), what comes before it (a
    denoiser with its step and schedule), and the fingerprint of the whole."""
    denoised = next((part for part in model.modules() if isinstance(part, DenoisedClassifier)), None)
    accelerated = next((part for part in model.modules() if isinstance(part, Accelerated)), None)
    parts = list((model if denoised is None else denoised.classifier).modules())
    norm = next((part for part in parts if isinstance(part, Normalized)), None)
    own = next((part for part in parts if isinstance(part, InRange)), None)
    linear = [part for part in parts if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear))]
    return {
        "type": type(_inside(parts[0])).__name__,
        "parameters": _size(parts[0]),
        "layers": len(linear),
        "precision": sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}),
        "accelerated": None if accelerated is None else accelerated.extra_repr(),
        "normalisation": None if norm is None else {"mean": _flat(norm.mean), "std": _flat(norm.std)},
        "bounds": None if own is None else str(own.bounds),
        "denoiser": None if denoised is None else _denoiser(denoised),
        "first_layer_takes": None if not linear else _first_layer(linear[0]),
        "sha256": fingerprint(model),
    }


def _denoiser(denoised: DenoisedClassifier) -> dict[str, Any]:
    """What removes the noise before the classifier; of a diffusion model, the step that it is told and its schedule."""
    found = denoised.denoiser
    network = found.network if isinstance(found, DiffusionDenoiser) else found
    made = {"type": type(_inside(network)).__name__, "parameters": _size(network), "upsample": denoised.upsample}
    if not isinstance(found, DiffusionDenoiser):
        return made
    return {
        **made,
        "sigma": found.sigma,
        "step": found.step,
        "steps_of_schedule": found.steps_of_schedule,
        "step_sigma": found.step_sigma,
        "prediction": found.prediction,
        "step_scale": found.step_scale,
    }


def _size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def check_on(
    model: torch.nn.Module, dataset: OwnData, count: int = 100, *, batch_size: int | None = None
) -> dict[str, Any]:
    """Clean accuracy on inputs spread over a data set, and whether the model's outputs fit its classes.

    Args:
        model: inputs -> logits, where it is to run.
        dataset: with labels, as `certmix.sample` takes it.
        count: most inputs to evaluate, evenly spaced.
        batch_size: inputs evaluated at once; 50 by default.
    Returns: inputs, clean_accuracy, output_shape, and `remarks`: what looks wrong, in words.
    Raises: InvalidArgument: a model that cannot take the inputs.
    """
    dataset = as_dataset(dataset)
    model = in_range_of(model, dataset)
    positions = [int(i * len(dataset) / min(count, len(dataset))) for i in range(min(count, len(dataset)))]
    part = Subset(dataset, positions)
    outputs, labels, device = [], torch.as_tensor(part.labels), device_of(model)
    for batch, _ in batches(part, batch_size or 50):
        try:
            outputs.append(model.eval()(batch.to(device)).cpu())
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise InvalidArgument(f"the model must take inputs of shape {tuple(batch.shape)}, got: {reason}") from None
    logits = torch.cat(outputs)
    shape = ["batch", *logits.shape[1:]]
    if logits.ndim != 2:
        return {
            "inputs": len(part),
            "clean_accuracy": None,
            "output_shape": shape,
            "remarks": ["outputs are not logits"],
        }
    right = float((logits.argmax(dim=1) == labels).float().mean())
    found = {"inputs": len(part), "clean_accuracy": right, "output_shape": shape}
    return {**found, "remarks": _remarks(logits, right, dataset)}


def describe_run(statistics: Statistics) -> dict[str, Any]:
    """What a run drew, from what, how far it is, and how its votes look."""
    draws = statistics.draws.to_json()
    right = statistics.estimation_counts.argmax(axis=1) == statistics.labels
    done = max(len(statistics), 1)
    accurate = statistics.accurate_probabilities
    return {
        **{key: draws[key] for key in ("model", "accurate", "dataset", "sigma", "num_selection", "num_estimation")},
        **{key: draws.get(key) for key in ("votes", "noise", "seed", "num_classes")},
        "environment": asdict(statistics.manifest.environment),
        "inputs_done": len(statistics),
        "seconds": float(statistics.seconds.sum()),
        "smoothed_accuracy": float(right.sum()) / done,
        "accurate_accuracy": None
        if accurate is None
        else float((accurate.argmax(1) == statistics.labels).sum()) / done,
        "invalid_votes": int(statistics.estimation_invalid.sum() + statistics.selection_invalid.sum()),
    }


def _remarks(logits: torch.Tensor, right: float, dataset: Dataset) -> list[str]:
    """Signs of a model that does not belong to the data set, or of a wrong normalisation."""
    remarks = []
    if logits.shape[1] != dataset.num_classes:
        remarks.append(
            f"the model has {logits.shape[1]} classes, the data set {dataset.num_classes}: sampling will refuse it"
        )
    if not torch.isfinite(logits).all():
        remarks.append("some outputs are not finite")
    if len(logits) > 1 and torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[-1]):
        remarks.append("outputs are the same for every input")
    if right < 1.5 / dataset.num_classes:
        remarks.append("accuracy is no better than guessing: check normalisation, the order of classes, and resizing")
    return remarks


def _inside(model: torch.nn.Module) -> torch.nn.Module:
    """The network behind the wrappers that a spec's options put around it."""
    while isinstance(model, (Accelerated, Normalized, InRange)):
        model = model.model
    return model


def _first_layer(layer: torch.nn.Conv2d | torch.nn.Linear) -> str:
    if isinstance(layer, torch.nn.Linear):
        return f"{layer.in_features} values"
    return f"{layer.in_channels} channel{'s' if layer.in_channels > 1 else ''}"


def _flat(values: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.flatten()]
