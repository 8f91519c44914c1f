"""Talk to the person at the terminal: always on stderr, since stdout is for data."""

import json
import os
import sys
import unicodedata

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

talk = Console(stderr=True, highlight=False, soft_wrap=True)

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, of bytes that are no text, and of line ends."""
_REVERSING = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"
"""Characters that turn the direction of writing, so that a name reads as another."""


def say(text: str, label: str = "") -> None:
    """Tell the user one thing, on one line; a red label may stand before it."""
    talk.print(Text.assemble((label, "red"), " " if label else "", printable(text)))


def printable(text: str) -> str:
    """A text that a terminal shows as it is, on one line, whatever names of files are in it."""
    return "".join(
        c.encode("unicode_escape", "backslashreplace").decode()
        if unicodedata.category(c) in _UNSAFE or c in _REVERSING
        else c
        for c in text
    )


def write_line(text: str) -> None:
    """Write a line of data to stdout at once; what its encoding lacks is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def write_json(value: object) -> None:
    """Write a value to stdout as one line of JSON, readable where the encoding of stdout allows."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    typer.echo(text)


def progress(quiet: bool = False) -> Progress:
    """A progress bar on stderr; silent where there is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=talk,
        disable=quiet or not talk.is_terminal,
    )


def debugging() -> bool:
    """Does the user want full tracebacks?"""
    return os.environ.get("STYLIZE_DEBUG", "") not in {"", "0"}
