"""Give bundled styles adapters: what a style changes in the kernels of the base, learnt from its works.

    python weights/refine_styles.py --data $DATA --vgg vgg19.safetensors --styles weights/styles \
        --out runs/refined byzantine-mosaic ukiyo-e

Starts from the style files in --styles, as `name_styles.py` makes them, and keeps their cards. Learns as
`stylize train --quick` does, by the losses of the real VGG19, with statistics in units of their spread
over all works. The statistics aimed at are those of the works, moved away from what is usual for all styles:
a painting that keeps its photograph lies between the two, and would be taken for a neighbour's.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from name_styles import RECIPES, works_of
from rich.progress import track

from stylize import bundled
from stylize.cards import read_cards
from stylize.config import QUICK, TrainConfig
from stylize.dataset import PictureSet
from stylize.encoder import REFERENCE_SIDE, StyleStatistics
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
    steps=60,
    generator_rate=6e-3,
    content_budget=0.0,
    warp_start=0.0,
    weights=replace(
        QUICK.weights, content=3.0, style=6.0, tv=8.0, tone=6.0, colour=10.0, edge=3.0, warp=12.0
    ),
)


@dataclass(frozen=True)
class Aim:
    """What a style lacks, and therefore learns with."""

    push: float = 0.3
    """How far the statistics move away from the mean of all styles, as a share of their distance to it."""
    content: float = 3.5
    edge: float = 3.0


AIMS = {
    "byzantine-mosaic": Aim(push=1.0, content=5.0, edge=12.0),
    "persian-mughal-miniature": Aim(push=0.6),
    **dict.fromkeys(
        (
            "ink-wash",
            "ukiyo-e",
            "chinese-silk-landscape",
            "cubist-futurist",
            "great-wave",
            "tibetan-thangka",
            "mexican-codex",
            "art-nouveau",
        ),
        Aim(),
    ),
}
"""The styles that gained by it. The others did not, by the honest table or to the eye, and stay codes."""

_EVERY = 4
"""Of all works, those whose statistics say what is usual."""

_MOST = 48
"""Works of a style that are looked at; more would not move its mean."""

_FEWEST = 20
"""Works of a group whose mean counts as that of a style."""


@dataclass(frozen=True)
class Usual:
    """What is usual for works of all styles, in colour and in grey, and how far they differ."""

    spreads: Spreads
    colour: StyleStatistics
    grey: StyleStatistics


def look_at_all(works: Path, networks: LossNetwork, cache: Path) -> Usual:
    """What is usual, from every fourth work of every style."""
    folders = {folder.name: sorted(folder.glob("*.jpg")) for folder in works.iterdir() if folder.is_dir()}
    groups = {name: PictureSet(folders[name][::_EVERY], REFERENCE_SIDE) for name in sorted(folders)}
    library = StyleLibrary(groups, networks.compact, networks, cache=cache)
    means = []
    for statistics in (library.statistics, library.grey_statistics):
        each = [statistics.mean_of(m) for n, m in library.members.items() if len(folders[n]) >= _FEWEST]
        means.append(StyleStatistics.concatenate(each).mean_of(range(len(each))))
    return Usual(varied_spreads(library.statistics, torch.device("cpu")), *means)


def push(statistics: StyleStatistics, usual: StyleStatistics, share: float) -> None:
    """Move the statistics of works, in place, away from what is usual by a share of their mean distance."""
    for name, (mean, std) in statistics.moments.items():
        usual_mean, usual_std = usual.moments[name]
        mean.add_(share * (mean.mean(0) - usual_mean)).clamp_(min=0)
        std.add_(share * (std.mean(0) - usual_std)).clamp_(min=1e-3)
        grams = statistics.grams[name]
        grams.add_(share * (grams.mean(0) - usual.grams[name]))


def trainer_for(
    style: Style, config: TrainConfig, base: Base, data: Path, losses: LossNetwork, usual: Usual, cache: Path
) -> Trainer:
    """A run that goes on from a style."""
    name = style.card.name
    aim, recipe = AIMS.get(name, Aim()), RECIPES[name]
    weights = replace(config.weights, content=aim.content, edge=aim.edge)
    config = replace(config, weights=weights)
    assert style.moments is not None
    torch.manual_seed(config.seed)
    works = works_of(data / "data/style" / recipe.works, recipe)
    pictures = PictureSet(works[:: -(-len(works) // _MOST)], REFERENCE_SIDE)
    library = StyleLibrary({name: pictures}, losses.compact, losses, cache=cache, together=True)
    push(library.statistics, usual.colour, aim.push)
    push(library.grey_statistics, usual.grey, aim.push)
    painter = StylePainter(base, style.moments, config.rank)
    painter.code.data.copy_(style.code[:, : base.generator.config.code_size])
    photos, unseen = content_photos(data / "data/content", 20)
    trainer = Trainer(config, painter, photos, library, losses.compact, losses, unseen=unseen)
    trainer.spreads = usual.spreads
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
    parser.add_argument("names", nargs="*", default=list(AIMS))
    options = parser.parse_args()
    base, cards = load_base(bundled.base_path()), read_cards(options.cards)
    losses = LossNetwork(perceptual_network(), load_vgg(str(options.vgg))).requires_grad_(False)
    options.out.mkdir(parents=True, exist_ok=True)
    usual = look_at_all(options.data / "data/style", losses, options.out / "all-works.safetensors")
    for name in options.names:
        style = replace(load_style(options.styles / f"{name}.safetensors"), card=cards[name])
        cache = options.out / f"{name}-works.safetensors"
        trainer = trainer_for(style, CONFIG, base, options.data, losses, usual, cache)
        for _ in track(range(CONFIG.steps), name):
            trainer.step()
        assert isinstance(trainer.ema, StylePainter)
        save_style(options.out / f"{name}.safetensors", refined(style, trainer.ema))


if __name__ == "__main__":
    main()
