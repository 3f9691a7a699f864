"""certmix: certified robustness of mixed classifiers.

model + dataset -> sampling -> Statistics (on disk) -> intervals -> certifiers -> Certificates -> curves, pareto -> plots, CLI

Sample once; certify for every mixing weight, certifier and failure probability afterwards, with no model evaluation.
"""

import importlib
from typing import TYPE_CHECKING

from certmix.version import __version__

if TYPE_CHECKING:
    from certmix.adaptive.files import load_mixture as load_mixture
    from certmix.adaptive.mixture import AdaptiveMixture as AdaptiveMixture
    from certmix.certificate import Certificate as Certificate
    from certmix.certificate import certify_one as certify_one
    from certmix.certification.bounds import bound_probabilities as bound_probabilities
    from certmix.certification.certify import Certificates as Certificates
    from certmix.certification.certify import certify as certify
    from certmix.certifiers import exact_radius as exact_radius
    from certmix.certifiers import lipschitz_radius as lipschitz_radius
    from certmix.certifiers import required_margin as required_margin
    from certmix.certifiers import smoothing_lipschitz_constant as smoothing_lipschitz_constant
    from certmix.certifiers import theorem_a1_radius as theorem_a1_radius
    from certmix.curves import certified_accuracy as certified_accuracy
    from certmix.datasets import Dataset as Dataset
    from certmix.datasets import as_dataset as as_dataset
    from certmix.datasets import load_dataset as load_dataset
    from certmix.errors import CertmixError as CertmixError
    from certmix.formats.certification_log import read_certification_log as read_certification_log
    from certmix.intervals import ABSTAIN as ABSTAIN
    from certmix.intervals import ProbabilityBounds as ProbabilityBounds
    from certmix.lipschitz import estimate_local_lipschitz as estimate_local_lipschitz
    from certmix.models import MixedClassifier as MixedClassifier
    from certmix.models import load_model as load_model
    from certmix.pareto import pareto_frontier as pareto_frontier
    from certmix.prediction import MixturePredictor as MixturePredictor
    from certmix.rules import threshold_radius as threshold_radius
    from certmix.runs.store import Statistics as Statistics
    from certmix.runs.store import read_statistics as read_statistics
    from certmix.sampling.execution import Execution as Execution
    from certmix.sampling.sample import sample as sample

# Public name -> module. Imported on first use, so that `certmix --help` needs neither torch nor SciPy.
_MODULES = {
    "ABSTAIN": "intervals",
    "AdaptiveMixture": "adaptive.mixture",
    "Certificate": "certificate",
    "Certificates": "certification.certify",
    "CertmixError": "errors",
    "Dataset": "datasets",
    "Execution": "sampling.execution",
    "MixedClassifier": "models",
    "MixturePredictor": "prediction",
    "ProbabilityBounds": "intervals",
    "Statistics": "runs.store",
    "as_dataset": "datasets",
    "bound_probabilities": "certification.bounds",
    "certified_accuracy": "curves",
    "certify": "certification.certify",
    "certify_one": "certificate",
    "estimate_local_lipschitz": "lipschitz",
    "exact_radius": "certifiers",
    "lipschitz_radius": "certifiers",
    "load_dataset": "datasets",
    "load_mixture": "adaptive.files",
    "load_model": "models",
    "pareto_frontier": "pareto",
    "read_certification_log": "formats.certification_log",
    "read_statistics": "runs.store",
    "required_margin": "certifiers",
    "sample": "sampling.sample",
    "smoothing_lipschitz_constant": "certifiers",
    "theorem_a1_radius": "certifiers",
    "threshold_radius": "rules",
}

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'certmix' has no attribute {name!r}; public names: {', '.join(sorted(_MODULES))}")
    return getattr(importlib.import_module(f"certmix.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
