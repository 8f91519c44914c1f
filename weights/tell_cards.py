"""Write into the cards of the bundled styles how each was made and what was measured of it.

    python weights/tell_cards.py --styles weights/styles --tables benchmarks/{quality,collection}.json

The last step of making the styles: after `name_styles.py`, `refine_styles.py` and `benchmarks/quality.py`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from name_styles import RECIPES
from refine_styles import AIMS, CONFIG

from stylize.cards import StyleCard, read_cards
from stylize.model import Style, load_style, save_style

_BASE = "Base: four runs, 7,770 steps of eight crops in all, losses on VGG19; see weights/README.md."
_NOT_MEASURED = "Not measured: there are too few works to say what of them is the style."
_COLUMNS = ("closed", "colour", "luminance", "edges", "content")


def training_of(style: Style) -> str:
    """How a style file came to be."""
    recipe = RECIPES.get(style.card.name)
    if recipe is None:
        return f"A code: the mean statistics of 200 photographs. {_BASE}"
    shares = {
        "widest range of tones": recipe.contrast,
        "finest detail": recipe.detail,
        "least colour": recipe.plain,
    }
    chosen = [f"the {share:.0%} with the {what}" for what, share in shares.items() if share < 1]
    text = "A code: the mean statistics of the works" + (f" ({', of these '.join(chosen)})" if chosen else "")
    if recipe.push:
        text += f", moved away from the mean of all styles by {recipe.push:.0%}"
    if style.adapters:
        aim = AIMS[style.card.name]
        text += (
            f"; adapters: {CONFIG.steps} steps of {CONFIG.batch} crops, losses on VGG19, "
            f"content {aim.content:g}, edge {aim.edge:g}, aiming {aim.push:.0%} beyond the works"
        )
    return f"{text}. {_BASE}"


def metrics_of(name: str, tables: dict[str, Any]) -> str:
    """The row of the honest table, as `benchmarks/README.md` explains it."""
    if name not in tables:
        return "" if name == "photograph" else _NOT_MEASURED
    row = tables[name]["ours"]
    return ", ".join(f"{column} {row[column]:.2f}" for column in _COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--tables", type=Path, nargs="+", required=True)
    parser.add_argument("--cards", type=Path, default=Path("weights/cards.toml"))
    options = parser.parse_args()
    cards: dict[str, StyleCard] = read_cards(options.cards)
    tables: dict[str, Any] = {}
    for table in options.tables:
        tables |= json.loads(table.read_text())
    for path in sorted(options.styles.glob("*.safetensors")):
        style = load_style(path)
        name = style.card.name
        card = replace(cards[name], training=training_of(style), metrics=metrics_of(name, tables))
        save_style(path, replace(style, card=card))


if __name__ == "__main__":
    main()
