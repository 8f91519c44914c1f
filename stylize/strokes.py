"""The width of a stroke: from which size a picture is painted, coarse to fine. Readable without torch.

A convolutional network paints strokes of a fixed width in pixels, so on a large photograph they vanish.
Therefore the photograph is painted at a small size first, the painting is enlarged and painted again, up to
the photograph's own size (as Gatys et al., 2017, arXiv:1611.07865, optimise from coarse to fine). The first
size decides how wide strokes are in the picture; it is the same for all sizes of a photograph, and so is the
look of the painting.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stylize.errors import UsageError

STROKES = {"fine": 0.7, "medium": 1.0, "bold": 1.5}
"""Named widths, in percent of the picture's shorter side."""

MEDIUM = STROKES["medium"]
NARROWEST, WIDEST = 0.1, 4.0

_PIXELS = 4.0
"""Width in pixels of the strokes that a network paints in one pass."""

_SAME = 1.25
"""Sizes that differ by less than this factor are not painted one after the other."""

_ALMOST = 1.02
"""The same for a picture's own size: what is seen on a screen must not depend on it."""

SCREEN_SIDE = 896
"""Shorter side in pixels of a pass that every picture gets, as long as the first is smaller: what is seen on
a screen is decided up to there, so results of all sizes look alike. Smaller ones are reduced from it."""

_GRID = 16
"""Sides of all passes but the last are multiples of this."""

_STEP = 4.0
"""The largest factor by which a painting is enlarged between two passes: beyond it, edges stay soft."""

_WITHOUT_STROKES = 2048
"""Shorter side of the first pass, in pixels, towards which strength 0 tends: nothing is lost by it on a
screen."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Stroke:
    """How strokes are laid on, beside what a style's weights decide.

    `width` is in percent of the picture's shorter side; None paints in one pass at the picture's own size.
    `noise` is the amplitude (0 ... 1, of the range of values) of the noise added ahead of the first pass,
    which gives strokes on flat grounds something to follow; `seed` chooses it. `detail` (0 ... 1) is the
    share of the photograph's fine detail that the later passes see: it keeps small faces.
    """

    width: float | None = MEDIUM
    noise: float = 0.0
    detail: float = 0.0
    seed: int = 0

    @property
    def first_side(self) -> int | None:
        """Shorter side of the first pass in pixels; None: as large as the picture."""
        return None if self.width is None else _GRID * round(100 * _PIXELS / self.width / _GRID)

    def sizes(self, height: int, width: int) -> list[Size]:
        """The sizes of the passes over a picture, from coarse to fine.

        The last is its own, or that of `SCREEN_SIDE`, from which the result is reduced.
        """
        first, shorter = self.first_side, min(height, width)
        if first is None or shorter <= _ALMOST * first:
            return [(height, width)]
        sides = [first]
        if first * _SAME <= SCREEN_SIDE:
            sides.append(SCREEN_SIDE)
        if shorter > _ALMOST * sides[-1]:
            sides += _between(sides[-1], shorter)
        return [(height, width) if side == shorter else _scaled(height, width, side) for side in sides]

    def at(self, strength: float) -> "Stroke":
        """The stroke for a strength between 0 and 1: the weaker the style, the finer, and the less noise."""
        if self.first_side is None or strength == 1:
            return self
        side = self.first_side**strength * max(_WITHOUT_STROKES, self.first_side) ** (1 - strength)
        detail = 1 - (1 - self.detail) * strength
        return replace(self, width=100 * _PIXELS / side, noise=self.noise * strength, detail=detail)


def _between(start: int, end: int) -> list[int]:
    """Sides from one to another, without the first, that grow evenly by at most `_STEP`."""
    ratio = end / start
    count = math.ceil(math.log(ratio) / math.log(_STEP) - 1e-9)
    return [round(start * ratio ** (step / count)) for step in range(1, count)] + [end]


def _scaled(height: int, width: int, shorter: int) -> Size:
    """A size with this shorter side, in multiples of `_GRID`.

    So copies of one photograph in different sizes, whose proportions differ by rounding, get the same passes.
    """
    scale = shorter / min(height, width) / _GRID
    return _GRID * max(1, round(height * scale)), _GRID * max(1, round(width * scale))


def parse_stroke(text: str) -> float:
    """A stroke's width, in percent of the picture's shorter side, from a name or a number.

    Raises UsageError for anything else.
    """
    if text.strip().lower() in STROKES:
        return STROKES[text.strip().lower()]
    try:
        width = float(text)
    except ValueError:
        width = math.nan
    if not NARROWEST <= width <= WIDEST:
        raise UsageError(
            f"{text!r} is no stroke; choose fine, medium or bold, or the width of a stroke in percent of the "
            f"picture's shorter side, from {NARROWEST:g} to {WIDEST:g}."
        )
    return width


def stroke_of_card(text: str, usual: float | None) -> float | None:
    """The width that a style card asks for: `none` is None; `usual` where it says nothing that is known."""
    if text.strip().lower() == "none":
        return None
    try:
        return parse_stroke(text)
    except UsageError:
        return usual


def mean_stroke(strokes: Sequence[Stroke], weights: Sequence[float]) -> Stroke:
    """The stroke of a blend: the weighted mean, of widths the geometric one. Weights sum to 1."""
    pairs = [(stroke.width, weight) for stroke, weight in zip(strokes, weights, strict=True)]
    known = [(width, weight) for width, weight in pairs if width is not None]
    total = sum(weight for _, weight in known)
    width = math.exp(sum(w * math.log(width) for width, w in known) / total) if total > 0 else None
    width = None if width is None else min(max(width, NARROWEST), WIDEST)

    def mean(values: Sequence[float]) -> float:
        return min(1.0, max(0.0, sum(v * w for v, w in zip(values, weights, strict=True))))

    return Stroke(width, mean([s.noise for s in strokes]), mean([s.detail for s in strokes]), strokes[0].seed)
