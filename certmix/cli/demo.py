"""`certmix demo`: the whole flow on real images, from training to figures, in one command."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import certmix
from certmix.cli import values
from certmix.cli.command import command, option
from certmix.cli.exits import if_stopped
from certmix.cli.options import NumEstimationOption
from certmix.cli.output import Answer
from certmix.cli.progress import progress_bar
from certmix.cli.root import app
from certmix.cli.values import Numbers

SIGMAS = (0.25, 0.5, 1.0)
WEIGHTS = (0.6, 0.8, 1.0)
CERTIFIERS = ("theorem-3.5", "theorem-a1", "exact")
SEED = 2301  # of training and noise, so that everyone sees the same numbers
# A little noise makes g more accurate on clean digits than any noise-trained h, so that there is something to trade.
ACCURATE = {"sigma": 0.15, "epochs": 120}
ROBUST = {"epochs": 40}


@command(app, "demo")
def demo_command(
    *,
    out: Annotated[Path, option("--out", "FOLDER", "Where all of it goes.", values.output_path)] = Path("demo"),
    max_inputs: Annotated[int, option("--max-inputs --max", "N", "Test digits to certify.", values.COUNT)] = 300,
    num_estimation: NumEstimationOption = 10_000,
    output: Answer,
) -> None:
    """Train on digits, sample, certify, sweep and plot, all in one.

    \b
    Takes about two minutes on two cores; the same command again resumes:
      certmix demo --out demo
    """
    started = time.monotonic()
    import torch

    torch.set_num_threads(1)  # small networks: one thread per run, and the runs side by side
    with if_stopped("Models and draws so far are kept; the same command again goes on."):
        accurate = _train(out, "accurate", output.say, **ACCURATE)
        robust = {sigma: _train(out, f"robust-{sigma:g}", output.say, sigma=sigma, **ROBUST) for sigma in SIGMAS}
        runs = _sample_all(out, robust, accurate, max_inputs=max_inputs, draws=num_estimation, quiet=output.quiet)
        summary = _report(runs, out)
    summary["seconds"] = round(time.monotonic() - started, 1)
    notes = [
        f"Figures and tables: {', '.join(summary['files'])}",
        f"Open in a browser: {summary['report']}",
        f"Finished in {summary['seconds']:.0f} s. Try: certmix certify {runs[1]} --mixing-weight 0.9",
    ]
    text = summary.pop("text")
    output.show(summary, text, notes)


def _train(out: Path, name: str, say: Callable[..., None], **how: Any) -> Path:
    from certmix.training.train import accuracy, save_model, train

    path = out / "models" / f"{name}.safetensors"
    if not path.exists():
        data = certmix.load_dataset("digits", split="train")
        model = train(data, seed=SEED, **how)
        right = accuracy(model, certmix.load_dataset("digits", split="test"))
        say(f"Trained {name} (noise {how['sigma']:g}): {100 * right:.1f} % of the clean test digits right.")
        save_model(model, path, architecture="digits-cnn", settings={**how, "seed": SEED, "num_classes": 10})
    return path


def _sample_all(
    out: Path, robust: dict[float, Path], accurate: Path, *, max_inputs: int, draws: int, quiet: bool
) -> list[Path]:
    """Sample every sigma, two at a time; returns the run folders."""
    from certmix.sampling.execution import Execution

    done = dict.fromkeys(robust, (0, 0))

    def sample(sigma: float, report: Callable[[int, int], None]) -> Path:
        def progress(finished: int, total: int) -> None:
            done[sigma] = (finished, total)
            report(sum(pair[0] for pair in done.values()), total * len(robust))

        run = out / "runs" / f"sigma-{sigma:g}"
        certmix.sample(
            certmix.load_model(str(robust[sigma])),
            certmix.load_dataset("digits", split="test", max=max_inputs),
            accurate=certmix.load_model(str(accurate)),
            sigma=sigma,
            num_estimation=draws,
            seed=SEED,
            out=run,
            execution=Execution(device="cpu"),
            progress=progress,
        )
        return run

    with (
        progress_bar(f"sampling {len(robust)} sigmas", quiet=quiet) as report,
        ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool,
    ):
        return list(pool.map(lambda sigma: sample(sigma, report), robust))


def _report(runs: list[Path], out: Path) -> dict[str, Any]:
    """Tables as text, the same numbers as plain values, and the figures' paths."""
    from certmix.cli.accuracy import accuracy_rows, accuracy_table
    from certmix.cli.certify import publish
    from certmix.cli.frontier import frontiers_table, remarks, write_sweep
    from certmix.cli.report import write_report
    from certmix.plots.certified import plot_certified_accuracy
    from certmix.runs.grouping import read_runs

    rows, drawn, files, radii = [], [], [], Numbers((0.0, 0.25, 0.5, 0.75))
    stored = read_runs(runs)
    for run in stored:
        made = [certmix.certify(run.statistics, mixing_weight=WEIGHTS, certifier=name) for name in CERTIFIERS]
        rows += sorted(accuracy_rows(made, radii), key=lambda row: row["weight"])
        publish(run, run.folders[0], made, radii)
        drawn.append(made)
    files += plot_certified_accuracy(drawn, out / "figures" / "certified-accuracy")
    text = (
        "Certified accuracy in % at l2 radius r, with 95 % intervals of the test set "
        f"({rows[0]['inputs']} digits):\n\n{accuracy_table(rows, 'markdown')}"
    )
    sweeps = [
        certmix.pareto_frontier([run.statistics for run in stored], baseline=SIGMAS[0], certifier=name, rules=[rule])
        for name, rule in (("theorem-a1", "linear"), ("exact", "linear"), ("exact", "threshold"))
    ]
    files += write_sweep(sweeps, out / "figures" / "frontier")
    text += (
        f"\n\nFrontiers in % at the clean accuracy of sigma {SIGMAS[0]:g} alone, and the sigma that attains each point:\n\n"
        f"{frontiers_table(sweeps, 'markdown')}\n\n{' '.join(remarks(sweeps[-1], False))} With so few digits one of them "
        "can move a rule's parameter, and which rule certifies more; over many splits of more digits the threshold does."
    )
    page = write_report(runs, out / "report.html", title="Handwritten digits: certified robustness", force=True)
    files.append(str(page))
    return {
        "certified_accuracy": rows,
        "frontiers": [sweep.to_json() for sweep in sweeps],
        "files": files,
        "report": str(page),
        "text": text,
    }
