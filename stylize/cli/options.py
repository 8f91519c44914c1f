"""Options that several commands share: the same flag means the same everywhere."""

from glob import escape, glob
from pathlib import Path
from typing import Annotated, Literal

import typer

from stylize import bundled
from stylize.console import printable
from stylize.errors import StylizeError
from stylize.paths import READABLE


def complete_style(incomplete: str) -> list[str]:
    """What a shell offers after --style: known styles, and the files and folders that can be styles."""
    suffixes = {*READABLE, ".safetensors"}
    found = (Path(text) for text in sorted(glob(f"{escape(incomplete)}*")))
    files = [f"{p}/" if p.is_dir() else str(p) for p in found if p.is_dir() or p.suffix.lower() in suffixes]
    try:
        names = list(bundled.known_styles())
    except StylizeError:  # no weights, no names
        names = []
    offered = [name for name in names if name.startswith(incomplete)] + files
    return [name for name in offered if printable(name) == name]  # a shell would read a line end as two names


_FORMATS = ("jpg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic")
_SAME = {
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "tif": "tiff",
    "heif": "heic",
    "hif": "heic",
    "apng": "png",
}
_LARGEST_SIDE = 20_000
_SIDES = {"1k": 1024, "2k": 2048, "4k": 3840, "8k": 7680, "16k": 15_360}
"""What people call widths; from 4k on as screens have them."""


def format_of(text: str) -> str:
    """The suffix of results that a format means, however it is written: JPEG, .jpg. BadParameter for none."""
    name = text.strip().lower().lstrip(".")
    name = _SAME.get(name, name)
    if name not in _FORMATS:
        raise typer.BadParameter(f"takes one of {', '.join(map(repr, _FORMATS))}, not {text!r}.")
    return name


def side_of(text: str | int, least: int = 1, most: int = _LARGEST_SIDE) -> int:
    """The pixels that a size means: 2048, 2048px, 4k. BadParameter for anything else."""
    words = str(text).strip().lower()
    number = _SIDES.get(words) or words.removesuffix("px").strip()
    if not str(number).isdecimal() or not least <= int(number) <= most:
        raise typer.BadParameter(f"takes pixels from {least} to {most}, or 2k, 4k, 8k, not {text!r}.")
    return int(number)


def frame_of(text: str) -> tuple[int, int] | None:
    """The width and height that 4k or 8k means on a screen; None for anything else."""
    return {"4k": (3840, 2160), "8k": (7680, 4320)}.get(text.strip().lower())


def _complete_format(incomplete: str) -> list[str]:
    return [name for name in _FORMATS if name.startswith(incomplete.lower().lstrip("."))]


FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", parser=format_of, metavar="FORMAT", autocompletion=_complete_format,
        help=f"Format of the results: {', '.join(_FORMATS)}.",
    ),
]  # fmt: skip
SideOption = Annotated[
    int | None,
    typer.Option(
        "--size", parser=side_of, metavar="PIXELS",
        help="Longer side of the result; 2k, 4k, 8k for short. Default: as the input.",
    ),
]  # fmt: skip
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
DtypeOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="Precision of the network.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
TileOption = Annotated[
    int | None,
    typer.Option("--tile", "-t", min=0, help="Side of the tiles; 0: none. Default: by free memory."),
]
FeatherOption = Annotated[
    float, typer.Option(min=0, max=1000, help="Soften the mask's edge over so many pixels.")
]
QualityOption = Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG, WebP, AVIF, HEIC.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace results that exist.")]
SkipExistingOption = Annotated[bool, typer.Option("--skip-existing", help="Leave results that exist.")]
StripPrivateOption = Annotated[
    bool, typer.Option("--strip-private", help="Leave out location and serial numbers.")
]
NoMetadataOption = Annotated[
    bool, typer.Option("--no-metadata", help="Write no EXIF, no XMP mark, nothing but the picture.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Take what is on the Hub from the cache; ask no network.")
]

StrokeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTH",
        help="Width of the strokes: fine, medium, bold, or percent of the picture's shorter side, 0.1 to 4. "
        "Default: by style.",
    ),
]
