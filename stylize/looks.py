"""A look: one style or a blend, and what comes from elsewhere: colours, a mask, what lies outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylize.cards import StyleCard
from stylize.errors import UsageError
from stylize.images import read_mask
from stylize.styles import ResolvedStyle, resolve_blend, resolve_style


@dataclass(frozen=True)
class Look:
    """What is painted."""

    style: ResolvedStyle
    palette: ResolvedStyle | None = None
    """The style that gives the colours; the first gives the strokes."""
    keep_colour: bool = False
    """The photograph gives the colours."""
    mask: Tensor | None = None
    """Where the style goes, (H, W) in uint8; the pictures must have its size."""
    outside: ResolvedStyle | None = None
    """The style outside the mask; None leaves the photograph."""

    @property
    def is_plain(self) -> bool:
        """Is it one style and nothing else?"""
        return self.palette is None and not self.keep_colour and self.mask is None

    @property
    def cards(self) -> tuple[StyleCard, ...]:
        """The cards of all styles that take part."""
        return tuple(
            card
            for part in (self.style, self.palette, self.outside)
            if part is not None
            for card in part.cards
        )


def resolve_look(
    styles: Sequence[str],
    palette_from: str | None = None,
    strokes_from: str | None = None,
    keep_colour: bool = False,
    mask: Path | None = None,
    feather: float = 0,
    outside: str | None = None,
    reverse: bool = False,
    offline: bool = False,
) -> Look:
    """Load everything that a look names; `reverse` takes the way back of the styles.

    Raises UsageError where the parts do not go together.
    """
    if keep_colour and palette_from:
        raise UsageError("--keep-colour takes the photograph's colours; leave out --palette-from.")
    if outside and not mask:
        raise UsageError("--outside says what lies outside a mask; give one with --mask.")
    blend = resolve_blend(styles, reverse, offline)

    def load(style: str) -> ResolvedStyle:
        return resolve_style(style, offline=offline)

    strokes = load(strokes_from) if strokes_from else blend
    palette = load(palette_from) if palette_from else (blend if strokes_from else None)
    beyond = load(outside) if outside else None
    for part in (palette, beyond):
        if part is not None and part.base.identity != strokes.base.identity:
            raise UsageError("These styles were made for different bases and cannot be used together.")
    return Look(strokes, palette, keep_colour, read_mask(mask, feather) if mask else None, beyond)
