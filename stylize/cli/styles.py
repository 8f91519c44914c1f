"""`stylize styles`: what styles there are, where they come from, and what they look like."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stylize import bundled
from stylize.cards import StyleCard, read_card
from stylize.cli.options import JsonOption, complete_style
from stylize.console import talk
from stylize.errors import UsageError

app = typer.Typer(
    name="styles", help="What styles there are, and where they come from.", rich_markup_mode="rich"
)


@app.callback(invoke_without_command=True)
def styles(context: typer.Context, as_json: JsonOption = False) -> None:
    """What styles there are, and where they come from. Without a command: list them."""
    if context.invoked_subcommand is None:
        list_styles(as_json)


@app.command("list")
def list_styles(as_json: JsonOption = False) -> None:
    """List the bundled styles and your own, a line each."""
    cards = [read_card(path) for path in bundled.known_styles().values()]
    if as_json:
        typer.echo(json.dumps([asdict(card) for card in cards], ensure_ascii=False, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Style", "Tradition", "Description"):
        table.add_column(column, no_wrap=column == "Style")
    for card in cards:
        table.add_row(card.name, card.tradition, card.description)
    Console().print(table)


@app.command()
def show(
    style: Annotated[
        str, typer.Argument(help="A bundled style or a style file.", autocompletion=complete_style)
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a style's card: where it comes from, what it meant, how to treat it with respect.

    [bold]Example:[/bold] stylize styles show ink-wash
    """
    path = bundled.style_file(style)
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"{style} is no style file; only those carry a card.")
    card = read_card(path)
    if as_json:
        typer.echo(json.dumps(asdict(card), ensure_ascii=False, indent=2))
    else:
        Console().print(_card_table(card))


def _card_table(card: StyleCard) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, title=card.title or card.name)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for field, value in asdict(card).items():
        if value and field != "title":
            table.add_row(field.replace("_", " "), value)
    return table


@app.command()
def sheet(
    output: Annotated[Path, typer.Option("--output", "-o", help="The sheet, a PNG or JPEG file.")],
    photo: Annotated[Path | None, typer.Option(help="Photograph to paint. Default: a bundled one.")] = None,
    width: Annotated[int, typer.Option(min=64, max=2000, help="Width of each picture in pixels.")] = 320,
) -> None:
    """Paint one photograph in every bundled style, side by side.

    [bold]Example:[/bold] stylize styles sheet -o sheet.png
    """
    if output.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise UsageError(f"A sheet is a PNG or JPEG file; {output} is neither.")
    from stylize.sheets import sheet_of_styles  # torch comes with it

    sheet_of_styles(photo or bundled.sample_picture(), output, width)
    talk.print(f"Painted {output}", markup=False)


@app.command()
def compare(
    styles: Annotated[list[str], typer.Argument(help="Folders of works, style files or bundled styles.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page; its drawings go beside it as PNG.")
    ] = Path("comparison.html"),
    as_json: JsonOption = False,
) -> None:
    """Show how styles differ: distances, a map, and what the difference is in plain words.

    A folder is described by its works, a style by what it makes of a dozen pictures.

    [bold]Example:[/bold] stylize styles compare ming/ edo/ mine/ -o comparison.html
    """
    if output.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"A comparison is an HTML page; {output} is none.")
    from stylize import comparison  # torch comes with it

    described = comparison.describe_all(styles)
    pairs = comparison.compare(described)
    written = comparison.write_comparison(described, pairs, output)
    if as_json:
        typer.echo(json.dumps([asdict(pair) for pair in pairs], ensure_ascii=False, indent=2))
        return
    table = Table("", "", "distance", "90 % interval", "what differs", box=None, pad_edge=False)
    for pair in sorted(pairs, key=lambda pair: pair.moments.value):
        interval = f"{pair.moments.low:.2f} - {pair.moments.high:.2f}"
        table.add_row(pair.first, pair.second, f"{pair.moments.value:.2f}", interval, pair.words())
    Console().print(table)
    talk.print(f"Wrote {', '.join(str(path) for path in written)}", markup=False)
