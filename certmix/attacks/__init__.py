"""Empirical upper bounds on robustness: gradient attacks that test from above what certificates promise from below."""

from certmix.attacks.auto import auto_attack
from certmix.attacks.losses import LOSSES, class_probability, cross_entropy, get_loss, logit_difference_ratio, margin
from certmix.attacks.mixture import MixtureSweep, attack_mixture
from certmix.attacks.model_attack import AttackResult, attack_model
from certmix.attacks.norms import NORMS, Norm, get_norm
from certmix.attacks.pgd import PGDResult, pgd

__all__ = [
    "LOSSES",
    "NORMS",
    "AttackResult",
    "MixtureSweep",
    "Norm",
    "PGDResult",
    "attack_mixture",
    "attack_model",
    "auto_attack",
    "class_probability",
    "cross_entropy",
    "get_loss",
    "get_norm",
    "logit_difference_ratio",
    "margin",
    "pgd",
]
