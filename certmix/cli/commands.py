"""Every command, in the order that --help lists them."""

from certmix.cli import certify as certify
from certmix.cli import demo as demo
from certmix.cli import lipschitz as lipschitz
from certmix.cli import pareto as pareto
from certmix.cli import plot as plot
from certmix.cli import train as train
from certmix.cli import verify as verify
