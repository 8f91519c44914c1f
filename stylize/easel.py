"""What the window does with files that others gave it: read, paint and write them, within a time.

With a limit of time that happens in a process of its own (see `stylize.confined`): a picture that takes too
long, or too much memory, ends that process and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from stylize.canvas import Canvas
from stylize.cards import StyleCard
from stylize.confined import Confined
from stylize.errors import PictureError
from stylize.images import picture_size, pixel_count, read_mask, read_picture, resize_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.marking import Metadata
from stylize.model import Base
from stylize.painting import Outcome, Painter, PaintSettings
from stylize.picture import Picture
from stylize.strokes import Stroke
from stylize.styles import ResolvedStyle, resolve_style

_READING, _SHOWING = 30.0, 180.0
"""Seconds that it may take to read a file, and to paint what is only looked at."""

_LEAST = 600
"""Shorter side that a photograph keeps for what is shown: the first pass of fine strokes is as large."""


@dataclass(frozen=True)
class Manner:
    """How a style is laid on, and what becomes of a result's file."""

    strength: float = 1.0
    keep_colour: bool = False
    suffix: str | None = None
    """Format of the files; None: as the photograph."""
    longer_side: int | None = None
    """Of the results, in pixels; None: as the photograph."""
    metadata: Metadata = "all"
    palette: ResolvedStyle | None = None
    """The style that gives the colours; the one that is chosen gives the strokes."""
    mask: Path | None = None
    """A picture that is white where the style goes."""
    stroke: float | None = None
    """Width of the strokes in percent of the picture's shorter side; None: as the style's card says."""


@dataclass(frozen=True)
class _Sent:
    """A style on its way to another process, which may know the base already."""

    code: Tensor
    cards: tuple[StyleCard, ...]
    canvas: Canvas | None
    stroke: Stroke
    identity: str
    base: Base | None

    def style(self) -> ResolvedStyle:
        """The style with its base."""
        if self.base is not None:
            _bases[self.identity] = self.base
        return ResolvedStyle(self.code, _bases[self.identity], self.cards, self.canvas, self.stroke)


_bases: dict[str, Base] = {}
"""Identity -> base of those that were sent to this process."""


class Easel:
    """Reads, paints and writes pictures on a device, one at a time.

    `seconds` is how long one file may take to paint; None: without limits, in this process.
    """

    def __init__(self, device: str, dtype: str, seconds: float | None) -> None:
        self._device, self._dtype, self._seconds = device, dtype, seconds
        self._confined = None if seconds is None else Confined(__name__)
        self._known: tuple[int, set[str]] = (0, set())
        self._turn = Lock()

    def start(self) -> None:
        """Make ready for the first picture, and do not wait for it."""
        if self._confined is not None:
            self._confined.start()

    def close(self) -> None:
        """End what is under way."""
        if self._confined is not None:
            self._confined.close()

    def check(self, path: Path, megapixels: int) -> None:
        """Raises PictureError for a file that is no picture, or one of too many megapixels."""
        self._call(_READING, _check, path, megapixels)

    def look(self, path: Path, megapixels: int, side: int) -> tuple[Picture, int]:
        """A picture to look at, and how long the longer side of the file is.

        Its own is so long at most, unless the shorter would become too short for the first pass.
        """
        return self._call(_READING, _look, path, megapixels, side)

    def style_of(self, path: Path, megapixels: int, base: Base) -> ResolvedStyle:
        """The style of a painting, for the bundled base."""
        code, cards = self._call(_SHOWING, _style_of, path, megapixels)
        return ResolvedStyle(code, base, cards)

    def paint(self, picture: Picture, style: ResolvedStyle, manner: Manner) -> Picture:
        """Paint a picture to be looked at."""
        values = picture, _light(manner), self._device, self._dtype
        return self._call_with_style(_SHOWING, _paint, style, *values)

    def paint_file(self, job: Job, style: ResolvedStyle, manner: Manner) -> Outcome:
        """Do a job as `stylize apply` would. Raises StylizeError where it took too long."""
        values = job, _light(manner), self._device, self._dtype
        return self._call_with_style(self._seconds or 0.0, _paint_file, style, *values)

    def _call(self, seconds: float, function: Callable[..., Any], *values: Any) -> Any:
        if self._confined is None:
            with self._turn:
                return function(*values)
        return self._confined.call(seconds, function, *values)

    def _call_with_style(
        self, seconds: float, function: Callable[..., Any], style: ResolvedStyle, *values: Any
    ) -> Any:
        sent = _Sent(style.code, style.cards, style.canvas, style.stroke, style.base.identity, style.base)
        if self._confined is None:
            return self._call(seconds, function, sent, *values)

        def order(generation: int) -> tuple[Any, ...]:
            if self._known[0] != generation:
                self._known = generation, set()
            known = self._known[1]
            light = replace(sent, base=None) if sent.identity in known else sent
            known.add(sent.identity)
            return function, light, *values

        return self._confined.call_later(seconds, order)


def _light(manner: Manner) -> Manner:
    """A manner without the networks of its palette, which are those of the style."""
    palette = manner.palette
    return manner if palette is None else replace(manner, palette=replace(palette, base=None))  # pyright: ignore


def _check(path: Path, megapixels: int) -> None:
    pixels = pixel_count(path)
    if pixels > megapixels * 1_000_000:
        width, height = picture_size(path)
        frames = "" if pixels == width * height else " in all its frames"
        raise PictureError(
            f"{path.name} has {width} x {height} pixels{frames}, and this window takes {megapixels} "
            "megapixels; make it smaller, or start stylize ui with a larger --max-megapixels."
        )


def _look(path: Path, megapixels: int, side: int) -> tuple[Picture, int]:
    _check(path, megapixels)
    picture = read_picture(path).still().simple()
    small = Picture(picture.rgb, picture.alpha)
    scale = max(side / max(picture.size), _LEAST / min(picture.size))
    if scale < 1:
        small = resize_picture(small, round(scale * max(picture.size)))
    return small, max(picture.size)


def _style_of(path: Path, megapixels: int) -> tuple[Tensor, tuple[StyleCard, ...]]:
    _check(path, megapixels)
    style = resolve_style(str(path))
    return style.code.clone(), style.cards


def _painter(sent: _Sent, size: tuple[int, int], manner: Manner, device: str, dtype: str) -> Painter:
    """The painter of `stylize apply` for a style, and for pictures of this width and height."""
    settings = PaintSettings(
        manner.strength, manner.longer_side, force=True, metadata=manner.metadata, stroke=manner.stroke
    )
    style = sent.style()
    palette = replace(manner.palette, base=style.base) if manner.palette else None
    mask = _mask_for(size, manner.mask) if manner.mask else None
    return Painter(Look(style, palette, manner.keep_colour, mask), device, dtype, settings)


def _mask_for(size: tuple[int, int], path: Path) -> Tensor:
    """A mask (H, W) of a picture's size, from one of its proportions. Raises PictureError for another."""
    mask = read_mask(path)
    width, height = size
    if abs(mask.shape[1] * height - mask.shape[0] * width) > 0.01 * mask.shape[1] * height:
        raise PictureError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photograph {width} x {height}; "
            "take a mask of the same proportions."
        )
    if mask.shape == (height, width):
        return mask
    scaled = F.interpolate(mask[None, None].float(), (height, width), mode="bilinear", antialias=True)
    return scaled[0, 0].round().to(mask.dtype)


def _paint(sent: _Sent, picture: Picture, manner: Manner, device: str, dtype: str) -> Picture:
    painted = _painter(sent, picture.size, manner, device, dtype).paint(picture)
    return replace(painted, rgb=painted.rgb.clone())


def _paint_file(sent: _Sent, job: Job, manner: Manner, device: str, dtype: str) -> Outcome:
    assert isinstance(job.source, Path)
    size = picture_size(job.source) if manner.mask else (0, 0)
    (outcome,) = _painter(sent, size, manner, device, dtype).work([job])
    return outcome
