"""The one way to write a file: whole or not at all, never through a link, never over another file unasked."""

import contextlib
import os
import tempfile
from pathlib import Path

from certmix.errors import FileError, InvalidArgument

_NAME_BYTES = 255  # longest file name of the usual file systems


def write_whole(path: str | Path, content: bytes | str, *, force: bool = False) -> None:
    """Write a file so that its name holds the old content, none, or all of the new, also after a power cut.

    The content goes to a temporary file of the same folder, to the disk, and then takes the name. A symbolic link of that
    name is replaced, never followed; missing folders are made.

    Args:
        path: of the file.
        content: bytes, or text that is written as UTF-8.
        force: replace a file that is there.
    Raises: InvalidArgument: see `check_target`. FileError: a full or read-only disk, or a folder that may not be written.
    """
    path = check_target(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise FileError(f"{path} cannot be written ({error.strerror}); free space or choose another place.") from None


def check_target(path: str | Path, *, force: bool = False) -> Path:
    """The path, where a file could be written there: to be asked before hours of work whose result will go there.

    Raises: InvalidArgument: no name of a file, a name too long, a folder, or a file that is there without `force`.
        FileError: a folder that may not be written.
    """
    path = Path(path)
    if not path.name or "\0" in str(path):
        raise InvalidArgument(f"a file to write must have a name, got {str(path)!r}.")
    if longest := next((part for part in path.parts if len(os.fsencode(part)) > _NAME_BYTES), None):
        raise InvalidArgument(f"file names must have at most {_NAME_BYTES} bytes, got {longest[:20]}... of more.")
    if path.is_dir():
        raise InvalidArgument(f"{path} must be a file, but is a folder; add a file name.")
    if os.path.lexists(path) and not force:
        raise InvalidArgument(f"{path} must not exist, but does; choose another or add --force.")
    folder = next(parent for parent in path.parents if os.path.lexists(parent) or parent == parent.parent)
    if not folder.is_dir():
        raise InvalidArgument(f"{path} must lie in a folder, but {folder} is none.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"{path} cannot be written (no permission in {folder}); choose another place.")
    return path


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # Windows cannot open a folder, and some file systems cannot sync one
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
