"""Denoised smoothing: a base classifier that removes the noise first, so that off-the-shelf classifiers can be smoothed.

Source: Salman et al. 2020, Denoised Smoothing, arXiv:2003.01908; with a diffusion model and one step of denoising,
Carlini et al. 2023, (Certified!!) Adversarial Robustness for Free!, arXiv:2206.10550, Algorithm 1.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from certmix.errors import InvalidArgument, check_choice
from certmix.models.noise_schedule import NoiseSchedule

PREDICTIONS = ("epsilon", "sample", "v")


class DenoisedClassifier(nn.Module):
    """classifier(denoiser(x)): a base classifier of noisy inputs. It is one fixed function, so that any certificate holds.

    Args:
        denoiser: noisy images -> images of the same shape, in [0, 1] pixel units; what leaves [0, 1] is clipped.
        classifier: images in [0, 1] -> logits (normalisation goes inside it).
        upsample: side to which denoised images are resized (bicubic) before the classifier; None leaves them.
    Raises: InvalidArgument: a side below 1.
    """

    def __init__(self, denoiser: nn.Module, classifier: nn.Module, *, upsample: int | None = None) -> None:
        super().__init__()
        if upsample is not None and upsample < 1:
            raise InvalidArgument(f"upsample must be >= 1 pixel, got {upsample}.")
        self.denoiser, self.classifier, self.upsample = denoiser, classifier, upsample

    def extra_repr(self) -> str:
        """What fingerprints take in besides the two models."""
        return f"upsample={self.upsample}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of noisy inputs of shape (batch, channels, height, width).

        Raises: InvalidArgument: a denoiser that returns another shape.
        """
        images = self.denoiser(inputs)
        if not isinstance(images, torch.Tensor) or images.shape != inputs.shape:
            got = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
            raise InvalidArgument(
                f"a denoiser must return images of its input's shape {tuple(inputs.shape)}, got {got}."
            )
        images = images.clamp(0.0, 1.0)
        if self.upsample is not None:
            size = (self.upsample, self.upsample)
            images = functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(0.0, 1.0)
        outputs: torch.Tensor = self.classifier(images)
        return outputs


class DiffusionDenoiser(nn.Module):
    """One-step denoising of x + N(0, sigma^2) by a diffusion model: scale to its noise level, predict the clean image.

    With x' = 2 x - 1 in [-1, 1], the noise is N(0, (2 sigma)^2), and x_t = x' / sqrt(1 + 4 sigma^2) has the signal and
    noise of a diffusion step with alpha_bar = 1 / (1 + 4 sigma^2). The network is told the first step t of its schedule
    that is at least as noisy. Differs: Carlini et al. draw their own noise at step t; here the sampler's noise, of sigma
    exactly, is all there is, so that **the sigma certified is `sigma`**; `step_sigma` only says how well the network's
    step fits, which costs accuracy, never soundness.

    Args:
        network: (x_t of shape (batch, channels, height, width), steps of shape (batch,)) -> prediction of that shape; of
            twice the channels where variances are learned too (they are dropped); `.sample` of a result is taken.
        schedule: alpha_bar of each step.
        sigma: standard deviation of the noise that will be added, > 0, in [0, 1] pixel units.
        prediction: what the network predicts: the noise ("epsilon"), the clean image ("sample"), or "v".
        step_scale: steps are multiplied by it before the network, e.g. 1000 / 4000 for improved-diffusion's
            `rescale_timesteps`; 1 passes integers.
    Attributes:
        step: the step that the network is told.
        step_sigma: the noise of that step, in [0, 1] pixel units, >= sigma.
        steps_of_schedule: how many steps there are.
    Raises: InvalidArgument: a sigma beyond the schedule, or an unknown prediction.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule,
        sigma: float,
        *,
        prediction: str = "epsilon",
        step_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("prediction", prediction, PREDICTIONS)
        if not (math.isfinite(step_scale) and step_scale > 0):
            raise InvalidArgument(f"step_scale must be > 0 and finite, got {step_scale}.")
        self.network, self.sigma, self.prediction, self.step_scale = network, float(sigma), prediction, step_scale
        self.step = schedule.step_of(sigma)
        self.step_sigma, self.steps_of_schedule = float(schedule.sigmas[self.step]), len(schedule.sigmas)

    def extra_repr(self) -> str:
        """What fingerprints take in besides the network."""
        return (
            f"sigma={self.sigma}, step={self.step}, step_sigma={self.step_sigma:.6g}, "
            f"prediction={self.prediction}, step_scale={self.step_scale}"
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Predicted clean images in pixel units, of noisy ones in pixel units; not clipped."""
        alpha_bar = 1.0 / (1.0 + 4.0 * self.sigma**2)
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
        scaled = signal * (2.0 * inputs - 1.0)
        steps = torch.full((len(inputs),), self.step, device=inputs.device)
        predicted = self.network(scaled, steps if self.step_scale == 1.0 else steps * self.step_scale)
        predicted = getattr(predicted, "sample", predicted)
        if predicted.shape[1] == 2 * inputs.shape[1]:
            predicted = predicted[:, : inputs.shape[1]]
        if predicted.shape != inputs.shape:
            raise InvalidArgument(
                f"a diffusion network must return shape {tuple(inputs.shape)} (or twice the channels), "
                f"got {tuple(predicted.shape)}."
            )
        clean = {
            "epsilon": lambda: (scaled - noise * predicted) / signal,
            "sample": lambda: predicted,
            "v": lambda: signal * scaled - noise * predicted,
        }[self.prediction]()
        return torch.as_tensor((clean + 1.0) / 2.0)


def check_denoiser_sigma(model: nn.Module, sigma: float) -> None:
    """Refuse to sample at another sigma than a model's diffusion denoiser is set to. Raises InvalidArgument."""
    for part in model.modules():
        if isinstance(part, DiffusionDenoiser) and part.sigma != sigma:
            raise InvalidArgument(
                f"sigma of the denoiser must be that of the draws, got {part.sigma:g} and {sigma:g}; set both alike."
            )
