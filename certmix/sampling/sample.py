"""Classifier + data set -> Statistics: the Monte Carlo draws of Gaussian randomized smoothing.

The forward pass is the cost; around it there is one reused buffer, no Python loop per draw, and counting in integers
on the device. Source of the procedure: Cohen et al. 2019, arXiv:1902.02918, CERTIFY (selection, then fresh draws).
"""

import math
import platform
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import certmix
from certmix.certification.schedule import Schedule
from certmix.datasets import Dataset
from certmix.errors import InvalidArgument, SamplingError
from certmix.models import fingerprint
from certmix.models.acceleration import accelerate, compile_model
from certmix.noise import NoiseRecord, describe_noise, make_noise
from certmix.runs.records import InputRecord
from certmix.runs.store import (
    MANIFEST,
    SCHEMA_VERSION,
    RunWriter,
    Statistics,
    from_records,
    read_manifest,
    read_statistics,
    refuse_disagreement,
)
from certmix.sampling.batch_size import calibrate_batch_size
from certmix.sampling.loop import DrawLoop
from certmix.sampling.ranks import Team

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
    batch_size: int | None = None,
    exact_batch: bool = False,
    device: str | torch.device = "auto",
    noise: Literal["auto", "integer", "float"] = "auto",
    votes: Literal["hard", "soft", "both"] = "hard",
    schedule: Schedule | None = None,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    fast: bool = False,
    compiled: bool = False,
    on_invalid: Literal["error", "count"] = "error",
    progress: Progress | None = None,
    model_spec: str | None = None,
    accurate_spec: str | None = None,
    flush_seconds: float = 10.0,
    shard: tuple[int, int] = (0, 1),
    team: Team | None = None,
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
        batch_size: draws per forward pass; the last pass is padded, so that every pass has one shape. None takes the
            stored run's, or the fastest of a short calibration that is remembered on this machine.
        exact_batch: keep that shape even where the whole run has fewer draws (to replay a part of a run).
        device: where the models run; "auto" takes a GPU where there is one.
        noise: "integer" is the exactly rounded Gaussian on the data set's grid; "float" is float32 noise, whose
            certificates hold up to rounding; "auto" takes integer wherever the inputs lie on a grid.
        votes: "hard" counts classes. "soft" and "both" also store histograms of the class probabilities, from which the
            smoothed probabilities of the paper's Section A.1 are bounded; `certify` takes them by default for "soft".
            Their last bits are the model's own, and may depend on the batch size.
        schedule: looks at which an input may stop early, of `certmix.certification.schedule.make_schedule`; hard votes only.
        precision: that the robust model computes in; noise is added before, in float32.
        fast: fold its batch norms and lay out channels last.
        compiled: run it through torch.compile (CUDA graphs on a GPU). These three make another base classifier by
            rounding, and are recorded.
        on_invalid: a non-finite output is an error that names the input, or a vote for an extra class, `invalid`.
        progress: called with (inputs done, inputs in all).
        model_spec, accurate_spec: recorded in the manifest beside the models' sha256.
        flush_seconds: a killed process loses at most this much sampling.
        shard: (I, N): draw every N-th input from the I-th on; folders of one seed are merged by `read_statistics`.
        team: processes that fill one run folder together, of `certmix.sampling.ranks.join_team`.
    Returns: Statistics in order of input index; with `out`, all that the folder holds (of a team, the leading process alone
        waits until that is everything).
    Raises:
        InvalidArgument: a value outside its range, named.
        SamplingError: outputs of the wrong shape or not finite, or different outputs for one input.
        NoiseError: the noise really used failed its audit.
        RunError: `out` is no run, in use, damaged, or from other settings.
    """
    team = team or Team()
    _check_arguments(sigma, num_selection, num_estimation, batch_size, seed, on_invalid)
    _check_votes(votes, schedule, num_estimation, sigma)
    _check_parts(shard, team, seed, out)
    device = choose_device(device)
    evaluated = accelerate(robust.eval(), precision=precision, fast=fast)
    models = {"robust": evaluated, "accurate": accurate}
    for model in models.values():
        if model is not None:
            model.eval().to(device)
    draws: dict[str, Any] = {
        "model": _describe_model(robust, model_spec),
        "accurate": None if accurate is None else _describe_model(accurate, accurate_spec),
        "dataset": _describe_dataset(dataset),
        "num_classes": dataset.num_classes,
        "sigma": float(sigma),
        "num_selection": int(num_selection),
        "num_estimation": int(num_estimation),
        "votes": votes,
        "noise": describe_noise(
            noise, sigma=sigma, size=math.prod(dataset.input_shape), grid_levels=dataset.grid_levels
        ).to_json(),
        "precision": precision,
        "fast": fast,
        "compiled": compiled,
        "device": device.type,
        "on_invalid": on_invalid,
    }
    if schedule is not None:
        draws["schedule"] = schedule.describe()

    def first_manifest() -> dict[str, Any]:
        fixed = {**draws, "seed": hex(_choose_seed(seed, out))}  # only after the models are fixed
        rows = batch_size or _stored_batch_size(out) or _calibrated(evaluated, dataset, device, draws)
        # The shape of every pass is one and the same, whatever was drawn before: no more rows than the run needs.
        rows = rows if exact_batch else min(rows, len(dataset) * (num_selection + num_estimation))
        return {"schema_version": SCHEMA_VERSION, "draws": fixed, "environment": _environment(device, rows)}

    manifest = team.share("manifest", first_manifest)
    if not team.leads:
        refuse_disagreement(manifest["draws"], {**draws, "seed": manifest["draws"]["seed"]}, Path(str(out)))
    if compiled:
        models["robust"] = evaluated = compile_model(evaluated, device)
    loop = _draw_loop(evaluated, accurate, dataset, manifest, device, schedule)
    resuming = out is not None and (Path(out) / MANIFEST).exists()
    if not resuming:  # a model that cannot be certified leaves no run behind
        _probe(models, dataset, loop.batch, device)
    mine = list(range(len(dataset)))[shard[0] :: shard[1]]
    if out is None:
        return from_records(list(_report(loop.records(iter(mine), {}), 0, len(mine), progress)), manifest)
    _draw_into(out, manifest, loop, mine, models, team, resuming, flush_seconds, progress)
    return read_statistics(out)


def _draw_into(
    out: str | Path,
    manifest: dict[str, Any],
    loop: DrawLoop,
    mine: list[int],
    models: dict[str, torch.nn.Module | None],
    team: Team,
    resuming: bool,
    flush_seconds: float,
    progress: Progress | None,
) -> None:
    """Draw what a run folder lacks, together with the other ranks, and store it as it comes."""
    indices = loop.dataset.indices.tolist()
    patience = 10.0 if team.size > 1 else 0.0  # ranks of a launcher that was killed take a second to notice
    with RunWriter(out, manifest, flush_seconds=flush_seconds, rank=team.rank, patience=patience) as writer:
        missing = team.share("missing", lambda: [position for position in mine if indices[position] not in writer.done])
        if resuming and missing:
            _probe(models, loop.dataset, loop.batch, loop.device)
        before = len(mine) - len(missing)

        def tell(done: int) -> None:
            if progress and team.leads:
                progress(before + done, len(mine))

        tell(0)
        loop.between_passes = writer.save_if_due
        for record in loop.records(team.claim(missing), writer.read_partial() if missing else {}):
            writer.add(record)
            tell(team.count_done(1))
        writer.flush()
        audit = loop.noise.audit
        summary = audit.summary() if audit is not None and audit.tests() else None
        if summary is not None and loop.batch != manifest["environment"]["batch_size"]:
            summary["batch_size"] = loop.batch  # memory did not hold more
        for made in team.finish(summary, tell):
            writer.record_audit(made)
        if team.leads:
            writer.drop_partial()


def _describe_model(model: torch.nn.Module, spec: str | None) -> dict[str, Any]:
    return {"spec": spec, "sha256": fingerprint(model)}


def _describe_dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "spec": dataset.spec,
        "fingerprint": dataset.fingerprint,
        "subset": dict(dataset.subset),
        "inputs": len(dataset),
        "input_shape": list(dataset.input_shape),
    }


def _draw_loop(
    robust: torch.nn.Module,
    accurate: torch.nn.Module | None,
    dataset: Dataset,
    manifest: dict[str, Any],
    device: torch.device,
    schedule: Schedule | None,
) -> DrawLoop:
    draws = manifest["draws"]
    made = make_noise(
        NoiseRecord.from_json(draws["noise"]),
        seed=int(draws["seed"], 16),
        sigma=draws["sigma"],
        size=math.prod(dataset.input_shape),
        device=device,
    )
    batch = manifest["environment"]["batch_size"]
    return DrawLoop(robust, accurate, dataset, draws, made, device, batch, schedule)


def _stored_batch_size(out: str | Path | None) -> int | None:
    if out is None or not (Path(out) / MANIFEST).exists():
        return None
    return int(read_manifest(out)["environment"]["batch_size"])


def _calibrated(robust: torch.nn.Module, dataset: Dataset, device: torch.device, draws: dict[str, Any]) -> int:
    """The fastest batch size, or the default where the model does not take such inputs at all: the probe will say so."""
    try:
        return calibrate_batch_size(
            robust, dataset.input_shape, device, key=f"{draws['model']['sha256']} {draws['precision']} {draws['fast']}"
        )
    except (RuntimeError, TypeError, ValueError, IndexError):
        return 100


@torch.inference_mode()
def _probe(models: dict[str, torch.nn.Module | None], dataset: Dataset, batch: int, device: torch.device) -> None:
    """Refuse a model whose outputs have the wrong shape, or differ between two calls on the same batch."""
    clean = dataset[0][0].to(device, torch.float32)
    shape = tuple(dataset.input_shape)
    inputs = clean.unsqueeze(0).expand(batch, *shape).contiguous()
    for name, model in models.items():
        if model is None:
            continue
        outputs = _forward(model, inputs, name)
        if outputs.shape != (batch, dataset.num_classes):
            raise SamplingError(
                f"the {name} model's output must have shape (batch, classes) = {(batch, dataset.num_classes)} for inputs "
                f"of shape {shape}, got {tuple(outputs.shape)}; check the model and the data set's classes."
            )
        if not torch.equal(outputs.nan_to_num(), _forward(model, inputs, name).nan_to_num()):
            raise SamplingError(
                f"the {name} model must be one fixed function, got different outputs for the same inputs; "
                "switch off what is random in it (dropout outside eval mode, noise layers)."
            )


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


def choose_device(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is a GPU where there is one. Raises InvalidArgument where torch cannot use it."""
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgument(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"device {name!r} needs a GPU that torch can use, and there is none; use cpu.")
    return device


def _check_votes(votes: str, schedule: Schedule | None, num_estimation: int, sigma: float) -> None:
    if votes not in ("hard", "soft", "both"):
        raise InvalidArgument(f"votes must be hard, soft or both, got {votes!r}.")
    if schedule is None:
        return
    if votes != "hard":
        raise InvalidArgument(
            f"votes must be hard where sampling may stop early, got {votes!r}; leave out one of the two."
        )
    if schedule.looks[-1] != num_estimation or schedule.sigma != sigma:
        raise InvalidArgument(
            f"schedule must be for num_estimation {num_estimation} and sigma {sigma:g}, got one for {schedule.looks[-1]} "
            f"and {schedule.sigma:g}."
        )


def _check_parts(shard: tuple[int, int], team: Team, seed: int | None, out: str | Path | None) -> None:
    number, total = shard
    if not 0 <= number < total:
        raise InvalidArgument(f"shard must be (I, N) with 0 <= I < N, got {shard}.")
    if total > 1 and seed is None and (out is None or not (Path(out) / MANIFEST).exists()):
        raise InvalidArgument("shard needs a seed that all parts share, got none; choose one, such as --seed 20250101.")
    if team.size > 1 and (out is None or total > 1):
        raise InvalidArgument("several processes need one run folder and no shards; give --out, leave out --shard.")


def _check_arguments(
    sigma: float, num_selection: int, num_estimation: int, batch_size: int | None, seed: int | None, on_invalid: str
) -> None:
    if on_invalid not in ("error", "count"):
        raise InvalidArgument(f"on_invalid must be error or count, got {on_invalid!r}.")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}; 0.25 is a common start.")
    for name, value in (
        ("num_selection", num_selection),
        ("num_estimation", num_estimation),
        ("batch_size", 1 if batch_size is None else batch_size),
    ):
        if value < 1:
            raise InvalidArgument(f"{name} must be >= 1, got {value}; the paper draws 100 and 10,000.")
    if seed is not None and not 0 <= seed < 2**128:
        raise InvalidArgument(f"seed must be in [0, 2**128), got {seed}; leave it out for a fresh one.")
