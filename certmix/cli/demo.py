"""`certmix demo`: the whole flow on real images, from training to figures, in one command."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import JsonOption, QuietOption

SIGMAS = (0.25, 0.5, 1.0)
WEIGHTS = (0.6, 0.8, 1.0)
CERTIFIERS = ("theorem-3.5", "theorem-a1", "exact")
SEED = 2023  # of training and noise, so that everyone sees the same numbers


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where models, runs and figures go.")] = Path(
        "demo"
    ),
    max_inputs: Annotated[int, typer.Option("--max", help="Test digits to certify.")] = 300,
    num_estimation: Annotated[int, typer.Option("--num-estimation", "--N", help="Draws per digit.")] = 10_000,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train on the built-in digits, sample, certify, sweep and plot: the whole flow in one command.

    \b
    Takes about two minutes on two cores; the same command again resumes:
      certmix demo --out demo
    """
    started = time.monotonic()

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    accurate = _train(out, "accurate", 0.0, say)
    robust = {sigma: _train(out, f"robust-{sigma:g}", sigma, say) for sigma in SIGMAS}
    runs = [
        _sample_run(out, robust[sigma], accurate, sigma, max_inputs=max_inputs, draws=num_estimation, quiet=quiet)
        for sigma in SIGMAS
    ]
    _report(out, runs, as_json=as_json, say=say)
    say(f"Finished in {time.monotonic() - started:.0f} s. Next: certmix certify {runs[1]} --mixing-weight 0.9")


def _train(out: Path, name: str, sigma: float, say: Callable[[str], None]) -> Path:
    from certmix import load_dataset
    from certmix.training import save_model, train

    path = out / "models" / f"{name}.safetensors"
    if not path.exists():
        say(f"Training {name} (noise sigma {sigma:g}) on the digits' training split.")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(train(load_dataset("digits", split="train"), sigma=sigma, seed=SEED), path)
    return path
