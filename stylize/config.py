"""Settings of networks and training: frozen dataclasses that go to and from JSON."""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar

from stylize.errors import WeightsError
from stylize.trust import parse_json

_LARGEST_GRID = 32
"""Cells a side: the cost of attention grows with their number, and no tensor of a file tells it."""

AdversarialForm = Literal["hinge", "bce", "lsgan"]


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the generator. Widths are channels at 1/2, 1/4 and 1/8 of the picture's size."""

    half_width: int = 32
    quarter_width: int = 64
    eighth_width: int = 128
    eighth_blocks: int = 4
    quarter_blocks: int = 2
    code_size: int = 128
    attention_width: int = 64
    attention_grid: int = 16
    """Keys and values are pooled to at most this many cells a side; 0 leaves attention out."""

    def __post_init__(self) -> None:
        # A style file is untrusted: its configuration must not be able to ask for a huge network.
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name.endswith(("blocks", "grid")) else 1
            most = {"blocks": 16, "grid": _LARGEST_GRID}.get(field.name.rpartition("_")[2], 1024)
            if type(value) is not int or not least <= value <= most:
                shown = repr(value)[:40]
                raise WeightsError(f"Generator setting {field.name} = {shown} is not in {least}..{most}.")


@dataclass(frozen=True)
class CanvasConfig:
    """Shape of the canvas, which turns noise into features for the generator's body."""

    width: int = 96
    """Channels at 1/16 and 1/8 of the picture's size."""
    outputs: int = 64
    """Channels at 1/4: the generator's `quarter_width`."""
    code_size: int = 128
    cells: int = 16
    """Planes of white noise at 1/16."""
    grain: int = 4
    """Planes of white noise at 1/8, and at 1/4."""
    waves: int = 4
    """Planar waves at 1/16."""
    moods: int = 8
    """Random numbers that a picture has as a whole."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 1 <= value <= 1024:
                raise WeightsError(f"Canvas setting {field.name} = {repr(value)[:40]} is not in 1..1024.")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of the discriminator: width of its first layer, and of the style code it judges by."""

    width: int = 32
    code_size: int = 128
    """0 leaves the style score out."""


@dataclass(frozen=True)
class LossWeights:
    """The lambdas of the generator's objective; see `stylize.losses` for each term."""

    adversarial: float = 0.5
    content: float = 3.0
    style: float = 6.0
    tv: float = 14.0
    """Of the total variation in the photograph's flats."""
    cycle: float = 0.5
    identity: float = 2.0
    tone: float = 8.0
    colour: float = 12.0
    edge: float = 2.0
    warp: float = 20.0
    """Of what moving the photograph changes in the painting beyond moving it."""


@dataclass(frozen=True)
class GameConfig:
    """What every training by turns of a generator and a discriminator needs to know."""

    steps: int = 4000
    batch: int = 8
    """Samples that go through the networks at once, on each device."""
    accumulate: int = 1
    """Batches whose gradients are added up before the weights move."""
    size: int = 192
    """Side of the training crops in pixels."""
    zoom: tuple[float, float] = (0.5, 2.0)
    """Crops of photographs cover from `size` times the first to `size` times the second."""
    rotate: float = 0.0
    """Photographs are turned by up to so many degrees, either way."""
    flip: bool = True
    """Half of the crops are mirrored."""
    generator_rate: float = 1e-3
    discriminator_rate: float = 4e-4
    discriminator_steps: int = 1
    """Updates of the discriminator for one of the generator."""
    final_rate: float = 0.03
    """The learning rates fall to this share of themselves."""
    ema: float = 0.999
    clip: float = 1.0
    r1: float = 0.0
    """Weight of the gradient penalty on real works."""
    adversarial_form: AdversarialForm = "hinge"
    seed: int = 0


@dataclass(frozen=True)
class TrainConfig(GameConfig):
    """Everything that decides what `stylize train` computes."""

    adversarial_start: float = 0.1
    """Share of the steps after which the discriminator joins in."""
    style_ramp: float = 0.1
    """Share of the steps over which the style weight rises to its full value."""
    cycle_every: int = 4
    warp_start: float = 0.6
    """Share of the steps after which the warp loss joins in: a last phase, when strokes have formed."""
    rank: int = 4
    """Of the adapters of a quick style; 0 leaves them out."""
    content_budget: float = 0.0
    """The content loss may become so many times what it was at first, and its weight follows; 0 is none."""
    weights: LossWeights = LossWeights()


@dataclass(frozen=True)
class CycleWeights:
    """The lambdas of the objective of both translators; see `stylize.losses` for each term."""

    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 5.0
    perceptual_cycle: float = 0.0
    """Of the content loss between a picture and its way there and back."""
    contrastive: float = 0.0
    """Of the patchwise contrastive loss between a picture and its translation."""
    style: float = 0.0
    """Of the moments and Gram matrices of the pile that is translated to."""


@dataclass(frozen=True)
class CycleConfig(GameConfig):
    """Everything that decides what `stylize cycle` computes."""

    steps: int = 2000
    batch: int = 2
    """Pictures of each pile."""
    zoom: tuple[float, float] = (0.8, 1.5)
    generator_rate: float = 5e-4
    final_rate: float = 0.0
    constant: float = 0.5
    """Share of the steps before the learning rates begin to fall, along a line."""
    adversarial_form: AdversarialForm = "lsgan"
    pool: int = 50
    """Earlier results that the discriminators are shown again."""
    generators: int = 1
    """One for both ways, told apart by a code, or two."""
    weights: CycleWeights = CycleWeights()

    def __post_init__(self) -> None:
        if self.generators not in (1, 2):
            raise WeightsError(f"There are one or two generators, not {self.generators}.")


@dataclass(frozen=True)
class TextureWeights:
    """The lambdas of the objective of a canvas; see `stylize.losses` for each term."""

    adversarial: float = 1.0
    style: float = 2.0
    """Of the moments and Gram matrices of the works."""


@dataclass(frozen=True)
class TextureConfig(GameConfig):
    """Everything that decides what `stylize train --texture` computes."""

    steps: int = 600
    batch: int = 4
    size: int = 128
    generator_rate: float = 2e-3
    discriminator_rate: float = 6e-4
    ema: float = 0.99
    adversarial_form: AdversarialForm = "bce"
    weights: TextureWeights = TextureWeights()


QUICK = TrainConfig(
    steps=250,
    batch=4,
    generator_rate=1e-2,
    ema=0.98,
    style_ramp=0.0,
    content_budget=1.13,
    weights=LossWeights(
        adversarial=0.0,
        content=5.5,
        style=6.0,
        tv=3.0,
        cycle=0.0,
        identity=0.0,
        tone=2.0,
        colour=6.0,
        edge=1.8,
        warp=0.0,
    ),
)
"""For a single style on a base that stays as it is: few numbers to learn, so no game against a
discriminator, and no way back to be kept open."""

Config = TypeVar("Config", bound=Any)


def to_json(config: Any) -> str:
    """The configuration as one JSON object."""
    return json.dumps(asdict(config), sort_keys=True)


def from_json(kind: type[Config], text: str) -> Config:
    """Rebuild a configuration; unknown or ill-typed settings raise WeightsError by name."""
    try:
        values = parse_json(text)
    except ValueError as error:
        raise WeightsError("The configuration in the file is not valid JSON.") from error
    return from_dict(kind, values)


def from_dict(kind: type[Config], values: Any) -> Config:
    """The same from a dictionary, nested ones included."""
    if not isinstance(values, dict):
        raise WeightsError("The configuration in the file is not an object.")
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise WeightsError(f"Unknown setting {unknown[0][:40]!r} in the file's configuration.")
    nested = {field.name: type(field.default) for field in fields(kind) if is_dataclass(field.default)}
    return kind(
        **{key: from_dict(nested[key], value) if key in nested else value for key, value in values.items()}
    )
