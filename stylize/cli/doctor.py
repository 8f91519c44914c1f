"""`stylize doctor`: what this machine paints with, and what is missing."""

import json
import shlex
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stylize.cli.options import DeviceOption, DtypeOption, JsonOption


def doctor(device: DeviceOption = "auto", dtype: DtypeOption = "auto", as_json: JsonOption = False) -> None:
    """Show what this machine paints with: device, precision, memory, optional parts and how to get them.

    [bold]Example:[/bold] stylize doctor
    """
    from stylize.checkup import look_around  # torch comes with it

    found = look_around(device, dtype)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in found.facts.items():
        table.add_row(name, escape(fact))
    for part in found.parts:
        there = ", ".join(f"{name} {version}" for name, version in part.there.items())
        how = f"not there; run: pip install {shlex.join(part.missing)}"
        table.add_row(part.purpose, escape(how if part.missing else there))
    Console().print(table)
