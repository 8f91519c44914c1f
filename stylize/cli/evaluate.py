"""`stylize eval`: how good styles are, on one's own photographs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stylize.cli.options import JsonOption, QuietOption, complete_style
from stylize.console import progress, show, talk, write_json
from stylize.errors import UsageError


def evaluate(
    photos: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    style: Annotated[
        list[str],
        typer.Option("--style", "-s", help="A style to judge; give several.", autocompletion=complete_style),
    ],
    works: Annotated[
        list[str] | None,
        typer.Option(metavar="STYLE=FOLDER", help="Works of a style, for the rows of real works."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a report with pictures, as HTML.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge styles: how near the paintings come, and how much of the photographs survives.

    The photographs unchanged, colours moved alone, and real works stand beside, to keep the numbers honest.

    [bold]Example:[/bold] stylize eval photos/ --style ink-wash --style mine.safetensors -o report.html
    """
    if output is not None and output.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"A report is an HTML page; {output} is none.")
    pairs = [text.partition("=") for text in works or []]
    if wrong := [name for name, equals, folder in pairs if not equals or not folder]:
        raise UsageError(f"--works {wrong[0]} names no folder; write --works STYLE=FOLDER.")
    if len(set(style)) < len(style):
        raise UsageError("The same style is given twice; leave one out.")
    from stylize import evaluation  # torch comes with it

    with progress(quiet) as bar:
        task = bar.add_task("Judging", total=len(style), note="")
        folders = {name: Path(folder) for name, _, folder in pairs}
        found = evaluation.evaluate(photos, style, folders, lambda name: bar.advance(task))
    if output is not None:
        evaluation.write_report(found, output)
        talk.print(f"Wrote {output}", markup=False)
    if as_json:
        rounded = {s: {r: {c: round(v, 4) for c, v in row.items()} for r, row in rows.items()}
                   for s, rows in found.rows.items()}  # fmt: skip
        write_json(rounded, indent=2)
        return
    table = Table("style", "row", *evaluation.COLUMNS)
    for name, rows in found.rows.items():
        for row, values in rows.items():
            table.add_row(name, row, *(f"{values[c]:.2f}" if c in values else "" for c in evaluation.COLUMNS))
    show(table)
    if not quiet:
        talk.print(evaluation.CAVEAT)
