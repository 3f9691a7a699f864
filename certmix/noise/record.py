"""The noise that is asked for, as a record that a run keeps and that is checked before drawing again."""

from certmix.errors import InvalidArgument
from certmix.noise.table import table_hash, total_variation
from certmix.runs.draws import NOISE_GENERATOR, NoiseRecord, splitting_values


def describe_noise(kind: str, *, sigma: float, size: int, grid_levels: int | None) -> NoiseRecord:
    """The record of noise that is asked for.

    Args:
        kind: "integer", "float", "splitting", or "auto": integer where the inputs lie on a grid.
        sigma: standard deviation, or Lambda of splitting noise, in [0, 1] pixel units.
        size: elements of one input.
        grid_levels: G where every input value is a multiple of 1/G, else None.
    Raises: InvalidArgument: an unknown kind, integer noise without a grid, or a sigma that the grid cannot hold.
    """
    if kind not in ("auto", "integer", "float", "splitting"):
        raise InvalidArgument(f"noise must be auto, integer, float or splitting, got {kind!r}.")
    if kind in ("integer", "splitting") and grid_levels is None:
        raise InvalidArgument(f"noise {kind!r} needs inputs on a grid, got a data set without grid levels; use float.")
    if kind == "splitting" and grid_levels is not None:
        splitting_values(sigma, grid_levels)
        return NoiseRecord("splitting", NOISE_GENERATOR, levels=grid_levels)
    if kind == "float" or grid_levels is None:
        return NoiseRecord("float", NOISE_GENERATOR)
    return NoiseRecord(
        "integer",
        NOISE_GENERATOR,
        levels=grid_levels,
        table_sha256=table_hash(sigma, grid_levels),
        total_variation=total_variation(sigma, grid_levels, size),
    )
