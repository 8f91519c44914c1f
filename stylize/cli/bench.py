"""`stylize bench`: speed and memory on this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from stylize.cli.options import DtypeOption, JsonOption, QuietOption, TileOption
from stylize.console import progress, show
from stylize.errors import UsageError

_NAMED = {"4k": (3840, 2160), "8k": (7680, 4320)}


def bench(
    sizes: Annotated[
        str, typer.Option(help="Sizes in pixels: N for a square, WIDTHxHEIGHT, 4k or 8k.")
    ] = "512,1024,4k,8k",
    device: Annotated[str | None, typer.Option(help="One device. Default: all that are present.")] = None,
    dtype: DtypeOption = "auto",
    tile: TileOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="The median of so many passes counts.")] = 3,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how fast this machine paints, and how much memory it takes.

    [bold]Example:[/bold] stylize bench --sizes 1024,4k
    """
    wanted = [_size(text.strip()) for text in sizes.split(",")]
    from stylize.measuring import devices_present, measure_all  # torch comes with it

    devices = [device] if device else devices_present()
    found = []
    with progress(quiet) as bar:
        task = bar.add_task("Measuring", total=len(devices) * len(wanted), note="")
        for measurement in measure_all(devices, dtype, wanted, tile, rounds):
            found.append(asdict(measurement))
            bar.advance(task)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _size(text: str) -> tuple[int, int]:
    """The width and height that a text means."""
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 50_000 for part in parts):
        raise UsageError(f"{text!r} is no size; write 1024, 1920x1080, 4k or 8k, with commas between.")
    return int(parts[0]), int(parts[-1])


def _show(found: list[dict[str, object]]) -> None:
    from rich.table import Table

    table = Table("device", "precision", "size", "seconds", "megapixels / s", "memory")
    for row in found:
        width, height, seconds, memory = (row[k] for k in ("width", "height", "seconds", "memory"))
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert isinstance(seconds, float)
        table.add_row(
            str(row["device"]), str(row["dtype"]), f"{width} x {height}", f"{seconds:.3f}",
            f"{width * height / seconds / 1e6:.1f}",
            f"{memory / 2**20:.0f} MiB" if isinstance(memory, int) else "unknown",
        )  # fmt: skip
    show(table)
