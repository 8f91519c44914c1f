"""Style cards: where a style comes from and how to treat it with respect. Readable without torch."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError, safe_open

from stylize.errors import WeightsError


@dataclass(frozen=True)
class StyleCard:
    """What a style file says about itself. `name` is what the user types."""

    name: str
    title: str = ""
    native_name: str = ""
    tradition: str = ""
    period: str = ""
    description: str = ""
    cultural_note: str = ""
    works: str = ""
    limits: str = ""
    licence: str = ""

    def to_json(self) -> str:
        """The card as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "StyleCard":
        """Rebuild a card; fields that this version does not know are ignored. Raises ValueError."""
        values = json.loads(text)
        if not isinstance(values, dict) or "name" not in values:
            raise ValueError("a style card is an object with a name")
        known = {field.name for field in fields(StyleCard)}
        return StyleCard(**{key: str(value) for key, value in values.items() if key in known})


def read_card(path: Path) -> StyleCard:
    """The card of a style file, without reading its tensors. Raises WeightsError."""
    try:
        with safe_open(path, "np") as file:
            return StyleCard.from_json(file.metadata()["card"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"Cannot use {path}: it is no style file, or it is damaged.") from error
