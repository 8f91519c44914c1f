"""Painting textures: noise on a canvas instead of a photograph. Any size, in bounded memory.

The canvas and the body run whole, at a quarter of the size or below, and the head in tiles, as for
photographs. A texture that repeats itself is painted with a margin in which its noise repeats itself, as
broad as any pixel of the result can see; so nothing on one side differs from what goes on at the other.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from stylize.canvas import CELL, Canvas, draw_noise
from stylize.devices import free_memory
from stylize.errors import StylizeError, UsageError
from stylize.folding import FoldedGenerator
from stylize.generator import STRIDE, mix_codes
from stylize.model import Base
from stylize.stylizer import affordable_side
from stylize.tensors import to_uint8
from stylize.tiling import SMALLEST, Tile, body_radius, tiles

KEYS = 4
"""Codes in which a passage from one style to the next is painted, after the first."""

_HEAD_HALO = 8
_BYTES_PER_PIXEL, _MORE_FOR_A_PASSAGE = 110, 15
"""Memory for a pixel of the whole picture, in fp32, with some to spare."""

OnShare = Callable[[float], None]
"""Is told how much more of a picture is done, as a share of it."""


class TextureStylizer:
    """A base with its canvas on a device. `tile` is the side of the head's tiles: None chooses, 0: one."""

    def __init__(
        self, base: Base, canvas: Canvas, device: torch.device, dtype: torch.dtype, tile: int | None = None
    ) -> None:
        self.base = base
        self.canvas = canvas.to(device)
        self.device = device
        self.dtype = dtype
        self.tile = tile

    @torch.inference_mode()
    def paint(
        self,
        codes: Sequence[Tensor],
        height: int,
        width: int,
        seed: int,
        tileable: bool = False,
        on_share: OnShare = lambda share: None,
    ) -> Tensor:
        """A texture, uint8 (3, height, width), in the style of a code (1, code_size); of several codes, from
        the first at the left to the last at the right, and if it is `tileable` on to the first again.

        UsageError for a tileable size that is no multiple of `CELL`, StylizeError for one beyond the memory.
        """
        check_size(height, width, tileable, len(codes) > 1, self.device)
        try:
            return self._paint(codes, height, width, seed, tileable, on_share)
        except FloatingPointError:  # only the range of fp16 is small enough to leave
            precise = TextureStylizer(self.base, self.canvas, self.device, torch.float32, self.tile)
            return precise.paint(codes, height, width, seed, tileable)

    def _paint(
        self, codes: Sequence[Tensor], height: int, width: int, seed: int, tileable: bool, on_share: OnShare
    ) -> Tensor:
        """The same, in this precision. FloatingPointError where numbers overflow."""
        if len(codes) == 1:
            result = torch.empty(height, width, 3, dtype=torch.uint8).permute(2, 0, 1)
            for tile, rgb in self._tiles(codes[0], height, width, seed, tileable):
                _part(result, tile).copy_(_inside(to_uint8(rgb), tile, height, width))
                on_share(_share(tile, height, width))
            return result
        return self._passage(codes, height, width, seed, tileable, on_share)

    def _passage(
        self, codes: Sequence[Tensor], height: int, width: int, seed: int, tileable: bool, on_share: OnShare
    ) -> Tensor:
        """The same noise in codes between those given, each shown where it is nearest, with soft borders."""
        keys = codes_between([*codes, codes[0]] if tileable else codes)
        painted = torch.zeros(3, height, width)
        for number, key in enumerate(keys):
            weights = column_weights(number, len(keys), width)
            for tile, rgb in self._tiles(key, height, width, seed, tileable, weights):
                part = _part(painted, tile)
                columns = weights[tile.left : tile.left + part.shape[2]]
                part.add_(_inside(rgb, tile, height, width) * columns)
                on_share(_share(tile, height, width) / 2)
        return to_uint8(painted)

    def _tiles(
        self,
        code: Tensor,
        height: int,
        width: int,
        seed: int,
        tileable: bool,
        weights: Tensor | None = None,
    ) -> Iterator[tuple[Tile, Tensor]]:
        """The picture (3, h, w) in [0, 1], tile by tile, where the `weights` of its columns (W,) are not 0.

        The last tiles may reach beyond the picture.
        """
        network = FoldedGenerator(self.base.generator, code, self.device, self.dtype)
        high, wide = (_whole_cells(side, tileable) for side in (height, width))
        margin = self._margin(tileable)
        random = torch.Generator().manual_seed(seed)
        noise = draw_noise(self.canvas.config, high, wide, random, margin, tileable).to(self.device)
        features = self.canvas(noise, code.to(self.device)).to(self.dtype, memory_format=torch.channels_last)
        stem = [features]
        del features, noise
        body = network.run_body(stem)
        for tile in tiles(high, wide, self._side(max(high, wide), weights is not None)):
            hidden = tile.top >= height or tile.left >= width
            if hidden or (weights is not None and not weights[tile.left : tile.right].any()):
                continue
            around = tile.grown(_HEAD_HALO)
            frame = Tile(-margin, high + margin, -margin, wide + margin)
            raw = network.run_head(around.of(body, within=frame, scale=4))
            if self.dtype == torch.float16 and not torch.isfinite(raw).all():
                raise FloatingPointError
            yield tile, torch.sigmoid(tile.of(raw, within=around).float())[0].cpu()

    def _margin(self, tileable: bool) -> int:
        """Pixels around the picture that are painted and cut off, a multiple of `CELL`."""
        reach = body_radius(self.base.generator.config) if tileable else _HEAD_HALO
        return -(-reach // CELL) * CELL

    def _side(self, longest: int, strips: bool) -> int:
        """The side of the tiles; a passage is painted in strips."""
        side = affordable_side(self.device, self.dtype) if self.tile is None else self.tile or longest
        side = min(side, longest // KEYS) if strips else side
        return max(8 * STRIDE, side // STRIDE * STRIDE)


def check_size(height: int, width: int, tileable: bool, passage: bool, device: torch.device) -> None:
    """UsageError for a tileable size that is no multiple of `CELL`, StylizeError for one too large."""
    if tileable and (height % CELL or width % CELL):
        near = "x".join(str(max(1, round(side / CELL)) * CELL) for side in (width, height))
        raise UsageError(f"The sides of a tileable texture are multiples of {CELL}; try --size {near}.")
    per_pixel, free = _BYTES_PER_PIXEL + _MORE_FOR_A_PASSAGE * passage, free_memory(device)
    if height * width * per_pixel > free:
        share = (free * 0.9 / (height * width * per_pixel)) ** 0.5
        fitting = "x".join(str(max(CELL, int(side * share) // CELL * CELL)) for side in (width, height))
        raise StylizeError(
            f"A texture of {width}x{height} needs about {height * width * per_pixel / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} are free; --size {fitting} would fit."
        )


def codes_between(codes: Sequence[Tensor]) -> list[Tensor]:
    """The codes with `KEYS` - 1 more between each two."""
    between = [
        mix_codes([a, b], [1 - step / KEYS, step / KEYS]) for a, b in pairwise(codes) for step in range(KEYS)
    ]
    return [*between, codes[-1]]


def column_weights(number: int, count: int, width: int) -> Tensor:
    """How much each column (W,) shows of one of `count` pictures, evenly spaced from left to right."""
    place = (torch.arange(width) + 0.5) / width * (count - 1)
    return (1 - (place - number).abs()).clamp_min(0)


def _whole_cells(side: int, tileable: bool) -> int:
    """A side that the canvas can have. Small ones are painted larger: statistics of little mean little."""
    return side if tileable else max(SMALLEST, -(-side // CELL) * CELL)


def _part(picture: Tensor, tile: Tile) -> Tensor:
    """The part of a picture (3, H, W) that a tile covers."""
    return picture[:, tile.top : tile.bottom, tile.left : tile.right]


def _inside(painted: Tensor, tile: Tile, height: int, width: int) -> Tensor:
    """A painted tile without what lies beyond the picture."""
    return painted[:, : height - tile.top, : width - tile.left]


def _share(tile: Tile, height: int, width: int) -> float:
    area = (min(tile.bottom, height) - tile.top) * (min(tile.right, width) - tile.left)
    return area / (height * width)
