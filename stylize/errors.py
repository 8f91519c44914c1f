"""What can go wrong for a user, and the exit code that says so."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; a stable interface."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class StylizeError(Exception):
    """Something the user can act on: the message is one sentence that says what to do next."""

    exit_code = ExitCode.FAILED


class UsageError(StylizeError):
    """The command itself does not make sense (unknown style, colliding outputs, bad option)."""

    exit_code = ExitCode.USAGE


class PictureError(StylizeError):
    """One picture cannot be read or written; the rest of a batch goes on."""


class WeightsError(StylizeError):
    """A weights or style file is not what it claims to be."""
