"""`SOURCE:REF[,key=value...]`: how models and data sets are named, and what a spec may run or import.

A user's own file (`py:FILE.py:factory`) and anything else that runs code needs trust, which only the user can give: it is
an argument of its own, never an option of a spec, and callers give it to no spec that comes from a file.
"""

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from certmix.errors import CertmixError, InvalidArgument
from certmix.files import blame_machine

Factory = Callable[..., object]
Made = TypeVar("Made")
_STANDARD = sysconfig.get_path("stdlib")
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


def factory_of_file(reference: str, spec: str, what: str = "model") -> "UserFactory":
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
    name = _unique(path)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise InvalidArgument(f"py {what} must be a Python file, got {path!r}.")
    module, near = importlib.util.module_from_spec(found), _Beside(Path(path).resolve())
    sys.modules[name] = module
    try:
        with near:
            found.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(f"{path} must run without error, got {type(error).__name__}: {error}") from error
    return UserFactory(_attribute(module, factory, spec, what), near)


class UserFactory:
    """A factory of a user's file: called, it finds the files beside that file, as when the file was run."""

    def __init__(self, factory: Factory, near: "_Beside") -> None:
        self._factory, self._near = factory, near

    def __call__(self, **settings: object) -> object:
        """What the factory returns."""
        with self._near:
            return self._factory(**settings)

    @property
    def sha256(self) -> str:
        """Hex sha256 of the file and of the files beside it that were imported so far, in order of their paths."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self._near.files())).hexdigest()


class _Beside:
    """While open, imports find the files beside a user's file first; closed, sys.path and sys.modules know none of them.

    What was imported is kept for the next time, under another name in sys.modules too, where torch.compile looks for the
    module of a function. Files of the same name beside another file are other modules.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, path.parent
        self._own: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._before: set[str] = set()

    def files(self) -> list[Path]:
        """The file, then those beside it that were imported."""
        return [self._path, *sorted(Path(str(part.__file__)) for part in self._own.values() if part.__file__)]

    def __enter__(self) -> None:
        self._hidden = {name: part for name, part in sys.modules.items() if self._stands_in_the_way(name, part)}
        for name in self._hidden:
            del sys.modules[name]
        sys.modules.update(self._own)
        self._before = set(sys.modules)
        importlib.invalidate_caches()
        sys.path.insert(0, str(self._folder))

    def __exit__(self, *error: object) -> None:
        sys.path.remove(str(self._folder))
        for name in set(sys.modules) - self._before:
            if name.partition(".")[0] != "certmix" and self._holds(sys.modules[name]):
                part = self._own[name] = sys.modules[name]
                part.__name__ = _unique(f"{self._folder}/{name}")
                sys.modules[part.__name__] = part
        for name in self._own:
            sys.modules.pop(name, None)
        sys.modules.update(self._hidden)

    def _holds(self, module: ModuleType) -> bool:
        """Whether a module is of a file beside, and not one that is installed there."""
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        return any(place and self._folder in Path(place).parents and _is_loose(place) for place in places)

    def _stands_in_the_way(self, name: str, module: ModuleType) -> bool:
        """Whether a module of another folder has the name of a file or folder beside."""
        top = name.partition(".")[0]
        beside = (self._folder / f"{top}.py").is_file() or (self._folder / top / "__init__.py").is_file()
        place = getattr(module, "__file__", None)
        return beside and top != "certmix" and bool(place) and _is_loose(str(place)) and not self._holds(module)


def _is_loose(place: str) -> bool:
    """Whether a module's file is neither Python's own nor installed."""
    return not {"site-packages", "dist-packages"} & set(Path(place).parts) and not place.startswith(_STANDARD)


def _unique(path: str) -> str:
    return f"certmix_user_{hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:12]}"


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
