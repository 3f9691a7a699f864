"""Where the fused kernels of `certmix.noise.kernels` are used: on GPUs that Triton serves, after a check of their bits."""

import functools
import importlib.util
import warnings

import torch

from certmix.errors import NoiseError

_CAPABILITY = (8, 0)  # Triton's own limit


@functools.lru_cache(maxsize=16)
def runs_kernels(device: torch.device) -> bool:
    """Whether noise on this device is drawn by the fused kernels; else torch operations draw the same, slower.

    Raises: NoiseError: a kernel that does not draw the host's integers.
    """
    if device.type != "cuda" or not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        return False
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return False
    try:
        from certmix.noise import kernels

        kernels.self_check(device)
    except NoiseError:
        raise
    except Exception as error:  # Triton raises what its compiler and the C compiler behind it raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"Triton cannot run the noise kernel here, noise will be slower: {reason:.200}", stacklevel=2)
        return False
    return True
