"""`SOURCE:REF[,key=value...]`: how models and data sets are named, and what a spec may run or import.

A user's own file (`py:FILE.py:factory`) and anything else that runs code needs trust, which only the user can give: it is
an argument of its own, never an option of a spec, and callers give it to no spec that comes from a file.
"""

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from certmix.errors import CertmixError, InvalidArgument
from certmix.files import blame_machine
from certmix.user_files import Beside, UserFactory, unique_name

Factory = Callable[..., object]
Made = TypeVar("Made")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def parse_spec(spec: str, sources: Iterable[str], what: str) -> tuple[str, str, dict[str, str]]:
    """Source, reference and options of a spec; split at the first colon, and only for known sources.

    Args:
        spec: for example "npz:images.npz,grid_levels=255".
        sources: the known sources.
        what: "model" or "data set", for the error.
    Returns: (source, reference, options).
    Raises: InvalidArgument: an unknown source, with the choices and the nearest match; an option without "=", or twice.
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
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in options:
            raise InvalidArgument(f"options of a {what} spec must be key=value, each once, got {pair!r} in {spec!r}.")
        options[key] = value
    return source, reference, options


def refuse_unknown(options: Iterable[str], known: Iterable[str], spec: str) -> None:
    """Raise InvalidArgument where an option is none of the known ones."""
    choices = list(known)
    for name in options:
        if name not in choices:
            raise InvalidArgument(f"options of {spec!r} must be among {', '.join(choices) or 'none'}, got {name!r}.")


def need_trust(what: str, trust_model: bool, *, besides: str = "") -> None:
    """Raise InvalidArgument, naming the option, unless the user trusts what is about to run; "False" is no trust.

    Args:
        what: runs code.
        trust_model: must be True.
        besides: what else is missing, in a sentence of the same message.
    """
    if trust_model is not True:
        raise InvalidArgument(
            f"{what} runs code when loaded; add --trust-model (trust_model=True) if you trust it, and name it as an "
            f"option: what a run or a file names is never trusted.{besides}"
        )


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
    """What foreign code makes; whatever it raises becomes one line about `what`."""
    try:
        return make()
    except CertmixError:
        raise
    except Exception as error:
        blame_machine(error, what)
        reason = " ".join(str(error).split())[:300]
        raise InvalidArgument(f"{what} cannot be loaded: {type(error).__name__}: {reason}") from error


def factory_of_file(reference: str, spec: str, what: str = "model") -> UserFactory:
    """The factory of `FILE.py:factory`; runs the file. It, and what it imports, finds the files beside it.

    Args:
        reference: path and name of a function or class, separated by the last colon.
        spec: the whole spec, for errors.
        what: "model" or "data set", for errors.
    Raises: InvalidArgument: no such file or name, or a file that fails when run.
    """
    path, _, factory = reference.rpartition(":")
    if not factory or not Path(path).is_file():
        raise InvalidArgument(
            f"{spec!r} must name an existing file and a factory in it, FILE.py:factory, got {reference!r}; a path is "
            "relative to the folder that the command runs in."
        )
    name = unique_name(path)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise InvalidArgument(f"py {what} must be a Python file, got {path!r}.")
    module, near = importlib.util.module_from_spec(found), Beside(Path(path).resolve())
    sys.modules[name] = module
    try:
        with near:
            found.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(f"{path} must run without error, got {type(error).__name__}: {error}") from error
    return UserFactory(_attribute(module, factory, spec, what), near)


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
    typed = {key: int(value) if _WHOLE.fullmatch(str(value)) else value for key, value in settings.items()}
    try:
        return factory(**typed)
    except TypeError as error:
        raise InvalidArgument(f"options of {spec!r} must be what its factory takes, got: {error}") from None


def _attribute(module: object, name: str, spec: str, what: str) -> Factory:
    factory: Factory | None = getattr(module, name, None)
    if factory is None or not callable(factory):
        raise InvalidArgument(f"{spec!r} must name a function that returns a {what}, found no callable {name!r}.")
    return factory
