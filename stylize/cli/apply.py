"""`stylize apply`: paint pictures."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stylize import bundled, hub
from stylize.cli.options import (
    DeviceOption,
    DtypeOption,
    FeatherOption,
    ForceOption,
    FormatOption,
    JsonOption,
    NoMetadataOption,
    OfflineOption,
    QualityOption,
    QuietOption,
    SideOption,
    SkipExistingOption,
    StripPrivateOption,
    StrokeOption,
    TileOption,
    complete_style,
)
from stylize.cli.streaming import STREAM, stream
from stylize.cli.working import Telling, do, follow, foreseen, show_plan, telling
from stylize.errors import ExitCode, UsageError
from stylize.jobs import Naming, check_stores, plan_jobs, without_missing
from stylize.paths import is_clip, read_list
from stylize.places import Place, is_folder, place_of
from stylize.strokes import parse_stroke
from stylize.traces import styles_named

if TYPE_CHECKING:
    from stylize.looks import Look
    from stylize.painting import Engine, Painter, PaintSettings


def apply(
    style: Annotated[
        list[str],
        typer.Option(
            "--style",
            "-s",
            metavar="STYLE[:WEIGHT]",
            help="A style by name, a .safetensors style, any painting, a folder of works, or org/name on the "
            "Hugging Face Hub. Several blend.",
            autocompletion=complete_style,
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Pictures, clips, folders, or URLs of them; - is stdin."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File, folder or URL; - is stdout. Default: beside the input.",
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            "--files-from", metavar="LIST", allow_dash=True, help="Also paint what a file lists; - is stdin."
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 keeps the photograph, 1 paints fully.")
    ] = 1.0,
    stroke: StrokeOption = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The way back of a style that goes both ways.")
    ] = False,
    palette_from: Annotated[
        str | None,
        typer.Option(
            help="Another style that gives the colours; --style gives the strokes.",
            autocompletion=complete_style,
        ),
    ] = None,
    strokes_from: Annotated[
        str | None,
        typer.Option(
            help="Another style that gives the strokes; --style gives the colours.",
            autocompletion=complete_style,
        ),
    ] = None,
    keep_colour: Annotated[
        bool, typer.Option("--keep-colour", help="Keep the photograph's colours.")
    ] = False,
    keep_color: Annotated[bool, typer.Option("--keep-color", hidden=True)] = False,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture of the input's size: paint where it is white (or opaque)."),
    ] = None,
    feather: FeatherOption = 8,
    outside: Annotated[
        str | None,
        typer.Option(help="Style outside the mask. Default: the photograph.", autocompletion=complete_style),
    ] = None,
    size: SideOption = None,
    augment: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="N varied results of each picture, to enlarge data."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise that strokes follow, and of --augment.")] = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    format: FormatOption = None,
    quality: QualityOption = 92,
    tile: TileOption = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", min=1, help="Pictures at once. Default: by device.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10000,
            help="Threads that read, and that write; 0: none. Default: by cores. With --engine ray: workers.",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: this machine; ray: all machines of a Ray cluster (RAY_ADDRESS)."),
    ] = "local",
    keep_grey: Annotated[
        bool, typer.Option("--keep-grey", help="Grey photographs become grey paintings.")
    ] = False,
    keep_gray: Annotated[bool, typer.Option("--keep-gray", hidden=True)] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet beside each result: what changed, and why.")
    ] = False,
    strip_private: StripPrivateOption = False,
    no_metadata: NoMetadataOption = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take the folders in folders too; the tree is mirrored.")
    ] = False,
    force: ForceOption = False,
    skip_existing: SkipExistingOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after Ctrl-C, amid a clip too; results that exist stay.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the folders, and paint what appears until Ctrl-C.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="Write a page with each picture before and after."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be painted.")] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Paint photographs, and clips, in a style.

    [bold]Examples:[/bold]

    stylize apply photo.jpg --style ink-wash

    stylize apply holiday/ --style ukiyo-e -o prints/ --recursive

    stylize apply photo.jpg --style painting.png -o result.png

    stylize apply photo.jpg --style ink-wash:0.7 --style van-gogh:0.3

    stylize apply clip.mp4 --style ink-wash -o painted.mp4

    stylize apply incoming/ --style engraving -o done/ --watch --report done/sheet.html

    stylize apply s3://bucket/photos/ --style ink-wash -o s3://bucket/painted/ -r --engine ray

    curl -s URL | stylize apply - --style van-gogh -o - > result.png
    """
    began = time.time()  # before torch is loaded, which takes two processes that share work unequally long
    places = [place_of(text) for text in inputs or []]
    target = None if output is None else place_of(output)
    _check_options(places, files_from, force and (skip_existing or resume), watch, report, engine)
    name = "+".join(hub.style_name(bundled.weighted(text)[0]) for text in style)
    settings_of = {
        "strength": strength, "stroke": None if stroke is None else parse_stroke(stroke),
        "longer_side": size, "quality": quality, "force": force,
        "skip_existing": skip_existing or resume or (watch and not force), "resume": resume, "tile": tile,
        "batch": batch_size, "workers": workers,
        "metadata": "none" if no_metadata else "public" if strip_private else "all",
        "keep_grey": keep_grey or keep_gray, "explain": explain, "proofs": report is not None, "seed": seed,
        "began": None if watch else began,
    }  # fmt: skip

    def look_and_settings() -> tuple["Look", "PaintSettings"]:
        from stylize.looks import resolve_look  # torch comes with these
        from stylize.painting import PaintSettings

        look = resolve_look(
            style,
            palette_from,
            strokes_from,
            keep_colour or keep_color,
            mask,
            feather,
            outside,
            reverse,
            offline,
        )
        return look, PaintSettings(**settings_of)

    def painter() -> "Painter":
        from stylize.painting import Painter

        look, settings = look_and_settings()
        return Painter(look, device, dtype, settings)

    def cluster() -> "Engine":
        from stylize.cluster import Cluster

        look, settings = look_and_settings()
        return Cluster(look, device, dtype, settings)

    make = cluster if engine == "ray" else painter

    read = [palette_from, strokes_from, outside, mask, files_from, *(bundled.weighted(s)[0] for s in style)]
    if STREAM in places or target == STREAM:
        beside = files_from or watch or report or explain or augment or dry_run or engine == "ray"
        if len(places) > 1 or beside:
            raise UsageError("With - there is one picture and nothing beside it; give only that one input.")
        if is_clip(places[0]):
            raise UsageError("A clip does not go through a pipe; name a file with -o.")
        stream(painter, places[0], target, format, name if as_json else None, read)
        return
    if format and any(is_clip(place) for place in places):
        raise UsageError("--format is for pictures; name the clip that you want with -o.")
    keep = tuple(Path(r) for r in read if r)
    naming = Naming(target, name, format, recursive, explain, keep, variants=augment or 0)
    listed = [place_of(name) for name in read_list(_bytes_of(files_from))] if files_from else []
    check_stores([*places, *listed, target])
    jobs, refused = ([], []) if watch and not dry_run else plan_jobs(places, naming, listed)
    jobs, missing = without_missing(jobs, [*places, *listed])
    refused += missing
    if dry_run:
        names = [*([strokes_from] if strokes_from else style)]
        names += [palette_from] if palette_from else style if strokes_from else []
        wanted = None if reverse else styles_named([*names, *([outside] if outside else [])])
        foresee = partial(foreseen, styles=wanted, force=force, keep=bool(settings_of["skip_existing"]))
        failed = show_plan(jobs, refused, name, Telling(as_json, quiet), foresee)
        if missing:
            raise typer.Exit(ExitCode.USAGE)
    else:
        with telling(as_json, quiet, report) as tell:
            if watch:
                folders = [place for place in places if isinstance(place, Path)]
                failed = follow(folders, naming, tell, painter)
            else:
                failed = do(jobs, refused, name, tell, make)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _check_options(
    inputs: list[Place], files_from: Path | None, both: bool, watch: bool, report: Path | None, engine: str
) -> None:
    """Raises UsageError where options do not go together."""
    if both:
        raise UsageError("--force contradicts --skip-existing and --resume; choose one.")
    if not inputs and not files_from:
        raise UsageError("There is nothing to paint; name a picture, a folder, or a list with --files-from.")
    if STREAM in inputs and files_from == STREAM:
        raise UsageError("Standard input is either the picture or the list; write the other to a file.")
    if watch and (files_from or not all(isinstance(p, Path) and is_folder(p) for p in inputs)):
        raise UsageError("--watch follows folders of this machine; give such folders only.")
    if watch and engine == "ray":
        raise UsageError("--watch paints on this machine; leave out --engine ray.")
    if report and report.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"A report is an HTML page; {report} is none.")


def _bytes_of(place: Path) -> bytes:
    """What a file says, or standard input."""
    if place == STREAM:
        return sys.stdin.buffer.read() if sys.stdin else b""
    return place.read_bytes()
