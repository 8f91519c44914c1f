"""Options that several commands share: the same flag means the same everywhere."""

from typing import Annotated, Literal

import typer

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
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Take what is on the Hub from the cache; ask no network.")
]
