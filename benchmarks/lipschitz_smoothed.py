"""What does knowing a network's Lipschitz constant add to smoothing it, at equal clean accuracy?

Digits, h a 1-Lipschitz network (orthogonal layers, GroupSort) with logits over a temperature, so that every class
probability is L-Lipschitz in l2 by construction: L is computed from the trained weights' singular values. g is a small
unconstrained network. Each rule gets the parameter that keeps a clean accuracy, three quarters of the way from the smoothed
h's to g's, on the same inputs that are reported; no certificate is looked at for that. All rows but the last two of a rule
are certificates of one and the same mixture, from one set of draws; those two are other classifiers h of the same network.

    python benchmarks/lipschitz_smoothed.py [--draws 10000] [--inputs 300]
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import certmix
from certmix.certification.certify import certified_at
from certmix.certifiers import CERTIFIERS, Certifier, lipschitz_margin, lipschitz_radius, softmax_lipschitz_constant
from certmix.certifiers.envelope import lipschitz_envelope
from certmix.datasets.batches import stack
from certmix.intervals import ProbabilityBounds
from certmix.pareto import Candidate, candidate_from_statistics
from certmix.rules import LinearRule, Rule, ThresholdRule

TEMPERATURES, SIGMAS, RADII = (0.36, 0.18, 0.09), (0.25, 0.5), (0.0, 0.1, 0.25, 0.5, 0.75)
RULES: tuple[Rule, ...] = (LinearRule(0.0), ThresholdRule(0.0))


class GroupSort(nn.Module):
    """Pairs of units in order: 1-Lipschitz, and it keeps gradient norms."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        pairs = inputs.view(len(inputs), -1, 2)
        return torch.stack([pairs.amax(dim=2), pairs.amin(dim=2)], dim=2).flatten(1)


class Tempered(nn.Module):
    """Logits of a network over a temperature."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs) / self.temperature


def fit(model: nn.Module, sigma: float, epochs: int, seed: int) -> nn.Module:
    """Adam on noisy training digits."""
    torch.manual_seed(seed)
    inputs, labels = stack(certmix.load_dataset("digits", split="train"))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            noisy = inputs[rows] + sigma * torch.randn_like(inputs[rows])
            nn.functional.cross_entropy(model(noisy), labels[rows]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def lipschitz_network(temperature: float, sigma: float) -> tuple[nn.Module, float]:
    """A trained network and L: the product of its weights' largest singular values, through the softmax."""
    torch.manual_seed(0)
    orthogonal = nn.utils.parametrizations.orthogonal
    layers = [orthogonal(nn.Linear(64, width)) for width in (64, 64, 10)]
    network = nn.Sequential(nn.Flatten(), layers[0], GroupSort(), layers[1], GroupSort(), layers[2])
    model = fit(Tempered(network, temperature), sigma, epochs=25, seed=1)
    logits = 1.0
    for layer in layers:
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
        logits *= float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2)) * (1 + 1e-9)
    return model, softmax_lipschitz_constant(logits, temperature=temperature)


def theorem_3_5(constant: float, sigma: float) -> Certifier:
    """Theorem 3.5 with a constant of its own."""
    return Certifier(
        "theorem-3.5-given",
        f"Theorem 3.5 with L = {constant:.3g}",
        "-",
        lambda top, rival, weight, _: lipschitz_radius(top, rival, weight, constant, constant),
        lambda top, rival, radius, _: lipschitz_margin(top, rival, radius, constant, constant),
        lipschitz_envelope(constant * sigma, constant * sigma),
    )


@dataclass
class Method:
    """A classifier h with bounds on it, and a certifier."""

    name: str
    candidate: Candidate
    certifier: Certifier

    def row(self, form: Rule, target: float) -> str:
        rows = np.arange(len(self.candidate.labels))
        clean = self.candidate.clean(form, rows)
        rule = form.with_parameter(clean.best(target))
        radius = rule.radius(self.certifier, self.candidate.bounds)
        right = self.candidate.bounds.prediction == self.candidate.labels
        shares = [100 * float((right & certified_at(radius, r)).mean()) for r in RADII]
        cells = " | ".join(f"{share:.1f}" for share in shares)
        return f"| {rule.label.split()[0]} | {self.name} | {100 * clean(rule.parameter):.1f} | {cells} |"


def unsmoothed(h: nn.Module, g: NDArray[np.float64], inputs: torch.Tensor, labels: NDArray[np.int64]) -> Candidate:
    """The network itself as h: its probabilities are known, and nothing is drawn."""
    with torch.no_grad():
        p = h(inputs).double().softmax(dim=1).numpy()
    rows, top = np.arange(len(p)), p.argmax(axis=1)
    rival = np.where(np.arange(p.shape[1]) == top[:, None], 0.0, p).max(axis=1)
    bounds = ProbabilityBounds(top, p[rows, top] - 1e-6, rival + 1e-6, 1.0, labels=labels)  # float32 layers
    return Candidate(bounds, g, p)


def compare(temperature: float, sigma: float, g: nn.Module, draws: int, count: int) -> None:
    h, constant = lipschitz_network(temperature, sigma)
    data = certmix.load_dataset("digits", split="test", max=count)
    inputs, labels = stack(data)
    drawn = certmix.sample(
        h, data, sigma=sigma, accurate=g, num_estimation=draws, votes="both", noise="float", seed=1,
        execution=certmix.Execution("cpu", 2_000),
    )  # fmt: skip
    soft = candidate_from_statistics(drawn, votes="soft", lipschitz=constant)
    hard = candidate_from_statistics(drawn, votes="hard")
    own = unsmoothed(h, soft.accurate, inputs, labels.numpy())
    aware = CERTIFIERS["lipschitz-smoothed"].supposing(constant)
    methods = [
        Method("Theorem 3.5, constant of smoothing", soft, CERTIFIERS["theorem-3.5"]),
        Method("Theorem 3.5, L", soft, theorem_3_5(constant, sigma)),
        Method("exact", soft, CERTIFIERS["exact"]),
        Method("Lipschitz-aware", soft, aware),
        Method("exact, votes of classes (another h)", hard, CERTIFIERS["exact"]),
        Method("Theorem 3.5, L, not smoothed (another h)", own, theorem_3_5(constant, 1.0)),
    ]
    rows = np.arange(count)
    of_h = [float(one.clean(RULES[0], rows)(1.0)) for one in (soft, hard, own)]
    of_g = float(soft.clean(RULES[0], rows)(0.0))
    target = of_h[0] + 0.75 * (of_g - of_h[0])
    print(
        f"\nL = {constant:.3g}, sigma {sigma:g} (L sigma = {constant * sigma:.3g}). Clean accuracy of h, soft votes "
        f"{100 * of_h[0]:.1f}, hard votes {100 * of_h[1]:.1f}, without noise {100 * of_h[2]:.1f}; of g {100 * of_g:.1f}. "
        f"Kept: {100 * target:.1f}.\n"
    )
    print("| rule | certificate | clean | " + " | ".join(f"r = {r:g}" for r in RADII) + " |")
    print("|---|---|---|" + "---|" * len(RADII))
    for form in RULES:
        for method in methods:
            print(method.row(form, target), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--inputs", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(7)
    g = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    fit(g, 0.1, epochs=40, seed=2)
    for temperature in TEMPERATURES:
        for sigma in SIGMAS:
            compare(temperature, sigma, g, options.draws, options.inputs)


if __name__ == "__main__":
    main()
