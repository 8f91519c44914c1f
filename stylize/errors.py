"""What can go wrong for a user: the sentence that says what to do next, and the exit code."""

import errno
import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import PurePath
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of the command line; a stable interface."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class StylizeError(Exception):
    """Something the user can act on: the message is one sentence that says what to do next."""


class UsageError(StylizeError):
    """The command itself does not make sense (unknown style, colliding outputs, bad option)."""


class PictureError(StylizeError):
    """One picture cannot be read or written; the rest of a batch goes on."""


class DiskFullError(PictureError):
    """There is no room for a result, nor will there be for the next ones."""


class WeightsError(StylizeError):
    """A weights or style file is not what it claims to be."""


@dataclass(frozen=True)
class Row:
    """A kind of exception, what is said, and the exit code.

    `kind` is a type, or the name of a type of a library that need not be loaded. In the sentence,
    {error} is what the exception says, {file} the file that it is about and {command} the command.
    """

    kind: type[BaseException] | str
    sentence: str
    code: ExitCode
    number: int | None = None
    """Only for an OSError of this number."""
    words: str = ""
    """Only where the exception says this."""

    def fits(self, fault: BaseException) -> bool:
        """Is the exception of this kind?"""
        if isinstance(self.kind, str):
            return any(kind.__name__ == self.kind for kind in type(fault).__mro__)
        if self.number is not None and getattr(fault, "errno", None) != self.number:
            return False
        if self.words not in str(fault):
            return False
        return isinstance(fault, self.kind)


_FULL = "There is no room for {file}; free some, then run the same command again with --skip-existing."
_MEMORY = "The free memory does not suffice; paint smaller with --size, or in smaller tiles with --tile."
_THREADS = "The system allows no more threads; use fewer --workers, or raise `ulimit -u`."
_LIMIT = "The memory that this process may take does not suffice to load PyTorch; raise `ulimit -v`."


def is_full(error: OSError) -> bool:
    """Does an error say that a disk or an allowance is full?"""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


TABLE = (
    Row(UsageError, "{error}", ExitCode.USAGE),
    Row(StylizeError, "{error}", ExitCode.FAILED),
    Row("ClickException", "{error}; {command} --help says what there is.", ExitCode.USAGE),
    Row(KeyboardInterrupt, "Interrupted.", ExitCode.INTERRUPTED),
    Row(BrokenPipeError, "", ExitCode.CLOSED_PIPE),
    Row(OSError, _FULL, ExitCode.FAILED, errno.ENOSPC),
    Row(OSError, _FULL, ExitCode.FAILED, errno.EDQUOT),
    Row(
        OSError,
        "Too many files are open; use fewer --workers or raise `ulimit -n`.",
        ExitCode.FAILED,
        errno.EMFILE,
    ),
    Row(
        OSError,
        "The name of {file} is too long; choose a shorter one with -o.",
        ExitCode.FAILED,
        errno.ENAMETOOLONG,
    ),
    Row(OSError, _MEMORY, ExitCode.FAILED, errno.ENOMEM),
    Row(
        OSError,
        "{file} lies where nothing can be written (read-only); choose another place.",
        ExitCode.FAILED,
        errno.EROFS,
    ),
    Row(FileNotFoundError, "There is no file or folder {file}; check the path.", ExitCode.FAILED),
    Row(PermissionError, "{file} may not be read or written; change its permissions.", ExitCode.FAILED),
    Row(OSError, "{file} cannot be used: {error}; try another place.", ExitCode.FAILED),
    Row(MemoryError, _MEMORY, ExitCode.FAILED),
    Row("OutOfMemoryError", _MEMORY, ExitCode.FAILED),
    Row(RuntimeError, _MEMORY, ExitCode.FAILED, words="can't allocate memory"),
    Row(RuntimeError, _THREADS, ExitCode.FAILED, words="can't start new thread"),
    Row(ImportError, _LIMIT, ExitCode.FAILED, words="failed to map segment"),
    Row(ImportError, _LIMIT, ExitCode.FAILED, words="annot allocate memory"),
    Row(
        ImportError,
        "The installation is not whole ({error}); install it again as the README says.",
        ExitCode.FAILED,
    ),
    Row(
        Exception,
        "This is a mistake in stylize ({kind}: {error}); please report what STYLIZE_DEBUG=1 shows.",
        ExitCode.FAILED,
    ),
)
"""From what happened to what is said; the first row that fits counts."""


_TAKEN = {
    "int_parsing": "takes a whole number, not {input!r}",
    "int_from_float": "takes a whole number, not {input!r}",
    "float_parsing": "takes a number, not {input!r}",
    "bool_parsing": "takes yes or no, not {input!r}",
    "less_than_equal": "takes {le:g} at most, not {input}",
    "greater_than_equal": "takes {ge:g} or more, not {input}",
    "less_than": "takes less than {lt:g}, not {input}",
    "greater_than": "takes more than {gt:g}, not {input}",
}
"""What an option takes, by what its value is not, as the library that reads options calls that."""

_CHOICES = re.compile(r"(?:Value error, )?(?P<given>'.*?') is not one of (?P<known>'.*')")
_INVALID = re.compile(r"Invalid value for (?P<name>.*?): (?:Value error, )?(?P<what>.*)", re.DOTALL)


def _of_option(fault: Any) -> str:
    """What is wrong with the options of a command, in our words: "--size takes a whole number, not 'big'"."""
    found = _INVALID.fullmatch(fault.format_message())
    if found is None:
        return fault.format_message()
    name, what = found["name"].replace("'", "").split(" / ")[0], found["what"]
    details = getattr(fault.__cause__ or fault.__context__, "errors", list)()
    if details and (taken := _TAKEN.get(details[0]["type"])):
        return f"{name} {taken.format(input=details[0]['input'], **details[0].get('ctx', {}))}"
    if choices := _CHOICES.match(what):
        return f"{name} takes one of {choices['known']}, not {choices['given']}"
    return f"{name} {what}" if what.startswith("takes ") else f"{name}: {what}"


def row_of(fault: BaseException) -> Row:
    """The row for an exception."""
    return next(row for row in TABLE if row.fits(fault))


def sentence_of(fault: BaseException, file: PurePath | None = None) -> str:
    """What is said of an exception, on one line; `file` is what was worked on."""
    error = fault.strerror if isinstance(fault, OSError) else str(fault)
    if row_of(fault).kind == "ClickException":
        error = _of_option(fault).rstrip(".")
    named = getattr(fault, "filename", None) or file or "the output"
    command = getattr(getattr(fault, "ctx", None), "command_path", "stylize")
    values = {"error": error, "file": named, "command": command, "kind": type(fault).__name__}
    return row_of(fault).sentence.format(**values).strip()
