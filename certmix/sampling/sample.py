"""Classifier + data set -> Statistics: the Monte Carlo draws of randomized smoothing, or all values of splitting noise.

The forward pass is the cost; around it there is one reused buffer, no Python loop per draw, and counting in integers
on the device. Source of the procedure: Cohen et al. 2019, arXiv:1902.02918, CERTIFY (selection, then fresh draws).
"""

import math
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from certmix.certification.schedule import Schedule
from certmix.datasets import Dataset, OwnData, as_dataset
from certmix.datasets.base import bounds_of, spread_order
from certmix.errors import InvalidArgument, SamplingError
from certmix.models import fingerprint
from certmix.models.own_range import in_range_of
from certmix.noise import describe_noise, make_noise
from certmix.runs.draws import (
    MOST_DRAWS,
    NUM_ESTIMATION,
    NUM_SELECTION,
    DataRecord,
    Draws,
    ModelRecord,
    SeedSource,
    Votes,
    check_numbers,
    check_stored_confidence,
    splitting_values,
)
from certmix.runs.manifest import MANIFEST, Environment, Manifest, read_manifest
from certmix.runs.records import InputRecord
from certmix.runs.store import Statistics, from_records, read_statistics, refuse_disagreement
from certmix.runs.writer import RunWriter
from certmix.sampling.batch_size import calibrate_batch_size
from certmix.sampling.devices import choose_device, compile_model
from certmix.sampling.execution import Execution
from certmix.sampling.loop import NO_MEMORY, DrawLoop, DrawPlan
from certmix.sampling.probe import Answers, probe, refuse_other_model, tolerance
from certmix.version import __version__

Progress = Callable[[int, int], None]  # (inputs done, inputs in all)


def sample(
    robust: torch.nn.Module,
    dataset: OwnData,
    *,
    sigma: float,
    num_selection: int | None = None,
    num_estimation: int | None = None,
    accurate: torch.nn.Module | None = None,
    seed: int | None = None,
    seed_from: str | None = None,
    out: str | Path | None = None,
    noise: Literal["auto", "integer", "float", "splitting"] = "auto",
    votes: Votes = "hard",
    schedule: Schedule | None = None,
    confidence: float | None = None,
    on_invalid: Literal["error", "count"] = "error",
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Votes of `robust` under N(0, sigma^2) noise on every input. Source: Cohen et al. 2019, CERTIFY's two samplings.

    Guarantee: the noise of a draw depends on (seed, input index, purpose, draw number) alone, so statistics do not
    depend on batch size, order, restarts, or which inputs were drawn before; selection and estimation draws are
    independent. Inputs are drawn in an order in which a run that is stopped holds some of every part of the data, sorted or
    not. Both models are put in eval mode. Noise is added before anything the model does (normalisation too).

    Args:
        robust: base classifier h, (batch, *input_shape) in float32 -> (batch, classes); argmax votes, first on ties.
        dataset: inputs with labels: a certmix data set, a torch Dataset of (image, label), or (inputs, labels); in [0, 1],
            8-bit, or of `certmix.as_dataset(..., bounds=(low, high))`.
        sigma: standard deviation, > 0, in [0, 1] pixel units; or Lambda of splitting noise.
        num_selection, num_estimation: draws per input, >= 1; 100 and 10,000 where left out. Splitting noise takes neither:
            all its 2 Lambda G values are evaluated.
        accurate: g, whose softmax at the clean input is recorded once per input; certificates never depend on it.
        seed: in [0, 2**128); None takes fresh operating-system entropy (or the stored run's seed), and records it. It
            fixes the pixels' offsets of splitting noise, and is then 0 where left out, as in training.
        seed_from: a public text; the seed is then a hash of it and of everything else that defines the draws, so that
            nobody can have tried several.
        out: run folder to write and resume; None keeps the statistics in memory.
        noise: "integer" is the exactly rounded Gaussian on the data set's grid; "float" is float32 noise, whose
            certificates hold up to rounding; "auto" takes integer wherever the inputs lie on a grid. "splitting" certifies
            l1 balls with failure probability 0; see `certmix.noise.splitting`.
        votes: "hard" counts classes. "soft" and "both" also store histograms of the class probabilities, from which the
            smoothed probabilities of the paper's Section A.1 are bounded; `certify` takes them by default for "soft".
            Their last bits are the model's own, and may depend on the batch size.
        schedule: looks at which an input may stop early, of `certmix.certification.schedule.make_schedule`; hard votes only.
        confidence: store a draw whose largest probability is below it as deferred, which is no vote; a multiple of 1/64 in
            (1/2, 1), for hard votes (soft ones hold every confidence). See `certmix.intervals.confidence`.
        on_invalid: a non-finite output is an error that names the input, or a vote for an extra class, `invalid`.
        execution: device, batch size, processes: what changes no result.
        progress: called with (inputs done, inputs in all).
    Returns: Statistics in order of input index; with `out`, all that the folder holds (of a process group, the leading
        process alone waits until that is everything).
    Raises:
        InvalidArgument: a value outside its range, named.
        SamplingError: outputs of the wrong shape or not finite, or a model that is not one function of one input.
        NoiseError: the noise really used failed its audit.
        RunError: `out` is no run, in use, damaged, or from other settings or another model.
    """
    how = execution or Execution()
    data = as_dataset(dataset)
    num_selection, num_estimation = _numbers(num_selection, num_estimation, noise, sigma, data.grid_levels)
    _check_arguments(sigma, num_selection, num_estimation, seed, seed_from, on_invalid)
    _check_votes(votes, schedule, num_estimation, sigma)
    if confidence is not None:
        check_stored_confidence(confidence, votes)
    _check_parts(how, seed if noise != "splitting" else 0, seed_from, out)
    device = choose_device(how.device)
    if data.num_classes < 2:
        raise InvalidArgument(
            f"num_classes must be >= 2, got {data.num_classes} of {data.spec}; labels of a part may show fewer than there "
            "are: certmix.as_dataset(data, num_classes=10)."
        )
    robust = in_range_of(robust, data)
    accurate = None if accurate is None else in_range_of(accurate, data)
    models = {"robust": robust, "accurate": accurate}
    for model in models.values():
        if model is not None:
            model.eval().to(device)
    draws = Draws(
        model=_describe_model(robust),
        accurate=None if accurate is None else _describe_model(accurate),
        dataset=_describe_dataset(data),
        num_classes=data.num_classes,
        sigma=float(sigma),
        num_selection=int(num_selection),
        num_estimation=int(num_estimation),
        votes=votes,
        noise=describe_noise(noise, sigma=sigma, size=math.prod(data.input_shape), grid_levels=data.grid_levels),
        seed=0,
        on_invalid=on_invalid,
        schedule=schedule,
        confidence=confidence,
    )
    check_numbers(draws)
    stored = read_manifest(out) if out is not None and (Path(out) / MANIFEST).exists() else None
    evaluated = compile_model(robust, device) if how.compile else robust

    def first_manifest() -> Manifest:
        fixed = _with_seed(draws, seed, seed_from, stored)  # only after the models are fixed
        if stored is not None:
            refuse_disagreement(stored.draws, fixed, str(out))
            return stored if how.batch_size is None else stored.with_batch_size(how.batch_size)
        rows = how.batch_size or calibrate_batch_size(robust, data.input_shape, device, key=draws.model.sha256)
        # The shape of every pass is one and the same, whatever was drawn before: no more rows than the run needs.
        rows = rows if how.exact_batch else min(rows, len(data) * (num_selection + num_estimation))
        answers, rows = _probe(evaluated, accurate, data, rows, sigma, device)
        return Manifest(fixed, answers, _environment(device, rows, how.compile))

    manifest = _shared(how, first_manifest, str(out))
    if not how.group.leads:
        fixed = replace(draws, **{name: getattr(manifest.draws, name) for name in ("seed", "seed_source", "seed_text")})
        refuse_disagreement(manifest.draws, fixed, str(out))
    loop = _draw_loop(evaluated, accurate, data, manifest, device)
    part = np.arange(len(data))[how.shard[0] :: how.shard[1]]
    mine = part[spread_order(len(part))].tolist()
    if out is None:
        return from_records(list(_report(loop.records(iter(mine), {}), len(mine), progress)), manifest)
    _draw_into(Path(out), manifest, loop, mine, how, progress, resuming=stored is not None)
    return read_statistics(out)


def _draw_into(
    out: Path,
    manifest: Manifest,
    loop: DrawLoop,
    mine: list[int],
    how: Execution,
    progress: Progress | None,
    *,
    resuming: bool,
) -> None:
    """Draw what a run folder lacks, together with the other ranks, and store it as it comes."""
    indices, group = loop.dataset.indices.tolist(), how.group
    patience = 10.0 if group.size > 1 else 0.0  # ranks of a launcher that was killed take a second to notice
    with RunWriter(out, manifest, flush_seconds=how.flush_seconds, rank=group.rank, patience=patience) as writer:
        missing = group.share(
            "missing", lambda: [position for position in mine if indices[position] not in writer.done]
        )
        if resuming and missing:
            answers, _ = _probe(loop.robust, loop.accurate, loop.dataset, loop.batch, manifest.draws.sigma, loop.device)
            refuse_other_model(manifest.probe, answers, str(out), tolerance(loop.robust))
        before = len(mine) - len(missing)

        def tell(done: int) -> None:
            if progress and group.leads:
                progress(before + done, len(mine))

        tell(0)
        loop.between_passes = writer.save_if_due
        for record in loop.records(group.claim(missing), writer.read_partial() if missing else {}):
            writer.add(record)
            tell(group.count_done(1))
        writer.flush()
        audit = loop.noise.audit
        summary = audit.summary() if audit is not None and audit.tests() else None
        if summary is not None and loop.batch != manifest.environment.batch_size:
            summary["batch_size"] = loop.batch  # memory did not hold more
        for made in group.finish(summary, tell):
            writer.record_audit(made)
        if group.leads:
            writer.drop_partial()
        group.share("merged", writer.merge_shards)  # the others read the run when it is as it stays


def _shared(how: Execution, make: Callable[[], Manifest], where: str) -> Manifest:
    """The manifest that the leading process makes, for every process."""
    made = how.group.share("manifest", lambda: make().to_json())
    return Manifest.from_json(made, where)


def _describe_model(model: torch.nn.Module) -> ModelRecord:
    return ModelRecord(getattr(model, "certmix_spec", None), fingerprint(model))


def _describe_dataset(dataset: Dataset) -> DataRecord:
    subset = cast(Mapping[str, str | int | float | None], dataset.subset)
    shape = tuple(dataset.input_shape)
    return DataRecord(dataset.spec, dataset.fingerprint, subset, len(dataset), shape, bounds_of(dataset))


def _draw_loop(
    robust: torch.nn.Module,
    accurate: torch.nn.Module | None,
    dataset: Dataset,
    manifest: Manifest,
    device: torch.device,
) -> DrawLoop:
    draws = manifest.draws
    noise = make_noise(draws.noise, seed=draws.seed, sigma=draws.sigma, size=draws.size, device=device)
    plan = DrawPlan(
        num_classes=draws.num_classes,
        num_selection=draws.num_selection,
        looks=draws.allowed_totals(),
        soft=draws.votes != "hard",
        on_invalid=draws.on_invalid,
        confidence=draws.confidence,
    )
    batch = manifest.environment.batch_size
    return DrawLoop(robust, accurate, dataset, plan, noise, device, batch, draws.schedule)


def _with_seed(draws: Draws, seed: int | None, seed_from: str | None, stored: Manifest | None) -> Draws:
    source: SeedSource
    if seed_from is not None:
        return replace(draws, seed=draws.derive_seed(seed_from), seed_source="derived", seed_text=seed_from)
    if stored is not None and (seed is None or seed == stored.draws.seed):
        kept = stored.draws
        return replace(draws, seed=kept.seed, seed_source=kept.seed_source, seed_text=kept.seed_text)
    if seed is None and draws.enumerated:
        return replace(draws, seed=0, seed_source="chosen")
    seed, source = (secrets.randbits(128), "fresh") if seed is None else (seed, "chosen")
    return replace(draws, seed=seed, seed_source=source)


def _probe(
    robust: torch.nn.Module,
    accurate: torch.nn.Module | None,
    dataset: Dataset,
    batch: int,
    sigma: float,
    device: torch.device,
) -> tuple[Answers, int]:
    """Probe both models, with half as many rows where memory does not hold them: the robust one's answers, and the rows."""
    models = [("robust", robust)] if accurate is None else [("accurate", accurate), ("robust", robust)]
    try:
        return [probe(model, dataset, batch=batch, sigma=sigma, device=device, name=name) for name, model in models][
            -1
        ], batch
    except torch.cuda.OutOfMemoryError:
        if batch == 1:
            raise SamplingError(NO_MEMORY) from None
    torch.cuda.empty_cache()
    return _probe(robust, accurate, dataset, batch // 2, sigma, device)


def _report(records: Iterator[InputRecord], total: int, progress: Progress | None) -> Iterator[InputRecord]:
    if progress:
        progress(0, total)
    for number, record in enumerate(records, start=1):
        yield record
        if progress:
            progress(number, total)


def _environment(device: torch.device, batch_size: int, compiled: bool) -> Environment:
    return Environment(
        certmix=__version__,
        torch=torch.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        batch_size=batch_size,
        threads=torch.get_num_threads(),
        compiled=compiled,
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        allow_tf32=torch.backends.cudnn.allow_tf32,
        cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    )


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


def _check_parts(how: Execution, seed: int | None, seed_from: str | None, out: str | Path | None) -> None:
    parts = how.shard[1]
    if parts > 1 and seed is None and seed_from is None and (out is None or not (Path(out) / MANIFEST).exists()):
        raise InvalidArgument("shard needs a seed that all parts share, got none; choose one, such as --seed 20250101.")
    if how.group.size > 1 and (out is None or parts > 1):
        raise InvalidArgument("several processes need one run folder and no shards; give --out, leave out --shard.")


def _numbers(
    num_selection: int | None, num_estimation: int | None, noise: str, sigma: float, grid_levels: int | None
) -> tuple[int, int]:
    """Numbers of draws: those asked for, or the usual ones; of splitting noise, none and all values."""
    usual = NUM_SELECTION, NUM_ESTIMATION
    if noise == "splitting" and grid_levels is not None:
        usual = 0, splitting_values(sigma, grid_levels)
    return (
        usual[0] if num_selection is None else num_selection,
        usual[1] if num_estimation is None else num_estimation,
    )


def _check_arguments(
    sigma: float, num_selection: int, num_estimation: int, seed: int | None, seed_from: str | None, on_invalid: str
) -> None:
    if on_invalid not in ("error", "count"):
        raise InvalidArgument(f"on_invalid must be error or count, got {on_invalid!r}.")
    if not (math.isfinite(sigma) and 0 < sigma <= 1e6):
        raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}; 0.25 is a common start.")
    for name, least, value in (("num_selection", 0, num_selection), ("num_estimation", 1, num_estimation)):
        if not least <= value <= MOST_DRAWS:
            raise InvalidArgument(
                f"{name} must be >= 1 and at most 10^12, got {value}; the paper draws 100 and 10,000."
            )
    if seed is not None and not 0 <= seed < 2**128:
        raise InvalidArgument(f"seed must be in [0, 2**128), got {seed}; leave it out for a fresh one.")
    if seed is not None and seed_from is not None:
        raise InvalidArgument("seed and seed_from name two seeds; give one of them.")
    if seed_from is not None and not 0 < len(seed_from) <= 4096:
        raise InvalidArgument(f"seed_from must be a text of 1 to 4,096 characters, got {len(seed_from)}.")
