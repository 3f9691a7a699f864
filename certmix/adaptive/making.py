"""An adaptive mixture from two models and a data set: trained, calibrated on inputs held out, and written."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import Calibration, calibrate_mixture
from certmix.adaptive.files import save_mixture
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.training import EpochReport, GateTraining, train_gate
from certmix.datasets import Dataset


@dataclass(frozen=True)
class MadeMixture:
    """What `make_mixture` wrote.

    Attributes:
        calibration: on the held-out inputs.
        seconds: of training.
    """

    calibration: Calibration
    seconds: float


def checkpoint_of(out: Path) -> Path:
    """Where the training of a mixture's file keeps its checkpoint."""
    return out.with_name(f"{out.name}.training")


def make_mixture(
    *,
    training: Dataset,
    held_out: Dataset,
    accurate: nn.Module,
    robust: nn.Module,
    settings: GateTraining,
    out: Path,
    gate_range: tuple[float, float] = (0.6, 1.0),
    kind: str = "auto",
    width: int | None = None,
    accurate_layers: Sequence[str] | None = None,
    robust_layers: Sequence[str] | None = None,
    accurate_scale: float = 1.0,
    robust_scale: float = 1.0,
    target: float | None = None,
    scales: Sequence[float] = (2.0,),
    device: torch.device | None = None,
    force: bool = False,
    progress: Callable[[EpochReport], None] | None = None,
) -> MadeMixture:
    """Train the gate, calibrate it on the inputs held out, and write the mixture.

    An interrupted training goes on from `checkpoint_of(out)`.

    Args:
        training: inputs in [0, 1] with labels.
        held_out: others, to calibrate on.
        accurate, robust: g and h, on any device; moved to `device`.
        settings: of the training; its seed is that of the network's first weights too.
        out: file to write.
        gate_range, kind, width, accurate_layers, robust_layers, accurate_scale, robust_scale: see `AdaptiveMixture`.
        target, scales: see `calibrate_mixture`.
        device: where to train; the CPU where left out.
        force: overwrite.
        progress: called after every epoch.
    Returns: MadeMixture.
    Raises: InvalidArgument, RunError: as the parts do.
    """
    settings.check()
    place = device or torch.device("cpu")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        mixture = AdaptiveMixture(
            accurate=accurate.to(place), robust=robust.to(place), input_shape=training.input_shape, kind=kind, width=width,
            gate_range=gate_range, accurate_layers=accurate_layers, robust_layers=robust_layers,
            accurate_scale=accurate_scale, robust_scale=robust_scale,
        ).to(place)  # fmt: skip
    checkpoint = checkpoint_of(out)
    started = time.monotonic()
    train_gate(mixture, training, settings, checkpoint=checkpoint, progress=progress)
    seconds = time.monotonic() - started
    budget = AttackBudget(settings.norm, settings.attack_radius)
    found = calibrate_mixture(mixture, held_out, target=target, scales=scales, budget=budget)
    history = {
        "attack": settings.attack, "norm": settings.norm, "attack_radius": settings.attack_radius,
        "epochs": settings.epochs, "seed": settings.seed, "dataset": training.spec, "fingerprint": training.fingerprint,
        "seconds": round(seconds, 1), **asdict(found),
    }  # fmt: skip
    save_mixture(mixture, out, history=history, force=force)
    checkpoint.unlink(missing_ok=True)
    return MadeMixture(found, seconds)
