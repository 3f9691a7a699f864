"""The one place that looks into the manifest for certification; goes when Statistics carries Draws."""

import math
from typing import TYPE_CHECKING

from certmix.certification.schedule import Schedule
from certmix.errors import InvalidArgument
from certmix.json_fields import Fields

if TYPE_CHECKING:
    from certmix.runs.store import Statistics


def total_variation_of(statistics: "Statistics") -> float:
    """Distance of the noise that was drawn from the Gaussian."""
    return float(statistics.manifest["draws"].get("noise", {}).get("total_variation", 0.0))


def stored_votes(statistics: "Statistics") -> str:
    """ "hard", "soft" or "both"."""
    return str(statistics.manifest["draws"].get("votes", "hard"))


def schedule_of(statistics: "Statistics") -> Schedule | None:
    """Looks at which an input could stop early."""
    tree = statistics.manifest["draws"].get("schedule")
    if tree is None:
        return None
    return Schedule.from_json(
        Fields(tree, "schedule"), sigma=statistics.sigma, num_estimation=statistics.num_estimation
    )


def quantisation_distance(statistics: "Statistics") -> float:
    """How far rounding to the grid can move an input: sqrt(d) / (2 G) in l2, rounded up, in pixel units.

    Raises: InvalidArgument: draws without integer noise, whose certificates are not about a grid.
    """
    draws = statistics.manifest["draws"]
    levels = draws.get("noise", {}).get("levels")
    if levels is None:
        raise InvalidArgument(
            "real_valued is for runs drawn with integer noise; certificates of float noise have no grid."
        )
    return math.nextafter(math.sqrt(math.prod(draws["dataset"]["input_shape"])) / (2 * levels), math.inf)
