"""One pass of the network over pictures of any size, in bounded memory.

The stem and the head are local, so they run tile by tile with a halo; the body, which needs to see the
whole picture, has at most a sixteenth of the positions and runs whole. The result is that of one pass
over everything. Only above `WHOLE_BODY_LIMIT` does a thumbnail tell the body about the whole picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.config import GeneratorConfig
from stylize.folding import FoldedGenerator
from stylize.generator import STRIDE, Context, GatedAttention
from stylize.tensors import mirrored_window, repeated_window, to_8_bits, to_pixels

MARGIN = 8
"""Mirrored pixels around a picture, in which strokes can end as they do inside it."""

SMALLEST = 128
"""Padded sides are at least this, so that instance statistics mean something."""

WHOLE_BODY_LIMIT = 100_000_000
"""Pixels of a picture whose body still runs whole: about 3 GB in half precision."""

THUMBNAIL_SIDE = 2048
"""Longer side of the thumbnail that speaks for a larger picture."""

STEM_HALO = 4
_HEAD_HALO = 8


@dataclass(frozen=True)
class Tile:
    """A rectangle in pixels of the padded picture; with a halo it may reach beyond it."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, halo: int) -> "Tile":
        """With a halo on every side."""
        return Tile(self.top - halo, self.bottom + halo, self.left - halo, self.right + halo)

    def of(self, tensor: Tensor, within: "Tile | None" = None, scale: int = 1) -> Tensor:
        """The tile's part of a tensor that covers `within` (default: everything) at 1 / scale of the size."""
        top, left = (within.top, within.left) if within else (0, 0)
        rows = slice((self.top - top) // scale, (self.bottom - top) // scale)
        return tensor[..., rows, (self.left - left) // scale : (self.right - left) // scale]


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Tiles of about one size, at most `side`, row by row; sides are multiples of STRIDE."""
    rows, columns = _even_parts(height, side), _even_parts(width, side)
    for top, bottom in rows:
        for left, right in columns:
            yield Tile(top, bottom, left, right)


def _even_parts(length: int, most: int) -> list[tuple[int, int]]:
    """Cut 0 ... length into as few parts as possible, alike in size."""
    count = -(-length // most)
    step = -(-length // (count * STRIDE)) * STRIDE
    return [(start, min(start + step, length)) for start in range(0, length, step)]


@dataclass(frozen=True)
class Frame:
    """The padded size in which pictures are painted, each in the middle with mirrored surroundings."""

    height: int
    width: int

    @staticmethod
    def around(pictures: Sequence[Tensor], multiple: int = STRIDE) -> "Frame":
        """The smallest frame for all of them with sides that are multiples of `multiple`."""
        return Frame(*(padded_side(max(p.shape[i] for p in pictures), multiple) for i in (1, 2)))

    @property
    def is_beyond_the_limit(self) -> bool:
        """Is it so large that the body cannot run whole?"""
        return self.height * self.width > WHOLE_BODY_LIMIT

    def place(self, picture: Tensor) -> Tile:
        """Where a picture (3, H, W) lies."""
        height, width = picture.shape[1:]
        top, left = (self.height - height) // 2, (self.width - width) // 2
        return Tile(top, top + height, left, left + width)

    def cut(self, picture: Tensor, tile: Tile) -> Tensor:
        """A tile of the padded picture (3, h, w)."""
        place = self.place(picture)
        rows = range(tile.top - place.top, tile.bottom - place.top)
        return mirrored_window(picture, rows, range(tile.left - place.left, tile.right - place.left))


def padded_side(side: int, multiple: int = STRIDE) -> int:
    """A side with its margins, rounded up."""
    return max(SMALLEST, -(-(side + 2 * MARGIN) // multiple) * multiple)


@dataclass(frozen=True)
class Painted:
    """A painted picture (3, H, W), as deep as its photograph and on its device; was all finite?."""

    rgb: Tensor
    finite: bool


def paint(
    network: FoldedGenerator,
    pictures: Sequence[Tensor],
    frame: Frame,
    side: int,
    seen: "Seen | None" = None,
) -> list[Painted]:
    """Paint uint8 or uint16 pictures (3, H, W) that fit into the frame, in tiles of `side` pixels (0: none).

    What the body knows of a picture as a whole comes from `seen`, if it is given, else from the picture.
    """
    with torch.inference_mode():
        side = side // STRIDE * STRIDE or max(frame.height, frame.width)
        return Pass(network, pictures, frame, side, seen).painted()


def look_over(network: FoldedGenerator, pictures: Sequence[Tensor], frame: Frame, side: int) -> "Recording":
    """What the body would know of all these pictures, were they one: the common statistics of a film."""
    with torch.inference_mode():
        side = side // STRIDE * STRIDE or max(frame.height, frame.width)
        return Pass(network, pictures, frame, side).statistics()


class Pass:
    """One batch on its way through a network, in tiles of `side` pixels, a multiple of STRIDE."""

    def __init__(
        self,
        network: FoldedGenerator,
        pictures: Sequence[Tensor],
        frame: Frame,
        side: int,
        seen: "Seen | None" = None,
    ) -> None:
        self.network = network
        self.seen = seen
        self.frame = frame
        self.side = side
        self.device = network.device
        whole = side >= max(frame.height, frame.width)
        there = whole and pictures[0].dtype == torch.uint8  # few accelerators know what to do with uint16
        self.pictures = [p.to(self.device, non_blocking=True) for p in pictures] if there else list(pictures)
        self.results = [
            torch.empty(*p.shape[1:], 3, dtype=p.dtype, device=p.device).permute(2, 0, 1) for p in pictures
        ]
        self.finite = torch.ones(len(pictures), dtype=torch.bool, device=self.device)

    def painted(self) -> list[Painted]:
        """The pictures, painted exactly where the body can run whole."""
        return self._by_thumbnail() if self.frame.is_beyond_the_limit else self._exactly()

    def features(self, tile: Tile) -> Tensor:
        """The stem's features of a tile, at a quarter of its size; right but at its edge."""
        return self.network.run_stem(self._cut(tile))

    def features_of_thumbnail(self) -> Tensor:
        """The stem's features of the small pictures that speak for large ones."""
        return self.network.run_stem(self._thumbnail())

    def statistics(self) -> "Recording":
        """What the body asks about the pictures as a whole."""
        seen = Recording()
        stem = [self.features_of_thumbnail()] if self.frame.is_beyond_the_limit else self._stem()
        self.network.run_body(stem, seen)
        return seen

    def _stem(self) -> list[Tensor]:
        """The stem's features of the whole frame, computed in tiles: a list of one, see `run_body`."""
        height, width = self.frame.height, self.frame.width
        whole = Tile(0, height, 0, width)
        stem: list[Tensor] = []
        for tile in tiles(height, width, self.side):
            halo = tile.grown(STEM_HALO)
            part = tile.of(self.features(halo), within=halo, scale=4)
            stem = stem or [self._quarter_size(part)]
            tile.of(stem[0], within=whole, scale=4).copy_(part)
        return stem

    def _exactly(self) -> list[Painted]:
        """Stem and head in tiles, the body whole."""
        height, width = self.frame.height, self.frame.width
        features = self.network.run_body(self._stem(), self.seen.replay() if self.seen else None)
        for tile in tiles(height, width, self.side):
            halo = tile.grown(_HEAD_HALO)
            rows, columns = range(halo.top // 4, halo.bottom // 4), range(halo.left // 4, halo.right // 4)
            raw = self.network.run_head(repeated_window(features, rows, columns))
            self._keep(tile.of(raw, within=halo), tile)
        return self._painted()

    def _by_thumbnail(self) -> list[Painted]:
        """Everything in tiles, with what the body knows of the whole taken from a thumbnail.

        Thumbnail instance normalisation: Chen et al., 2022 (URST, arXiv:2103.11784).
        """
        height, width = self.frame.height, self.frame.width
        seen = self.seen or self.statistics()
        radius = body_radius(self.network.config)
        for tile in tiles(height, width, self.side):
            halo = tile.grown(radius)
            features = self.network.run_body([self.features(halo)], seen.replay())
            inner = tile.grown(_HEAD_HALO)
            raw = self.network.run_head(inner.of(features, within=halo, scale=4))
            self._keep(tile.of(raw, within=inner), tile)
        return self._painted()

    def _cut(self, tile: Tile) -> Tensor:
        """The tile of all pictures (N, 3, h, w)."""
        return torch.stack([self.frame.cut(p, tile) for p in self.pictures])

    def _quarter_size(self, like: Tensor) -> Tensor:
        """Room for the features of the whole frame."""
        size = (len(like), like.shape[1], self.frame.height // 4, self.frame.width // 4)
        return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)

    def _thumbnail(self) -> Tensor:
        scale = THUMBNAIL_SIDE / max(self.frame.height, self.frame.width)
        size = [round(side * scale) // STRIDE * STRIDE for side in (self.frame.height, self.frame.width)]
        pictures = [to_8_bits(p)[None] for p in self.pictures]
        small = [F.interpolate(p, size, mode="bilinear", antialias=True) for p in pictures]
        return torch.cat(small)

    def _keep(self, raw: Tensor, tile: Tile) -> None:
        """Turn a tile of the head's output into pixels of the results."""
        if raw.dtype == torch.float16:  # only its range is small enough to leave
            self.finite &= torch.isfinite(raw).flatten(1).all(dim=1)
        levels, place = torch.sigmoid(raw.float()), self.results[0].device
        if self.pictures[0].dtype == torch.uint16:
            levels = levels.to(place)
        pixels = to_pixels(levels, self.pictures[0].dtype).to(place)
        for result, painted in zip(self.results, pixels, strict=True):
            place = self.frame.place(result)
            rows = range(max(tile.top, place.top), min(tile.bottom, place.bottom))
            columns = range(max(tile.left, place.left), min(tile.right, place.right))
            if rows and columns:
                part = Tile(rows.start, rows.stop, columns.start, columns.stop)
                part.of(result, within=place).copy_(part.of(painted, within=tile))

    def _painted(self) -> list[Painted]:
        finite = self.finite.tolist()
        return [Painted(rgb, sound) for rgb, sound in zip(self.results, finite, strict=True)]


class Recording(Context):
    """Answers from the features at hand, taken together, and remembers the answers in order.

    The features of several pictures (N, C, H, W) are normalised as if they were those of one.
    """

    def __init__(self) -> None:
        self.affine: list[tuple[Tensor, Tensor]] = []
        self.grids: list[Tensor] = []

    def norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The instance norm of all features together."""
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        gain = scale[:1].float() * (variance + 1e-5).rsqrt()
        self.affine.append((gain, shift[:1].float() - mean * gain))
        return _scaled(x, self.affine[-1])

    def memory(self, attention: GatedAttention, x: Tensor) -> Tensor:
        """The mean of the grids that attention looks at."""
        self.grids.append(super().memory(attention, x).mean(dim=0, keepdim=True))
        return self.grids[-1].expand(len(x), -1, -1, -1)

    def replay(self) -> Context:
        """The remembered answers, for other features."""
        return _Replay(self)


class Running:
    """What is known of a film as a whole, as it goes: exponential moving averages over its frames."""

    def __init__(self) -> None:
        self.rate = 1.0
        """How much the next frame counts; 1: alone, which is how the first one of a scene should."""
        self.moments: list[tuple[Tensor, Tensor]] = []
        """Variance, with epsilon, and mean (C,) that each norm divides by and subtracts."""
        self.grids: list[Tensor] = []
        """What attention looks at, (1, C, h, w)."""

    def replay(self) -> Context:
        """The answers for the next frame, which becomes part of the averages."""
        return _Following(self)


Seen: TypeAlias = Recording | Running
"""What speaks for a picture in its stead."""


class _Following(Context):
    def __init__(self, running: Running) -> None:
        self._running = running
        self._norms = count()
        self._memories = count()

    def norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        # By way of batch norm, which is the fast kernel on CPUs; then from its statistics to ours.
        normal, mean, inverse = torch.native_batch_norm(x, None, None, None, None, True, 0.0, 1e-5)
        now = (inverse.float().square().reciprocal(), mean.float())
        moments, index = self._running.moments, next(self._norms)
        if index < len(moments):
            variance, centre = (self._blend(*pair) for pair in zip(moments[index], now, strict=True))
        else:
            variance, centre = now
        moments[index : index + 1] = [(variance, centre)]
        gain = scale[:1].float() * variance.rsqrt()
        offset = shift[:1].float() + (now[1] - centre) * gain
        return _scaled(normal, (gain * now[0].sqrt(), offset))

    def memory(self, attention: GatedAttention, x: Tensor) -> Tensor:
        grids, index = self._running.grids, next(self._memories)
        grid = super().memory(attention, x).float()
        if index < len(grids):
            grid = self._blend(grids[index], grid)
        grids[index : index + 1] = [grid]
        return grid.to(x.dtype)

    def _blend(self, before: Tensor, now: Tensor) -> Tensor:
        # What overflowed in half precision is painted again, and must not stay in the averages.
        return torch.where(before.isfinite(), torch.lerp(before, now, self._running.rate), now)


class _Replay(Context):
    def __init__(self, recording: Recording) -> None:
        self._affine = iter(recording.affine)
        self._grids = iter(recording.grids)

    def norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return _scaled(x, next(self._affine))

    def memory(self, attention: GatedAttention, x: Tensor) -> Tensor:
        return next(self._grids).to(x.dtype).expand(len(x), -1, -1, -1)


def _scaled(x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    gain, offset = (part.to(x.dtype)[..., None, None] for part in affine)
    return torch.addcmul(offset, x, gain)


def body_radius(config: GeneratorConfig) -> int:
    """How far, in pixels, a pixel of the result sees through stem, body and head; a multiple of STRIDE."""
    eighths = 2 * config.eighth_blocks + 1
    quarters = 2 * config.quarter_blocks + 1
    radius = 8 * eighths + 4 * quarters + STEM_HALO + _HEAD_HALO
    return -(-radius // STRIDE) * STRIDE
