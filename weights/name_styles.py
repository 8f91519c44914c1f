"""Make the style files of the bundled styles for a trained base: a code and a card each.

    python weights/name_styles.py --base runs/base/base.safetensors --works $DATA/style \
        --photos $DATA/content --out weights/styles

A named style is the code of the mean statistics of its works. Where its results are taken for those of a
neighbour, the code is pushed away from the mean of all codes.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from stylize import bundled
from stylize.cards import read_cards
from stylize.encoder import REFERENCE_SIDE
from stylize.images import read_rgb
from stylize.model import Style, load_base, load_perceptual, save_style
from stylize.stylizer import picture_moments
from stylize.tensors import luminance, to_float


@dataclass(frozen=True)
class Recipe:
    """Which works make a style, and how."""

    works: str
    """Folder, or one file, below --works."""
    push: float = 0.0
    """How far the code moves away from the mean of all styles, as a share of its distance to it."""
    contrast: float = 1.0
    """Only this share of the works, those with the widest range of tones."""
    detail: float = 1.0
    """Only this share of the works, those with the finest detail: close views and sharp scans, where
    strokes show, not whole walls and soft photographs."""
    plain: float = 1.0
    """Only this share of the works, those with the least colour."""


RECIPES = {
    "ink-wash": Recipe("ink-wash", contrast=0.35, plain=0.3),
    "ukiyo-e": Recipe("ukiyo-e"),
    "van-gogh": Recipe("van-gogh"),
    "impressionist": Recipe("impressionist"),
    "engraving": Recipe("engraving-dore", push=0.1),
    "byzantine-mosaic": Recipe("byzantine-mosaic", push=0.5),
    "byzantine-icon": Recipe("byzantine-icon", detail=0.6, push=0.2),
    "chinese-silk-landscape": Recipe("chinese-silk-landscape", detail=0.4),
    "chinese-blue-green": Recipe("chinese-blue-green"),
    "persian-mughal-miniature": Recipe("persian-mughal-miniature", push=0.3),
    "cubist-futurist": Recipe("cubist-futurist-abstract"),
    "great-wave": Recipe("ukiyo-e/043.jpg"),
    "tibetan-thangka": Recipe("tibetan-thangka"),
    "mexican-codex": Recipe("mexican-codex"),
    "stained-glass": Recipe("stained-glass"),
    "art-nouveau": Recipe("art-nouveau"),
}

_PHOTOGRAPHS = 200


def works_of(path: Path, recipe: Recipe) -> list[Path]:
    """The works, those with most contrast, most detail and least colour."""
    files = sorted(path.glob("*.jpg")) if path.is_dir() else [path]
    measures = ((recipe.contrast, _tonal_range), (recipe.detail, _fineness), (recipe.plain, _plainness))
    for share, measure in measures:
        if share < 1:
            found = {file: measure(read_rgb(file, REFERENCE_SIDE)) for file in files}
            files = sorted(files, key=found.__getitem__, reverse=True)[: max(1, round(share * len(files)))]
    return files


def _fineness(work: Tensor) -> float:
    light = luminance(to_float(work)[None])
    return float((light - F.avg_pool2d(light, 3, 1, 1)).abs().mean())


def _plainness(work: Tensor) -> float:
    picture = to_float(work)[None]
    return -float((picture - luminance(picture)).abs().mean())


def _tonal_range(work: Tensor) -> float:
    light = luminance(to_float(work)[None]).flatten()[::17]
    low, high = torch.quantile(light, torch.tensor([0.02, 0.98]))
    return float(high - low)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--works", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=Path("weights/cards.toml"))
    parser.add_argument("--only", nargs="*", help="make these styles only")
    options = parser.parse_args()
    base, network = load_base(options.base), load_perceptual(bundled.perceptual_path())
    cards = read_cards(options.cards)
    moments: dict[str, Tensor] = {}
    for name, recipe in track(RECIPES.items(), "Looking at works"):
        works = [read_rgb(path, REFERENCE_SIDE) for path in works_of(options.works / recipe.works, recipe)]
        moments[name] = torch.cat([picture_moments(network, work) for work in works]).mean(0, keepdim=True)
    photos = [p for i, p in enumerate(sorted(options.photos.glob("*.jpg"))) if i % 20][
        :: 1600 // _PHOTOGRAPHS
    ]
    seen = [picture_moments(network, read_rgb(photo, REFERENCE_SIDE)) for photo in photos]
    moments["photograph"] = torch.cat(seen).mean(0, keepdim=True)
    with torch.inference_mode():
        codes = {name: base.encoder(vector) for name, vector in moments.items()}
    middle = torch.stack([code for name, code in codes.items() if name != "photograph"]).mean(0)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, code in codes.items():
        if options.only and name not in options.only:
            continue
        push = RECIPES[name].push if name in RECIPES else 0.0
        pushed = code + push * (code - middle)
        style = Style(pushed, cards[name], base.identity, moments=moments[name])
        save_style(options.out / f"{name}.safetensors", style)


if __name__ == "__main__":
    main()
