"""Every method on the same draws at one clean accuracy: the figure that opens the README."""

from collections.abc import Sequence
from pathlib import Path

from certmix.certifiers import CERTIFIERS
from certmix.curves import exact_steps
from certmix.errors import InvalidArgument
from certmix.pareto import Method
from certmix.plots.canvas import CERTIFIED, RADIUS, Curve, Look, Panel, plot
from certmix.plots.certified import intervals
from certmix.tables import percent_text


def plot_methods(
    methods: Sequence[Method], stem: str | Path, *, title: str = "", look: Look | None = None
) -> list[str]:
    """Certified accuracy against radius, a step curve with its interval per method.

    Args:
        methods: of `certmix.pareto.compare_methods`, over the same inputs.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        title: what the inputs are, such as "CIFAR-10"; clean accuracies and the number of inputs stand below it.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    Raises: InvalidArgument: no method, or methods over different numbers of inputs.
    """
    return plot([methods_panel(methods, title)], stem, x=RADIUS, y=CERTIFIED, look=look)


def methods_panel(methods: Sequence[Method], title: str = "") -> Panel:
    """What `plot_methods` draws."""
    sizes = {len(method.right) for method in methods}
    if len(sizes) != 1:
        raise InvalidArgument(f"methods must be one or more over the same inputs, got {sorted(sizes)} inputs.")
    curves = []
    for method in methods:
        radii, accuracy = exact_steps(method.radius, method.right)
        ends = intervals(accuracy, len(method.right))
        dashes = CERTIFIERS[method.certifier].dashes
        curves.append(Curve(method.name, radii, accuracy, *ends, kind="falling", dashes=dashes, thickness=1.8))
    clean = sorted({percent_text(method.clean_accuracy) for method in methods}, key=float)
    shared = f"clean {' to '.join(dict.fromkeys((clean[0], clean[-1])))} %, {sizes.pop()} inputs"
    return Panel(f"{title}\n{shared}" if title else shared, curves)
