"""Errors that certmix raises on purpose: one line naming the argument, the rule, the value and the remedy."""


class CertmixError(Exception):
    """Base of every deliberate error. The command line prints its message as one line and exits with code 2."""


class InvalidArgument(CertmixError, ValueError):
    """A value that breaks its documented rule."""


class RunError(CertmixError):
    """A run folder that is missing, damaged, in use, or that disagrees with what is asked of it."""


class SamplingError(CertmixError):
    """A base classifier or a noise source that cannot be certified: non-finite outputs, wrong shape, ..."""
