"""`stylize fuse`: one picture out of several."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from stylize import bundled
from stylize.cli.options import (
    DeviceOption,
    DtypeOption,
    FeatherOption,
    ForceOption,
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
from stylize.console import progress, say, write_json
from stylize.errors import UsageError
from stylize.jobs import Job, Naming, plan_jobs, record
from stylize.paths import find_pictures
from stylize.places import written_at
from stylize.strokes import parse_stroke


def fuse(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE[:WEIGHT]...",
            help="Two or more pictures, or folders of them. The first gives size and metadata.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the result, or a folder for it.")],
    style: Annotated[
        list[str] | None,
        typer.Option(
            "--style",
            "-s",
            metavar="STYLE[:WEIGHT]",
            help="As for apply; one of the pictures may be named, too. Several blend. Default: the pictures' "
            "own styles, in their shares; pyramid then leaves what it fused.",
            autocompletion=complete_style,
        ),
    ] = None,
    mode: Annotated[
        Literal["features", "pyramid"],
        typer.Option(
            help="Fuse what the network sees, or the pixels scale by scale, as is right for exposures and "
            "focus planes."
        ),
    ] = "features",
    balance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="0 is the first of two pictures alone, 1 the second. Default: 0.5."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture of the first one's size: the second goes where it is white (or opaque)."),
    ] = None,
    feather: FeatherOption = 8,
    fit: Annotated[
        Literal["cover", "contain", "stretch"],
        typer.Option(help="Pictures of another size fill the first one, lie whole in it, or are pulled."),
    ] = "cover",
    stroke: StrokeOption = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 keeps the pictures' own styles, 1 paints fully.")
    ] = 1.0,
    size: SideOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quality: QualityOption = 92,
    tile: TileOption = None,
    keep_grey: Annotated[
        bool, typer.Option("--keep-grey", "--keep-gray", help="Grey pictures become a grey painting.")
    ] = False,
    strip_private: StripPrivateOption = False,
    no_metadata: NoMetadataOption = False,
    force: ForceOption = False,
    skip_existing: SkipExistingOption = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fuse two or more pictures into one that shows what each has to show, and paint it.

    [bold]Examples:[/bold]

    stylize fuse portrait.jpg forest.jpg -o both.jpg

    stylize fuse photo.jpg painting.jpg --style ink-wash --balance 0.3 -o result.png

    stylize fuse photo.jpg other.jpg --mask where-other.png -o result.png

    stylize fuse dark.jpg middle.jpg light.jpg --mode pyramid -o all-tones.jpg
    """
    if force and skip_existing:
        raise UsageError("--force and --skip-existing contradict each other; choose one.")
    inputs = _weighed(pictures, balance, mask)
    job = _job(inputs, output, [Path(s) for s in map(_name, style or [])] + ([mask] if mask else []))
    style_name = "+".join(map(_name, style or []))
    if written_at(job.target) is not None and skip_existing:
        if as_json:
            write_json(record(job.source, job.target, "skipped", style_name))
        elif not quiet:
            say(f"Kept {job.target}")
        return
    if written_at(job.target) is not None and not force:
        raise UsageError(f"{job.target} exists; use --force to replace it or --skip-existing to keep it.")
    began = time.monotonic()
    from stylize.fuse_job import FuseJob, carry_out  # torch comes with these
    from stylize.painting import PaintSettings

    settings = PaintSettings(
        strength=strength, stroke=None if stroke is None else parse_stroke(stroke),
        quality=quality, tile=tile, keep_grey=keep_grey,
        metadata="none" if no_metadata else "public" if strip_private else "all",
    )  # fmt: skip
    wanted = FuseJob(
        inputs, job, style or [], mode, fit, mask, feather, size, device, dtype, offline, settings
    )
    with progress(quiet) as bar:
        task = bar.add_task("Fusing", total=len(inputs) + 1, note="")
        hint = carry_out(wanted, lambda: bar.advance(task))
    if as_json:
        write_json(record(job.source, job.target, "done", style_name, time.monotonic() - began))
    elif not quiet:
        say(f"Fused {job.target}")
    if hint and not quiet:
        say(hint)


def _name(text: str) -> str:
    return bundled.weighted(text)[0]


def _weighed(pictures: list[str], balance: float | None, mask: Path | None) -> list[tuple[Path, float]]:
    """The pictures with their weights. Raises UsageError where these do not make sense."""
    given = [bundled.weighted(text) for text in pictures]
    inputs = [
        (path, weight) for name, weight in given for path in find_pictures([Path(name)], recursive=False)
    ]
    if len(inputs) < 2:
        raise UsageError("There is one picture only; name two or more to fuse.")
    if len(inputs) > 2 and (balance is not None or mask):
        option = "--mask" if mask else "--balance"
        raise UsageError(
            f"{option} is for two pictures, and there are {len(inputs)}; weigh them, as in a.jpg:2 b.jpg."
        )
    if balance is not None and (mask or [name for name, _ in given] != pictures):
        other = "--mask" if mask else "a weight behind a picture"
        raise UsageError(f"--balance and {other} say the same thing; leave one out.")
    if balance is not None:
        return [(inputs[0][0], 1 - balance), (inputs[1][0], balance)]
    if sum(weight for _, weight in inputs) <= 0:
        raise UsageError("The weights of the pictures sum to nothing; give at least one a weight above 0.")
    return inputs


def _job(inputs: list[tuple[Path, float]], output: Path, read: list[Path]) -> Job:
    """Where the result goes. Raises UsageError where it cannot, or where it would replace what is read."""
    (first, _), *others = inputs
    naming = Naming(output, "", keep=(*(path for path, _ in others), *read))
    (job,), _ = plan_jobs([first], naming)
    return job
