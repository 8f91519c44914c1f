"""`stylize cycle`: translations between two piles of unpaired pictures, in both directions."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer.core import TyperGroup

from stylize import bundled, settings
from stylize.cli.live import LiveView, print_forecast, tell
from stylize.cli.options import DeviceOption, DtypeOption, JsonOption, QuietOption
from stylize.config import AdversarialForm, CycleConfig, CycleWeights
from stylize.console import progress, show, talk, write_json
from stylize.errors import ExitCode, UsageError

_DEFAULT = CycleConfig()
_WEIGHTS = CycleWeights()


class _TrainsByDefault(TyperGroup):
    """`stylize cycle a/ b/` is `stylize cycle train a/ b/`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help"}:
            args = ["train", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="cycle",
    cls=_TrainsByDefault,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Learn to translate between two piles of unpaired pictures, in both directions.\n\n"
    "[bold]Example:[/bold] stylize cycle photos/ paintings/ --name monet",
)


def _weight(what: str, name: str) -> typer.models.OptionInfo:
    return typer.Option(help=f"Weight of the {what}. ({getattr(_WEIGHTS, name):g})", rich_help_panel="Losses")


@app.command()
def train(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of pictures.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of pictures of another kind.")],
    name: Annotated[str, typer.Option("--name", help="Name of the translation.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; by default runs/NAME.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what it would take on this machine; write nothing.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help=f"Steps in all. ({_DEFAULT.steps})")] = None,
    generators: Annotated[
        int | None,
        typer.Option(min=1, max=2, help=f"One for both ways, or one for each. ({_DEFAULT.generators})"),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights, not from the bundled base.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, help=f"Pictures of each kind. ({_DEFAULT.batch})"),
    ] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Batches per step. (1)")] = None,
    size: Annotated[
        int | None, typer.Option(min=64, help=f"Side of the training crops in pixels. ({_DEFAULT.size})")
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Leave out every N-th picture for judging; 0 uses all.")
    ] = 10,
    cards: Annotated[Path | None, typer.Option(help="TOML file with a card for the translation.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, such as a run's config.toml.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting by name: pool=20, λ_cycle=5 ...")
    ] = None,
    perceptual: Annotated[
        str, typer.Option(help="Loss network of perceptual and style terms: bundled, vgg19, or a VGG19 file.")
    ] = "bundled",
    adversarial: Annotated[float | None, _weight("adversarial loss", "adversarial")] = None,
    cycle: Annotated[float | None, _weight("cycle consistency", "cycle")] = None,
    identity: Annotated[float | None, _weight("identity loss", "identity")] = None,
    perceptual_cycle: Annotated[float | None, _weight("perceptual cycle loss", "perceptual_cycle")] = None,
    contrastive: Annotated[float | None, _weight("patchwise contrastive loss", "contrastive")] = None,
    style: Annotated[float | None, _weight("style loss to the other pile", "style")] = None,
    form: Annotated[
        AdversarialForm | None,
        typer.Option(help=f"Adversarial form. ({_DEFAULT.adversarial_form})"),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of the generators.")] = None,
    seed: Annotated[int | None, typer.Option(help="Start of all chance. (0)")] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Go on with a run although its settings or data are others now.")
    ] = False,
    every: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 180,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn it. This is what `stylize cycle A B` does.

    Stop with Ctrl-C and run the same command again to go on.
    """
    options = {
        "steps": steps, "generators": generators, "batch": batch_size, "accumulate": accumulate, "size": size,
        "generator_rate": rate, "adversarial_form": form, "seed": seed, "adversarial": adversarial,
        "cycle": cycle, "identity": identity, "perceptual_cycle": perceptual_cycle,
        "contrastive": contrastive, "style": style,
    }  # fmt: skip
    config = settings.laid_over(_DEFAULT, "cycle", config_file, options, set_ or [])
    folder = output or Path("runs") / name
    bundled.check_new_style(name, folder)
    from stylize import cycle_studio, workshop  # torch comes with it
    from stylize.fitting import Rhythm

    plan = cycle_studio.CyclePlan(
        name=name, folder=folder, device=device, dtype=dtype,
        rhythm=Rhythm(every, every * 5 / 3), changed=changed, folders=(first, second), config=config,
        from_scratch=from_scratch, perceptual=perceptual, hold_out=hold_out, cards=cards,
    )  # fmt: skip
    opened = partial(cycle_studio.CycleStudio, plan)
    if dry_run:
        pictures = 2 * config.batch * config.accumulate
        print_forecast(workshop.forecast(opened, tell, plan.rhythm), pictures, as_json)
        return
    with LiveView(config.steps, 2 * config.batch * config.accumulate, quiet, as_json) as view:
        finished, _ = workshop.carry_out(plan, opened, view.watcher(), tell)
    if not finished:
        talk.print(f"Stopped; run the same command again to go on. The run is in {plan.folder}.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not quiet:
        talk.print(f"Paint with: stylize apply photo.jpg --style {name}, and back with --reverse.")
        talk.print(f"Look at {plan.folder / 'sheet.png'} and {plan.folder / 'report.html'}.", markup=False)


@app.command()
def check(
    model: Annotated[str, typer.Argument(help="A translation: its name or file.")],
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of pictures, best ones it never saw.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of pictures of the other kind.")],
    most: Annotated[int, typer.Option(min=2, help="Pictures of each folder, at most.")] = 30,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Sheet of pictures, there and back: PNG or JPEG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a translation: what comes back, what hides, how near the other pile its results are.

    [bold]Example:[/bold] stylize cycle check monet photos/ paintings/ -o sheet.png
    """
    if output is not None and output.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise UsageError(f"A sheet is a PNG or JPEG file; {output} is neither.")
    from stylize import cycle_studio  # torch comes with it

    with progress() as bar:
        task = bar.add_task("Translating", total=None, note="")
        found = cycle_studio.check(model, (first, second), most, output, lambda: bar.advance(task))
    ways = {"there": found.there, "back": found.back}
    if as_json:
        records = {name: {**asdict(way), "warnings": way.warnings()} for name, way in ways.items()}
        write_json(records, indent=2)
        return
    table = Table("", *ways, box=None, pad_edge=False)
    for measure in asdict(found.there):
        values = [getattr(way, measure) for way in ways.values()]
        table.add_row(measure.replace("_", " "), *(_shown(value) for value in values))
    show(table)
    for name, way in ways.items():
        for sentence in way.warnings():
            talk.print(f"{name.capitalize()}: {sentence}.", markup=False)


def _shown(value: object) -> str:
    """A number, or a distance with its interval."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "{value:.3f} ({low:.3f} - {high:.3f})".format(**asdict(value))  # pyright: ignore
