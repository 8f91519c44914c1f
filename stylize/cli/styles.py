"""`stylize styles`: what styles there are, where they come from, and what they look like."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from stylize import bundled, hub
from stylize.cards import StyleCard, read_card, read_cards
from stylize.cli.options import JsonOption, OfflineOption, complete_style
from stylize.console import printable, talk, write_json, write_line
from stylize.console import show as show_table
from stylize.errors import UsageError, WeightsError
from stylize.jobs import check_output

_WIDE = 120
"""Columns from which on the tradition has a place as well."""

app = typer.Typer(
    name="styles", help="What styles there are, and where they come from.", rich_markup_mode="rich"
)


NamesOption = Annotated[bool, typer.Option("--names", help="Only the names, a line each, for scripts.")]


@app.callback(invoke_without_command=True)
def styles(context: typer.Context, names: NamesOption = False, as_json: JsonOption = False) -> None:
    """What styles there are, and where they come from. Without a command: list them."""
    if context.invoked_subcommand is None:
        list_styles(names, as_json)


@app.command("list")
def list_styles(names: NamesOption = False, as_json: JsonOption = False) -> None:
    """List the bundled styles and your own, a line each, by what is typed after --style."""
    cards: dict[str, StyleCard] = {}
    for name, path in bundled.known_styles().items():
        try:
            cards[name] = read_card(path)
        except WeightsError as error:
            talk.print(f"Left out: {error}", markup=False)
    if as_json:
        write_json([asdict(card) for card in cards.values()], indent=2)
        return
    width, first = Console().width, max(map(cell_len, cards), default=0) + 2
    for name, card in cards.items():
        write_line(name if names else _line(name, card, first, width))


def _line(name: str, card: StyleCard, first: int, width: int) -> str:
    """A style on one line: its name, and as much of what it is as fits beside that."""
    about = card.description if width < _WIDE else f"{card.description} {card.tradition}"
    room = width - first
    if cell_len(about) > room:
        words = about.split()
        while words and cell_len(" ".join(words)) + 4 > room:
            words.pop()
        about = f"{' '.join(words)} ..." if words else ""
    return (name + " " * (first - cell_len(name)) + printable(about)).rstrip()


@app.command()
def show(
    style: Annotated[
        str,
        typer.Argument(
            help="A style by name, a style file, or org/name on the Hub.", autocompletion=complete_style
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a style's card: where it comes from, what it meant, how to treat it with respect.

    [bold]Example:[/bold] stylize styles show ink-wash
    """
    path = hub.find_style(style)
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"{style} is no style file; only those carry a card.")
    card = read_card(path)
    if as_json:
        write_json(asdict(card), indent=2)
    else:
        show_table(_card_table(card))


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
    check_output(output, [photo])
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
        write_json([asdict(pair) for pair in pairs], indent=2)
        return
    table = Table("", "", "distance", "90 % interval", "what differs", box=None, pad_edge=False)
    for pair in sorted(pairs, key=lambda pair: pair.moments.value):
        interval = f"{pair.moments.low:.2f} - {pair.moments.high:.2f}"
        table.add_row(pair.first, pair.second, f"{pair.moments.value:.2f}", interval, pair.words())
    show_table(table)
    talk.print(f"Wrote {', '.join(str(path) for path in written)}", markup=False)


@app.command()
def pull(
    reference: Annotated[
        str, typer.Argument(help="org/name[@revision] or org/name[@revision]/file.safetensors.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call the style here. Default: as the file or repository.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a style of that name.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Fetch a style from the Hugging Face Hub, so that its name is enough. Prints the file.

    [bold]Example:[/bold] stylize styles pull org/name
    """
    found = hub.parse(reference)
    if found is None:
        raise UsageError(f"{reference} is no reference to the Hub; write org/name.")
    name = name or found.name
    target = bundled.own_style_path(name)
    if not bundled.may_be_own_style(name):
        raise UsageError(f"A style cannot be called {name!r} here; choose another name with --name.")
    if target.exists() and not force:
        raise UsageError(f"You have a style {name!r}; add --force to replace it, or --name for another name.")
    path = hub.fetch_style(found, offline)
    from stylize.publishing import install_fetched  # torch comes with it

    install_fetched(path, name)
    typer.echo(target)
    talk.print(f"Paint with: stylize apply photo.jpg --style {name}", markup=False)


@app.command()
def push(
    file: Annotated[str, typer.Argument(help="A style file, or a style of your own by name.")],
    repo: Annotated[str, typer.Argument(help="org/name on the Hub; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be shared.")] = False,
    cards: Annotated[
        Path | None, typer.Option(help="TOML file whose table of the style's name is its card.")
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="Photograph for the preview.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Repository of the base on the Hub, for the model card.")
    ] = None,
) -> None:
    """Share a style on the Hugging Face Hub, with a model card made from its card, and a preview.

    A style that was made for a base of your own takes that base along. Prints the address of the commit.

    [bold]Example:[/bold] stylize styles push grandma me/grandma --dry-run
    """
    if (where := hub.parse(repo)) is None or where.file or where.revision:
        raise UsageError(f"{repo} is no name for a repository; write org/name.")
    if base_model and hub.parse(base_model) is None:
        raise UsageError(f"{base_model} is no name for a repository; write --base-model org/name.")
    path = bundled.style_file(file)
    from stylize.publishing import package  # torch comes with it

    files = package(path, where.repo, read_cards(cards) if cards else {}, photo, base_model)
    if dry_run:
        for name, content in files.items():
            talk.print(f"{name}: {len(content):,} bytes", markup=False)
        typer.echo(files["README.md"].decode())
    else:
        typer.echo(hub.upload(where.repo, files, private))
