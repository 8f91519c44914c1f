"""The mark of a result, found in a file without decoding it: was it painted by stylize, and how? No torch."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stylize.bundled import style_file, weighted
from stylize.cards import StyleCard, read_card
from stylize.hub import reference_of
from stylize.marking import credit
from stylize.places import Place

Existing = Literal["skipped", "exists", "other"]
"""What becomes of a job whose result is there: that stays; nobody said what to do; it is in another style."""

EXISTS = "{} exists; use --force to replace it or --skip-existing to keep it."
OTHER = "{} is there in another style ({}); choose another -o, or use --force to replace it."
OURS = "{} was painted by stylize; name it outright to paint it once more."

_LOOKED_AT = 1 << 20
"""Bytes at a file's start, and at its end, that are searched: the mark is in one or the other."""

_SYSTEM = re.compile(rb"AISystemUsed\s*(?:>|=\s*[\"'])\s*stylize\s*[<\"']")
_BEFORE = "Painted by stylize in the style of "
_CREDIT = re.compile(rb"([\"']?)" + _BEFORE.encode() + rb"([^<\0]+)")
_BEHIND = re.compile(r"(?:\. https?://|; from a picture of ).*", re.DOTALL)
"""What follows the credit: in a clip's comment what it means, in a picture whom the photograph credits."""


def is_ours(place: Place) -> bool:
    """Was this picture or clip painted by stylize, by its mark? One without a mark, or in a store, is not."""
    content = _ends(place)
    return bool(_SYSTEM.search(content) or _CREDIT.search(content))


def styles_told(place: Place) -> str | None:
    """The styles that a result credits, worded as by `marking.credit`; None where it says nothing of them."""
    found = _CREDIT.findall(_ends(place))
    if not found:
        return None
    quote, text = found[-1]
    text = text.split(quote)[0] if quote else text  # other programs write XMP as attributes
    return _BEHIND.sub("", html.unescape(text.decode("utf-8", "replace"))).strip()


def styles_of(cards: Sequence[StyleCard]) -> str:
    """What a result in the styles of these cards tells of them."""
    return credit(cards).removeprefix(_BEFORE).strip()


def styles_named(names: Sequence[str]) -> str | None:
    """The same of styles as they are named on the command line; None where one would have to be fetched."""
    cards = []
    for text in names:
        name, _ = weighted(text)
        if reference_of(name):
            return None
        path = style_file(name)
        cards.append(read_card(path) if path.suffix.lower() == ".safetensors" else StyleCard(path.stem))
    return styles_of(cards)


def of_existing(
    target: Place, styles: str | None, force: bool, keep: bool, again: bool = False
) -> tuple[Existing, str] | None:
    """What becomes of a job whose result is there, and why; None where that is to be replaced.

    `styles` are those asked for, as by `styles_of`: what is there in others is another result. None: unknown.
    `again`: the picture has changed since its result was painted.
    """
    if force:
        return None
    told = styles_told(target) if styles is not None else None
    if told is not None and told != styles:
        return "other", OTHER.format(target, told)
    if again:
        return None
    return ("skipped", "") if keep else ("exists", EXISTS.format(target))


def _ends(place: Place) -> bytes:
    """The first and last bytes of a file; nothing of one that cannot be read, or that lies in a store."""
    if not isinstance(place, Path):
        return b""
    try:
        with place.open("rb") as file:
            start = file.read(_LOOKED_AT)
            size = file.seek(0, 2)
            file.seek(max(len(start), size - _LOOKED_AT))
            return start + file.read()
    except OSError:
        return b""
