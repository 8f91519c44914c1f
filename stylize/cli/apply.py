"""`stylize apply`: paint pictures."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stylize import bundled, hub
from stylize.cli.options import DeviceOption, DtypeOption, JsonOption, OfflineOption, QuietOption, TileOption
from stylize.console import progress, talk
from stylize.errors import ExitCode, PictureError, UsageError
from stylize.jobs import Job, plan_jobs
from stylize.paths import FORMATS

if TYPE_CHECKING:
    from stylize.painting import Painter

STREAM = Path("-")


def apply(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", allow_dash=True, help="Pictures or folders; - is stdin."),
    ],
    style: Annotated[
        list[str],
        typer.Option(
            "--style",
            "-s",
            metavar="STYLE[:WEIGHT]",
            help="A style by name, a .safetensors style, any painting, a folder of works, or org/name on the "
            "Hugging Face Hub. Several blend.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", allow_dash=True, help="File or folder; - is stdout. Default: beside the input."
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 keeps the photograph, 1 paints fully.")
    ] = 1.0,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The way back of a style that goes both ways.")
    ] = False,
    palette_from: Annotated[
        str | None, typer.Option(help="Another style that gives the colours; --style gives the strokes.")
    ] = None,
    strokes_from: Annotated[
        str | None, typer.Option(help="Another style that gives the strokes; --style gives the colours.")
    ] = None,
    keep_colour: Annotated[
        bool, typer.Option("--keep-colour", "--keep-color", help="Keep the photograph's colours.")
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture of the input's size: paint where it is white (or opaque)."),
    ] = None,
    feather: Annotated[
        float, typer.Option(min=0, max=1000, help="Soften the mask's edge over so many pixels.")
    ] = 8,
    outside: Annotated[
        str | None, typer.Option(help="Style outside the mask. Default: the photograph.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, max=20000, help="Longer side of the result in pixels. Default: as the input."),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    format: Annotated[
        Literal["jpg", "png", "webp", "tiff", "bmp"] | None, typer.Option(help="Format of the results.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG and WebP.")] = 92,
    tile: TileOption = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", min=1, help="Pictures at once. Default: by device.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Threads that read, and that write; 0: none. Default: by cores."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet beside each result: what changed, and why.")
    ] = False,
    strip_private: Annotated[
        bool, typer.Option("--strip-private", help="Leave out location and serial numbers.")
    ] = False,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Write no EXIF, no XMP mark, nothing but the picture.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take the folders in folders too; the tree is mirrored.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace results that exist.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave results that exist.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be painted.")] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Paint photographs in a style.

    [bold]Examples:[/bold]

    stylize apply photo.jpg --style ink-wash

    stylize apply holiday/ --style ukiyo-e -o prints/ --recursive

    stylize apply photo.jpg --style painting.png -o result.png

    stylize apply photo.jpg --style ink-wash:0.7 --style van-gogh:0.3

    curl -s URL | stylize apply - --style van-gogh -o - > result.png
    """
    if force and skip_existing:
        raise UsageError("--force and --skip-existing contradict each other; choose one.")
    name = "+".join(hub.style_name(bundled.weighted(text)[0]) for text in style)
    streaming = STREAM in inputs or output == STREAM
    if streaming and len(inputs) > 1:
        raise UsageError("With - there is one picture at a time; give only that one input.")
    if streaming and explain:
        raise UsageError("--explain writes a sheet beside the result; it does not go with -.")
    jobs, problems = ([], []) if streaming else plan_jobs(inputs, output, name, format, recursive)
    if dry_run:
        for job in jobs:
            typer.echo(f"{job.source} -> {job.target}")
        return _finish(problems, failed=len(problems))

    from stylize.looks import resolve_look  # torch comes with these
    from stylize.painting import Painter, PaintSettings

    settings = PaintSettings(
        strength, size, quality, force, skip_existing, tile, batch_size, workers,
        metadata="none" if no_metadata else "public" if strip_private else "all", explain=explain,
    )  # fmt: skip
    look = resolve_look(
        style, palette_from, strokes_from, keep_colour, mask, feather, outside, reverse, offline
    )
    painter = Painter(look, device, dtype, settings)
    if streaming:
        _stream(painter, inputs[0], output, format)
    else:
        failed = _work(painter, jobs, as_json, quiet)
        _finish(problems, failed + len(problems))


def _work(painter: "Painter", jobs: list[Job], as_json: bool, quiet: bool) -> int:
    """Do the jobs, telling how it goes; the number that failed."""
    failed = done = 0
    try:
        with progress(quiet or len(jobs) < 2) as bar, closing(painter.work(jobs)) as outcomes:
            task = bar.add_task("Painting", total=len(jobs), note="")
            for outcome in outcomes:
                failed += outcome.status == "failed"
                done += 1
                if as_json:
                    typer.echo(json.dumps(outcome.record(), ensure_ascii=False))
                if outcome.note:
                    talk.print(outcome.note, markup=False)
                elif not quiet and not as_json and len(jobs) < 2:
                    verb = "Kept" if outcome.status == "skipped" else "Painted"
                    talk.print(f"{verb} {outcome.job.target}", markup=False)
                bar.advance(task)
    except KeyboardInterrupt:
        if len(jobs) > 1:
            talk.print(f"Stopped after {done} of {len(jobs)} pictures; add --skip-existing to go on.")
        raise
    if not quiet and len(jobs) > 1:
        talk.print(f"{len(jobs) - failed} of {len(jobs)} pictures are ready.")
    return failed


def _finish(problems: list[str], failed: int) -> None:
    for problem in problems:
        talk.print(problem, markup=False)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _stream(painter: "Painter", source: Path, output: Path | None, suffix: str | None) -> None:
    """Paint one picture from stdin or to stdout."""
    from stylize.images import encode_picture, read_picture, write_picture

    quality = painter.settings.quality
    to_stdout = output is None or output == STREAM
    job = Job(source, output or STREAM)
    if to_stdout and sys.stdout.isatty():
        raise UsageError("The picture would go to the terminal; name a file with -o or redirect the output.")
    if not to_stdout and (job.target.is_dir() or job.suffix not in FORMATS):
        raise UsageError(f"For a picture from -, -o names a file that ends in one of {', '.join(FORMATS)}.")
    if not to_stdout and painter.is_done(job):
        return
    picture = (
        read_picture(sys.stdin.buffer.read(), "standard input") if source == STREAM else read_picture(source)
    )
    painted = painter.paint(picture)
    if to_stdout:
        try:
            encode_picture(painted, sys.stdout.buffer, FORMATS[suffix or "png"], quality)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise PictureError(f"Cannot write to standard output: {error.strerror}.") from error
    else:
        write_picture(painted, job.target, job.format_name, quality)
