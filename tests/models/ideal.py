"""Gaussian-prototype data, whose ideal denoiser is known in closed form, and a classifier that noise breaks."""

import math

import numpy as np
import torch

from certmix.datasets import ArrayDataset

SPREAD = 0.03  # standard deviation of a class around its prototype


def prototypes(classes: int = 4, seed: int = 0) -> torch.Tensor:
    """Shape (classes, 1, 8, 8), each pixel 0.3 or 0.7."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.choice([0.3, 0.7], (classes, 1, 8, 8)), dtype=torch.float32)


def make_data(means: torch.Tensor, count: int, seed: int = 1) -> ArrayDataset:
    """x = prototype + N(0, SPREAD^2)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(means)
    inputs = means.numpy()[labels] + SPREAD * rng.standard_normal((count, 1, 8, 8))
    return ArrayDataset(np.clip(inputs, 0, 1), labels, num_classes=len(means))


def posterior_mean(noisy: torch.Tensor, means: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[x | x + N(0, sigma^2)]: the mean of each class's shrunk image, weighted by the class's posterior probability."""
    variance = SPREAD**2 + sigma**2
    apart = noisy[:, None] - means[None]
    weights = torch.softmax(-apart.flatten(2).square().sum(2) / (2 * variance), dim=1)
    shrunk = means[None] + apart * (SPREAD**2 / variance)
    return (weights[:, :, None, None, None] * shrunk).sum(1)


class IdealDenoiser(torch.nn.Module):
    """The posterior mean at one sigma."""

    def __init__(self, means: torch.Tensor, sigma: float) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.sigma = sigma

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return posterior_mean(inputs, self.means, self.sigma)


class IdealNetwork(torch.nn.Module):
    """A diffusion network that predicts perfectly at the noise of its step: epsilon, sample or v, in [-1, 1] units."""

    def __init__(self, means: torch.Tensor, alpha_bar: np.ndarray, prediction: str = "epsilon", extra: int = 0) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("alpha_bar", torch.tensor(alpha_bar, dtype=torch.float64))
        self.prediction, self.extra = prediction, extra

    def forward(self, scaled: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        alpha_bar = float(self.alpha_bar[int(steps[0])])
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        clean = 2 * posterior_mean((scaled / signal + 1) / 2, self.means, noise / signal / 2) - 1
        epsilon = (scaled - signal * clean) / noise
        outputs = {"epsilon": epsilon, "sample": clean, "v": signal * epsilon - noise * clean}[self.prediction]
        return torch.cat([outputs, torch.full_like(outputs, 9.0)], dim=1) if self.extra else outputs


class FragileClassifier(torch.nn.Module):
    """Nearest prototype on one row of pixels: right on clean images, easily wrong under noise."""

    def __init__(self, means: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("means", means)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        apart = (inputs[:, None, :, :1] - self.means[None, :, :, :1]).flatten(2)
        return -apart.square().sum(2)
