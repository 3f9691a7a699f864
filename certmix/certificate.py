"""One input, one call: a certificate that carries everything it rests on.

Nothing here samples, bounds or certifies by itself: it is `certmix.sample` of one input, then `certmix.certify`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image

from certmix.certification.bounds import check_certifiable
from certmix.certification.certify import certify
from certmix.datasets.mapped import MappedDataset
from certmix.errors import InvalidArgument, RunError
from certmix.input_range import InputRange
from certmix.intervals import ABSTAIN
from certmix.json_fields import Fields
from certmix.models.own_range import in_range_of
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, Promise, check_failure_probability
from certmix.rules import LinearRule, Rule, ThresholdRule, rule_from_json
from certmix.runs.draws import Draws
from certmix.runs.manifest import Manifest
from certmix.runs.records import InputRecord
from certmix.runs.store import Statistics, from_records
from certmix.sampling.devices import choose_device
from certmix.sampling.execution import Execution
from certmix.sampling.probe import num_outputs
from certmix.sampling.sample import sample
from certmix.tables import floor_text

_SAME = 1e-9  # radii of other versions of SciPy may differ by their last bits


@dataclass(frozen=True, repr=False)
class Certificate:
    """A certified radius around one input.

    Guarantee: with probability at least 1 - promise.failure_probability over the draws, the mixture by `rule` of the exactly
    smoothed model with any accurate model predicts `prediction` on the open l2 ball of `radius`. With integer noise it is
    about perturbed inputs on the grid. Asking again until the answer pleases voids the probability.

    Attributes:
        prediction: class, or ABSTAIN (-1) where nothing is certified.
        radius: [0, 1] pixel units; 0 where it abstains.
        rule: how the models become one classifier.
        certifier: name of the certifier.
        promise: how the failure probability was spent.
        selection_counts, estimation_counts: votes per class.
        accurate_probabilities: of the accurate model at the input; None without one.
        manifest: what defines the draws (also `draws`), and where they were made.
    """

    prediction: int
    radius: float
    rule: Rule
    certifier: str
    promise: Promise
    selection_counts: tuple[int, ...]
    estimation_counts: tuple[int, ...]
    accurate_probabilities: tuple[float, ...] | None
    manifest: Manifest

    @property
    def draws(self) -> Draws:
        """What defines the draws: models, input, sigma, noise, seed."""
        return self.manifest.draws

    @property
    def abstains(self) -> bool:
        """Whether nothing is certified."""
        return self.prediction == ABSTAIN

    @property
    def own_radius(self) -> float:
        """The radius in the input's own units, rounded down: that of [0, 1] units unless `bounds` were given."""
        bounds = self.draws.dataset.bounds
        return self.radius if bounds is None else bounds.radius(self.radius, self.draws.size)

    def __str__(self) -> str:
        d, bounds = self.draws, self.draws.dataset.bounds
        said = "abstains: nothing is certified"
        if not self.abstains:
            own = "" if bounds is None else f" ({floor_text(self.own_radius, 4)} in units of {bounds})"
            grid = "" if d.grid_levels is None else f", on the grid of 1/{d.grid_levels},"
            said = f"class {self.prediction} within l2 radius {floor_text(self.radius, 4)}{own}{grid}"
        return (
            f"{said} by {self.rule.label} at sigma {d.sigma:g}; {d.num_estimation} draws, wrong with probability at most "
            f"{self.promise.failure_probability:g}"
        )

    def __repr__(self) -> str:
        return f"Certificate({self})"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; `from_dict` reads them."""
        g = self.accurate_probabilities
        return {
            "prediction": self.prediction,
            "radius": self.radius,
            "own_radius": self.own_radius,
            "rule": self.rule.to_json(),
            "certifier": self.certifier,
            "promise": self.promise.to_json(),
            "selection_counts": list(self.selection_counts),
            "estimation_counts": list(self.estimation_counts),
            "accurate_probabilities": None if g is None else list(g),
            "manifest": self.manifest.to_json(),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Certificate":
        """Of what `to_dict` made; class and radius are computed anew from the votes and compared.

        That the votes were drawn is another question: draw them again by `certify_one` with the seed, `draws.seed`.

        Raises: RunError: a field that is missing, unknown or breaks its rule, votes of another number than the draws, or a
            class or radius that the votes do not give.
        """
        manifest = Manifest.from_json(tree.get("manifest"), "certificate: manifest")
        fields, draws = Fields({name: tree[name] for name in tree if name != "manifest"}, "certificate"), manifest.draws
        selection, estimation = (np.array(_counts(fields, stage, draws)) for stage in ("selection", "estimation"))
        g = fields.optional("accurate_probabilities", lambda: fields.numbers("accurate_probabilities", 0.0, 1.001))
        rule, promise = rule_from_json(fields.part("rule")), Promise.from_json(fields.part("promise"))
        plain = (draws.votes, draws.on_invalid, draws.schedule, draws.confidence) == ("hard", "error", None, None)
        if not plain or draws.dataset.inputs != 1 or (draws.accurate is None) != (g is None):
            raise RunError("certificate: manifest must be of certify_one, got other draws; restore it from a copy.")
        probabilities = None if g is None else np.array(g, dtype=np.float32)
        record = InputRecord(0, 0, selection, estimation, 0, 0, probabilities, 0.0)
        try:
            made = _certified(from_records([record], manifest), rule, fields.text("certifier"), promise)
        except (InvalidArgument, ValueError) as error:
            raise RunError(f"certificate: {error}") from None
        stated = fields.integer("prediction", ABSTAIN), fields.number("radius", 0.0), fields.number("own_radius", 0.0)
        fields.end()
        for name, said, here in zip(
            ("prediction", "radius", "own_radius"), stated, (made.prediction, made.radius, made.own_radius), strict=True
        ):
            if abs(said - here) > _SAME * (1.0 + abs(here)):
                raise RunError(f"certificate: {name} must be what its votes give, {here}, got {said}; it was changed.")
        return made


def certify_one(
    model: torch.nn.Module,
    x: ArrayLike | torch.Tensor | Image.Image,
    /,
    *,
    sigma: float,
    accurate: torch.nn.Module | None = None,
    mixing_weight: float | None = None,
    threshold: float | None = None,
    certifier: str = "exact",
    num_selection: int = 100,
    num_estimation: int = 10_000,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    seed: int | None = None,
    grid_levels: int | None = None,
    bounds: InputRange | tuple[float, float] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
) -> Certificate:
    """A certificate of one input: smooth the model by Gaussian noise, count votes, bound them, certify. Source: Cohen et al.
    2019, arXiv:1902.02918, CERTIFY; for mixtures arXiv:2301.12554, Lemma 3.2.

    Guarantee: that of `Certificate`.

    Args:
        model: base classifier, (batch, *x.shape) -> (batch, classes) logits; put in eval mode.
        x: one input, without a batch dimension, in [0, 1] or `bounds`; uint8 or an image of PIL keeps its grid.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units: of inputs in [low, high], the model sees noise of
            sigma (high - low).
        accurate: the accurate model g of the mixture; its answer is recorded, and no radius depends on it.
        mixing_weight: of Eq. 5, in (1/2, 1]; 1 where neither it nor a threshold is given.
        threshold: of the rule "the model's class where its smoothed probability exceeds it, else g's".
        certifier: "exact", "theorem-a1" or "theorem-3.5".
        num_selection, num_estimation, seed: as `certmix.sample`.
        failure_probability: chance of a wrong certificate, in (0, 1).
        grid_levels: G where float values of x are multiples of 1/G, for exact integer noise.
        bounds: (low, high) of x and of what the models take, where that is not [0, 1].
        device, batch_size: as `certmix.sampling.execution.Execution`; without a batch size it is calibrated.
    Returns: Certificate.
    Raises: InvalidArgument: a value out of range, or draws that cannot certify anything. SamplingError: a model that does not
        take x, returns no logits, or is not one function of one input.
    Example:
        >>> h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> _ = h[1].weight.data.copy_(torch.tensor([[9.0] * 4, [-9.0] * 4])), h[1].bias.data.zero_()
        >>> print(certify_one(h, torch.ones(4), sigma=0.25, num_estimation=1000, seed=0, batch_size=100))
        class 0 within l2 radius 0.6072 by weight 1 at sigma 0.25; 1000 draws, wrong with probability at most 0.001
    """
    if mixing_weight is not None and threshold is not None:
        raise InvalidArgument(f"give mixing_weight or threshold, got both: {mixing_weight} and {threshold}.")
    rule: Rule = LinearRule(1.0 if mixing_weight is None else mixing_weight)
    rule = rule if threshold is None else ThresholdRule(threshold)
    promise = Promise(check_failure_probability(failure_probability))
    check_certifiable([rule], num_estimation, promise, sigma)
    how = Execution(device=device, batch_size=batch_size)
    data = MappedDataset(((x, 0),), spec="x", labels=[0], num_classes=1, grid_levels=grid_levels, bounds=bounds)
    data.num_classes = num_outputs(in_range_of(model, data), data.input_shape, choose_device(device))
    drawn = sample(
        model,
        data,
        sigma=sigma,
        num_selection=num_selection,
        num_estimation=num_estimation,
        accurate=accurate,
        seed=seed,
        execution=how,
    )
    return _certified(drawn, rule, certifier, promise)


def _certified(drawn: Statistics, rule: Rule, certifier: str, promise: Promise) -> Certificate:
    """The certificate of the votes of one input."""
    made = certify(drawn, rules=rule, certifier=certifier, **vars(promise))
    assert made.promise is not None
    radius, g = float(made.radius[0, 0]), drawn.accurate_probabilities
    return Certificate(
        prediction=int(made.prediction[0]) if radius > 0 else ABSTAIN,
        radius=radius,
        rule=rule,
        certifier=certifier,
        promise=made.promise,
        selection_counts=tuple(drawn.selection_counts[0].tolist()),
        estimation_counts=tuple(drawn.estimation_counts[0].tolist()),
        accurate_probabilities=None if g is None else tuple(g[0].tolist()),
        manifest=drawn.manifest,
    )


def _counts(fields: Fields, stage: str, draws: Draws) -> tuple[int, ...]:
    total = draws.num_selection if stage == "selection" else draws.num_estimation
    counts = fields.integers(f"{stage}_counts", 0, total)
    if len(counts) != draws.num_classes or sum(counts) != total:
        raise RunError(
            f"certificate: {stage}_counts must be {total} votes of {draws.num_classes} classes, got {sum(counts)} of "
            f"{len(counts)}; restore it from a copy."
        )
    return counts
