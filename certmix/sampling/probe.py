"""Is the base classifier one fixed function, and the same one as before? Asked before a single draw is counted."""

import math

import torch

from certmix.datasets import Dataset
from certmix.errors import RunError, SamplingError
from certmix.noise.gaussian import GaussianNoise

Answers = tuple[tuple[float, ...], ...]
_INPUTS, _CLASSES, _DIGITS = 4, 10, 7  # noisy inputs asked about, and what is kept of each answer
_TOLERANCE = {True: 1e-4, False: 2e-2}  # of the largest logit: float32 models, and models that compute in less
_ELSEWHERE = 10.0  # times the tolerance, between two machines


@torch.inference_mode()
def probe(
    model: torch.nn.Module, dataset: Dataset, *, batch: int, sigma: float, device: torch.device, name: str
) -> Answers:
    """The model's answers on some fixed noisy inputs, after checks that it is one function of one input.

    A row must get the same answer twice, among copies of itself, among other rows, and in another place: test-time batch
    statistics, heads that average over the batch and noise seeded by the row fail.

    Args:
        model: in eval mode on `device`.
        dataset: says the shape of an input and the number of classes.
        batch: rows of every pass.
        sigma: of the noise, in [0, 1] pixel units.
        device: where the model runs.
        name: "robust" or "accurate", for errors.
    Returns: the first logits of four inputs, grey with noise, rounded to 7 digits.
    Raises: SamplingError: a wrong shape, or a model that is not one fixed function.
    """
    shape = tuple(dataset.input_shape)
    grey = torch.full((math.prod(shape),), 0.5, device=device)
    noisy = torch.empty(max(batch, _INPUTS), len(grey), device=device)
    noise = GaussianNoise(0, sigma, len(grey), device)
    noise.add_to(noisy, grey, index=0, purpose="prediction", start=0)
    noisy = noisy.view(-1, *shape)
    rows = noisy[:batch]
    outputs = _forward(model, rows, name)
    if outputs.shape != (batch, dataset.num_classes):
        raise SamplingError(
            f"the {name} model's output must have shape (batch, classes) = {(batch, dataset.num_classes)} for inputs "
            f"of shape {shape}, got {tuple(outputs.shape)}; check the model and the data set's classes (num_classes=)."
        )
    if not torch.equal(outputs.nan_to_num(), _forward(model, rows, name).nan_to_num()):
        raise SamplingError(
            f"the {name} model must be one fixed function, got different outputs for the same inputs; "
            "switch off what is random in it (dropout outside eval mode, noise layers)."
        )
    copies = _forward(model, rows[:1].expand(batch, *shape).contiguous(), name)
    rolled = _forward(model, rows.roll(batch // 2, 0), name).roll(-(batch // 2), 0)
    for other in (copies[:1], copies[-1:], rolled):
        if not _agree(outputs[: len(other)], other, tolerance(model)):
            raise SamplingError(
                f"the {name} model must be one function of one input, but an input's output depends on the other rows of "
                "its batch or on its place; put batch norms into eval mode and remove what looks across rows."
            )
    if batch < _INPUTS:
        outputs = torch.cat([_forward(model, noisy[i : i + 1].expand(batch, *shape), name)[:1] for i in range(_INPUTS)])
    kept = outputs[:_INPUTS, :_CLASSES].double().cpu().tolist()
    return tuple(tuple(_rounded(value) for value in row) for row in kept)


@torch.inference_mode()
def num_outputs(model: torch.nn.Module, shape: tuple[int, ...], device: torch.device) -> int:
    """How many classes a classifier of inputs of this shape has. Raises SamplingError: no such inputs, or no logits."""
    try:
        outputs = _forward(model.eval().to(device), torch.full((1, *shape), 0.5, device=device), "robust")
    except SamplingError as error:
        raise SamplingError(f"{error}; is this one input, without a batch dimension?") from error
    if outputs.ndim != 2 or outputs.shape[0] != 1 or outputs.shape[1] < 2:
        raise SamplingError(
            f"the robust model's output must have shape (batch, classes), 2 classes or more, for inputs of shape {shape}, "
            f"got {tuple(outputs.shape)} for a batch of one; is this one input, without a batch dimension?"
        )
    return int(outputs.shape[1])


def refuse_other_model(stored: Answers, here: Answers, folder: str, relative: float) -> None:
    """Raise RunError where a model answers otherwise than the one that a run was drawn with, though its weights agree."""
    if not answers_agree(stored, here, relative):
        raise RunError(
            f"{folder} was drawn with a model that answers otherwise than this one, though its weights are the same: an "
            "attribute, a helper file or a setting differs; restore it, or choose another --out."
        )


def answers_agree(stored: Answers, here: Answers, relative: float, *, elsewhere: bool = False) -> bool:
    """Whether two probes are of one function, up to rounding (of another machine)."""
    if [len(row) for row in stored] != [len(row) for row in here]:
        return False
    wide = relative * (_ELSEWHERE if elsewhere else 1.0)
    return _agree(torch.tensor(stored, dtype=torch.float64), torch.tensor(here, dtype=torch.float64), wide)


def tolerance(model: torch.nn.Module) -> float:
    """How far two evaluations of one input may lie apart by rounding, relative to the largest logit."""
    dtypes = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    return _TOLERANCE[dtypes <= {torch.float32, torch.float64}]


def _agree(one: torch.Tensor, other: torch.Tensor, relative: float) -> bool:
    finite = torch.isfinite(one)
    if not torch.equal(finite, torch.isfinite(other)):
        return False
    one, other = one[finite].double(), other[finite].double()
    scale = max(1e-6, float(one.abs().max())) if len(one) else 1.0
    return bool(((one - other).abs() <= relative * scale).all())


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else math.nan


def _forward(model: torch.nn.Module, batch: torch.Tensor, name: str) -> torch.Tensor:
    """The model's outputs, with a shape it cannot take reported in one line."""
    try:
        outputs = model(batch)
    except torch.cuda.OutOfMemoryError:
        raise  # a batch size that is too large, not a model that takes no such inputs
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise SamplingError(
            f"the {name} model must take inputs of shape (batch, *input_shape) = {tuple(batch.shape)}, got: {reason}"
        ) from error
    if not isinstance(outputs, torch.Tensor):
        raise SamplingError(f"the {name} model must return a tensor of logits, got {type(outputs).__name__}.")
    return outputs
