"""`stylize styles`: what styles there are."""

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from stylize import bundled
from stylize.cards import read_card
from stylize.cli.options import JsonOption


def styles(as_json: JsonOption = False) -> None:
    """List the bundled styles, a line each."""
    cards = [read_card(path) for path in bundled.style_paths().values()]
    if as_json:
        typer.echo(json.dumps([asdict(card) for card in cards], ensure_ascii=False, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Style", "Tradition", "Description"):
        table.add_column(column, no_wrap=column == "Style")
    for card in cards:
        table.add_row(card.name, card.tradition, card.description)
    Console().print(table)
