"""A user's Python file with the files beside it: found while it runs, unknown to everything that loads later."""

import contextlib
import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

_STANDARD = sysconfig.get_path("stdlib")


class UserFactory:
    """A factory of a user's file: called, it finds the files beside that file, as when the file was run."""

    def __init__(self, factory: Callable[..., object], near: "Beside") -> None:
        self._factory, self._near = factory, near

    def __call__(self, **settings: object) -> object:
        """What the factory returns."""
        with self._near:
            return self._factory(**settings)

    @property
    def sha256(self) -> str:
        """Hex sha256 of the file and of the files beside it that were imported so far, in order of their paths."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self._near.files())).hexdigest()


class Beside:
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
        beside = {path.stem for path in self._folder.glob("*.py")}
        beside |= {path.parent.name for path in self._folder.glob("*/__init__.py")}
        beside -= {"certmix", "__init__"}
        # Those of this folder too: what a program imported before may not decide what counts in a fingerprint.
        named = {name: part for name, part in sys.modules.items() if name.partition(".")[0] in beside}
        self._hidden = {name: part for name, part in named.items() if _is_loose(part)}
        for name in self._hidden:
            del sys.modules[name]
        sys.modules.update(self._own)
        self._before = set(sys.modules)
        importlib.invalidate_caches()
        sys.path.insert(0, str(self._folder))

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ValueError):  # the file may have taken it off itself
            sys.path.remove(str(self._folder))
        for name in set(sys.modules) - self._before:
            if name.partition(".")[0] != "certmix" and self._holds(sys.modules[name]):
                part = self._own[name] = sys.modules[name]
                part.__name__ = unique_name(f"{self._folder}/{name}")
                sys.modules[part.__name__] = part
        for name in self._own:
            sys.modules.pop(name, None)
        sys.modules.update(self._hidden)

    def _holds(self, module: ModuleType) -> bool:
        """Whether a module is of a file beside, and not one that is installed there."""
        return _is_loose(module) and any(self._folder in Path(place).parents for place in _places(module))


def _places(module: ModuleType) -> list[str]:
    """The file of a module and the folders of a package."""
    return [place for place in (getattr(module, "__file__", None), *getattr(module, "__path__", ())) if place]


def _is_loose(module: ModuleType) -> bool:
    """Whether a module has a file that is neither Python's own nor installed."""
    return any(
        not {"site-packages", "dist-packages"} & set(Path(place).parts) and not place.startswith(_STANDARD)
        for place in _places(module)
    )


def unique_name(path: str) -> str:
    """A module name for a user's file that no other file has."""
    return f"certmix_user_{hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:12]}"
