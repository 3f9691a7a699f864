"""Deployment: smoothed mixtures and chains that answer with a stated chance of a wrong class, or abstain."""

from certmix.prediction.chain import ChainNode, ChainPredictor
from certmix.prediction.mixture import MixturePredictor
from certmix.prediction.predictor import Prediction, Predictor

__all__ = ["ChainNode", "ChainPredictor", "MixturePredictor", "Prediction", "Predictor"]
