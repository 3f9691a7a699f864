"""The one way to write a file: whole or not at all, never through a link, never over another file unasked."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from certmix.errors import FileError, InvalidArgument

MOST_BYTES = 1 << 30  # of a text or table that is read whole
_NAME_BYTES = 255  # longest file name of the usual file systems
_CODES = ("EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "EIO", "ESTALE", "ENOSPC", "EDQUOT")  # not all on Windows
_MACHINE = {getattr(errno, name, None) for name in _CODES}


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


def open_regular(path: str | Path, what: str) -> int:
    """A descriptor for reading a regular file at `read_at`'s positions; a FIFO or a device would hang or never end.

    Args:
        path: of the file.
        what: kind of file, for errors.
    Raises: InvalidArgument: no such file, or no regular one. FileError: it may not be read, or too many files are open.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidArgument(f"{what} must exist, got {str(path)!r}; check the path.") from None
    except OSError as error:
        blame_machine(error, f"{what} {path}")
        raise InvalidArgument(f"{what} {path} must be a file that can be read, got: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidArgument(f"{what} {path} must be a regular file, got a folder, pipe or device.")
    return descriptor


def read_whole(path: str | Path, what: str, limit: int) -> bytes:
    """The content of a regular file. Raises: as `open_regular`; InvalidArgument: more bytes than the limit."""
    with open(open_regular(path, what), "rb") as handle:
        content = handle.read(limit + 1)
    if len(content) > limit:
        raise InvalidArgument(f"{what} {path} must have at most {limit:,} bytes, got more.")
    return content


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from a position of an open file; fewer where it ends."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows; data sets are read by one thread there
    return os.read(descriptor, size)


def blame_machine(error: BaseException, what: str) -> None:
    """Raise FileError where memory, permissions or open files are to blame; else the file is, and the caller says so.

    Args:
        error: what reading raised.
        what: was read, for the error.
    """
    text = str(error).lower()
    if isinstance(error, MemoryError) or ("memory" in text and ("alloc" in text or "out of" in text)):
        raise FileError(f"{what} does not fit into memory; free some, or use a larger machine.") from error
    if isinstance(error, OSError) and error.errno in _MACHINE:
        raise FileError(f"{what} cannot be read now ({error.strerror}); it may well be whole.") from error
