"""Every command, in the order that --help lists them."""

from certmix.cli import attack as attack
from certmix.cli import attack_certificates as attack_certificates
from certmix.cli import bracket as bracket
from certmix.cli import certify as certify
from certmix.cli import confidence as confidence
from certmix.cli import demo as demo
from certmix.cli import export as export
from certmix.cli import inspect as inspect
from certmix.cli import lipschitz as lipschitz
from certmix.cli import mixing_forms as mixing_forms
from certmix.cli import pareto as pareto
from certmix.cli import plot as plot
from certmix.cli import predict as predict
from certmix.cli import train as train
from certmix.cli import verify as verify
