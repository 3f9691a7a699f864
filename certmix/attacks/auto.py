"""AutoAttack, by its authors' code (package pyautoattack, extra `attacks`), judged by us."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from certmix.attacks.model_attack import AttackResult, is_fooled
from certmix.attacks.norms import get_norm
from certmix.errors import InvalidArgument, need_at_least

_NAMES = {"l2": "L2", "linf": "Linf", "l1": "L1"}


def auto_attack(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: str,
    attack_radius: float,
    version: str = "standard",
    attacks: list[str] | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> tuple[AttackResult, tuple[str, ...]]:
    """AutoAttack (APGD-CE, targeted APGD-DLR, FAB-T, Square) on [0, 1] inputs. Source: arXiv:2003.01690.

    What it returns is projected to the ball and the box, and evaluated again; its own claims are not used.

    Args:
        model: inputs -> logits, a fixed function of them.
        inputs, labels: shapes (inputs, channels, height, width) and (inputs,).
        norm, attack_radius: see `pgd`.
        version: "standard", "plus" or "rand" (for randomized models).
        attacks: its components by name ("apgd-ce", "apgd-t", "fab-t", "square", ...), instead of a version.
        batch_size: inputs per chunk.
        seed: of its random starts.
    Returns: (AttackResult, the warnings it raised: that gradients may be unreliable, that the model is randomized, ...).
    Raises: InvalidArgument: pyautoattack is not installed, or a value out of range.
    """
    try:
        from pyautoattack import AutoAttack
    except ImportError:
        raise InvalidArgument(
            "AutoAttack needs the package pyautoattack, which is not installed; pip install 'certmix[attacks]'."
        ) from None
    ball = get_norm(norm)
    need_at_least(1, batch_size=batch_size)
    if not 0.0 < attack_radius < float("inf"):
        raise InvalidArgument(f"attack_radius must be > 0 and finite (pixel units), got {attack_radius}.")
    chosen: dict[str, Any] = {"version": "custom", "attacks": attacks} if attacks else {"version": version}
    with _recorded() as flagged, torch.random.fork_rng(devices=[]):
        attacker = AutoAttack(model, eps=attack_radius, norm=_NAMES[norm], seed=seed, device=inputs.device, **chosen)
        perturbed, _ = attacker.run_standard_evaluation(inputs, labels, batch_size=batch_size)
    radius = torch.full((len(inputs),), attack_radius, dtype=inputs.dtype, device=inputs.device)
    perturbed = (inputs + ball.project(perturbed.detach() - inputs, radius)).clamp(0.0, 1.0)
    return AttackResult(perturbed, is_fooled(model, perturbed, labels)), tuple(dict.fromkeys(flagged))


@contextlib.contextmanager
def _recorded() -> Iterator[list[str]]:
    """The warnings of the package's logger while the block runs; nothing is printed."""
    lines: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(" ".join(record.getMessage().split()))

    logger, recorder = logging.getLogger("auto-attack"), Recorder(logging.WARNING)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(recorder)
    try:
        yield lines
    finally:
        logger.removeHandler(recorder)
        logger.propagate = propagate
