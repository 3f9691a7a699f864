"""What does splitting noise certify in l1 on digits, by both rules, and what does it cost beside 10,000 Gaussian draws?

The first 300 test digits of `certmix demo`, whose accurate model and Gaussian runs are used as they are. For each Lambda one
network is trained with splitting noise, and all 2 Lambda G values of the noise are evaluated: the shares are exact, and no
certificate can fail. A ball in l1 lies in the l2 ball of its radius, so that a Gaussian run certifies l1 radii too: those
that it certifies in l2, with failure probability .001. Parameters keep a clean accuracy on the very inputs that are reported.

    python benchmarks/splitting.py DEMO MODELS [--epochs 120] [--target 0.96]

DEMO is the folder that `certmix demo --out demo` leaves; networks of splitting noise go to MODELS, and stay there.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import certmix
from certmix.certification.certify import Certificates, certified_at
from certmix.errors import InvalidArgument
from certmix.pareto import candidate_from_statistics
from certmix.rules import LinearRule, ThresholdRule
from certmix.runs.store import Statistics
from certmix.training.methods import Splitting
from certmix.training.train import save_model, train

LAMBDAS, SIGMAS, RADII = (0.75, 1.5, 3.0), (0.25, 0.5), (0.25, 0.5, 0.75, 1.0, 1.5)


def network(folder: Path, split: float, epochs: int) -> tuple[str, float]:
    """A network trained with splitting noise, and the seconds it took; 0 where it is there already."""
    path, started = folder / f"splitting-{split:g}.safetensors", time.process_time()
    if not path.exists():
        data = certmix.load_dataset("digits", split="train")
        model = train(data, method=Splitting(split, levels=16), epochs=epochs)
        save_model(model, path, architecture="digits-cnn", settings={"num_classes": 10, "lambda": split}, force=True)
        return str(path), time.process_time() - started
    return str(path), 0.0


def line(name: str, clean: float, made: Certificates, passes: int) -> str:
    """One row of the table: accuracies rounded down."""
    right = made.prediction == made.labels
    shares = [float((right & certified_at(made.radius[0], at)).mean()) for at in (0.0, *RADII)]
    cells = [f"{np.floor(1000 * share + 1e-9) / 10:.1f}" for share in (clean, *shares)]
    return f"| {name} | {passes:,} | {' | '.join(cells)} |"


def rows(run: Statistics, target: float) -> list[str]:
    """h alone, and both rules at the parameter of the largest radii that keeps the target."""
    candidate, every = candidate_from_statistics(run), np.arange(len(run))
    passes = run.draws.num_selection + run.draws.num_estimation
    made = []
    for form in (None, LinearRule(1.0), ThresholdRule(0.0)):
        rule, name = form or LinearRule(1.0), run.draws.scale_text
        if form is not None:
            try:
                rule = form.with_parameter(candidate.clean(form, every).best(target))
            except InvalidArgument as error:
                made.append(f"| {name}: {error} |")
                continue
        label = "h alone" if form is None else f"{rule.title} {rule.parameter:.3f}"
        clean = float(candidate.clean(rule, every)(rule.parameter))
        made.append(line(f"{name}, {label}", clean, certmix.certify(run, rules=rule), passes))
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--target", type=float, default=0.96)
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    g = certmix.load_model(str(options.demo / "models" / "accurate.safetensors"))
    data = certmix.load_dataset("digits", split="test", max=300)
    print(f"| noise, rule | passes | clean | r = 0+ | {' | '.join(f'{r:g}' for r in RADII)} |", flush=True)
    for split in LAMBDAS:
        path, seconds = network(options.models, split, options.epochs)
        started = time.process_time()
        run = certmix.sample(certmix.load_model(path), data, sigma=split, noise="splitting", accurate=g)
        sampled = time.process_time() - started
        print("\n".join(rows(run, options.target)), flush=True)
        print(
            f"<!-- CPU seconds: training {seconds:.0f}, all values of {len(run)} inputs {sampled:.1f} -->", flush=True
        )
    for sigma in SIGMAS:
        run = certmix.read_statistics(options.demo / "runs" / f"sigma-{sigma:g}")
        print("\n".join(rows(run, options.target)), flush=True)
        print(f"<!-- seconds of sampling as stored: {run.seconds.sum():.0f} -->", flush=True)


if __name__ == "__main__":
    main()
