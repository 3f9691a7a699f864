"""Freed memory stays with the process: a CPU run would else spend much of its time on page faults.

A forward pass allocates and frees the same large tensors again and again. glibc returns them to the system each time, and
every page is then zeroed and mapped anew: that took up to half of the time (`benchmarks/results/sampling_overhead.md`).
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks of any size for the next allocation; nothing elsewhere.

    A setting of the whole process, so that the command line calls it and the library never does. Peak memory stays the
    same; what was freed is returned when the process ends.

    Returns: whether the allocator took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    kept = bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
    # Older versions refuse thresholds above 32 MiB.
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_THRESHOLD, 2**25)) and kept
