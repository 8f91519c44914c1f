"""Style cards: where a style comes from and how to treat it with respect. Readable without torch."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from unicodedata import category

from stylize.errors import UsageError, WeightsError
from stylize.trust import parse_json, read_header


@dataclass(frozen=True)
class StyleCard:
    """What a style file says about itself. `name` is what the user types."""

    name: str
    title: str = ""
    """In English."""
    native_name: str = ""
    """In the tradition's own script."""
    transliteration: str = ""
    tradition: str = ""
    region: str = ""
    period: str = ""
    technique: str = ""
    description: str = ""
    """One line."""
    cultural_note: str = ""
    """What it meant and means; sacred, funerary or personal uses."""
    avoid: str = ""
    """Uses to avoid."""
    works: str = ""
    """The works used, with artist, date and licence as far as known."""
    limits: str = ""
    """What the model does not capture."""
    training: str = ""
    """Data and settings of the training."""
    metrics: str = ""
    licence: str = ""
    stroke: str = ""
    """Width of its strokes: fine, medium, bold, percent of the picture's shorter side, or none."""

    def missing(self) -> list[str]:
        """The fields that a card needs before it is shared, and that this one lacks."""
        return [field for field in _NEEDED if not getattr(self, field).strip()]

    def to_json(self) -> str:
        """The card as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "StyleCard":
        """Rebuild a card; fields that this version does not know are ignored. Raises ValueError."""
        values = parse_json(text)
        if not isinstance(values, dict) or "name" not in values:
            raise ValueError("a style card is an object with a name")
        known = {field.name for field in fields(StyleCard)}
        return StyleCard(**{key: _plain(value) for key, value in values.items() if key in known})


def derived_card(name: str, parents: Sequence[StyleCard]) -> StyleCard:
    """The card of a style that was steered away from others: what they say of themselves holds for it too."""

    def together(field: str) -> str:
        return "; ".join(dict.fromkeys(text for card in parents if (text := getattr(card, field))))

    shared = {field: together(field) for field in _INHERITED}
    names = " and ".join(card.title or card.name for card in parents)
    return StyleCard(
        name,
        title=f"{name}, after {names}",
        description=f"Steered by hand from {names}.",
        training="A code that a person chose among varied ones; nothing was trained.",
        **shared,
    )


def _plain(value: object) -> str:
    """Text that a terminal can show without obeying it: no escapes, no turns of direction, not endless."""
    return "".join(
        " " if category(c).startswith("C") and c not in _JOINERS else c for c in str(value)[:_LONGEST_FIELD]
    ).strip()


_INHERITED = (
    "tradition", "region", "period", "technique", "cultural_note", "avoid", "works", "limits", "licence",
)  # fmt: skip
_LONGEST_FIELD = 10_000
_JOINERS = "\u200c\u200d"  # invisible, and needed to write Persian and many scripts of India

_NEEDED = (
    "title", "tradition", "period", "technique", "description", "cultural_note", "avoid", "works", "limits",
    "licence",
)  # fmt: skip


def read_cards(path: Path) -> dict[str, StyleCard]:
    """Style cards from a TOML file with one table per style. Raises UsageError, naming what is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        cards = {name: StyleCard(name=name, **table) for name, table in tables.items()}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        told = isinstance(error, (OSError, tomllib.TOMLDecodeError, TypeError))
        reason = str(error).rstrip(".") if told else "it is no TOML file"
        raise UsageError(f"Cannot read the style cards in {path}: {reason}.") from error
    for name, card in cards.items():
        for field in fields(StyleCard):
            if not isinstance(getattr(card, field.name), str):
                raise UsageError(f"In {path}, {field.name} of the card {name!r} is not a text in quotes.")
        if missing := card.missing():
            raise UsageError(f"In {path}, the card {name!r} lacks {', '.join(missing)}; please add them.")
    return cards


def read_card(path: Path) -> StyleCard:
    """The card of a style file, without reading its tensors. Raises WeightsError."""
    metadata = read_header(path).metadata
    try:
        return StyleCard.from_json(metadata["card"])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"Cannot use {path}: it is no style file, or it is damaged.") from error
