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

from certmix.cli import adaptive, app, attack, paper  # isort: split

from certmix.cli.attack import mixture as mixture  # isort: split

from certmix.cli.attack import certificates as certificates  # isort: split

from certmix.cli.attack import bracket as bracket  # isort: split

from certmix.cli.attack import lipschitz as lipschitz  # isort: split

from certmix.cli.adaptive import train as adaptive_train  # noqa: F401

# isort: split

from certmix.cli.adaptive import calibrate as calibrate  # isort: split

from certmix.cli.adaptive import attack as adaptive_attack  # noqa: F401

# isort: split

from certmix.cli.paper import confidence as confidence  # isort: split

from certmix.cli.paper import forms as forms  # isort: split

for _name, _group in (("attack", attack.app), ("adaptive", adaptive.app), ("paper", paper.app)):
    app.add_typer(_group, name=_name)
