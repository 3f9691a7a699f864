"""Every command, in the order that --help lists them."""

from certmix.cli import demo as demo
from certmix.cli import train as train  # isort: split

from certmix.cli import sample as sample  # isort: split

from certmix.cli import certify as certify  # isort: split

from certmix.cli import pareto as pareto  # isort: split

from certmix.cli import plot as plot  # isort: split

from certmix.cli import predict as predict  # isort: split

from certmix.cli import verify as verify  # isort: split

from certmix.cli import inspect as inspect  # isort: split

from certmix.cli import export as export  # isort: split
