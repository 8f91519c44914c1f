"""Write into the cards of the bundled styles how each was made and what was measured of it.

    python weights/tell_cards.py --styles weights/styles --table benchmarks/screen.json

The last step of making the styles: after `name_styles.py`, `train_styles.py` and `benchmarks/screen.py`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from train_styles import Schedule, read_recipes

from stylize.cards import StyleCard, read_cards
from stylize.model import load_style, save_style
from stylize.painting_loss import PaintingRecipe

_BASE = "Base: four runs, 7,770 steps of eight crops in all, losses on VGG19; see weights/README.md."
_LONGER = {"ukiyo-e": (600, 150), "van-gogh": (500, 120)}
"""Styles that learnt for more steps than is usual: free ones, and those at the final rank."""

_COLUMNS = {
    "r4": "correlation with the photograph's luminance at 4 to 8 pixels of a screen",
    "r8": "at 8 to 16",
    "r16": "at 16 to 64",
    "colour": "recognised as this style",
    "grey": "in grey",
}


def training_of(name: str, recipe: PaintingRecipe | None) -> str:
    """How a style file came to be."""
    if recipe is None:
        return f"A code: the mean statistics of 200 photographs. {_BASE}"
    schedule = Schedule()
    steps, finish = _LONGER.get(name, (schedule.steps, schedule.finish))
    works = ", ".join(work.split("/")[-1].removesuffix(".jpg") for work in recipe.works)
    return (
        f"Scales, shifts and changes of all kernels, rank {schedule.rank}: {steps} free steps and "
        f"{finish} at that rank, of {schedule.batch} crops of {schedule.size} pixels; Gram matrices "
        f"at three scales of the works {works}, read at a shorter side of {recipe.side} pixels; content "
        f"{recipe.content:g}, drawing {recipe.drawing:g}, noise {recipe.noise:g}. {_BASE}"
    )


def metrics_of(row: dict[str, float] | None) -> str:
    """The row of the honest table, as `benchmarks/README.md` explains it."""
    if row is None:
        return "Not measured."
    return ", ".join(f"{text} {row[key]:.2f}" for key, text in _COLUMNS.items() if key in row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cards", type=Path, default=Path("weights/cards.toml"))
    parser.add_argument("--recipes", type=Path, default=Path("weights/recipes.toml"))
    options = parser.parse_args()
    cards: dict[str, StyleCard] = read_cards(options.cards)
    recipes = read_recipes(options.recipes)
    table: dict[str, Any] = json.loads(options.table.read_text()) if options.table.exists() else {}
    for path in sorted(options.styles.glob("*.safetensors")):
        style = load_style(path)
        name = style.card.name
        metrics = metrics_of(table.get(name, {}).get("ours")) if name != "photograph" else ""
        card = replace(cards[name], training=training_of(name, recipes.get(name)), metrics=metrics)
        save_style(path, replace(style, card=card))


if __name__ == "__main__":
    main()
