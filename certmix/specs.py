"""`SOURCE:REF[,key=value...]`: how models and data sets are named on the command line and in manifests."""

import difflib
from collections.abc import Iterable

from certmix.errors import InvalidArgument


def parse_spec(spec: str, sources: Iterable[str], what: str) -> tuple[str, str, dict[str, str]]:
    """Source, reference and options of a spec; split at the first colon, and only for known sources.

    Args:
        spec: for example "npz:images.npz,grid_levels=255".
        sources: the known sources.
        what: "model" or "data set", for the error.
    Returns: (source, reference, options).
    Raises: InvalidArgument: an unknown source, with the choices and the nearest match; or an option without "=".
    Example:
        >>> parse_spec("npz:images.npz,grid_levels=255", ["digits", "npz"], "data set")
        ('npz', 'images.npz', {'grid_levels': '255'})
    """
    known = list(sources)
    main, *pairs = spec.split(",")
    source, _, reference = main.partition(":")
    if source not in known:
        near = difflib.get_close_matches(source, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InvalidArgument(f"{what} spec must start with one of {', '.join(known)}, got {spec!r}{hint}")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidArgument(f"options of a {what} spec must be key=value, got {pair!r} in {spec!r}.")
        options[key] = value
    return source, reference, options


def refuse_unknown(options: Iterable[str], known: Iterable[str], spec: str) -> None:
    """Raise InvalidArgument where an option is none of the known ones."""
    choices = list(known)
    for name in options:
        if name not in choices:
            raise InvalidArgument(f"options of {spec!r} must be among {', '.join(choices) or 'none'}, got {name!r}.")
