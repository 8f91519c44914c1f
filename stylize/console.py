"""Talk to the person at the terminal: always on stderr, since stdout is for data."""

import os

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

talk = Console(stderr=True, highlight=False, soft_wrap=True)


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
