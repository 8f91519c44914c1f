"""`stylize optimize`: the exact slow method, for one picture at a time."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from stylize import bundled
from stylize.cli.options import DeviceOption, DtypeOption, ForceOption, QuietOption, side_of
from stylize.console import progress, talk
from stylize.errors import ExitCode, UsageError
from stylize.jobs import check_output
from stylize.paths import FORMATS


def optimize(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="Picture to paint.")],
    paintings: Annotated[
        list[str],
        typer.Argument(metavar="PAINTING[:WEIGHT]...", help="One or more paintings that give the style."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the result.")],
    init: Annotated[
        Literal["fast", "content", "noise"],
        typer.Option(help="Begin with what apply would paint, with the photograph, or with noise."),
    ] = "fast",
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Steps in all, over all scales.")] = 150,
    scales: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=6,
            help="From coarse to fine in so many scales. Default: 3; 1 from fast, whose large forms stand.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            parser=partial(side_of, least=64, most=8192),
            metavar="PIXELS",
            help="Longer side of the result; 2k, 4k, 8k for short. Default: 1024, or as the photo.",
        ),
    ] = None,
    content: Annotated[float, typer.Option(min=0, help="Weight of the content loss.")] = 1.0,
    style: Annotated[float, typer.Option(min=0, help="Weight of the style loss.")] = 4.0,
    tv: Annotated[float, typer.Option(min=0, help="Weight of the total variation.")] = 0.5,
    optimizer: Annotated[
        Literal["lbfgs", "adam"], typer.Option(help="L-BFGS, or Adam with less memory.")
    ] = "lbfgs",
    keep_colour: Annotated[
        bool, typer.Option("--keep-colour", "--keep-color", help="Keep the photograph's colours.")
    ] = False,
    perceptual: Annotated[
        str, typer.Option(help="Loss network: bundled, or a VGG19 safetensors file in torchvision's naming.")
    ] = "bundled",
    preview: Annotated[
        int, typer.Option(min=0, help="Write the picture so far to the output every so many steps; 0: never.")
    ] = 25,
    force: ForceOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Paint by optimising the pixels themselves (Gatys et al.): minutes, not moments, and the last word.

    After Ctrl-C the same command goes on where it stopped.

    [bold]Example:[/bold] stylize optimize photo.jpg painting.jpg -o result.png
    """
    if output.suffix.lower().lstrip(".") not in FORMATS:
        raise UsageError(
            f"{output} has no format that can be written; end it in one of {', '.join(FORMATS)}."
        )
    works = [bundled.weighted(text) for text in paintings]
    check_output(output, [photo, *(name for name, _ in works)])
    unfinished = output.with_name(f".{output.name}.unfinished.safetensors")
    if output.exists() and not force and not unfinished.exists():
        raise UsageError(f"{output} exists; add --force to replace it, or choose another -o.")
    from stylize import optimise_job  # torch comes with it
    from stylize.optimising import OptimiseSettings

    usual = 1 if init == "fast" else OptimiseSettings.scales
    settings = OptimiseSettings(steps, content, style, tv, optimizer, scales=scales or usual)
    job = optimise_job.OptimiseJob(
        photo, [(Path(name), weight) for name, weight in works], output, unfinished, init, size, keep_colour,
        perceptual, preview, device, dtype, settings,
    )  # fmt: skip
    with progress(quiet) as bar:
        task = bar.add_task("Optimising", total=steps, note="")

        def show(scale: int, loss: float) -> None:
            bar.update(task, advance=1, note=f"scale {scale + 1}, loss {loss:.3f}")

        try:
            optimise_job.carry_out(job, show)
        except KeyboardInterrupt:
            talk.print("Stopped; run the same command again to go on.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not quiet:
        talk.print(f"Painted {output}", markup=False)
