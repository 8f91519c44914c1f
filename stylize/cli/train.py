"""`stylize train`: learn styles from works."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylize.cli.options import DeviceOption, DtypeOption, QuietOption
from stylize.config import QUICK, AdversarialForm, GeneratorConfig, TrainConfig
from stylize.console import progress, talk
from stylize.errors import ExitCode, UsageError

_FULL = TrainConfig()
_MOST_WORKS_QUICK = 20


def _weight(what: str, name: str) -> typer.models.OptionInfo:
    shown = f"[{getattr(_FULL.weights, name)}; quick: {getattr(QUICK.weights, name)}]"
    return typer.Option(help=f"Weight of the {what}. {shown.replace('[', '(').replace(']', ')')}")


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
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; by default runs/NAME.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Steps in all. ({_FULL.steps}; quick: {QUICK.steps})"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", min=1, help="Pictures per step.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, help="Side of the training crops in pixels.")] = _FULL.size,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights, not from the bundled base.")
    ] = False,
    width: Annotated[
        int, typer.Option(min=8, help="Channels of the generator at 1/2 size; only from scratch.")
    ] = GeneratorConfig().half_width,
    perceptual: Annotated[
        str, typer.Option(help="Loss network: bundled, or a VGG19 safetensors file in torchvision's naming.")
    ] = "bundled",
    adversarial: Annotated[float | None, _weight("adversarial loss", "adversarial")] = None,
    content_weight: Annotated[float | None, _weight("content loss", "content")] = None,
    style: Annotated[float | None, _weight("style loss", "style")] = None,
    tv: Annotated[float | None, _weight("total variation", "tv")] = None,
    cycle: Annotated[float | None, _weight("cycle consistency", "cycle")] = None,
    identity: Annotated[float | None, _weight("identity loss", "identity")] = None,
    tone: Annotated[float | None, _weight("tone loss", "tone")] = None,
    edge: Annotated[float | None, _weight("edge loss", "edge")] = None,
    form: Annotated[AdversarialForm, typer.Option(help="Form of the adversarial loss.")] = "hinge",
    rate: Annotated[float | None, typer.Option(help="Learning rate of the generator.")] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Leave out every N-th photograph for judging; 0 uses all.")
    ] = 20,
    cards: Annotated[Path | None, typer.Option(help="TOML file with a style card per style.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Learn a style from one painting or a folder of works.

    Give pictures, or a folder, to learn one style; give several folders to learn one style from each.
    Stop with Ctrl-C and run the same command again to go on.

    [bold]Example:[/bold] stylize train grandma/ --content photos/ --name grandma
    """
    if quick is None:
        quick = not from_scratch and _is_small(works)
    if quick and from_scratch:
        raise UsageError("--quick builds on the bundled base; leave out --from-scratch.")
    if width != GeneratorConfig().half_width and not from_scratch:
        raise UsageError("--width sets the shape of a new network; add --from-scratch.")
    default = QUICK if quick else _FULL
    chosen = {
        "adversarial": adversarial, "content": content_weight, "style": style, "tv": tv, "cycle": cycle,
        "identity": identity, "tone": tone, "edge": edge,
    }  # fmt: skip
    weights = replace(default.weights, **{k: v for k, v in chosen.items() if v is not None})
    config = replace(
        default,
        steps=steps or default.steps,
        batch=batch_size or default.batch,
        size=size // 16 * 16,
        generator_rate=rate or default.generator_rate,
        adversarial_form=form,
        seed=seed,
        weights=weights,
        # The base has its styles already; starting without them would only lose them.
        style_ramp=default.style_ramp if from_scratch else 0,
    )
    if content is None and not quiet:
        talk.print("Training on invented pictures; photographs like yours, with --content, make it better.")
    from stylize import studio  # torch comes with it

    plan = studio.Plan(
        works=works, content=content, name=name, folder=output or Path("runs") / name, config=config,
        generator=GeneratorConfig(half_width=width, quarter_width=2 * width, eighth_width=4 * width),
        quick=quick, from_scratch=from_scratch, perceptual=perceptual, hold_out=hold_out, cards=cards,
        device=device, dtype=dtype,
    )  # fmt: skip
    with progress(quiet) as bar:
        task = bar.add_task("Reading the works", total=None, note="")

        def show(step: int, terms: dict[str, float], seconds: float) -> None:
            note = " ".join(f"{key} {value:.2f}" for key, value in terms.items())
            bar.update(task, description="Training", total=config.steps, completed=step, note=note)

        finished, written = studio.train(plan, show, lambda note: talk.print(note, markup=False))
    if not finished:
        talk.print(f"Stopped; run the same command again to go on. The run is in {plan.folder}.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not quiet:
        paths = [path for path in written if path.parent.name == "styles"]
        talk.print(f"Paint with: stylize apply photo.jpg --style {paths[0]}")


def _is_small(works: list[Path]) -> bool:
    """One style from few works: what quick training is for."""
    from stylize.paths import find_pictures

    if len(works) > 1 and any(not work.is_file() for work in works):
        return False
    try:
        return len(find_pictures(works)) <= _MOST_WORKS_QUICK
    except UsageError:
        return False  # whoever reads the works says what is wrong
