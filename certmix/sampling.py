"""Classifier + data set -> Statistics: the Monte Carlo draws of Gaussian randomized smoothing.

The forward pass is the cost; around it there is one reused buffer, no Python loop per draw, and counting in integers
on the device. Source of the procedure: Cohen et al. 2019, arXiv:1902.02918, CERTIFY (selection, then fresh draws).
"""

import math
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import certmix
from certmix.datasets import Dataset
from certmix.errors import InvalidArgument, SamplingError
from certmix.models import fingerprint
from certmix.noise import Purpose, describe_noise, make_noise
from certmix.statistics_store import (
    MANIFEST,
    SCHEMA_VERSION,
    InputRecord,
    RunWriter,
    Statistics,
    from_records,
    read_manifest,
)

Progress = Callable[[int, int], None]  # (inputs done, inputs in all)


def sample(
    robust: torch.nn.Module,
    dataset: Dataset,
    *,
    sigma: float,
    num_selection: int = 100,
    num_estimation: int = 10_000,
    accurate: torch.nn.Module | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    batch_size: int = 1000,
    device: str | torch.device = "auto",
    noise: Literal["auto", "integer", "float"] = "auto",
    on_invalid: Literal["error", "count"] = "error",
    progress: Progress | None = None,
    model_spec: str | None = None,
    accurate_spec: str | None = None,
    flush_seconds: float = 10.0,
) -> Statistics:
    """Votes of `robust` under N(0, sigma^2) noise on every input. Source: Cohen et al. 2019, CERTIFY's two samplings.

    Guarantee: the noise of a draw depends on (seed, input index, purpose, draw number) alone, so statistics do not
    depend on batch size, order, restarts, or which inputs were drawn before; selection and estimation draws are
    independent. Both models are put in eval mode. Noise is added before anything the model does (normalisation too).

    Args:
        robust: base classifier h, (batch, *input_shape) in float32 -> (batch, classes); argmax votes, first on ties.
        dataset: inputs in [0, 1] with labels.
        sigma: standard deviation, > 0, in [0, 1] pixel units.
        num_selection, num_estimation: draws per input, >= 1.
        accurate: g, whose softmax at the clean input is recorded once per input; certificates never depend on it.
        seed: in [0, 2**128); None takes fresh operating-system entropy (or the stored run's seed), and records it.
        out: run folder to write and resume; None keeps the statistics in memory.
        batch_size: most draws per forward pass. The last pass is padded, so that every pass has one shape.
        device: where the models run; "auto" takes a GPU where there is one.
        noise: "integer" is the exactly rounded Gaussian on the data set's grid; "float" is float32 noise, whose
            certificates hold up to rounding; "auto" takes integer wherever the inputs lie on a grid.
        on_invalid: a non-finite output is an error that names the input, or a vote for an extra class, `invalid`.
        progress: called with (inputs done, inputs in all).
        model_spec, accurate_spec: recorded in the manifest beside the models' sha256.
        flush_seconds: a killed process loses at most this much sampling.
    Returns: Statistics in order of input index.
    Raises:
        InvalidArgument: a value outside its range, named.
        SamplingError: outputs of the wrong shape or not finite, or different outputs for one input.
        NoiseError: the noise really used failed its audit.
        RunError: `out` is no run, in use, damaged, or from other settings.
    """
    _check_arguments(sigma, num_selection, num_estimation, batch_size, seed, on_invalid)
    device = _device(device)
    _prepare(robust, device)
    draws: dict[str, Any] = {
        "model": {"spec": model_spec, "sha256": fingerprint(robust)},
        "accurate": None,
        "dataset": {
            "spec": dataset.spec,
            "fingerprint": dataset.fingerprint,
            "subset": dict(dataset.subset),
            "inputs": len(dataset),
            "input_shape": list(dataset.input_shape),
        },
        "num_classes": dataset.num_classes,
        "sigma": float(sigma),
        "num_selection": int(num_selection),
        "num_estimation": int(num_estimation),
        "votes": "hard",
        "noise": describe_noise(
            noise, sigma=sigma, size=math.prod(dataset.input_shape), grid_levels=dataset.grid_levels
        ),
        "precision": "float32",
        "device": device.type,
        "on_invalid": on_invalid,
    }
    if accurate is not None:
        _prepare(accurate, device)
        draws["accurate"] = {"spec": accurate_spec, "sha256": fingerprint(accurate)}
    draws["seed"] = hex(_choose_seed(seed, out))  # only after the models are fixed
    manifest = {"schema_version": SCHEMA_VERSION, "draws": draws, "environment": _environment(device, batch_size)}
    sampler = _Sampler(robust, accurate, dataset, draws, device, batch_size)
    if out is None:
        return from_records(list(_report(sampler.records(set()), 0, len(dataset), progress)), manifest)
    if not (Path(out) / MANIFEST).exists():
        sampler.probe()  # a model that cannot be certified leaves no run behind
    writer = RunWriter(out, manifest, flush_seconds=flush_seconds)
    with writer:
        for record in _report(sampler.records(writer.done), len(writer.done), len(dataset), progress):
            writer.add(record)
        writer.flush()
        if sampler.noise.audit is not None and sampler.noise.audit.tests():
            writer.record_audit(sampler.noise.audit.summary())
    return from_records(writer.records, writer.manifest)


@dataclass
class _Sampler:
    robust: torch.nn.Module
    accurate: torch.nn.Module | None
    dataset: Dataset
    draws: dict[str, Any]
    device: torch.device
    batch_size: int

    def __post_init__(self) -> None:
        self.probed = False
        total = self.draws["num_selection"] + self.draws["num_estimation"]
        # As few passes as the batch size allows, of equal size: little padding.
        self.batch = -(-total // -(-total // self.batch_size))

    @torch.inference_mode()
    def records(self, done: set[int]) -> Iterator[InputRecord]:
        """One record per input that is not done, in order."""
        size = math.prod(self.dataset.input_shape)
        seed, sigma = int(self.draws["seed"], 16), self.draws["sigma"]
        self.noise = make_noise(self.draws["noise"], seed=seed, sigma=sigma, size=size, device=self.device)
        total = self.draws["num_selection"] + self.draws["num_estimation"]
        self.buffer = torch.zeros(self.batch, size, dtype=torch.float32, device=self.device)
        for position, index in enumerate(self.dataset.indices):
            if int(index) in done:
                continue
            started = time.perf_counter()
            clean, label = self.dataset[position]
            clean = clean.to(self.device, torch.float32)
            if not self.probed:
                self.probe()
            counts = self._count(clean.reshape(-1), int(index))
            self.noise.check()
            invalid = counts[:, -1]
            if invalid.any() and self.draws["on_invalid"] == "error":
                raise SamplingError(
                    f"model output must be finite, got NaN or infinity in {int(invalid.sum())} of {total} draws at "
                    f"input {index}; mend the model, or count them as votes against it with --on-invalid count."
                )
            yield InputRecord(
                index=int(index),
                label=label,
                selection_counts=counts[0, :-1],
                estimation_counts=counts[1, :-1],
                selection_invalid=int(invalid[0]),
                estimation_invalid=int(invalid[1]),
                accurate_probabilities=self._accurate_probabilities(clean, int(index)),
                seconds=time.perf_counter() - started,
            )

    def _count(self, clean: torch.Tensor, index: int) -> NDArray[np.int64]:
        """Votes of one input, shape (2, classes + 1): selection and estimation; the last column is invalid."""
        classes, n0 = self.draws["num_classes"], self.draws["num_selection"]
        total = n0 + self.draws["num_estimation"]
        counts = torch.zeros(2, classes + 1, dtype=torch.int64, device=self.device)
        ones = torch.ones(self.batch, dtype=torch.int64, device=self.device)
        for start in range(0, total, self.batch):
            stop = min(start + self.batch, total)
            split = min(max(n0, start), stop)  # draws before it are selection draws, from it on estimation draws
            self._fill(clean, index, "selection", 0, split - start, start)
            self._fill(clean, index, "estimation", split - start, stop - start, split - n0)
            votes = self._votes(self.buffer)
            counts[0].scatter_add_(0, votes[: split - start], ones[: split - start])
            counts[1].scatter_add_(0, votes[split - start : stop - start], ones[split - start : stop - start])
        return np.array(counts.cpu().numpy())  # a copy: records that share torch's memory take three times as much

    def _fill(self, clean: torch.Tensor, index: int, purpose: Purpose, begin: int, end: int, first_draw: int) -> None:
        if begin < end:
            self.noise.add_to(self.buffer[begin:end], clean, index=index, purpose=purpose, start=first_draw)

    def _votes(self, flat: torch.Tensor) -> torch.Tensor:
        """Class voted for by each row, shape (rows,), int64; `classes` where an output is not finite."""
        logits = self.robust(flat.view(len(flat), *self.dataset.input_shape))
        votes = logits.argmax(dim=1)
        return torch.where(torch.isfinite(logits).all(dim=1), votes, self.draws["num_classes"])

    @torch.inference_mode()
    def probe(self) -> None:
        """Refuse a model whose outputs have the wrong shape, or differ between two calls on the same batch."""
        self.probed = True
        clean = self.dataset[0][0].to(self.device, torch.float32)
        classes, shape = self.draws["num_classes"], tuple(self.dataset.input_shape)
        batch = clean.unsqueeze(0).expand(self.batch, *shape).contiguous()
        for name, model in (("robust", self.robust), ("accurate", self.accurate)):
            if model is None:
                continue
            outputs = _forward(model, batch, name)
            if outputs.shape != (self.batch, classes):
                raise SamplingError(
                    f"the {name} model's output must have shape (batch, classes) = {(self.batch, classes)} for inputs "
                    f"of shape {shape}, got {tuple(outputs.shape)}; check the model and the data set's classes."
                )
            if not torch.equal(outputs.nan_to_num(), _forward(model, batch, name).nan_to_num()):
                raise SamplingError(
                    f"the {name} model must be one fixed function, got different outputs for the same inputs; "
                    "switch off what is random in it (dropout outside eval mode, noise layers)."
                )

    def _accurate_probabilities(self, clean: torch.Tensor, index: int) -> NDArray[np.float32] | None:
        if self.accurate is None:
            return None
        probabilities = torch.softmax(self.accurate(clean.unsqueeze(0)).double(), dim=1)[0].float().cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise SamplingError(f"the accurate model's output must be finite, got NaN or infinity at input {index}.")
        return np.asarray(probabilities, dtype=np.float32)


def _forward(model: torch.nn.Module, batch: torch.Tensor, name: str) -> torch.Tensor:
    """The model's outputs, with a shape it cannot take reported in one line."""
    try:
        outputs = model(batch)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise SamplingError(
            f"the {name} model must take inputs of shape (batch, *input_shape) = {tuple(batch.shape)}, got: {reason}"
        ) from error
    if not isinstance(outputs, torch.Tensor):
        raise SamplingError(f"the {name} model must return a tensor of logits, got {type(outputs).__name__}.")
    return outputs


def _prepare(model: torch.nn.Module, device: torch.device) -> None:
    model.eval().to(device)


def _report(records: Iterator[InputRecord], done: int, total: int, progress: Progress | None) -> Iterator[InputRecord]:
    if progress:
        progress(done, total)
    for number, record in enumerate(records, start=done + 1):
        yield record
        if progress:
            progress(number, total)


def _choose_seed(seed: int | None, out: str | Path | None) -> int:
    if seed is not None:
        return seed
    if out is not None and (Path(out) / "manifest.json").exists():
        return int(read_manifest(out)["draws"]["seed"], 16)
    return secrets.randbits(128)


def _environment(device: torch.device, batch_size: int) -> dict[str, Any]:
    return {
        "certmix": certmix.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn": {
            "version": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "allow_tf32": torch.backends.cudnn.allow_tf32,
            "benchmark": torch.backends.cudnn.benchmark,
            "deterministic": torch.backends.cudnn.deterministic,
        },
    }


def _device(name: str | torch.device) -> torch.device:
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgument(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"device {name!r} needs a GPU that torch can use, and there is none; use cpu.")
    return device


def _check_arguments(
    sigma: float, num_selection: int, num_estimation: int, batch_size: int, seed: int | None, on_invalid: str
) -> None:
    if on_invalid not in ("error", "count"):
        raise InvalidArgument(f"on_invalid must be error or count, got {on_invalid!r}.")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}; 0.25 is a common start.")
    for name, value in (
        ("num_selection", num_selection),
        ("num_estimation", num_estimation),
        ("batch_size", batch_size),
    ):
        if value < 1:
            raise InvalidArgument(f"{name} must be >= 1, got {value}; the paper draws 100 and 10,000.")
    if seed is not None and not 0 <= seed < 2**128:
        raise InvalidArgument(f"seed must be in [0, 2**128), got {seed}; leave it out for a fresh one.")
