"""`stylize texture`: pictures from noise."""

import re
from pathlib import Path
from typing import Annotated

import typer

from stylize import bundled
from stylize.cli.options import (
    DeviceOption,
    DtypeOption,
    ForceOption,
    OfflineOption,
    QualityOption,
    QuietOption,
    complete_style,
    frame_of,
)
from stylize.console import progress, talk
from stylize.errors import UsageError
from stylize.paths import FORMATS

_SMALLEST, _LARGEST = 16, 65_500


def texture(
    style: Annotated[
        list[str],
        typer.Option(
            "--style", "-s", help="As for apply: name, file, painting or folder; NAME:WEIGHT for a blend.",
            autocompletion=complete_style,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the result.")],
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels; one number for a square; 4k or 8k.")
    ] = "1024",
    seed: Annotated[
        int, typer.Option(min=0, max=2**40, help="Start of all chance: the same seed, the same picture.")
    ] = 0,
    count: Annotated[
        int, typer.Option(min=1, max=10_000, help="So many, with the seeds from --seed on: out-1.png, ...")
    ] = 1,
    tileable: Annotated[
        bool, typer.Option("--tileable", help="Left goes on at right and top at bottom, without a seam.")
    ] = False,
    morph: Annotated[
        bool, typer.Option("--morph", help="From the first style at the left to the last at the right.")
    ] = False,
    quality: QualityOption = 92,
    force: ForceOption = False,
    offline: OfflineOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Paint textures from noise: endless works of a style, of any size.

    [bold]Examples:[/bold]

    stylize texture --style ink-wash --size 2048x1024 --seed 7 -o out.png

    stylize texture --style ukiyo-e --tileable --size 512 --count 8 -o paper.png

    stylize texture --style van-gogh --style engraving --morph --size 2048x512 -o passage.jpg
    """
    width, height = _size(size)
    if output.suffix.lower().lstrip(".") not in FORMATS:
        raise UsageError(
            f"{output} has no format that can be written; end it in one of {', '.join(FORMATS)}."
        )
    if morph and len(style) < 2:
        raise UsageError("--morph goes from one style to another; give --style twice.")
    outputs = [output] if count == 1 else [_numbered(output, number) for number in range(1, count + 1)]
    _check_outputs(outputs, style, force)
    from stylize import texture_job  # torch comes with it

    job = texture_job.TextureJob(
        style, outputs, width, height, seed, tileable, morph, offline, quality, device, dtype
    )
    with progress(quiet) as bar:
        task = bar.add_task("Painting", total=count, note="")
        texture_job.carry_out(job, lambda share: bar.advance(task, share))
    if not quiet:
        shown = str(outputs[0]) if count == 1 else f"{outputs[0]} ... {outputs[-1].name}"
        talk.print(f"Painted {shown}", markup=False)


def _size(text: str) -> tuple[int, int]:
    """Width and height from "2048x1024", "1024" for both, or "4k". UsageError for anything else."""
    if frame := frame_of(text):
        return frame
    found = re.fullmatch(r"(\d{1,9})(?:[x\u00d7](\d{1,9}))?", text.strip().lower())
    if not found:
        raise UsageError(f"--size takes WIDTHxHEIGHT in pixels, such as 2048x1024, not {text!r}.")
    width, height = int(found[1]), int(found[2] or found[1])
    if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
        raise UsageError(
            f"A texture has from {_SMALLEST} to {_LARGEST} pixels a side; choose another --size."
        )
    return width, height


def _numbered(output: Path, number: int) -> Path:
    return output.with_name(f"{output.stem}-{number}{output.suffix}")


def _check_outputs(outputs: list[Path], styles: list[str], force: bool) -> None:
    """Raises UsageError where a file would be lost, or cannot be made."""
    if not outputs[0].parent.is_dir():
        raise UsageError(f"There is no folder {outputs[0].parent}; make it first, or choose another -o.")
    read = {Path(bundled.weighted(style)[0]).resolve() for style in styles}
    for output in outputs:
        if output.resolve() in read:
            raise UsageError(f"{output} is the style itself; choose another -o.")
        if output.exists() and not force:
            raise UsageError(f"{output} exists; add --force to replace it, or choose another -o.")
