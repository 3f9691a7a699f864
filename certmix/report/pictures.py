"""Inputs as small pictures inside the page: data URIs, few and small, so that the file stays one that can be mailed."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from certmix.errors import InvalidArgument

SIDE = 48  # pixels, at most


@dataclass(frozen=True)
class Pictures:
    """Pictures of some inputs of a data set.

    Attributes:
        fingerprint: of the data set.
        uris: stable index -> data URI.
    """

    fingerprint: str = ""
    uris: Mapping[int, str] = field(default_factory=dict)


def picture(values: ArrayLike) -> str:
    """One input as a data URI: grey ones as PNG, colour ones as JPEG, at most 48 pixels a side.

    Args:
        values: shape (1 or 3, height, width), in [0, 1].
    Raises: InvalidArgument: another shape.
    Example:
        >>> picture(np.zeros((1, 8, 8)))[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    pixels = np.asarray(values, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise InvalidArgument(f"a picture must have shape (1 or 3, height, width), got {pixels.shape}.")
    levels = np.rint(255 * np.clip(pixels, 0.0, 1.0)).astype(np.uint8)
    image = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    image.thumbnail((SIDE, SIDE))
    kind, how = ("png", {"optimize": True}) if len(levels) == 1 else ("jpeg", {"quality": 85})
    content = io.BytesIO()
    image.save(content, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
