"""The training loop: batches by a recipe, losses by a method, a validation part, and checkpoints to go on from."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from certmix.datasets import Dataset, OwnData, as_dataset
from certmix.errors import InvalidArgument
from certmix.models import fingerprint
from certmix.models.own_range import state_range
from certmix.sampling.devices import choose_device
from certmix.training.average import Average
from certmix.training.checkpoint import Epoch, TrainingState, train_epochs
from certmix.training.inputs import TrainingInputs, crop_and_flip
from certmix.training.methods import Method, noisy
from certmix.training.network import Start, TrainingNetwork
from certmix.training.recipe import Recipe, make_optimizer, make_schedule

Progress = Callable[[int, int, str], None]  # (steps done, steps in all, epoch, loss and accuracy in words)
_SHOW_EVERY = 10  # steps: reading the loss makes a GPU wait
_VALIDATION_BATCH = 500
_VALIDATION_SEED = 7  # the same noise in every epoch, so that epochs compare


@dataclass(frozen=True)
class EpochReport(Epoch):
    """What one epoch showed.

    Attributes:
        epoch, loss: see `Epoch`.
        accuracy: share of the training inputs right, as the method changed them, range [0, 1].
        clean, noisy: accuracy on the validation part without and with the training noise; None where there is none.
    """

    accuracy: float
    clean: float | None = None
    noisy: float | None = None

    @property
    def score(self) -> float | None:
        """What the best epoch is chosen by: the noisy accuracy where there is noise, else the clean one."""
        return self.clean if self.noisy is None else self.noisy


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        model: of the last epoch (its average, where the recipe has one), in eval mode, on the CPU.
        best: of the epoch with the best validation accuracy, under noise where there is noise; None without validation.
        history: a report per epoch.
    """

    model: nn.Module
    best: nn.Module | None
    history: tuple[EpochReport, ...]


def fit(
    dataset: OwnData,
    start: Start,
    method: Method,
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    validation: OwnData | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    progress: Progress | None = None,
    each_epoch: Callable[[EpochReport], None] | None = None,
) -> Trained:
    """Train a network; the same call goes on from its checkpoint, bit for bit on the same machine.

    Args:
        dataset: inputs with labels, as `certmix.sample` takes them; see `TrainingInputs` for what is held in memory.
        start: the network and its first weights.
        method: loss of a batch.
        recipe: everything else that defines the weights.
        device: where to train.
        validation: judged after every epoch, without and with the method's noise; never trained on.
        checkpoint: file that is written after an epoch and resumed from where it exists; the caller removes it.
        checkpoint_seconds: least time between two of them; a kill loses at most this and an epoch.
        progress: called every few steps.
        each_epoch: called after every epoch.
    Returns: Trained. torch's global generators are left as they were.
    Raises: InvalidArgument: inputs that do not fit the network. RunError: a checkpoint of another run, or a loss that is
        not finite.
    """
    place, data = choose_device(device), as_dataset(dataset)
    judged = None if validation is None else as_dataset(validation)
    if recipe.augment != "none" and (len(data.input_shape) != 3 or min(data.input_shape[1:]) < 5):
        raise InvalidArgument(
            f"augment {recipe.augment} needs images of 5 x 5 pixels and up, got inputs of {data.input_shape}; use none."
        )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        run = _Run(data, start.build(data).to(place), method, recipe, place, judged)
        purpose = _purpose(data, start, method, recipe, judged, run.state.model) if checkpoint else {}
        train_epochs(
            run.state, recipe.epochs, lambda: run.epoch(progress), purpose=purpose, checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds, each_epoch=each_epoch,
        )  # fmt: skip
    return run.trained()


class _Run:
    """A run between two epochs, and how to get to the next one."""

    def __init__(
        self,
        dataset: Dataset,
        model: nn.Module,
        method: Method,
        recipe: Recipe,
        device: torch.device,
        validation: Dataset | None,
    ) -> None:
        self.method, self.recipe, self.device = method, recipe, device
        self.inputs = TrainingInputs(dataset, device)
        self.validation = TrainingInputs(validation, device) if validation is not None else None
        size = recipe.batch_size
        # A last batch of one input has no variance, which batch norm needs.
        self.steps = max(-(-len(dataset) // size) - (len(dataset) % size == 1), 1)
        self.network = TrainingNetwork(model, recipe.precision, dataset.input_shape)
        self.average = Average(model, recipe.averaging) if recipe.averaging else None
        optimizer = make_optimizer(recipe, model)
        schedule = make_schedule(recipe, optimizer, recipe.epochs * self.steps)
        self.state = TrainingState(
            EpochReport, model, self.average.model if self.average else None, optimizer, schedule, _generators(device)
        )
        self.judged = TrainingNetwork(self.state.result, recipe.precision, dataset.input_shape)

    def epoch(self, progress: Progress | None) -> EpochReport:
        """Train one epoch, judge it, and keep it where it is the best."""
        done, size = len(self.state.history), self.recipe.batch_size
        sums, seen = torch.zeros(2, device=self.device), 0
        for step, rows in enumerate(torch.split(torch.randperm(len(self.inputs)), size)[: self.steps]):
            sums += self._step(rows, done, step)
            seen += len(rows)
            if progress and (step % _SHOW_EVERY == 0 or step == self.steps - 1):
                loss, right = (sums / seen).tolist()
                now, total = done * self.steps + step + 1, self.recipe.epochs * self.steps
                progress(now, total, f"epoch {done + 1}/{self.recipe.epochs}, loss {loss:.3f}, {100 * right:.1f} %")
        loss, right = (sums / seen).tolist()
        report = EpochReport(done + 1, loss, right, self._accuracy(), self._accuracy(under_noise=True))
        scores = [each.score for each in self.state.history if each.score is not None]
        if report.score is not None and report.score > max(scores, default=-1.0):
            self.state.best = {name: value.clone() for name, value in self.state.result.state_dict().items()}
        return report

    def _step(self, rows: Tensor, epoch: int, step: int) -> Tensor:
        """One optimiser step; returns the batch's (summed loss, inputs that are right on average over copies)."""
        inputs, labels = self.inputs.take(rows)
        if self.recipe.augment == "crop-flip":
            inputs = crop_and_flip(inputs)
        loss, logits = self.method.loss(self.network, inputs, labels, epoch + step / self.steps)
        self.state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.state.optimizer.step()
        self.state.schedule.step()
        if self.average:
            self.average.update(epoch * self.steps + step)
        right = (logits.detach().argmax(dim=1).view(-1, len(labels)) == labels).float().mean()
        return torch.stack([loss.detach(), right]) * len(labels)

    @torch.inference_mode()
    def _accuracy(self, *, under_noise: bool = False) -> float | None:
        """Accuracy on the validation part, under the method's noise or without; None where either is missing."""
        if self.validation is None or (under_noise and not self.method.sigma):
            return None
        self.judged.eval()
        generator = torch.Generator(self.device).manual_seed(_VALIDATION_SEED)
        right = 0
        for rows in torch.split(torch.arange(len(self.validation)), _VALIDATION_BATCH):
            inputs, labels = self.validation.take(rows)
            if under_noise:
                inputs = noisy(self.method, inputs, generator)
            right += int((self.judged(inputs).argmax(dim=1) == labels).sum())
        self.network.train()
        return right / len(self.validation)

    def trained(self) -> Trained:
        """The run's models, on the CPU."""
        last = self.state.result.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        best = None
        if self.state.best:
            best = copy.deepcopy(last)
            best.load_state_dict(self.state.best)
        for model in filter(None, (last, best)):
            state_range(model, stated=True)  # data in another range are mapped to [0, 1] here too
        return Trained(last, best, tuple(self.state.history))


def _generators(device: torch.device) -> dict[str, torch.Generator]:
    """Torch's global ones, which the methods draw from."""
    if device.type != "cuda":
        return {"cpu": torch.default_generator}
    own = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return {"cpu": torch.default_generator, "cuda": own}


def _purpose(
    dataset: Dataset, start: Start, method: Method, recipe: Recipe, validation: Dataset | None, model: nn.Module
) -> Mapping[str, object]:
    """Everything that a checkpoint must agree with; the first weights come last, as they follow from the others."""
    return {
        "architecture": start.architecture,
        "method": type(method).__name__.lower(),
        **asdict(recipe),
        **asdict(method),  # type: ignore[call-overload]
        "dataset": dataset.fingerprint,
        "validation": validation.fingerprint if validation is not None else None,
        "first_weights": fingerprint(model),
    }
