"""What a run of gpu.sh has found so far: a table to read, and the same as JSON. The standard library alone.

Each line is on the disk as soon as it is said, so that an end at any moment loses nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Report:
    """report.txt and results.json in a folder, to which the steps add one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.text, self.values = folder / "report.txt", folder / "results.json"

    def say(self, line: str = "") -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        with self.text.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def title(self, line: str) -> None:
        """Print a heading."""
        self.say(f"\n{line}\n{'-' * len(line)}")

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows in columns."""
        texts = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(cell) for cell in column) for column in zip(*texts, strict=True)]
        for row in texts:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def note(self, section: str, values: Mapping[str, Any]) -> None:
        """Add numbers to a section of the JSON, atomically."""
        known = self.noted()
        known.setdefault(section, {}).update(values)
        part = self.values.with_suffix(".part")
        part.write_text(json.dumps(known, indent=1, default=str), encoding="utf-8")
        os.replace(part, self.values)

    def noted(self) -> dict[str, dict[str, Any]]:
        """All numbers so far; none if the file is missing or damaged."""
        try:
            return json.loads(self.values.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Whatever fails inside is told, and does not stop what follows. Ctrl-C and SIGTERM still end it."""
        try:
            yield
        except Exception as fault:
            first = str(fault).strip().splitlines()[:1]
            self.say(f"{name}: FAILED, {type(fault).__name__}: {first[0][:200] if first else ''}")
            self.note("failed", {name: f"{type(fault).__name__}: {fault}"[:2000]})
