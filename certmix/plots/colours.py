"""One table of colours: Okabe and Ito's, safe for the colour-blind, from dark to light so that they differ in grey too."""

from collections.abc import Sequence

from matplotlib.colors import to_hex, to_rgb

from certmix.pareto.methods import CHAIN, CONFIDENT, EXACT, THEOREM_A1, THRESHOLD

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GREY = "#4d4d4d"
# A method named here looks the same in every figure.
_METHODS = {
    THEOREM_A1: COLOURS[0],
    EXACT: COLOURS[1],
    THRESHOLD: COLOURS[3],
    CONFIDENT: COLOURS[2],
    CHAIN: COLOURS[4],
    "Attacked": COLOURS[2],
    "Frontier": "#f4cf6b",  # a highlighter beneath the curves; grey is for intervals
    "fixed weight": COLOURS[5],
    "no attack": COLOURS[0],
    "PGD on the accurate model, transferred": COLOURS[1],
    "PGD on the robust model, transferred": COLOURS[3],
    "PGD on the mixture": COLOURS[2],
    "AutoAttack on the mixture": COLOURS[4],
}


def hue(position: int, first: int = 0) -> str:
    """The colour of the N-th method, counted from 0; a second round is lighter. `first` leaves out the darkest ones."""
    return tint(COLOURS[first + position % (len(COLOURS) - first)], min(position // (len(COLOURS) - first), 2))


def tint(colour: str, step: int) -> str:
    """A lighter shade of a colour: step 0 is itself, each step goes 40 % of the way to white."""
    share = 0.6**step
    red, green, blue = to_rgb(colour)
    return to_hex((1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue)))


def on_dark(colour: str) -> str:
    """The colour as it is drawn on a dark ground: greys turn around, others are lighter."""
    red, green, blue = to_rgb(colour)
    return to_hex((0.93 - 0.8 * red, 0.93 - 0.8 * red, 0.93 - 0.8 * red)) if red == green == blue else tint(colour, 1)


def colours_of(named: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """A colour for every name: the one given with it, that of the table, else the next that nobody has."""
    given = {name: colour or _METHODS.get(name) for name, colour in reversed(named)}
    free = [colour for colour in COLOURS if colour not in given.values()] or list(COLOURS)
    found: dict[str, str] = {}
    for name, _ in named:
        if name not in found:
            found[name] = given[name] or free[sum(colour in free for colour in found.values()) % len(free)]
    return found
