"""Training the mixing network: Eq. 8, frozen bases, resuming bit for bit, and a defence that is worth something."""

import math

import pytest
import torch
from torch.nn import functional

import certmix
from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.training import GateTraining, composite_loss, train_gate, training_attack
from certmix.datasets.holdout import hold_out
from certmix.errors import InvalidArgument, RunError
from certmix.models import fingerprint, make_architecture
from certmix.training.train import train

DIGIT = (1, 8, 8)


@pytest.fixture(scope="module")
def data():
    return certmix.load_dataset("digits", split="train", max=300)


@pytest.fixture(scope="module")
def bases(data):
    return train(data, epochs=15), train(data, epochs=15, sigma=0.4)


def _mixture(bases, seed=0, **options):
    torch.manual_seed(seed)
    return AdaptiveMixture(accurate=bases[0], robust=bases[1], input_shape=DIGIT, **options)


SHORT = {"norm": "linf", "attack_radius": 0.2, "epochs": 3, "steps": (2, 3), "batch_size": 100}


def test_equation_8_by_hand():
    log_probabilities = torch.log(torch.tensor([[0.5, 0.5], [0.2, 0.8]]))
    argument = torch.tensor([0.0, 2.0])
    loss = composite_loss(log_probabilities, argument, torch.tensor([0, 0]), torch.tensor([0.0, 1.0]), (0.5, 1.5, 0.2))
    ce = torch.tensor([math.log(2), -math.log(0.2)])
    bce = torch.tensor([math.log(2), math.log1p(math.exp(-2))])
    assert torch.allclose(loss, 0.5 * ce + 1.5 * bce + 0.2 * ce * bce)
    assert torch.allclose(
        bce, functional.binary_cross_entropy_with_logits(argument, torch.tensor([0.0, 1.0]), reduction="none")
    )


@pytest.mark.parametrize("attack", ["A", "B", "C"])
def test_training_changes_the_network_only_and_is_reproducible(data, bases, attack):
    before = [fingerprint(model) for model in bases]
    trained = []
    for _ in range(2):
        mixture = _mixture(bases, gate_range=(0.6, 0.9))
        untrained = fingerprint(mixture.network)
        reports = []
        train_gate(mixture, data, GateTraining(attack=attack, **SHORT), progress=reports.append)
        assert not mixture.training
        assert mixture.floor == pytest.approx(0.6)
        assert fingerprint(mixture.network) != untrained
        assert [report.epoch for report in reports] == [1, 2, 3]
        assert all(0 <= report.attacked_accuracy <= report.clean_accuracy <= 1 for report in reports)
        trained.append(fingerprint(mixture))
    assert trained[0] == trained[1]
    assert [fingerprint(model) for model in bases] == before


def test_an_interrupted_training_resumes_bit_for_bit(data, bases, tmp_path):
    whole = train_gate(_mixture(bases), data, GateTraining(**SHORT))

    class Stop(Exception):
        pass

    def stop(report):
        if report.epoch == 2:
            raise Stop

    checkpoint = tmp_path / "m.training"
    with pytest.raises(Stop):
        train_gate(_mixture(bases), data, GateTraining(**SHORT), checkpoint=checkpoint, progress=stop)
    epochs = []
    resumed = _mixture(bases, seed=99)  # other first weights: everything comes from the checkpoint
    train_gate(resumed, data, GateTraining(**SHORT), checkpoint=checkpoint, progress=lambda r: epochs.append(r.epoch))
    assert epochs == [3]
    assert fingerprint(resumed) == fingerprint(whole)


def test_the_average_over_a_short_training_is_a_mean_over_its_epochs(data, bases):
    mixture, weights = _mixture(bases), []
    keep = lambda report: weights.append(mixture.network.head.weight.detach().clone())  # noqa: E731
    train_gate(mixture, data, GateTraining(**SHORT), progress=keep)
    assert len({float(weight.sum()) for weight in weights}) == 3
    assert torch.allclose(mixture.network.head.weight, torch.stack(weights).mean(dim=0), atol=1e-6)


def test_a_checkpoint_of_something_else_is_refused_with_both_values(data, bases, tmp_path):
    checkpoint = tmp_path / "m.training"
    train_gate(_mixture(bases), data, GateTraining(**SHORT), checkpoint=checkpoint)
    with pytest.raises(RunError, match=r"disagrees on seed: the run has 0, asked for is 1"):
        train_gate(_mixture(bases), data, GateTraining(**SHORT, seed=1), checkpoint=checkpoint)
    with pytest.raises(RunError, match="disagrees on accurate"):
        train_gate(_mixture(bases[::-1]), data, GateTraining(**SHORT), checkpoint=checkpoint)
    checkpoint.write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"checkpoint .* is damaged .*; delete it to start again"):
        train_gate(_mixture(bases), data, GateTraining(**SHORT), checkpoint=checkpoint)


def test_training_attacks_stay_in_their_budget_and_lower_the_weight(data, bases):
    mixture = _mixture(bases)
    x = torch.stack([data[i][0] for i in range(60)])
    y = torch.as_tensor(data.labels[:60])
    weights = {}
    for lowering in (0.0, 50.0):
        settings = GateTraining(norm="linf", attack_radius=0.2, steps=(10, 10), lowering=lowering)
        moved = training_attack(mixture, x, y, settings, torch.Generator().manual_seed(0))
        assert (moved - x).abs().max() <= 0.2 * 1.25 + 1e-6
        assert ((moved >= 0) & (moved <= 1)).all()
        weights[lowering] = float(mixture.gate(moved).detach().mean())
    assert weights[50.0] < weights[0.0]


@pytest.mark.slow
def test_at_equal_clean_accuracy_it_holds_against_more_than_a_fixed_weight():
    from certmix.adaptive.calibration import calibrate_mixture, fixed_mixture
    from certmix.adaptive.evaluation import right_under_attack
    from certmix.adaptive.oracle import Oracle
    from certmix.training.methods import Adversarial

    rest, held = hold_out(certmix.load_dataset("digits", split="train"), 0.25)
    test = certmix.load_dataset("digits", max=200)
    budget = AttackBudget("linf", 0.2, strong_steps=10)
    g, h = train(rest, epochs=30), train(rest, epochs=20, method=Adversarial(0.2))
    mixture = _mixture((g, h))
    train_gate(mixture, rest, GateTraining(norm="linf", attack_radius=0.2, epochs=10, steps=(5, 8)))
    target = 0.95
    found = calibrate_mixture(mixture, held, target=target)
    fixed = fixed_mixture(accurate=g, robust=h, validation=held, target=target)
    for model in (mixture, fixed):
        held_right = right_under_attack(model, held, budget, settings=())["clean"].mean()
        assert held_right >= target
    assert found.clean_accuracy == pytest.approx(right_under_attack(mixture, held, budget, settings=())["clean"].mean())
    right = [right_under_attack(model, test, budget, settings="BCD") for model in (mixture, fixed)]
    assert abs(right[0]["clean"].mean() - right[1]["clean"].mean()) < 0.02
    assert right[0]["B"].mean() > right[1]["B"].mean() + 0.05
    assert right[0]["D"].mean() <= right[0]["C"].mean() <= right[0]["clean"].mean()
    oracle = Oracle(accurate=g, robust=h).right_under_attack(test, budget)
    clean = [right_under_attack(model, test, budget, settings=())["clean"] for model in (g, h)]
    assert (oracle["clean"] == (clean[0] | clean[1])).all()
    assert oracle["attacked"].mean() <= oracle["clean"].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "D"}, "attack must be one of A, B, C, got 'D'; D is for evaluation"),
        ({"norm": "l3"}, "norm must be one of"),
        ({"attack_radius": 0.0}, "attack_radius must be > 0 and finite, got 0.0"),
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"batch_size": 1}, "batch_size must be >= 2, got 1"),
        ({"loss_weights": (0.0, 0.0, 0.0)}, "not all 0, got 0, 0, 0; the paper's best is 0, 1.5, 0.2"),
        ({"averaging": 1.0}, r"averaging must be in \[0, 1\), got 1.0"),
        ({"steps": (5, 2)}, "steps and radius_spread must be rising ranges above 0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InvalidArgument, match=message):
        GateTraining(**options).check()


def test_a_real_step_at_32x32_with_resnets():
    torch.manual_seed(0)
    bases = [make_architecture("resnet18", width=4) for _ in range(2)]
    inputs = torch.rand(8, 3, 32, 32)
    data = certmix.datasets.ArrayDataset(inputs, torch.arange(8) % 4, num_classes=10)
    before = [fingerprint(model.eval()) for model in bases]
    mixture = AdaptiveMixture(accurate=bases[0], robust=bases[1], input_shape=(3, 32, 32), width=8)
    assert mixture.network.kind == "resnet18"
    settings = GateTraining(attack_radius=8 / 255, epochs=2, steps=(1, 2), batch_size=4)
    train_gate(mixture, data, settings)
    assert [fingerprint(model) for model in bases] == before
    assert torch.isfinite(mixture(inputs)).all()
