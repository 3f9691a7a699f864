"""Errors that certmix raises on purpose: one line naming the argument, the rule, the value and the remedy."""

from typing import TypeVar

Choice = TypeVar("Choice", bound=str)


class CertmixError(Exception):
    """Base of every deliberate error. The command line prints its message as one line and exits with code 2."""


class InvalidArgument(CertmixError, ValueError):
    """A value that breaks its documented rule."""


class RunError(CertmixError):
    """A run folder that is missing, damaged, in use, or that disagrees with what is asked of it."""


class SamplingError(CertmixError):
    """A base classifier that cannot be certified: non-finite outputs, wrong shape, not one fixed function."""


class NoiseError(CertmixError):
    """Noise that failed its audit: the draws since the last shard are not kept."""


class FileError(CertmixError):
    """A file that cannot be read or written for a reason outside it: permissions, disk, memory, open files."""


def need_at_least(least: int, **values: int) -> None:
    """Raise InvalidArgument, naming the argument, where a whole number is below the least that means anything."""
    for name, value in values.items():
        if not value >= least:
            raise InvalidArgument(f"{name} must be >= {least}, got {value}.")


def check_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    """The value, or InvalidArgument that lists the choices."""
    if value not in choices:
        raise InvalidArgument(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return value
