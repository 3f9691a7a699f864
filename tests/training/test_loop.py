"""The training loop: a killed run ends with the same weights, other settings are refused, images are never all floats."""

import dataclasses

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.datasets.holdout import hold_out
from certmix.datasets.npz import load_npz
from certmix.errors import InvalidArgument, RunError
from certmix.models import fingerprint, make_architecture
from certmix.training.inputs import TrainingInputs, crop_and_flip
from certmix.training.loop import fit
from certmix.training.methods import Gaussian, SmoothAdv
from certmix.training.network import Start, TrainingNetwork
from certmix.training.recipe import RECIPES, Recipe, make_optimizer, make_schedule
from certmix.training.train import accuracy

CPU = torch.device("cpu")


class Killed(Exception):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def digits():
    return certmix.load_dataset("digits", split="train", max=400)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """48 colour images of 8 x 8 pixels whose class is their brightest channel, in an 8-bit archive."""
    labels = np.arange(48) % 3
    inputs = np.random.default_rng(0).integers(0, 120, (48, 3, 8, 8)).astype(np.uint8)
    inputs[np.arange(48), labels] += 100
    path = tmp_path_factory.mktemp("colours") / "colours.npz"
    np.savez(path, inputs=inputs, labels=labels)
    return load_npz(str(path))


def _killed_after(epochs):
    def each_epoch(report):
        if report.epoch == epochs:
            raise Killed

    return each_epoch


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_killed_run_that_goes_on_ends_with_the_same_weights(colours, tmp_path, recipe, schedule):
    how = dataclasses.replace(RECIPES[recipe], schedule=schedule, epochs=4, batch_size=16, averaging=0.9, seed=3)
    rest, held = hold_out(colours, 0.25)
    start, method = Start("cifar_resnet9"), SmoothAdv(sigma=0.1, attack_radius=0.1, attack_steps=1)
    whole = fit(rest, start, method, how, device="cpu", validation=held)
    path = tmp_path / "checkpoint.safetensors"
    kept = {"device": "cpu", "validation": held, "checkpoint": path, "checkpoint_seconds": 0.0}
    for epoch in (1, 3):
        with pytest.raises(Killed):
            fit(rest, start, method, how, **kept, each_epoch=_killed_after(epoch))
    again = fit(rest, start, method, how, **kept)
    assert again.history == whole.history
    for one, two in ((whole.model, again.model), (whole.best, again.best)):
        assert fingerprint(one) == fingerprint(two)
    assert fingerprint(fit(rest, start, method, how, **kept).model) == fingerprint(whole.model)  # of a finished run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": Recipe(epochs=3)}, "epochs: the run has 2, asked for is 3"),
        ({"method": Gaussian(0.5)}, "sigma: the run has 0.25, asked for is 0.5"),
        ({"start": Start("mlp")}, "architecture: the run has 'digits-cnn', asked for is 'mlp'"),
        ({"dataset": certmix.load_dataset("digits", split="train", max=100)}, "dataset: the run has"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(digits, tmp_path, change, message):
    how = {"dataset": digits, "start": Start(), "method": Gaussian(0.25), "recipe": Recipe(epochs=2)}
    kept = {"device": "cpu", "checkpoint": tmp_path / "c.safetensors", "checkpoint_seconds": 0.0}
    fit(**how, **kept)
    with pytest.raises(RunError, match=message):
        fit(**{**how, **change}, **kept)


def test_a_damaged_checkpoint_is_named(digits, tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(RunError, match="is damaged .* delete it to start again"):
        fit(digits, Start(), Gaussian(), Recipe(epochs=1), device="cpu", checkpoint=path)


def test_validation_changes_no_weights_and_the_best_epoch_is_kept(digits):
    rest, held = hold_out(digits, 0.25)
    how = (Start(), Gaussian(0.25), Recipe(epochs=3))
    judged = fit(rest, *how, device="cpu", validation=held)
    assert fingerprint(judged.model) == fingerprint(fit(rest, *how, device="cpu").model)
    scores = [report.noisy for report in judged.history]
    assert (fingerprint(judged.best) == fingerprint(judged.model)) == (max(scores[:2]) < scores[2])
    assert accuracy(judged.model, held) == judged.history[-1].clean


def test_a_loss_that_is_not_finite_stops_the_run(digits):
    with pytest.raises(RunError, match="the loss must stay finite, got .* lower the learning rate"):
        fit(digits, Start(), Gaussian(), Recipe(optimizer="sgd", learning_rate=1e30, epochs=5), device="cpu")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (Start("cifar_resnet20"), r"cifar_resnet20 must take inputs of shape \(1, 8, 8\)"),
        (Start("digits-cnn", None, make_architecture("mlp"), "h.pt"), "weights of h.pt must fit the architecture"),
    ],
)
def test_networks_that_do_not_fit_are_named(digits, start, message):
    with pytest.raises(InvalidArgument, match=message):
        fit(digits, start, Gaussian(), Recipe(epochs=1), device="cpu")


def test_training_starts_from_given_weights(digits):
    torch.manual_seed(4)
    init = make_architecture("digits-cnn")
    still = fit(digits, Start(init=init), Gaussian(), Recipe(epochs=1, learning_rate=1e-20, weight_decay=0.0)).model
    assert fingerprint(still) == fingerprint(init)


class Counting:
    """A data set that counts how often an input is read."""

    def __init__(self, dataset):
        self._dataset, self.read = dataset, 0

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, position):
        self.read += 1
        return self._dataset[position]


def test_eight_bit_images_are_held_as_bytes_and_come_back_bit_for_bit(colours):
    data = Counting(colours)
    inputs = TrainingInputs(data, CPU)
    assert inputs.held.dtype == torch.uint8
    assert inputs.held.numel() == 48 * 192
    rows = torch.tensor([5, 0, 47])
    batch, labels = inputs.take(rows)
    assert torch.equal(batch, torch.stack([colours[int(row)][0] for row in rows]))
    assert labels.tolist() == [2, 0, 2]
    assert data.read == 48


@pytest.mark.parametrize("grid", [True, False])
def test_what_is_too_large_or_off_the_grid_is_read_when_its_batch_comes(colours, grid):
    values = torch.rand(10, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    off = ArrayDataset(values, np.arange(10) % 2, grid_levels=255)  # says so, wrongly
    data = Counting(colours if grid else off)
    inputs = TrainingInputs(data, CPU, most_held=1000 if grid else 10**6)
    assert inputs.held is None
    data.read = 0
    batch, _ = inputs.take(torch.tensor([3, 1]))
    assert torch.equal(batch[0], data._dataset[3][0])
    assert data.read == 2


def test_crops_and_mirrors_move_an_image_by_at_most_four_pixels():
    torch.manual_seed(0)
    image = torch.arange(3 * 10 * 12.0).view(1, 3, 10, 12)
    seen = crop_and_flip(image.expand(400, -1, -1, -1))
    padded = torch.nn.functional.pad(image, (4,) * 4, mode="reflect")
    windows = [padded[0, :, i : i + 10, j : j + 12] for i in range(9) for j in range(9)]
    known = {each.numpy().tobytes() for window in windows for each in (window, window.flip(2))}
    found = {each.contiguous().numpy().tobytes() for each in seen}
    assert found <= known
    assert len(found) > 120  # of 162


def test_only_kernels_are_decayed_where_the_recipe_says_so():
    model = make_architecture("cifar_resnet9")
    decayed, plain = make_optimizer(RECIPES["images"], model).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (5e-4, 0.0)
    assert all(each.ndim > 1 for each in decayed["params"])
    assert all(each.ndim == 1 for each in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def test_one_cycle_of_sgd_rises_for_a_fifth_and_falls_to_nothing():
    recipe = RECIPES["images"]
    optimizer = make_optimizer(recipe, torch.nn.Linear(2, 2))
    schedule, rates = make_schedule(recipe, optimizer, 100), []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if len(rates) < 100 else None
    assert rates[0] == pytest.approx(0.015)
    assert max(rates) == pytest.approx(0.15)
    assert rates.index(max(rates)) == 19
    assert rates[-1] == pytest.approx(1.5e-5)


def test_bf16_computes_in_bf16_and_trains_float32_weights():
    model = make_architecture("cifar_resnet9", num_classes=3)
    network, inputs = TrainingNetwork(model, "bf16", (3, 8, 8)), torch.rand(4, 3, 8, 8)
    logits = network(inputs)
    logits.sum().backward()
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())
    assert {each.grad.dtype for each in model.parameters()} == {torch.float32}
    assert model.prep[0].weight.is_contiguous(memory_format=torch.channels_last)
