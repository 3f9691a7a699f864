"""What a user's own Python file gives: `py:FILE.py:factory`. It runs code, so that it always needs trust."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from certmix.errors import InvalidArgument

Factory = Callable[..., object]


def need_trust(what: str, trust_model: bool) -> None:
    """Raise InvalidArgument, naming the option, unless the user trusts what is about to run."""
    if not trust_model:
        raise InvalidArgument(f"{what} runs code when loaded; add --trust-model (trust_model=True) if you trust it.")


def factory_of_file(reference: str, spec: str, what: str = "model") -> Factory:
    """The factory of `FILE.py:factory`; runs the file.

    Args:
        reference: path and name of a function or class, separated by the last colon.
        spec: the whole spec, for errors.
        what: "model" or "data set", for errors.
    Raises: InvalidArgument: no such file or name, or a file that fails when run.
    """
    path, _, factory = reference.rpartition(":")
    if not factory or not Path(path).is_file():
        raise InvalidArgument(f"py {what} must be py:FILE.py:factory with an existing file, got {spec!r}.")
    name = f"certmix_user_{hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:12]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise InvalidArgument(f"py {what} must be a Python file, got {path!r}.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(f"{path} must run without error, got {type(error).__name__}: {error}") from error
    return _attribute(module, factory, spec, what)


def factory_of_package(name: str, what: str = "model") -> Factory:
    """The factory of `pkg.module:factory`; imports the module. Raises InvalidArgument where it is not there."""
    module, _, factory = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        raise InvalidArgument(
            f"{name!r} must name an importable module, got {type(error).__name__}: {error}"
        ) from error
    return _attribute(imported, factory, name, what)


def call_factory(factory: Factory, settings: Mapping[str, Any], spec: str) -> object:
    """What a factory returns for key=value settings; whole numbers are passed as int, other text as it is.

    Raises: InvalidArgument: settings that the factory does not take.
    """
    typed = {key: int(value) if str(value).lstrip("-").isdigit() else value for key, value in settings.items()}
    try:
        return factory(**typed)
    except TypeError as error:
        raise InvalidArgument(f"options of {spec!r} must be what its factory takes, got: {error}") from None


def _attribute(module: object, name: str, spec: str, what: str) -> Factory:
    factory: Factory | None = getattr(module, name, None)
    if factory is None or not callable(factory):
        raise InvalidArgument(f"{spec!r} must name a function that returns a {what}, found no callable {name!r}.")
    return factory
