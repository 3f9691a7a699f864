"""Options that several commands share, spelt and explained once, and the groups that they come in.

A name means one thing in all commands. What a value may be is said in `certmix.cli.values`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

import certmix
from certmix.cli.command import option, own
from certmix.cli.values import (
    CONFIDENCE,
    COUNT,
    NOISE_SEED,
    POSITIVE,
    RADIUS,
    SEED,
    SHARE,
    SIGMA,
    THRESHOLD,
    WEIGHT,
    Numbers,
    ascending,
    choice,
    output_path,
    output_stem,
)
from certmix.errors import InvalidArgument
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, Promise

if TYPE_CHECKING:
    import torch

    from certmix.certification.certify import Certificates
    from certmix.datasets import Dataset
    from certmix.intervals import ProbabilityBounds
    from certmix.promise import Promise
    from certmix.rules import Rule
    from certmix.runs.store import Statistics

CERTIFIERS = (
    "exact",
    "theorem-a1",
    "theorem-3.5",
    "theorem-3.5-paper",
    "theorem-3.5-l1",
    "cdf",
    "lipschitz-smoothed",
)
SOURCES, DRAWS, EXECUTION, CERTIFICATES, OUTPUT = "Models and data", "Draws", "Execution", "Certificates", "Output"

RunsArgument = Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders.", show_default=False)]

# Models and data
RobustOption = Annotated[str | None, option("--robust", "SPEC", "Robust model h, to be smoothed.")]
AccurateOption = Annotated[str | None, option("--accurate", "SPEC", "Accurate model g; its predictions are recorded.")]
DatasetOption = Annotated[
    str | None, option("--dataset", "SPEC", "Data set: digits, cifar10:ROOT, folder:DIR, ...; see inspect.")
]
SplitOption = Annotated[str | None, option("--split", "NAME", "train or test, where the data set has both.")]
SkipOption = Annotated[int, option("--skip", "N", "Take every N-th input.", COUNT)]
MaxOption = Annotated[
    int | None, option("--max-inputs --max", "N", "Take at most N inputs (under torchrun, the long name).", COUNT)
]
IndicesOption = Annotated[str | None, option("--indices", "I,J,...", "Take just these positions of the split.")]
HoldoutOption = Annotated[
    float | None, option("--holdout", "SHARE", "Hold this share of the split out, the same one every time.", SHARE)
]
ModelOption = Annotated[list[str] | None, option("-M", "KEY=VALUE", "Option of the model loaders; repeatable.")]
TrustOption = Annotated[
    bool, option("--trust-model", None, "Allow what you typed to run code (py:, pt2:); never what a manifest names.")
]

# Draws
SigmaOption = Annotated[
    float | None, option("--sigma", "S", "Standard deviation of the noise, in pixel units.", SIGMA, DRAWS)
]
LambdaOption = Annotated[
    float | None, option("--lambda", "L", "Of splitting noise: half the distance of two splits.", SIGMA, DRAWS)
]
NumSelectionOption = Annotated[
    int, option("--num-selection --N0", "N", "Draws that select the class, per input.", COUNT, DRAWS)
]
NumEstimationOption = Annotated[
    int, option("--num-estimation --N", "N", "Fresh draws that bound its probability, per input.", COUNT, DRAWS)
]
NoiseSeedOption = Annotated[
    int | None, option("--seed", "N", "Seed of the noise; fresh system entropy by default.", NOISE_SEED, DRAWS)
]
SeedOption = Annotated[int, option("--seed", "N", "Seed of everything random here.", SEED)]
BatchOption = Annotated[
    int | None,
    option("--batch-size --batch", "N", "Draws per forward pass; calibrated by default.", COUNT, EXECUTION),
]
DeviceOption = Annotated[str, option("--device", "NAME", "auto, cpu, cuda or cuda:N.", None, EXECUTION)]

# Certificates
MixingWeightOption = Annotated[
    list[float] | None,
    option("--mixing-weight", "A", "0 = accurate model, 1 = robust model; repeatable.", WEIGHT, CERTIFICATES),
]
ThresholdOption = Annotated[
    list[float] | None,
    option(
        "--threshold", "C", "h's class where its probability is above C, else g's; repeatable.", THRESHOLD, CERTIFICATES
    ),
]
_CONFIDENCE_HELP = "A draw votes only where h's network is this sure of a class: a multiple of 1/64 above 0.5"
ConfidenceOption = Annotated[
    float | None, option("--confidence", "K", f"{_CONFIDENCE_HELP}.", CONFIDENCE, CERTIFICATES)
]
ConfidencesOption = Annotated[
    list[float] | None,
    option("--confidence", "K", f"{_CONFIDENCE_HELP}; of several, --choose-on picks one.", CONFIDENCE, CERTIFICATES),
]
CertifierOption = Annotated[
    list[str] | None,
    option("--certifier", "NAME", f"{', '.join(CERTIFIERS)}; repeatable.", choice(*CERTIFIERS), CERTIFICATES),
]
FailureProbabilityOption = Annotated[
    float | None,
    option(
        "--failure-probability", "P", "Chance, per input, of a wrong answer; 0.001 by default.", SHARE, CERTIFICATES
    ),
]
IntervalOption = Annotated[
    str,
    option("--interval", "NAME", "pair (bounds both) or cohen (p_B = 1 - p_A).", choice("pair", "cohen"), CERTIFICATES),
]
CertifiedVotesOption = Annotated[
    str | None,
    option("--certify-votes", "KIND", "hard or soft, where a run holds both.", choice("hard", "soft"), CERTIFICATES),
]
MeanBoundOption = Annotated[
    str,
    option(
        "--mean-bound", "NAME", "Of soft votes: betting, bernstein or hoeffding.",
        choice("betting", "bernstein", "hoeffding"), CERTIFICATES,
    ),
]  # fmt: skip
RealValuedOption = Annotated[
    bool,
    option("--real-valued", None, "Certify perturbed inputs off the data's grid too, by less.", None, CERTIFICATES),
]
LipschitzOption = Annotated[
    float | None,
    option(
        "--lipschitz", "L", "That every class probability of h's network keeps in l2, for lipschitz-smoothed.",
        POSITIVE, CERTIFICATES,
    ),
]  # fmt: skip
AccurateVoteOption = Annotated[
    str, option("--accurate-vote", "KIND", "How g votes: its class, or its softmax.", choice("class", "softmax"))
]

# Attacks
NormOption = Annotated[str, option("--norm", "NAME", "l2 or linf.", choice("linf", "l2"))]
AttackRadiusOption = Annotated[float, option("--attack-radius", "R", "Budget, in pixel units.", RADIUS)]
StepsOption = Annotated[int, option("--steps", "N", "PGD steps.", COUNT)]
RestartsOption = Annotated[int, option("--restarts", "N", "PGD restarts.", COUNT)]
ScaleOption = Annotated[
    list[float] | None,
    option("--scale", "S", "Scale of the sigmoid; of several, the best under attack B is kept.", POSITIVE),
]

# Output
RunOption = Annotated[
    Path | None, option("--out", "RUN", "Run folder; the same command again resumes.", output_path, OUTPUT)
]
FolderOption = Annotated[Path | None, option("--out", "FOLDER", "Where what is derived goes.", output_path, OUTPUT)]
StemOption = Annotated[Path | None, option("--out", "STEM", "Figure path without ending.", output_stem, OUTPUT)]
FileOption = Annotated[Path | None, option("--out", "FILE", "File to write.", output_path, OUTPUT)]
ForceOption = Annotated[bool, option("--force", None, "Overwrite what exists.", None, OUTPUT)]
RadiiOption = Annotated[
    Numbers | None, option("--radii", "R,R,...", "Radii of the table, in pixel units.", ascending, OUTPUT)
]
FormatOption = Annotated[
    str, option("--format", "NAME", "Of tables: markdown, latex or csv.", choice("markdown", "latex", "csv"), OUTPUT)
]
JsonOption = Annotated[bool, option("--json", None, "Print one JSON object on stdout, and nothing else.", None, OUTPUT)]
QuietOption = Annotated[bool, option("--quiet -q", None, "No progress and no messages on stderr.", None, OUTPUT)]


@dataclass(frozen=True)
class Sources:
    """Models and data of a command, by spec."""

    panel: ClassVar[str] = SOURCES
    robust: RobustOption = None
    accurate: AccurateOption = None
    dataset: DatasetOption = None
    split: SplitOption = None
    skip: SkipOption = 1
    max_inputs: MaxOption = None
    indices: IndicesOption = None
    model: ModelOption = None
    trust_model: TrustOption = False

    def load_dataset(self) -> "Dataset":
        """The data set, or the part of it that was asked for."""
        return certmix.load_dataset(
            str(self.dataset),
            split=self.split,
            skip=self.skip,
            max=self.max_inputs,
            indices=self.indices,
            trust_model=self.trust_model,
        )

    def load_model(self, spec: str) -> "torch.nn.Module":
        """A model that was typed, with the options of -M."""
        return certmix.load_model(spec, trust_model=self.trust_model, **key_values(self.model))


@dataclass(frozen=True)
class DrawOptions:
    """What defines the draws, besides models and data."""

    panel: ClassVar[str] = DRAWS
    sigma: SigmaOption = None
    lambda_: LambdaOption = None
    num_selection: int | None = own(
        None, "--num-selection --N0", "N", "Draws that select the class; 100 by default.", COUNT
    )
    num_estimation: int | None = own(
        None, "--num-estimation --N", "N", "Fresh draws that bound it; 10,000 by default.", COUNT
    )
    votes: str = own(
        "hard", "--votes", "KIND", "To store: hard (class), soft (probabilities) or both.",
        choice("hard", "soft", "both"),
    )  # fmt: skip
    noise: str = own(
        "auto", "--noise", "KIND", "integer (on the data's grid), float, auto; or splitting, for l1 and without chance.",
        choice("auto", "integer", "float", "splitting"),
    )  # fmt: skip
    seed: NoiseSeedOption = None
    seed_from: str | None = own(
        None, "--seed-from", "TEXT", "Seed: a hash of a public text and of what defines the draws."
    )
    on_invalid: str = own(
        "error", "--on-invalid", "WHAT", "Where an output is not finite: error, or count.", choice("error", "count")
    )
    stop_at_radius: float | None = own(
        None, "--stop-at-radius", "R", "Stop an input when it is decided whether it reaches R.", RADIUS
    )
    radius_tolerance: float | None = own(
        None, "--radius-tolerance", "T", "Stop an input when its radius is within this share.", SHARE
    )

    @property
    def enumerated(self) -> bool:
        """Whether all values of splitting noise are asked for."""
        return self.noise == "splitting"

    @property
    def scale(self) -> dict[str, float | None]:
        """Sigma, or the Lambda of splitting noise, by its name, for `need`."""
        return {"lambda": self.lambda_} if self.enumerated else {"sigma": self.sigma}

    def planned(self, failure_probability: float | None, interval: str = "pair") -> "Promise":
        """The promise that certificates of these draws will be made under.

        Raises: InvalidArgument: sigma and lambda, or what splitting noise leaves no choice about.
        """
        if self.sigma is not None and self.lambda_ is not None:
            raise InvalidArgument(
                "--lambda is for --noise splitting, and --sigma for any other, got both; leave one out."
            )
        if not self.enumerated:
            return Promise(failure_probability or DEFAULT_FAILURE_PROBABILITY, interval)  # type: ignore[arg-type]
        typed = {
            "--failure-probability": failure_probability, "--N0": self.num_selection, "--N": self.num_estimation,
            "--stop-at-radius": self.stop_at_radius, "--radius-tolerance": self.radius_tolerance,
        }  # fmt: skip
        extra = [name for name, value in typed.items() if value is not None]
        if extra:
            raise InvalidArgument(
                f"--noise splitting does not take {', '.join(extra)}: all its values are evaluated, and nothing can fail."
            )
        return Promise(0.0, interval)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ExecutionOptions:
    """How draws are made."""

    panel: ClassVar[str] = EXECUTION
    device: DeviceOption = "auto"
    batch_size: BatchOption = None
    compiled: bool = own(False, "--compile", None, "Run the robust model through torch.compile.")
    shard: str | None = own(None, "--shard", "I/N", "Draw every N-th input from the I-th on, for job arrays.")


@dataclass(frozen=True)
class Placement:
    """Where models run, and how many inputs are there at once."""

    panel: ClassVar[str] = EXECUTION
    device: DeviceOption = "auto"
    batch_size: int | None = own(
        None, "--batch-size --batch", "N", "Inputs at a time; what memory holds by default.", COUNT
    )

    def place(self, model: "torch.nn.Module") -> "torch.nn.Module":
        """The model on its device, in eval mode."""
        from certmix.sampling.devices import choose_device

        return model.eval().to(choose_device(self.device))


@dataclass(frozen=True)
class RuleOptions:
    """How g and h become one classifier."""

    panel: ClassVar[str] = CERTIFICATES
    mixing_weight: MixingWeightOption = None
    threshold: ThresholdOption = None
    confidence: ConfidenceOption = None

    def rules(self, accurate_vote: str = "class") -> "list[Rule]":
        """The rules asked for, weights first; h alone where none was."""
        from certmix.rules import LinearRule, ThresholdRule

        weights = self.mixing_weight or ([] if self.threshold else [1.0])
        mixed: list[Rule] = [LinearRule(weight, accurate_vote) for weight in weights]  # type: ignore[arg-type]
        return [*mixed, *(ThresholdRule(c, accurate_vote) for c in self.threshold or [])]  # type: ignore[arg-type]


@dataclass(frozen=True)
class BoundOptions:
    """How probabilities are bounded."""

    panel: ClassVar[str] = CERTIFICATES
    failure_probability: FailureProbabilityOption = None
    interval: IntervalOption = "pair"
    certify_votes: CertifiedVotesOption = None
    mean_bound: MeanBoundOption = "betting"


@dataclass(frozen=True)
class CertifierOptions(BoundOptions):
    """By whom certificates are made of the bounds."""

    certifier: CertifierOption = None
    lipschitz: LipschitzOption = None

    @property
    def certifiers(self) -> list[str]:
        """Certifiers of Gaussian noise; the exact one where none was given."""
        return self.certifier or ["exact"]

    def check_lipschitz(self) -> None:
        """Refuse a constant that no certifier uses, and a certifier that lacks its constant. Raises InvalidArgument."""
        if ("lipschitz-smoothed" in self.certifiers) != (self.lipschitz is not None):
            given = "nothing" if self.lipschitz is None else f"{self.lipschitz:g}"
            raise InvalidArgument(
                f"--lipschitz must be given with --certifier lipschitz-smoothed, and with it alone, got {given}."
            )


@dataclass(frozen=True)
class PromiseOptions(RuleOptions, CertifierOptions):
    """What is certified, and what a certificate promises."""

    real_valued: RealValuedOption = False

    def able(self, rules: "Sequence[Rule]") -> "dict[str, list[Rule]]":
        """The rules that each certifier can certify, if any. Raises InvalidArgument where none can certify one."""
        from certmix.certifiers import get_certifier

        found = {name: [rule for rule in rules if rule.takes(get_certifier(name))] for name in self.certifiers}
        if not any(found.values()):
            raise InvalidArgument(
                "--certifier must know more of h than its margin for a threshold (exact, theorem-3.5, cdf), got "
                f"{', '.join(found)}."
            )
        return {name: chosen for name, chosen in found.items() if chosen}

    def left_out(self, rules: "Sequence[Rule]") -> list[str]:
        """A line for each certifier that cannot certify all of the rules."""
        able = self.able(rules)
        missing = {name: [rule.label for rule in rules if rule not in able.get(name, [])] for name in self.certifiers}
        return [
            f"{name} knows h's margin only and has no row of {', '.join(labels)}."
            for name, labels in missing.items()
            if labels
        ]

    def certify(self, statistics: "Statistics", rules: "Sequence[Rule]") -> "list[Certificates]":
        """Certificates of stored votes, one for each certifier, of the rules that it can certify."""
        from certmix.certification.certify import certify
        from certmix.certifiers import CERTIFIERS

        self.check_lipschitz()
        return [
            certify(
                statistics,
                rules=chosen,
                certifier=name if self.certifier else None,  # the usual one of the noise
                lipschitz=self.lipschitz if CERTIFIERS[name].needs == "lipschitz" else None,
                **self._asked,
            )
            for name, chosen in self.able(rules).items()
        ]

    @property
    def _asked(self) -> dict[str, Any]:
        """What is asked of a promise, by the names of `certmix.certify`; choices were checked while parsing."""
        return {
            "failure_probability": self.failure_probability, "interval": self.interval, "votes": self.certify_votes,
            "mean_bound": self.mean_bound, "real_valued": self.real_valued, "confidence": self.confidence,
        }  # fmt: skip

    def promise(self, statistics: "Statistics") -> "Promise":
        """The promise that stored votes can keep."""
        from certmix.certification.bounds import promise_of

        return promise_of(statistics, **self._asked)

    def bounds(self, statistics: "Statistics") -> "ProbabilityBounds":
        """Bounds on the probabilities of stored votes."""
        from certmix.certification.bounds import bound_statistics

        return bound_statistics(statistics, self.promise(statistics))


def key_values(pairs: list[str] | None) -> dict[str, Any]:
    """Options of `-M KEY=VALUE`. Raises InvalidArgument where one is not a pair."""
    for pair in pairs or []:
        if "=" not in pair or pair.startswith("trust_model="):  # trust is given by its own option alone
            raise InvalidArgument(
                f"-M must be key=value of a model's own option, got {pair!r}; e.g. -M arch=digits-cnn."
            )
    return dict(pair.split("=", 1) for pair in pairs or [])
