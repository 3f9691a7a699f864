"""Sound local Lipschitz constants of small ReLU networks, by interval arithmetic on the Jacobian (float64).

Preactivations are bounded by interval propagation; where their sign is known the ReLU's derivative is, elsewhere it is
anything in [0, 1]; the Jacobian's rows follow by multiplying interval rows with the weight matrices, from the output back.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from certmix.attacks.norms import get_norm
from certmix.errors import InvalidArgument
from certmix.lipschitz import LocalConstants
from certmix.models.architectures import Normalized

Affine = tuple[Tensor, Tensor]  # weights (outputs, inputs), bias (outputs,)
_SLACK = 1.0 + 1e-9  # far above float64 rounding of networks this size
_AFFINE = frozenset({nn.Linear, nn.Conv2d, nn.Flatten, nn.AvgPool2d, nn.BatchNorm2d, nn.Identity, nn.Dropout})
_CHUNK = 32
_CHECKED_POINTS, _AGREEMENT = 16, 1e-6  # of the matrices with the model, relative to its largest logit


class LipschitzBound(LocalConstants):
    """Upper bounds on the local Lipschitz constants of the class probabilities: with them Theorem 3.5 is a certificate."""

    def certified_radius(self, mixing_weight: ArrayLike) -> NDArray[np.float64]:
        """Theorem 3.5, at most the ball's radius: certified for the mixture of this model with any accurate model.

        Returns: shape (weights, inputs), pixel units; about the network in exact arithmetic.
        """
        return self._radius(mixing_weight)


def bound_local_lipschitz(
    model: nn.Module, inputs: Tensor, *, attack_radius: float, norm: str = "l2"
) -> LipschitzBound:
    """Lipschitz constants of every class probability on the ball around each input, bounded from above.

    grad h_k = h_k sum_j h_j grad(z_k - z_j) for logits z. With D_kj >= ||grad(z_k - z_j)||_dual over the ball, L_k is the
    smaller of max h_k (1 - h_k) * max_j D_kj and max h_k * sum_j max h_j * D_kj; h's range follows from z(x) and D.
    Source: interval propagation of Gowal et al. 2018, arXiv:1810.12715, applied to the Jacobian as well.
    Guarantee: for the network in exact arithmetic, no h_k changes faster than its constant between points of the ball.

    Args:
        model: a Sequential (or `Normalized`) of linear, convolution, average-pooling, batch-norm (eval), flatten and ReLU
            layers; dense weights are built, so keep it small.
        inputs: shape (inputs, ...).
        attack_radius: > 0, pixel units.
        norm: "l2", "linf" or "l1".
    Returns: LipschitzBound.
    Raises: InvalidArgument: another layer, a layer with hooks or a forward of its own, batch norm without running
        statistics, or a value out of range.
    """
    ball = get_norm(norm)
    if not 0.0 < attack_radius < float("inf"):
        raise InvalidArgument(f"attack_radius must be > 0 and finite (pixel units), got {attack_radius}.")
    layers = dense_layers(model, inputs[:1])
    inputs = inputs.detach().cpu()
    constants, probabilities = [], []
    for rows in torch.split(inputs.double().flatten(1), _CHUNK):
        logits, derivatives = _forward(layers, rows), _relu_derivatives(layers, rows, attack_radius, norm)
        slopes = _pair_slopes(layers, derivatives, ball.dual)
        least, most = _probability_range(logits, attack_radius * slopes)
        nearest = torch.where(least > 0.5, least, torch.where(most < 0.5, most, 0.5))
        together = nearest * (1.0 - nearest) * slopes.amax(dim=2)
        apart = most * torch.einsum("nj,nkj->nk", most, slopes)
        constants.append(torch.minimum(together, apart) * _SLACK)
        probabilities.append(logits.softmax(dim=1))
    h = torch.cat(probabilities).numpy()
    return LipschitzBound(norm, float(attack_radius), h.argmax(axis=1), h, torch.cat(constants).numpy())


@torch.no_grad()
def dense_layers(model: nn.Module, example: Tensor) -> list[Affine]:
    """The network as float64 matrices with a ReLU between each two: runs of affine layers are merged.

    Layers are taken at their exact type, since a subclass may compute anything, and the matrices are compared with the
    model itself at random points.

    Args:
        model: see `bound_local_lipschitz`.
        example: one input, shape (1, ...).
    Returns: [(weights, bias), ...].
    Raises: InvalidArgument: a layer that is neither affine nor ReLU, or matrices that are not the model.
    """
    merged: list[Affine] = []
    shape, run = tuple(example.shape[1:]), list[nn.Module]()
    for layer in [*_flatten(model), None]:
        if isinstance(layer, nn.Module) and not isinstance(layer, nn.ReLU):
            run.append(layer)
            continue
        affine, shape = _dense(run, shape)
        merged.append(affine)
        run = []
    _compare(model, merged, example)
    return merged


def _compare(model: nn.Module, layers: list[Affine], example: Tensor) -> None:
    """Raise InvalidArgument where the matrices disagree with the model at points around the example and far from it."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(_CHECKED_POINTS, *example.shape[1:], generator=generator, dtype=torch.float64)
    points = torch.cat([points, example.detach().cpu().double()])
    expected = copy.deepcopy(model).double().cpu().eval()(points)
    found = _forward(layers, points.flatten(1))
    if found.shape != expected.shape or (found - expected).abs().max() > _AGREEMENT * (1.0 + expected.abs().max()):
        raise InvalidArgument(
            f"bounds of the Jacobian need a model that is its layers, but {type(model).__name__} computes something else; "
            "use the estimate."
        )


def _flatten(model: nn.Module) -> Iterator[nn.Module]:
    _refuse_changed(model)
    if type(model) is nn.Sequential:
        for layer in model:
            yield from _flatten(layer)
    elif type(model) is Normalized:
        yield _Scale(model.mean, model.std)
        yield from _flatten(model.model)
    elif type(model) in _AFFINE or type(model) is nn.ReLU:
        yield model
    else:
        raise InvalidArgument(
            "bounds of the Jacobian need a Sequential of affine layers and ReLU in eval mode, got "
            f"{type(model).__name__}; use the estimate."
        )


def _refuse_changed(model: nn.Module) -> None:
    """Raise InvalidArgument where a layer does something else than its type says."""
    hooked = any(hooks for name, hooks in vars(model).items() if name.endswith("_hooks"))
    if hooked or "forward" in vars(model):
        raise InvalidArgument(
            f"bounds of the Jacobian need layers as PyTorch has them, but {type(model).__name__} has hooks or a forward of "
            "its own; use the estimate."
        )
    if isinstance(model, nn.BatchNorm2d) and (model.training or model.running_mean is None):
        raise InvalidArgument(
            "bounds of the Jacobian need batch norm in eval mode with running statistics, got one that looks at its batch; "
            "use the estimate."
        )


class _Scale(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean.double().cpu(), std.double().cpu()

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std


def _dense(run: list[nn.Module], shape: tuple[int, ...]) -> tuple[Affine, tuple[int, ...]]:
    """Matrix and bias of a run of affine layers, from its values at 0 and at the unit vectors."""
    size = int(np.prod(shape))
    points = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(size + 1, *shape)
    for layer in run:
        points = (layer if isinstance(layer, _Scale) else copy.deepcopy(layer).double().cpu().eval())(points)
    flat = points.flatten(1)
    return ((flat[1:] - flat[0]).T.contiguous(), flat[0]), tuple(points.shape[1:])


def _forward(layers: list[Affine], rows: Tensor) -> Tensor:
    for weights, bias in layers[:-1]:
        rows = (rows @ weights.T + bias).relu()
    return rows @ layers[-1][0].T + layers[-1][1]


def _relu_derivatives(layers: list[Affine], rows: Tensor, radius: float, norm: str) -> list[tuple[Tensor, Tensor]]:
    """Smallest and largest derivative of every ReLU over the ball, a pair of (inputs, units) per hidden layer."""
    weights, bias = layers[0]
    reach = radius * get_norm(get_norm(norm).dual).length(weights)  # exact for the first layer
    center = rows @ weights.T + bias
    derivatives = []
    for weights, bias in layers[1:]:
        low, high = center - reach, center + reach
        slack = 1e-12 * (low.abs() + high.abs() + 1.0)
        derivatives.append(((low > slack).double(), (high >= -slack).double()))
        middle, spread = (low.relu() + high.relu()) / 2, (high.relu() - low.relu()) / 2
        center, reach = middle @ weights.T + bias, spread @ weights.abs().T
    return derivatives


def _probability_range(logits: Tensor, drift: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest probabilities over the ball, (inputs, classes) each: z_k - z_j moves by at most drift."""
    center = logits[:, :, None] - logits[:, None, :]
    least = 1.0 / torch.exp(drift - center).sum(dim=2)
    most = 1.0 / torch.exp(-center - drift).sum(dim=2)
    return (least - 1e-12).clamp_min(0.0), (most + 1e-12).clamp_max(1.0)


def _pair_slopes(layers: list[Affine], derivatives: list[tuple[Tensor, Tensor]], dual: str) -> Tensor:
    """D_kj: dual norm of grad(z_k - z_j) over the ball, from above, shape (inputs or 1, classes, classes)."""
    weights = layers[-1][0]
    classes, inputs = len(weights), len(derivatives[0][0]) if derivatives else 1
    first, second = torch.triu_indices(classes, classes, offset=1)
    low = (weights[first] - weights[second]).expand(inputs, -1, -1)
    high = low
    for (weights, _), (least, most) in zip(layers[-2::-1], derivatives[::-1], strict=True):
        low, high = (
            torch.minimum(low * least[:, None], low * most[:, None]),
            torch.maximum(high * least[:, None], high * most[:, None]),
        )
        middle, spread = (low + high) / 2, (high - low) / 2
        center, reach = middle @ weights, spread @ weights.abs()
        low, high = center - reach, center + reach
    largest = torch.maximum(low.abs(), high.abs())
    slopes = get_norm(dual).length(largest.flatten(0, 1)).view(inputs, -1)
    table = torch.zeros(inputs, classes, classes, dtype=torch.float64)
    table[:, first, second] = table[:, second, first] = slopes
    return table
