"""`stylize bench`: speed and memory on this machine."""

import json
from dataclasses import asdict
from math import floor, log10
from typing import Annotated

import typer

from stylize.cli.options import DtypeOption, JsonOption, QuietOption, TileOption, frame_of
from stylize.console import printable, progress, show, write_line
from stylize.errors import UsageError


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
    """Measure how fast this machine paints, per megapixel, and how much memory it takes.

    `stylize doctor` says what it paints with.

    [bold]Example:[/bold] stylize bench --sizes 1024,4k
    """
    wanted = [_size(text.strip()) for text in sizes.split(",")]
    from stylize.measuring import devices_present, measure_all  # torch comes with it

    devices = [device] if device else devices_present()
    found = []
    with progress(quiet) as bar:
        task = bar.add_task("Measuring", total=len(devices) * len(wanted), note="")
        for measurement in measure_all(devices, dtype, wanted, tile, rounds):
            found.append(asdict(measurement) | {"seconds_per_megapixel": measurement.seconds_per_megapixel})
            bar.advance(task)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _size(text: str) -> tuple[int, int]:
    """The width and height that a text means."""
    if frame := frame_of(text):
        return frame
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 50_000 for part in parts):
        raise UsageError(f"{text!r} is no size; write 1024, 1920x1080, 4k or 8k, with commas between.")
    return int(parts[0]), int(parts[-1])


def _show(found: list[dict[str, object]]) -> None:
    from rich.table import Table

    table = Table("device", "precision", "size", "seconds", "s / megapixel", "memory")
    for row in found:
        width, height, seconds, memory = (row[k] for k in ("width", "height", "seconds", "memory"))
        each = row["seconds_per_megapixel"]
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert isinstance(seconds, float)
        assert isinstance(each, float)
        table.add_row(
            str(row["device"]), str(row["dtype"]), f"{width} x {height}", f"{seconds:.3f}",
            two_digits(each),
            f"{memory / 2**20:.0f} MiB" if isinstance(memory, int) else "unknown",
        )  # fmt: skip
    show(table)
    for text in dict.fromkeys(str(row["machine"]) for row in found):
        write_line(printable(text))


def two_digits(value: float) -> str:
    """A number above 0 with its first two digits, and no power of ten: 0.35, 0.0012, 12."""
    return f"{value:.{max(0, 1 - floor(log10(value)))}f}"
