"""Give bundled styles adapters: what a style changes in the kernels of the base, learnt from its works.

    python weights/refine_styles.py --data $DATA --vgg vgg19.safetensors --styles weights/styles \
        --out runs/refined byzantine-mosaic ukiyo-e

Starts from the style files in --styles, as `name_styles.py` makes them, and keeps their cards. Learns as
`stylize train --quick` does, by the losses of the real VGG19, with statistics in units of their spread
over all works.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from name_styles import RECIPES, Recipe, works_of
from rich.progress import track

from stylize import bundled
from stylize.cards import read_cards
from stylize.config import QUICK, LossWeights, TrainConfig
from stylize.dataset import PictureSet
from stylize.encoder import REFERENCE_SIDE
from stylize.library import StyleLibrary
from stylize.model import Base, Style, load_base, load_style, save_style
from stylize.painters import StylePainter
from stylize.perceptual import LossNetwork
from stylize.studio import content_photos, load_vgg
from stylize.styles import perceptual_network
from stylize.training import Trainer, varied_spreads
from stylize.validation import Spreads

CONFIG = replace(
    QUICK,
    steps=160,
    generator_rate=6e-3,
    weights=replace(QUICK.weights, content=5.0, style=6.0, tv=6.0, tone=2.0, edge=3.0),
)

WEIGHTS: dict[str, LossWeights] = {}
"""Of styles that need others."""

_EVERY = 4
"""Of all works, those whose statistics say what is usual."""


def usual_spreads(works: Path, networks: LossNetwork, cache: Path) -> Spreads:
    """How far statistics differ over works of all styles."""
    groups = {
        folder.name: PictureSet(sorted(folder.glob("*.jpg"))[::_EVERY], REFERENCE_SIDE)
        for folder in sorted(works.iterdir())
        if folder.is_dir()
    }
    library = StyleLibrary(groups, networks.compact, networks, cache=cache)
    return varied_spreads(library.statistics, torch.device("cpu"))


def trainer_for(
    style: Style, recipe: Recipe, config: TrainConfig, base: Base, data: Path, losses: LossNetwork,
    spreads: Spreads, cache: Path,
) -> Trainer:  # fmt: skip
    """A run that goes on from a style."""
    name = style.card.name
    assert style.moments is not None
    torch.manual_seed(config.seed)
    pictures = PictureSet(works_of(data / "data/style" / recipe.works, recipe), REFERENCE_SIDE)
    library = StyleLibrary({name: pictures}, losses.compact, losses, cache=cache, together=True)
    painter = StylePainter(base, style.moments, config.rank)
    painter.code.data.copy_(style.code[:, : base.generator.config.code_size])
    photos, unseen = content_photos(data / "data/content", 20)
    trainer = Trainer(config, painter, photos, library, losses.compact, losses, unseen=unseen)
    trainer.spreads = spreads
    return trainer


def refined(style: Style, painter: StylePainter) -> Style:
    """The style with what was learnt."""
    code = painter.style_code().detach()
    return replace(style, code=code, adapters=painter.adapters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vgg", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=Path("weights/cards.toml"))
    parser.add_argument("names", nargs="*", default=list(RECIPES))
    options = parser.parse_args()
    base, cards = load_base(bundled.base_path()), read_cards(options.cards)
    losses = LossNetwork(perceptual_network(), load_vgg(str(options.vgg))).requires_grad_(False)
    options.out.mkdir(parents=True, exist_ok=True)
    spreads = usual_spreads(options.data / "data/style", losses, options.out / "all-works.safetensors")
    for name in options.names:
        config = replace(CONFIG, weights=WEIGHTS.get(name, CONFIG.weights))
        style = replace(load_style(options.styles / f"{name}.safetensors"), card=cards[name])
        cache = options.out / f"{name}-works.safetensors"
        trainer = trainer_for(style, RECIPES[name], config, base, options.data, losses, spreads, cache)
        for _ in track(range(config.steps), name):
            trainer.step()
        assert isinstance(trainer.ema, StylePainter)
        save_style(options.out / f"{name}.safetensors", refined(style, trainer.ema))


if __name__ == "__main__":
    main()
