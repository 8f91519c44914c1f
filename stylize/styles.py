"""From what the user calls a style to a code and the base that paints it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from stylize import bundled, hub
from stylize.canvas import Canvas
from stylize.cards import StyleCard
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import PictureError, UsageError, WeightsError
from stylize.generator import mix_codes
from stylize.images import read_rgb
from stylize.model import Base, Style, load_base, load_perceptual, load_style
from stylize.perceptual import CompactVGG
from stylize.selection import read_all
from stylize.strokes import Stroke, mean_stroke
from stylize.stylizer import picture_moments
from stylize.tensors import luminance, to_float

_SMALLEST_REFERENCE = 32
_FLAT = 0.01
"""Deviation of the luminance below which a reference has nothing to learn strokes from."""


@dataclass(frozen=True)
class ResolvedStyle:
    """A style ready to paint: its code (1, code_size), perhaps with offsets and changes, and its base.

    `cards` say where it comes from; a picture or folder given as a style has a card with its name.
    """

    code: Tensor
    base: Base
    cards: tuple[StyleCard, ...] = ()
    canvas: Canvas | None = None
    """What its textures are painted on, if it brings that along."""
    stroke: Stroke = field(default_factory=Stroke)
    """How strokes are laid on, unless the user wants it otherwise."""


@cache
def perceptual_network() -> CompactVGG:
    """The bundled perceptual network; most paintings do without it, so it is loaded when asked for."""
    return load_perceptual(bundled.perceptual_path()).to(memory_format=torch.channels_last)


def resolve_blend(references: Sequence[str], reverse: bool = False, offline: bool = False) -> ResolvedStyle:
    """Several styles as one, each with its weight: ["ink-wash:0.7", "van-gogh:0.3"].

    Raises UsageError if the weights sum to nothing or the styles are for different bases.
    """
    parts = [bundled.weighted(text) for text in references]
    _check_weights([weight for _, weight in parts])
    return blend([(name, resolve_style(name, reverse, offline), weight) for name, weight in parts])


def blend(parts: Sequence[tuple[str, ResolvedStyle, float]]) -> ResolvedStyle:
    """Styles that are loaded, each with its name and its weight, as one.

    Raises UsageError if the weights sum to nothing or the styles are for different bases.
    """
    names, styles, weights = zip(*parts, strict=True)
    total = _check_weights(weights)
    first = styles[0].base
    for name, style in zip(names, styles, strict=True):
        if style.base.identity != first.identity:
            raise UsageError(f"{names[0]} and {name} were made for different bases and cannot be mixed.")
    shares = [weight / total for weight in weights]
    code = mix_codes([style.code for style in styles], shares)
    canvas = next((style.canvas for style in styles if style.canvas is not None), None)
    cards = tuple(card for style in styles for card in style.cards)
    stroke = mean_stroke([style.stroke for style in styles], shares)
    return ResolvedStyle(code, first, cards, canvas, stroke)


def _check_weights(weights: Sequence[float]) -> float:
    """The sum of the weights. Raises UsageError if that is nothing."""
    total = sum(weights)
    if total <= 0:
        raise UsageError("The weights of the styles sum to nothing; give at least one a weight above 0.")
    return total


def resolve_style(reference: str, reverse: bool = False, offline: bool = False) -> ResolvedStyle:
    """Load a style: a known name, a style file, any painting as a picture file, a folder of works, or a
    reference to the Hub (see `stylize.hub`), which `offline` takes from the cache only.

    With `reverse`, the way back of a style that translates both ways. Raises UsageError if there is
    none, WeightsError or PictureError if the file is not good.
    """
    path = hub.find_style(reference, offline)
    if path.suffix.lower() == ".safetensors":
        style = load_style(path)
        if reverse and style.reverse is None:
            raise _no_way_back(reference)
        style = style.reverse if reverse and style.reverse else style
        base = style.base or base_of(style, path)
        return ResolvedStyle(style.code_for(base.generator), base, (style.card,), style.canvas, style.stroke)
    if reverse:
        raise _no_way_back(reference)
    base = load_base(bundled.base_path())
    moments = torch.cat(read_all([path], _moments)).mean(0, keepdim=True)
    with torch.inference_mode():
        return ResolvedStyle(base.encoder(moments), base, (StyleCard(path.stem),))


def _no_way_back(reference: str) -> UsageError:
    return UsageError(f"{reference} goes one way only; leave out --reverse, or train one with stylize cycle.")


def _moments(work: Path) -> Tensor:
    """The moment vector of a work. Raises PictureError where there is nothing to see."""
    picture = read_rgb(work, REFERENCE_SIDE)
    if min(picture.shape[1:]) < _SMALLEST_REFERENCE:
        raise PictureError(
            f"{work} is too small to show a style; take one of at least {_SMALLEST_REFERENCE} pixels a side."
        )
    if luminance(to_float(picture)[None]).std() < _FLAT:
        raise PictureError(f"{work} is one flat colour; a style needs a picture with strokes or texture.")
    return picture_moments(perceptual_network(), picture)


def base_of(style: Style, path: Path) -> Base:
    """The base that a style was made for: the bundled one, or one that lies with the style at `path`.

    Raises WeightsError where there is none, or where the style does not fit it.
    """
    # A cache of downloads holds links to files without names: what lies beside the link counts, too.
    folders = {path.absolute().parent: None, path.resolve().parent: None}
    beside = [place / hub.BASE_FILE for folder in folders for place in (folder, folder.parent)]
    for candidate in (bundled.base_path(), *beside):
        if candidate.is_file():
            base = load_base(candidate)
            if base.identity == style.base_identity:
                break
    else:
        raise WeightsError(
            f"{path} was made for another base ({style.base_identity or 'unnamed'}); "
            "put that base.safetensors beside it."
        )
    style.check(base.generator)
    return base
