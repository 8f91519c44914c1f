"""`stylize train`: learn styles from works."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylize import bundled, settings
from stylize.cli.live import LiveView, print_forecast, tell
from stylize.cli.options import DeviceOption, DtypeOption, QuietOption
from stylize.config import QUICK, AdversarialForm, GameConfig, GeneratorConfig, TextureConfig, TrainConfig
from stylize.console import talk
from stylize.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stylize.workshop import Errand, Open

_FULL = TrainConfig()
_MOST_WORKS_QUICK = 20
_DATA, _LOSSES, _RUN = "Data", "Losses", "Run"


def _weight(what: str, name: str) -> typer.models.OptionInfo:
    shown = f"({getattr(_FULL.weights, name)}; quick: {getattr(QUICK.weights, name)})"
    return typer.Option(help=f"Weight of the {what}. {shown}", rich_help_panel=_LOSSES)


def train(
    works: Annotated[
        list[Path],
        typer.Argument(help="Works: pictures, a folder, or for several styles a FOLDER or NAME=FOLDER each."),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the style, or of the run for several.")],
    content: Annotated[
        Path | None,
        typer.Option("--content", "-c", help="Folder of photographs to paint. Default: invented pictures."),
    ] = None,
    quick: Annotated[
        bool | None,
        typer.Option(
            "--quick/--full",
            help="Learn one style on the bundled base, in minutes; or train all networks, in hours. "
            f"Default: quick for up to {_MOST_WORKS_QUICK} works.",
        ),
    ] = None,
    texture: Annotated[
        bool,
        typer.Option("--texture", help="Learn textures, for stylize texture: no photographs are needed."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(help=f"Weights that suit a kind of work: {', '.join(settings.PRESETS)}; or quick."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, such as a run's config.toml.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting by name: style=8, λ_tv=4, ema=0.99 ...")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; by default runs/NAME.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what it would take on this machine; write nothing.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Steps in all. ({_FULL.steps}; quick: {QUICK.steps})"),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights, not from the bundled base.")
    ] = False,
    width: Annotated[
        int, typer.Option(min=8, help="Channels of the generator at 1/2 size; only from scratch.")
    ] = GeneratorConfig().half_width,
    perceptual: Annotated[
        str,
        typer.Option(
            help="Loss network: bundled; vgg19 from the Hub (575 MB, once); or a VGG19 in torchvision's "
            "naming, a safetensors file here or (org/name/file) on the Hub."
        ),
    ] = "bundled",
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, help="Pictures per batch.", rich_help_panel=_DATA),
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Batches per step, if memory is short.", rich_help_panel=_DATA)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=64, help=f"Side of the crops in pixels. ({_FULL.size})", rich_help_panel=_DATA),
    ] = None,
    zoom: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Crops cover so many times their size of a photograph. (0.5 2)", rich_help_panel=_DATA
        ),
    ] = None,
    rotate: Annotated[
        float | None,
        typer.Option(
            min=0, max=180, help="Turn photographs by up to so many degrees. (0)", rich_help_panel=_DATA
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror half of the crops. (flip)", rich_help_panel=_DATA),
    ] = None,
    hold_out: Annotated[
        int,
        typer.Option(
            min=0, help="Leave out every N-th photograph for judging; 0 uses all.", rich_help_panel=_DATA
        ),
    ] = 20,
    cards: Annotated[
        Path | None, typer.Option(help="TOML file with a style card per style.", rich_help_panel=_DATA)
    ] = None,
    adversarial: Annotated[float | None, _weight("adversarial loss", "adversarial")] = None,
    content_weight: Annotated[float | None, _weight("content loss", "content")] = None,
    style: Annotated[float | None, _weight("style loss", "style")] = None,
    tv: Annotated[float | None, _weight("total variation", "tv")] = None,
    cycle: Annotated[float | None, _weight("cycle consistency", "cycle")] = None,
    identity: Annotated[float | None, _weight("identity loss", "identity")] = None,
    tone: Annotated[float | None, _weight("tone loss", "tone")] = None,
    colour: Annotated[float | None, _weight("colour loss", "colour")] = None,
    edge: Annotated[float | None, _weight("edge loss", "edge")] = None,
    warp: Annotated[float | None, _weight("warp loss: steady strokes", "warp")] = None,
    form: Annotated[
        AdversarialForm | None,
        typer.Option(
            help=f"Form of the adversarial loss. ({_FULL.adversarial_form})", rich_help_panel=_LOSSES
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate of the generator.", rich_help_panel=_LOSSES)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Start of all chance. (0)", rich_help_panel=_RUN)] = None,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="Go on with a run although its settings or data are others now.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds between checkpoints; samples come at 5/3 of that.", rich_help_panel=_RUN
        ),
    ] = 180,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the metrics to stdout, a line each.", rich_help_panel=_RUN)
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a style from one painting or a folder of works.

    Give pictures, or a folder, to learn one style; give several folders to learn one style from each.
    Stop with Ctrl-C and run the same command again to go on.

    [bold]Example:[/bold] stylize train grandma/ --content photos/ --name grandma
    """
    options = {
        "steps": steps, "batch": batch_size, "accumulate": accumulate, "size": size, "zoom": zoom,
        "rotate": rotate, "flip": flip, "generator_rate": rate, "adversarial_form": form, "seed": seed,
        "adversarial": adversarial, "content": content_weight, "style": style, "tv": tv, "cycle": cycle,
        "identity": identity, "tone": tone, "colour": colour, "edge": edge, "warp": warp,
    }  # fmt: skip
    folder = output or Path("runs") / name
    bundled.check_new_style(name, folder)
    if texture:
        others = [content, preset, quick, zoom, rotate, flip]
        if any(option is not None for option in others) or width != GeneratorConfig().half_width:
            raise UsageError(
                "--texture learns a canvas from works alone; leave out --content, --quick, --full, --preset, "
                "--width, --zoom, --rotate and --flip."
            )
        config = settings.laid_over(TextureConfig(), "texture", config_file, options, set_ or [])
        from functools import partial

        from stylize import texture_studio  # torch comes with it
        from stylize.fitting import Rhythm

        plan = texture_studio.TexturePlan(
            name=name, folder=folder, device=device, dtype=dtype,
            rhythm=Rhythm(every, every * 5 / 3), changed=changed, works=works, config=config,
            from_scratch=from_scratch, perceptual=perceptual, cards=cards,
        )  # fmt: skip
        written = _learn(plan, partial(texture_studio.TextureStudio, plan), config, dry_run, as_json, quiet)
        if not quiet and written:
            _say_how("stylize texture -o out.png", name, plan.folder, written)
        return
    if preset == "quick":
        quick, preset = True, None
    if quick is None:
        quick = not from_scratch and _is_small(works)
    if quick and from_scratch:
        raise UsageError("--quick builds on the bundled base; leave out --from-scratch.")
    if width != GeneratorConfig().half_width and not from_scratch:
        raise UsageError("--width sets the shape of a new network; add --from-scratch.")
    config = _config(quick, from_scratch, preset, config_file, options, set_ or [])
    if content is None and not quiet:
        talk.print("Training on invented pictures; photographs like yours, with --content, make it better.")
    if quick and perceptual == "bundled" and not quiet:
        talk.print("Strokes come much nearer with --perceptual vgg19 (575 MB, fetched once).")
    from functools import partial

    from stylize import studio  # torch comes with it
    from stylize.fitting import Rhythm

    plan = studio.Plan(
        works=works, content=content, name=name, folder=folder, config=config,
        generator=GeneratorConfig(half_width=width, quarter_width=2 * width, eighth_width=4 * width),
        quick=quick, from_scratch=from_scratch, perceptual=perceptual, hold_out=hold_out, cards=cards,
        device=device, dtype=dtype, rhythm=Rhythm(every, every * 5 / 3), changed=changed,
    )  # fmt: skip
    written = _learn(plan, partial(studio.Studio, plan), config, dry_run, as_json, quiet)
    if not quiet and written:
        _say_how("stylize apply photo.jpg", name, plan.folder, written)


def _learn(
    errand: "Errand", opened: "Open", config: GameConfig, dry_run: bool, as_json: bool, quiet: bool
) -> list[Path]:
    """Carry it out, or only say what it would take. The files that were written."""
    from stylize import workshop

    pictures = config.batch * config.accumulate
    if dry_run:
        print_forecast(workshop.forecast(opened, tell, errand.rhythm), pictures, as_json)
        return []
    with LiveView(config.steps, pictures, quiet, as_json) as view:
        finished, written = workshop.carry_out(errand, opened, view.watcher(), tell)
    if not finished:
        talk.print(f"Stopped; run the same command again to go on. The run is in {errand.folder}.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    return written


def _say_how(command: str, name: str, folder: Path, written: list[Path]) -> None:
    """What to do with the styles that were written; the copy of a single one is found by its name."""
    several = [path for path in written if path.parent.name == "styles"]
    talk.print(f"Paint with: {command} --style {name if len(several) == 2 else several[0]}", markup=False)
    talk.print(f"Look at {folder / 'sheet.png'} and {folder / 'report.html'}.", markup=False)


def _config(
    quick: bool, from_scratch: bool, preset: str | None, file: Path | None, options: dict[str, Any],
    texts: list[str],
) -> TrainConfig:  # fmt: skip
    """The settings of the run: defaults, then preset, file, options and --set, each over those before."""
    # The base has its styles already; starting without them would only lose them.
    config = QUICK if quick else replace(_FULL, style_ramp=_FULL.style_ramp if from_scratch else 0.0)
    if preset:
        config = settings.preset(preset, config)
    usual = config
    config = settings.laid_over(config, "train", file, options, texts)
    # Only our weight follows the budget: whoever gives one means it.
    if config.weights.content != usual.weights.content and config.content_budget == usual.content_budget:
        config = replace(config, content_budget=0.0)
    return config


def _is_small(works: list[Path]) -> bool:
    """One style from few works: what quick training is for."""
    from stylize.paths import find_pictures

    if len(works) > 1 and any(not work.is_file() for work in works):
        return False
    try:
        return len(find_pictures(works)) <= _MOST_WORKS_QUICK
    except UsageError:
        return False  # whoever reads the works says what is wrong
