"""Every command, in the order that --help lists them, and the way to run one."""

# The order of these imports is that of the commands; ruff's is switched off for this file in pyproject.toml.
import sys
from typing import NoReturn

from certmix.cli import demo as demo
from certmix.cli import train as train
from certmix.cli import sample as sample
from certmix.cli import certify as certify
from certmix.cli import pareto as pareto
from certmix.cli import chain as chain
from certmix.cli import plot as plot
from certmix.cli import report as report
from certmix.cli import predict as predict
from certmix.cli import verify as verify
from certmix.cli import inspect as inspect
from certmix.cli import export as export
from certmix.cli import leaderboard as leaderboard
from certmix.cli import attack, adaptive, paper
from certmix.cli.attack import mixture as mixture
from certmix.cli.attack import certificates as certificates
from certmix.cli.attack import bracket as bracket
from certmix.cli.attack import lipschitz as lipschitz
from certmix.cli.adaptive import train as adaptive_train
from certmix.cli.adaptive import calibrate as calibrate
from certmix.cli.adaptive import attack as adaptive_attack
from certmix.cli.paper import confidence as confidence
from certmix.cli.paper import forms as forms
from certmix.cli.exits import run_to_exit
from certmix.cli.root import app
from certmix.sampling.allocator import keep_freed_memory

for _name, _group in (("attack", attack.app), ("adaptive", adaptive.app), ("paper", paper.app)):
    app.add_typer(_group, name=_name)


def main() -> NoReturn:
    """Run the command line; see `certmix.cli.exits` for its exit codes."""
    keep_freed_memory()
    run_to_exit(app, sys.argv[1:] or ["--help"])
