"""Training the mixing network on clean and attacked inputs. Source: arXiv:2301.12554, Sections 4.4, 5.2 and D.1."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from certmix.adaptive.mixture import AdaptiveMixture
from certmix.attacks import cross_entropy, get_norm, pgd
from certmix.attacks.apgd import apgd, targeted_logit_ratio
from certmix.datasets import Dataset, Subset
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument, need_at_least
from certmix.models import fingerprint
from certmix.training.average import Average
from certmix.training.checkpoint import Epoch, TrainingState, train_epochs

ATTACKS = ("A", "B", "C")


@dataclass(frozen=True)
class GateTraining:
    """Settings of a training run; the same settings and seed give the same weights on the same machine.

    Attributes:
        attack: "A" (gray-box PGD), "B" (white-box PGD) or "C" (white-box APGD, cross-entropy or targeted DLR in turn).
        norm, attack_radius: of the attacked inputs, "l2" or "linf", > 0 and pixel units.
        radius_spread: radii are drawn per input, uniformly within this share of the attack radius.
        steps: attack steps are drawn per batch, uniformly from this range.
        lowering: largest weight of the attacker's term that lowers a(x), drawn per input from [0, lowering]; not in A.
        loss_weights: c_CE, c_BCE and c_prod of Eq. 8; the defaults are the paper's best.
        epochs, batch_size, learning_rate, weight_decay: of AdamW, with a linear warm-up and a cosine decay.
        averaging: weight of the past in the average over epochs that is returned, in [0, 1); the paper's is 0.8. Of the
            first epochs it is the mean, so that a short training is not an average of its beginning.
        seed: of order and attacks. (The network's first weights are those it has.)
    """

    attack: str = "B"
    norm: str = "linf"
    attack_radius: float = 0.1
    radius_spread: tuple[float, float] = (0.5, 1.25)
    steps: tuple[int, int] = (5, 15)
    lowering: float = 1.0
    loss_weights: tuple[float, float, float] = (0.0, 1.5, 0.2)
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    averaging: float = 0.8
    seed: int = 0

    def check(self) -> None:
        """Raise InvalidArgument where a setting is out of range."""
        get_norm(self.norm)
        if self.attack not in ATTACKS:
            raise InvalidArgument(
                f"attack must be one of {', '.join(ATTACKS)}, got {self.attack!r}; D is for evaluation."
            )
        for name in ("attack_radius", "learning_rate"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InvalidArgument(f"{name} must be > 0 and finite, got {getattr(self, name)}.")
        need_at_least(1, epochs=self.epochs)
        need_at_least(2, batch_size=self.batch_size)
        if len(self.loss_weights) != 3 or min(self.loss_weights) < 0 or not sum(self.loss_weights) > 0:
            raise InvalidArgument(
                "loss_weights must be c_CE, c_BCE and c_prod, >= 0 and not all 0, "
                f"got {', '.join(f'{weight:g}' for weight in self.loss_weights)}; the paper's best is 0, 1.5, 0.2."
            )
        if not 0.0 <= self.averaging < 1.0:
            raise InvalidArgument(f"averaging must be in [0, 1), got {self.averaging}; 0 keeps the last weights.")
        if not 1 <= self.steps[0] <= self.steps[1] or not 0.0 < self.radius_spread[0] <= self.radius_spread[1]:
            raise InvalidArgument(
                f"steps and radius_spread must be rising ranges above 0, got {self.steps} and {self.radius_spread}."
            )


@dataclass(frozen=True)
class EpochReport(Epoch):
    """What one of `epochs` showed, on its training batches: accuracies of the mixture and means of a(x), range (0, 1)."""

    epochs: int
    clean_accuracy: float
    attacked_accuracy: float
    clean_gate: float
    attacked_gate: float


def train_gate(
    mixture: AdaptiveMixture,
    dataset: Dataset,
    settings: GateTraining,
    *,
    checkpoint: str | Path | None = None,
    progress: Callable[[EpochReport], None] | None = None,
) -> AdaptiveMixture:
    """Train the mixing network by Eq. 8 on clean inputs (target 0) and as many attacked ones (target 1), made as it goes.

    Attacks are made against the network as it is, in eval mode, with the whole range (0, 1) of a(x); their radius and
    number of steps vary, and a term of random weight lowers a(x). The base models are never changed. What is returned is
    the exponential average over epochs, batch-norm statistics included.

    Args:
        mixture: trained in place; in eval mode afterwards, its gate's range and calibration as before.
        dataset: inputs in [0, 1] with labels; read a batch at a time, in random order.
        settings: see `GateTraining`.
        checkpoint: file (.safetensors) that is written after every epoch and resumed from where it exists.
        progress: called after every epoch.
    Raises:
        InvalidArgument: a setting out of range.
        RunError: a checkpoint of other settings, data or base models.
    """
    settings.check()
    if len(dataset) < 2:
        raise InvalidArgument(f"training needs two inputs or more, got {len(dataset)}.")
    wanted = mixture.floor, mixture.ceiling
    mixture.set_gate_range(0.0, 1.0)
    mixture.requires_grad_(False)
    mixture.network.requires_grad_(True)
    try:
        _train(mixture, dataset, settings, _purpose(mixture, dataset, settings), checkpoint, progress)
    finally:
        mixture.eval().set_gate_range(*wanted)
        mixture.requires_grad_(False)
    return mixture


def _train(
    mixture: AdaptiveMixture,
    dataset: Dataset,
    settings: GateTraining,
    purpose: dict[str, object],
    checkpoint: str | Path | None,
    progress: Callable[[EpochReport], None] | None,
) -> None:
    device, size, epochs = mixture.calibration.device, settings.batch_size, settings.epochs
    batches = max(len(dataset) // size, 1)  # a last small batch would spoil batch-norm's statistics
    generator = torch.Generator(device).manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(
        mixture.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = LambdaLR(optimizer, lambda step: _schedule((step // batches + step % batches / batches) / epochs))
    average = Average(mixture.network, settings.averaging)
    state = TrainingState(EpochReport, mixture.network, average.model, optimizer, schedule, {"gate": generator})

    def epoch() -> EpochReport:
        done, sums = len(state.history), torch.zeros(5, device=device)
        order = torch.randperm(len(dataset), generator=generator, device=device).cpu().numpy()
        for batch in range(batches):
            inputs, labels = stack(Subset(dataset, order[batch * size : (batch + 1) * size]))
            x, y = inputs.to(device), labels.to(device)
            attacked = training_attack(mixture, x, y, settings, generator)
            sums += _step(mixture, optimizer, x, attacked, y, settings)
            schedule.step()
        average.follow(min(settings.averaging, done / (done + 1)))  # of the first epochs the mean
        loss, *shown = (sums / batches).tolist()
        return EpochReport(done + 1, loss, epochs, *shown)

    train_epochs(state, epochs, epoch, purpose=purpose, checkpoint=checkpoint, each_epoch=progress)
    mixture.network.load_state_dict(average.model.state_dict())


def training_attack(
    mixture: AdaptiveMixture, inputs: Tensor, labels: Tensor, settings: GateTraining, generator: torch.Generator
) -> Tensor:
    """Attacked inputs of one training batch, shape of the inputs, made in eval mode by the setting's attack."""
    mixture.eval()

    def uniform(size: int) -> Tensor:
        return torch.rand(size, generator=generator, device=inputs.device)

    low, high = settings.radius_spread
    radius = settings.attack_radius * (low + (high - low) * uniform(len(inputs)))
    lowering = settings.lowering * uniform(len(inputs))
    drawn = uniform(2).tolist()
    steps = settings.steps[0] + int(drawn[0] * (settings.steps[1] + 1 - settings.steps[0]))
    targeted, other = settings.attack == "C" and drawn[1] < 0.5, labels
    if targeted:
        with torch.no_grad():
            outputs = mixture(inputs)
        targeted, other = outputs.shape[1] >= 4, outputs.scatter(1, labels[:, None], -math.inf).argmax(dim=1)

    def objective(points: Tensor) -> Tensor:
        found, argument = mixture.parts(points, gate_gradient=settings.attack != "A")
        aim = targeted_logit_ratio(found, labels, other) if targeted else cross_entropy(found, labels)
        return aim if settings.attack == "A" else aim + lowering * functional.logsigmoid(-argument)

    climb = apgd if settings.attack == "C" else pgd
    return climb(objective, inputs, norm=settings.norm, attack_radius=radius, steps=steps, generator=generator).inputs


def composite_loss(
    log_probabilities: Tensor, argument: Tensor, labels: Tensor, targets: Tensor, weights: tuple[float, float, float]
) -> Tensor:
    """Eq. 8 per input, shape (batch,): c_CE CE(h^a, label) + c_BCE BCE(a, target) + c_prod CE BCE.

    Args:
        log_probabilities: of the mixture, shape (batch, classes).
        argument: of the sigmoid behind a(x), shape (batch,).
        labels: true classes, shape (batch,).
        targets: 1 for attacked inputs, 0 for clean ones, shape (batch,).
        weights: c_CE, c_BCE, c_prod.
    """
    ce = cross_entropy(log_probabilities, labels)
    bce = functional.binary_cross_entropy_with_logits(argument, targets, reduction="none")
    return weights[0] * ce + weights[1] * bce + weights[2] * ce * bce


def _step(
    mixture: AdaptiveMixture,
    optimizer: torch.optim.Optimizer,
    clean: Tensor,
    attacked: Tensor,
    labels: Tensor,
    settings: GateTraining,
) -> Tensor:
    """One optimiser step; returns (loss, clean accuracy, attacked accuracy, clean gate, attacked gate)."""
    mixture.train()
    twice = torch.cat([labels, labels])
    targets = torch.cat([torch.zeros(len(clean)), torch.ones(len(attacked))]).to(clean)
    outputs, argument = mixture.parts(torch.cat([clean, attacked]))
    loss = composite_loss(outputs, argument, twice, targets, settings.loss_weights).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    with torch.no_grad():
        right = (outputs.argmax(dim=1) == twice).float().view(2, -1).mean(dim=1)
        gate = torch.sigmoid(argument).view(2, -1).mean(dim=1)
        return torch.cat([loss.detach()[None], right, gate])


def _schedule(share: float) -> float:
    """Learning rate as a share of the largest, after a share of all epochs: a tenth of warm-up, then a cosine."""
    return share / 0.1 if share < 0.1 else 0.5 * (1.0 + math.cos(math.pi * (share - 0.1) / 0.9))


def _purpose(mixture: AdaptiveMixture, dataset: Dataset, settings: GateTraining) -> dict[str, object]:
    """Everything that a checkpoint must agree with."""
    return {
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()},
        "design": repr(mixture.design),
        "accurate": fingerprint(mixture.accurate),
        "robust": fingerprint(mixture.robust),
        "logit_scales": mixture.logit_scales.tolist(),
        "calibration": mixture.calibration.tolist(),
        "dataset": dataset.fingerprint,
    }
