"""The noise that is asked for, as a record that a run keeps and that is checked before drawing again."""

from certmix.errors import InvalidArgument
from certmix.noise.table import table_hash, total_variation
from certmix.runs.draws import NOISE_GENERATOR, NoiseRecord


def describe_noise(kind: str, *, sigma: float, size: int, grid_levels: int | None) -> NoiseRecord:
    """The record of noise that is asked for.

    Args:
        kind: "integer", "float", or "auto": integer where the inputs lie on a grid.
        sigma: standard deviation, in [0, 1] pixel units.
        size: elements of one input.
        grid_levels: G where every input value is a multiple of 1/G, else None.
    Raises: InvalidArgument: an unknown kind, integer noise without a grid, or a sigma that the grid cannot hold.
    """
    if kind not in ("auto", "integer", "float"):
        raise InvalidArgument(f"noise must be auto, integer or float, got {kind!r}.")
    if kind == "integer" and grid_levels is None:
        raise InvalidArgument("noise 'integer' needs inputs on a grid, got a data set without grid levels; use float.")
    if kind == "float" or grid_levels is None:
        return NoiseRecord("float", NOISE_GENERATOR)
    return NoiseRecord(
        "integer",
        NOISE_GENERATOR,
        levels=grid_levels,
        table_sha256=table_hash(sigma, grid_levels),
        total_variation=total_variation(sigma, grid_levels, size),
    )
