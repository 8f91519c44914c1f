"""`stylize train`: learn styles from folders of works."""

from pathlib import Path
from typing import Annotated

import typer

from stylize.cli.options import DeviceOption, DtypeOption, QuietOption
from stylize.config import AdversarialForm, GeneratorConfig, LossWeights, TrainConfig
from stylize.console import progress, talk
from stylize.errors import ExitCode, UsageError

_DEFAULT = TrainConfig()
_LAMBDA = _DEFAULT.weights


def train(
    works: Annotated[
        list[Path],
        typer.Argument(help="Works: pictures, a folder, or for several styles a FOLDER or NAME=FOLDER each."),
    ],
    content: Annotated[Path, typer.Option("--content", "-c", help="Folder of photographs to paint.")],
    name: Annotated[str, typer.Option("--name", help="Name of the style, or of the run for several.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; by default runs/NAME.")
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps in all, those of a stopped run included.")
    ] = _DEFAULT.steps,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = _DEFAULT.batch,
    size: Annotated[int, typer.Option(min=64, help="Side of the training crops in pixels.")] = _DEFAULT.size,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights, not from the bundled base.")
    ] = False,
    width: Annotated[
        int, typer.Option(min=8, help="Channels of the generator at 1/2 size; only from scratch.")
    ] = GeneratorConfig().half_width,
    perceptual: Annotated[
        str, typer.Option(help="Loss network: bundled, or a VGG19 safetensors file in torchvision's naming.")
    ] = "bundled",
    adversarial: Annotated[float, typer.Option(help="Weight of the adversarial loss.")] = _LAMBDA.adversarial,
    content_weight: Annotated[float, typer.Option(help="Weight of the content loss.")] = _LAMBDA.content,
    style: Annotated[float, typer.Option(help="Weight of the style loss.")] = _LAMBDA.style,
    tv: Annotated[float, typer.Option(help="Weight of the total variation.")] = _LAMBDA.tv,
    cycle: Annotated[float, typer.Option(help="Weight of the cycle consistency.")] = _LAMBDA.cycle,
    identity: Annotated[float, typer.Option(help="Weight of the identity loss.")] = _LAMBDA.identity,
    tone: Annotated[float, typer.Option(help="Weight of the tone loss.")] = _LAMBDA.tone,
    edge: Annotated[float, typer.Option(help="Weight of the edge loss.")] = _LAMBDA.edge,
    form: Annotated[AdversarialForm, typer.Option(help="Form of the adversarial loss.")] = "hinge",
    rate: Annotated[float, typer.Option(help="Learning rate of the generator.")] = _DEFAULT.generator_rate,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Leave out every N-th photograph for judging; 0 uses all.")
    ] = 20,
    cards: Annotated[Path | None, typer.Option(help="TOML file with a style card per style.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Learn styles from works (paintings, prints, ...) and photographs.

    Give pictures, or a folder, to learn one style; give several folders to learn one style from each.
    Stop with Ctrl-C and run the same command again to go on.

    [bold]Example:[/bold] stylize train grandma/ --content photos/ --name grandma
    """
    weights = LossWeights(adversarial, content_weight, style, tv, cycle, identity, tone, edge)
    config = TrainConfig(
        steps=steps, batch=batch_size, size=size // 16 * 16, generator_rate=rate,
        adversarial_form=form, seed=seed, weights=weights,
        # The base has its styles already; starting without them would only lose them.
        style_ramp=_DEFAULT.style_ramp if from_scratch else 0,
    )  # fmt: skip
    if width != GeneratorConfig().half_width and not from_scratch:
        raise UsageError("--width sets the shape of a new network; add --from-scratch.")
    from stylize import studio  # torch comes with it

    plan = studio.Plan(
        works=works, content=content, name=name, folder=output or Path("runs") / name, config=config,
        generator=GeneratorConfig(half_width=width, quarter_width=2 * width, eighth_width=4 * width),
        from_scratch=from_scratch, perceptual=perceptual, hold_out=hold_out, cards=cards,
        device=device, dtype=dtype,
    )  # fmt: skip
    with progress(quiet) as bar:
        task = bar.add_task("Reading the works", total=None, note="")

        def show(step: int, terms: dict[str, float], seconds: float) -> None:
            note = " ".join(f"{key} {value:.2f}" for key, value in terms.items())
            bar.update(task, description="Training", total=steps, completed=step, note=note)

        finished, written = studio.train(plan, show)
    if not finished:
        talk.print(f"Stopped; run the same command again to go on. The run is in {plan.folder}.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not quiet:
        talk.print(f"Paint with: stylize apply photo.jpg --style {written[-1]}")
