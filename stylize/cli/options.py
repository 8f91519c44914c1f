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
