"""Classifiers of [0, 1] inputs: loaded by spec, built by name, and the mixture of two (Eq. 5)."""

from certmix.models.architectures import ARCHITECTURES
from certmix.models.loading import fingerprint, load_model, make_architecture
from certmix.models.mixture import MixedClassifier

__all__ = ["ARCHITECTURES", "MixedClassifier", "fingerprint", "load_model", "make_architecture"]
