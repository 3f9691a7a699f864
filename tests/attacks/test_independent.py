"""Our PGD against foolbox's and ART's at equal steps and budgets: accuracy under attack within a point, or lower."""

import numpy as np
import pytest
import torch

from certmix.attacks import attack_model
from certmix.attacks.model_attack import is_fooled

BUDGETS = {"linf": (0.1, 0.2), "l2": (0.4, 1.0)}
CASES = [(norm, radius) for norm, radii in BUDGETS.items() for radius in radii]
STEPS = 20


def _ours(model, digits, norm, radius):
    inputs, labels = digits
    return attack_model(model, inputs, labels, norm=norm, attack_radius=radius, steps=STEPS).accuracy


def _reference_foolbox(model, digits, norm, radius):
    foolbox = pytest.importorskip("foolbox")
    inputs, labels = digits
    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm](steps=STEPS, rel_stepsize=2.5 / STEPS)
    torch.manual_seed(0)
    _, clipped, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), inputs, labels, epsilons=radius)
    return 1 - float(is_fooled(model, clipped, labels).double().mean())


def _reference_art(model, digits, norm, radius):
    pytest.importorskip("art")
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    inputs, labels = digits
    classifier = PyTorchClassifier(
        model, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(inputs.shape[1:]), nb_classes=10, clip_values=(0, 1),
        device_type="cpu",
    )  # fmt: skip
    np.random.seed(0)  # noqa: NPY002  (the one that ART draws from)
    torch.manual_seed(0)
    attack = ProjectedGradientDescentPyTorch(
        classifier, norm={"linf": np.inf, "l2": 2}[norm], eps=radius, eps_step=2.5 * radius / STEPS, max_iter=STEPS,
        num_random_init=1, batch_size=200, verbose=False,
    )  # fmt: skip
    moved = torch.as_tensor(attack.generate(inputs.numpy(), labels.numpy()))
    return 1 - float(is_fooled(model.eval(), moved, labels).double().mean())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reference", [_reference_foolbox, _reference_art])
@pytest.mark.parametrize("norm, radius", CASES)
@pytest.mark.parametrize("network", ["accurate", "robust"])
def test_no_weaker_than_others(network, norm, radius, reference, digits, request):
    model = request.getfixturevalue(network)
    theirs = reference(model, digits, norm, radius)
    assert _ours(model, digits, norm, radius) <= theirs + 0.01 + 1e-9
