"""`certmix train`: a base classifier by any method, resumable."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import certmix
from certmix.cli import options
from certmix.cli.command import command, option, own
from certmix.cli.exits import checkpoint_kept, if_stopped
from certmix.cli.output import Answer
from certmix.cli.progress import Watch, duration, progress_bar
from certmix.cli.root import app
from certmix.cli.values import COUNT, POSITIVE, RADIUS, SHARE, SHARE_OF_PAST, TRAINING_SIGMA, choice, output_path
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    from certmix.training.loop import EpochReport
    from certmix.training.methods import Method
    from certmix.training.network import Start
    from certmix.training.recipe import Recipe

ARCHITECTURES = ("digits-cnn", "mlp", "resnet18", "cifar_resnet9", "cifar_resnet20", "cifar_resnet110")
METHODS = ("gaussian", "consistency", "smoothadv", "adversarial", "splitting")
NORMALISATIONS = ("none", "cifar10", "cifar10-pixels", "imagenet", "half")


@dataclass(frozen=True)
class StartOptions:
    """The network and its first weights."""

    panel: ClassVar[str] = options.SOURCES
    architecture: str = own(
        "digits-cnn", "--architecture --arch", "NAME", f"{', '.join(ARCHITECTURES)}.", choice(*ARCHITECTURES)
    )
    init: str | None = own(
        None, "--init", "SPEC", "Start from this model's weights and normalisation; fresh by default."
    )
    normalize: str | None = own(
        None, "--normalize", "NAME", f"{', '.join(NORMALISATIONS)}; cifar10-pixels for cifar_ networks, else none.",
        choice(*NORMALISATIONS),
    )  # fmt: skip

    def start(self, trust_model: bool) -> "Start":
        """Where training starts."""
        from certmix.models.normalisation import KNOWN
        from certmix.training.network import Start

        usual = "cifar10-pixels" if self.architecture.startswith("cifar_") else "none"
        normalisation = KNOWN.get(self.normalize or usual)
        if self.init is None:
            return Start(self.architecture, normalisation)
        if self.normalize is not None:
            raise InvalidArgument("--normalize is for fresh weights; with --init the model's own is kept.")
        return Start(self.architecture, None, certmix.load_model(self.init, trust_model=trust_model), self.init)


@dataclass(frozen=True)
class MethodOptions:
    """What a batch costs. None: the method's own default."""

    panel: ClassVar[str] = "Method"
    sigma: float | None = own(None, "--sigma", "S", "Noise in training; 0 = clean.", TRAINING_SIGMA)
    lambda_: options.LambdaOption = None
    attack_radius: float | None = own(
        None, "--attack-radius", "R", "Budget of the attack; smoothadv and adversarial need it.", RADIUS
    )
    norm: str | None = own(
        None, "--norm", "NAME", "Of that budget; l2 for smoothadv, else linf.", choice("linf", "l2", "l1")
    )
    attack_steps: int | None = own(None, "--attack-steps", "N", "Of PGD in training.", COUNT)
    copies: int | None = own(None, "--copies", "M", "Noisy copies of an input; 2 for consistency and smoothadv.", COUNT)
    consistency_weight: float | None = own(
        None, "--consistency-weight", "L", "lambda of consistency, 5 to 20; 10 by default.", RADIUS
    )
    entropy_weight: float | None = own(None, "--entropy-weight", "E", "eta of consistency; 0.5 by default.", RADIUS)
    warm_up: float | None = own(None, "--warm-up", "EPOCHS", "Of smoothadv's radius; 10 by default.", RADIUS)

    def method(self, name: str | None, levels: int | None) -> "Method":
        """The method of a name with the settings typed; where only a budget or a Lambda was given, the one that needs it.

        Args:
            name: of the method.
            levels: of the data set's grid.
        """
        from certmix.training.methods import make_method

        typed = {key: value for key, value in asdict(self).items() if value is not None and key != "lambda_"}
        if not typed.get("attack_radius", 1.0):
            raise InvalidArgument("--attack-radius must be > 0, got 0; leave it out to train without attacks.")
        usual = "splitting" if self.lambda_ is not None else "adversarial" if self.attack_radius else "gaussian"
        chosen = name or usual
        if (self.lambda_ is not None) != (chosen == "splitting") or (chosen == "splitting" and self.sigma is not None):
            raise InvalidArgument("--lambda is for --method splitting, which needs it and takes no --sigma.")
        if chosen == "splitting":
            if levels is None:
                raise InvalidArgument("--method splitting needs inputs on a grid, got a data set without grid levels.")
            typed |= {"sigma": self.lambda_, "levels": levels}
        if chosen == "adversarial" and self.sigma:
            raise InvalidArgument(
                f"adversarial training needs --sigma 0, got {self.sigma:g}; add --method smoothadv to attack through noise."
            )
        if chosen in ("consistency", "smoothadv") and not self.sigma:
            raise InvalidArgument(f"--method {chosen} needs --sigma > 0, got {self.sigma or 0:g}.")
        return make_method(chosen, **typed)


@dataclass(frozen=True)
class RecipeOptions:
    """How it is optimised. None: the recipe's own value."""

    panel: ClassVar[str] = "Recipe"
    epochs: int | None = own(None, "--epochs", "N", "40 by default.", COUNT)
    batch_size: int | None = own(None, "--batch-size --batch", "N", "128 by default.", COUNT)
    learning_rate: float | None = own(None, "--learning-rate", "R", "The largest; 0.003 small, 0.15 images.", POSITIVE)
    optimizer: str | None = own(None, "--optimizer", "NAME", "adamw or sgd.", choice("adamw", "sgd"))
    schedule: str | None = own(None, "--schedule", "NAME", "one-cycle or cosine.", choice("one-cycle", "cosine"))
    weight_decay: float | None = own(None, "--weight-decay", "D", "0.001 small, 0.0005 images.", RADIUS)
    averaging: float | None = own(
        None, "--averaging", "D", "Of weights over steps; 0 small, 0.999 images.", SHARE_OF_PAST
    )
    augment: str | None = own(None, "--augment", "NAME", "none or crop-flip.", choice("none", "crop-flip"))
    precision: str | None = own(None, "--precision", "NAME", "fp32, or bf16 under autocast.", choice("fp32", "bf16"))
    seed: options.SeedOption = 0

    def recipe(self, name: str) -> "Recipe":
        """The recipe of a name with what was typed in its place."""
        from certmix.training.recipe import RECIPES

        return replace(RECIPES[name], **{key: value for key, value in asdict(self).items() if value is not None})


@command(app, "train")
def train_command(
    *,
    dataset: Annotated[str, option("--dataset", "SPEC", "Data set: digits, cifar10:ROOT, ...; see inspect.")],
    out: Annotated[Path, option("--out", "FILE", "The model (.safetensors); the same command resumes.", output_path)],
    split: options.SplitOption = "train",
    holdout: options.HoldoutOption = None,
    validation: Annotated[
        float | None, option("--validation", "SHARE", "Judge every epoch on this share, and keep the best too.", SHARE)
    ] = None,
    start: StartOptions,
    method: Annotated[str | None, option("--method", "NAME", f"{', '.join(METHODS)}.", choice(*METHODS))] = None,
    of_method: MethodOptions,
    recipe: Annotated[
        str, option("--recipe", "NAME", "small (AdamW), or images (SGD, augmentation).", choice("small", "images"))
    ] = "small",
    of_recipe: RecipeOptions,
    device: options.DeviceOption = "auto",
    trust_model: options.TrustOption = False,
    force: options.ForceOption = False,
    output: Answer,
) -> None:
    """Train a base classifier: clean, noisy or against attacks.

    \b
    An accurate model and a robust one:
      certmix train --dataset digits --out g.safetensors
      certmix train --dataset digits --sigma 0.5 --out h.safetensors
    One that is robust to attacks, without smoothing:
      certmix train --dataset digits --attack-radius 0.2 --norm linf --out adversarial.safetensors
    One for splitting noise, which certifies l1 balls:
      certmix train --dataset digits --lambda 1.5 --epochs 120 --out h1.safetensors
    Colour images, judged after every epoch; the same command goes on after a kill:
      certmix train --dataset cifar10:DIR --recipe images --arch cifar_resnet9 \\
        --method consistency --sigma 0.5 --validation 0.04 --out h.safetensors
    """
    from certmix.datasets.holdout import hold_out
    from certmix.training.files import checkpoint_of, train_to_file

    settings = of_recipe.recipe(recipe)
    data = certmix.load_dataset(dataset, split=split, trust_model=trust_model)
    chosen = of_method.method(method, data.grid_levels)
    if holdout is not None:
        data, _ = hold_out(data, holdout)
    first = start.start(trust_model)
    with (
        if_stopped(lambda: checkpoint_kept(checkpoint_of(out))),
        progress_bar("training", quiet=output.quiet) as watch,
    ):
        done = train_to_file(
            data,
            first,
            chosen,
            settings,
            out,
            device=device,
            validation=validation,
            force=force,
            progress=watch,
            each_epoch=_Epochs(watch, settings.epochs),
        )
    last = done.history[-1]
    noise = "" if last.noisy is None else f" ({100 * last.noisy:.1f} % under the noise)"
    judged = f"{100 * done.accuracy:.1f} % of the clean {done.judged_on} inputs right{noise}"
    output.show(
        {"out": str(out), "training_accuracy": done.accuracy, **done.settings},
        f"{out}: {start.architecture}, {'sigma' if of_method.lambda_ is None else 'lambda'} {chosen.sigma:g}, {judged}",
        [f"{done.best}: of epoch {done.best_epoch}, the best on the validation part"] if done.best else [],
    )


class _Epochs:
    """A line for every epoch that is judged; of others, one now and then in a log."""

    def __init__(self, watch: Watch, epochs: int) -> None:
        self.watch, self.epochs, self.before = watch, epochs, 0.0

    def __call__(self, report: "EpochReport") -> None:
        took, self.before = self.watch.elapsed - self.before, self.watch.elapsed
        said = [f"epoch {report.epoch}/{self.epochs}: loss {report.loss:.3f}", f"training {_percent(report.accuracy)}"]
        if report.clean is not None:
            said.append(f"validation {_percent(report.clean)} clean")
        if report.noisy is not None:
            said.append(f"{_percent(report.noisy)} under the noise")
        said.append(duration(took))
        if self.watch.left:
            said.append(f"{duration(self.watch.left)} left")
        (self.watch.mention if report.clean is None else self.watch.say)(", ".join(said))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
