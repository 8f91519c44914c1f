"""Talk to the person at the terminal: always on stderr, since stdout is for data."""

import html
import json
import os
import sys
import unicodedata
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, of bytes that are no text, and of line ends."""
_REVERSING = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"
"""Characters that turn the direction of writing, so that a name reads as another."""


class Plain(Console):
    """A console for which texts are data: no markup, no emoji, no control characters, each on one line."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as it is shown, in tables as elsewhere."""
        changed: dict[str, Any] = {**options, "markup": False, "emoji": False}
        return super().render_str(printable(text), **changed)


talk = Plain(stderr=True, highlight=False, soft_wrap=True)


def say(text: str, label: str = "") -> None:
    """Tell the user one thing, on one line; a red label may stand before it."""
    talk.print(Text.assemble((label, "red"), " " if label else "", printable(text)))


def printable(text: str) -> str:
    """A text that a terminal shows as it is, on one line, whatever names of files are in it."""
    return "".join(
        c.encode("unicode_escape", "backslashreplace").decode() if _is_unsafe(c) else c for c in text
    )


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE or character in _REVERSING


def page_text(text: str) -> str:
    """A text for an HTML page: no markup, and nothing that turns the direction of writing."""
    return html.escape(printable(text))


def show(drawing: RenderableType) -> None:
    """Write a table to stdout."""
    Plain().print(drawing)


def write_line(text: str) -> None:
    """Write a line of data to stdout at once; what its encoding lacks is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def write_json(value: object, indent: int | None = None) -> None:
    """Write a value to stdout as JSON, readable where the encoding of stdout allows; what a terminal would
    obey is escaped. Without an indent it is one line."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    typer.echo("".join(c if c == "\n" or not _is_unsafe(c) else f"\\u{ord(c):04x}" for c in text))


def progress(quiet: bool = False) -> Progress:
    """A progress bar on stderr; silent where there is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=talk,
        disable=quiet or not talk.is_terminal,
    )


def debugging() -> bool:
    """Does the user want full tracebacks?"""
    return os.environ.get("STYLIZE_DEBUG", "") not in {"", "0"}
