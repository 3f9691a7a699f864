"""Arrays as text inside the page: base64 of the smallest type that holds them, which data.js unpacks."""

import base64

import numpy as np
from numpy.typing import ArrayLike

Json = dict[str, object]


def pack(values: ArrayLike) -> str:
    """An array as "type:base64", little-endian: float64, or the smallest type of whole numbers that holds it.

    Example:
        >>> pack(np.array([1, 2, 255]))
        'u1:AQL/'
    """
    array = np.asarray(values)
    kind = "f8"
    if array.dtype.kind in "iu":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        kind = (
            "i4" if low < 0 else next((k for k, most in (("u1", 8), ("u2", 16), ("u4", 32)) if high < 1 << most), "f8")
        )
    return f"{kind}:{base64.b64encode(array.astype(f'<{kind}').tobytes()).decode()}"
