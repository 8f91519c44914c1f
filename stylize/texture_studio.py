"""From the wishes of `stylize train --texture` to networks and data that are ready to learn textures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylize import bundled, parallel
from stylize.canvas import Canvas
from stylize.cards import StyleCard, read_cards
from stylize.config import CanvasConfig, TextureConfig
from stylize.devices import choose_device, training_dtype
from stylize.library import StyleLibrary
from stylize.model import Base, Style, load_base, load_canvas, load_perceptual, save_canvas, save_style
from stylize.perceptual import LossNetwork
from stylize.studio import load_vgg, smaller_works, works_by_style
from stylize.tensors import to_float
from stylize.texture import TexturePainter, TextureTrainer
from stylize.validation import Validation
from stylize.workshop import Errand, Note, Workshop, some_of

_LOOKED_AT = 48
"""Works whose features, as the stem sees them, say what a new canvas starts from."""


@dataclass(frozen=True)
class TexturePlan(Errand):
    """What `stylize train --texture` was asked for."""

    works: Sequence[Path] = ()
    config: TextureConfig = field(default_factory=TextureConfig)
    from_scratch: bool = False
    perceptual: str = "bundled"
    cards: Path | None = None


class TextureStudio(Workshop):
    """Where canvases are learnt: for one style, with its code; or for many."""

    def __init__(self, plan: TexturePlan, cache: Path, on_note: Note) -> None:
        """`cache` keeps what was seen in the works; `on_note` hears of works that are left out."""
        self.plan = plan
        self.cards = read_cards(plan.cards) if plan.cards else {}
        device = parallel.local_device(choose_device(plan.device))
        groups = works_by_style(plan.works, plan.name, on_note)
        self.notes = [
            n for name, works in groups.items() for n in smaller_works(name, works, plan.config.size)
        ]
        compact = load_perceptual(bundled.perceptual_path()).to(device).to(memory_format=torch.channels_last)
        losses_from = LossNetwork(compact, load_vgg(plan.perceptual)).requires_grad_(False).to(device)
        alone = len(groups) == 1
        with parallel.first_alone():  # only the vectors are wanted, so the small network will do
            library = StyleLibrary(groups, compact, LossNetwork(compact), cache, together=alone)
        self.base = load_base(bundled.base_path())
        torch.manual_seed(plan.config.seed)
        canvas = (
            new_canvas(self.base, library) if plan.from_scratch else load_canvas(bundled.canvas_path())[0]
        )
        with torch.no_grad():
            code = self.base.encoder(library.mean_vector(range(len(library.vectors)))) if alone else None
        painter = TexturePainter(canvas.requires_grad_(True), code)
        dtype = training_dtype(plan.dtype, device)
        self.trainer = TextureTrainer(plan.config, painter, self.base, library, losses_from, device, dtype)

    @property
    def game(self) -> TextureTrainer:
        return self.trainer

    def counts(self) -> dict[str, int]:
        return {name: len(members) for name, members in self.trainer.library.members.items()}

    def data(self) -> list[str]:
        styles = ", ".join(f"{name} ({count} works)" for name, count in self.counts().items())
        return [f"Styles: {styles}.", *self.notes]

    def shown(self) -> list[tuple[str, Tensor]]:
        return some_of(self.trainer.library.groups)

    def settings(self) -> dict[str, Any]:
        plan = self.plan
        run = {
            "works": [str(path) for path in plan.works], "from_scratch": plan.from_scratch,
            "perceptual": plan.perceptual,
        }  # fmt: skip
        return {"run": run, "texture": plan.config, "canvas": self.trainer.painter.canvas.config}

    def write(self, validation: Validation | None) -> list[Path]:
        """A style with the canvas for each group; for several also the canvas alone, for any style."""
        ema, folder = self.trainer.ema, self.plan.folder
        written = [folder / "styles" / f"{name}.safetensors" for name in self.counts()]
        (folder / "styles").mkdir(parents=True, exist_ok=True)
        for path, members in zip(written, self.trainer.library.members.values(), strict=True):
            moments = self.trainer.library.mean_vector(members)
            code = self.trainer.codes(ema, moments.to(self.trainer.device))
            card = self._card(path.stem, validation)
            save_style(path, Style(code, card, self.base.identity, moments=moments, canvas=ema.canvas))
        if len(written) == 1:
            return written
        save_canvas(folder / "canvas.safetensors", ema.canvas, self.base.identity)
        return [folder / "canvas.safetensors", *written]

    def _card(self, name: str, validation: Validation | None) -> StyleCard:
        """The card that was given, with what the run knows of itself where it is silent."""
        config = self.plan.config
        weights = ", ".join(f"{key} {value:g}" for key, value in asdict(config.weights).items() if value)
        row = validation.table.get(name, {}) if validation else {}
        learnt = "canvas" if self.trainer.ema.code is None else "canvas and code"
        known = {
            "works": f"{name}: {self.counts()[name]} works",
            "training": f"Textures: {learnt}, {self.trainer.steps_done} steps of {config.batch} crops "
            f"of {config.size} pixels; weights of the losses: {weights}.",
            "metrics": ", ".join(f"{column} {value:.2f}" for column, value in row.items()),
        }
        card = self.cards.get(name, StyleCard(name))
        return replace(card, **{key: text for key, text in known.items() if not getattr(card, key)})

    def to_install(self, written: Sequence[Path]) -> list[Path]:
        return list(written) if len(written) == 1 else []


def new_canvas(base: Base, library: StyleLibrary) -> Canvas:
    """Random weights whose features are, channel by channel, as large as the stem's are for the works."""
    generator = base.generator
    config = CanvasConfig(outputs=generator.config.quarter_width, code_size=generator.config.code_size)
    canvas = Canvas(config)
    pictures = [pile[i] for pile in library.groups.values() for i in range(0, len(pile), 1 + len(pile) // 4)]
    seen = []
    with torch.no_grad():
        for picture in pictures[:_LOOKED_AT]:
            height, width = (side // 8 * 8 for side in picture.shape[1:])
            rgb = to_float(picture[None, :, :height, :width])
            half = torch.relu(generator.stem_half(generator.unshuffle(rgb - 0.5)))
            seen.append(generator.stem_quarter(half)[0].flatten(1))
    features = torch.cat(seen, dim=1)
    with torch.no_grad():
        codes = base.encoder(library.vectors[:: 1 + len(library.vectors) // 16])
    canvas.calibrate(features.mean(1), features.std(1), codes)
    return canvas
