"""Optional libraries and what they raise: one line that names the extra or the spec."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from certmix.errors import CertmixError, InvalidArgument

Made = TypeVar("Made")


def import_extra(module: str, extra: str) -> Any:
    """An optional library. Raises InvalidArgument that names the extra which installs it.

    Args:
        module: to import, e.g. "torchvision.datasets".
        extra: of certmix's package, e.g. "vision".
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError beside a torch of another build
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidArgument(
            f"{module.partition('.')[0]} must be importable, got: {reason}; "
            f"install it with pip install 'certmix[{extra}]'."
        ) from None


def in_one_line(make: Callable[[], Made], what: str) -> Made:
    """What a foreign library makes; whatever it raises becomes one line about `what`."""
    try:
        return make()
    except CertmixError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidArgument(f"{what} cannot be loaded: {type(error).__name__}: {reason}") from error
