"""Several pictures fused scale by scale: the classical way, without a network.

Each picture is taken apart into a Laplacian pyramid (Burt & Adelson, 1983), the bands are averaged with
weights that follow from focus, colour and exposure (Mertens et al., 2007), and the fused bands are put
together again. Edges are joined over a few pixels, tones over many: no seams.

The finest scales, where the pixels are, run in tiles; the scales above are small and run whole.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.sources import Source, shares_at
from stylize.tensors import luminance, mirrored_window, to_float, to_pixels

_TILED = 3
"""Scales that run in tiles."""
_STEP = 2**_TILED
_HALO = 64
"""Pixels beyond a tile, and beyond the picture, where it is mirrored: more than the tiled scales see."""

_TILE = 1024
_EXPOSURE_SPREAD = 0.2
"""Deviation of the bell curve around middle grey (Mertens et al.)."""
_LEAST, _LEAST_FOCUS = 0.01, 0.003
"""Added to the measures, so that a picture without colour, say, still has its others."""

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_NEAR = (1 / 5,) * 5


def fuse_pyramids(sources: Sequence[Source], side: int = 0) -> Tensor:
    """One picture (3, H, W) out of several of its size, uint8 or uint16 as they are.

    In tiles of about `side` pixels (0: chosen for some hundred megabytes). The tile does not change the
    result.
    """
    with torch.inference_mode():
        return _Fusion(sources, side or _TILE // math.isqrt(len(sources))).fused()


def blended(
    pictures: Tensor, weights: Tensor, levels: int, top: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Pictures (N, C, H, W) averaged with weights (N, 1, H, W), which sum to 1, band by band: (1, C, H, W).

    `top` gives what is averaged after `levels` halvings.
    """
    if levels == 0:
        return top(pictures, weights)
    small = halved(pictures)
    band = ((pictures - doubled(small, pictures.shape[-2:])) * weights).sum(dim=0, keepdim=True)
    return band + doubled(blended(small, halved(weights), levels - 1, top), pictures.shape[-2:])


def halved(x: Tensor) -> Tensor:
    """Every second pixel of the picture smoothed by a binomial kernel: (N, C, H, W) -> half, rounded up."""
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    return _filtered(_filtered(x, -2, _BINOMIAL, 2), -1, _BINOMIAL, 2)


def doubled(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) smoothly enlarged to `size`, twice as much or one less."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    for dim in (-2, -1):
        even = _filtered(x, dim, (1 / 8, 6 / 8, 1 / 8))
        odd = _filtered(x.narrow(dim, 1, x.shape[dim] - 1), dim, (1 / 2, 1 / 2))
        x = torch.stack([even, odd], dim=dim).flatten(dim - 1, dim)
    return x[..., : size[0], : size[1]]


def quality(pictures: Tensor) -> Tensor:
    """How good pictures (N, 3, H, W) in [0, 1] are at each place: focus^2 x colour x exposure, (N, 1, H, W).

    Focus is the mean magnitude of the Laplacian nearby, squared so that what is sharp is chosen and not mixed
    with what is not; colour the deviation of the three channels; exposure the nearness to middle grey.
    """
    ring = F.pad(luminance(pictures), (3, 3, 3, 3), mode="replicate")
    across = _filtered(ring, -1, (-0.25, 0.5, -0.25))[..., 1:-1, :]
    edges = (across + _filtered(ring, -2, (-0.25, 0.5, -0.25))[..., 1:-1]).abs_()
    focus = _filtered(_filtered(edges, -2, _NEAR), -1, _NEAR)
    colour = (pictures - pictures.mean(dim=1, keepdim=True)).square_().mean(dim=1, keepdim=True).sqrt_()
    off = (pictures - 0.5).square_().sum(dim=1, keepdim=True)
    exposure = off.div_(-2 * _EXPOSURE_SPREAD**2).exp_()
    return (focus + _LEAST_FOCUS).square_() * (colour + _LEAST) * (exposure + _LEAST)


def _filtered(x: Tensor, dim: int, taps: Sequence[float], stride: int = 1) -> Tensor:
    """A one-dimensional filter, where it has all its taps: sums of slices, ten times as fast here as the
    convolutions of torch."""
    length = x.shape[dim] - len(taps) + 1
    places = [torch.narrow(x, dim, start, length) for start in range(len(taps))]
    if stride > 1:
        places = [place[..., ::stride, :] if dim == -2 else place[..., ::stride] for place in places]
    result = places[0] * taps[0]
    for place, tap in zip(places[1:], taps[1:], strict=True):
        result.add_(place, alpha=tap)
    return result


class _Fusion:
    """One fusion. Places are pixels of the first picture's frame, which reaches `_HALO` beyond it."""

    def __init__(self, sources: Sequence[Source], side: int) -> None:
        self.sources = sources
        self.height, self.width = sources[0].rgb.shape[1:]
        self.side = max(_HALO, side // _STEP * _STEP)

    def fused(self) -> Tensor:
        """All tiles, with what the scales above say."""
        top = self._top()
        result = torch.empty_like(self.sources[0].rgb)
        for rows in self._parts(0, self.height):
            for columns in self._parts(0, self.width):
                part = self._tile(rows, columns, top)
                place = result[:, rows.start : rows.stop, columns.start : columns.stop]
                place.copy_(to_pixels(part[0, :, : place.shape[1], : place.shape[2]], result.dtype))
        return result

    def _tile(self, rows: range, columns: range, top: Tensor) -> Tensor:
        """The fused tile (1, 3, h, w), in [0, 1]."""
        wide, broad = _grown(rows), _grown(columns)
        inside = [slice((r.start + _HALO) // _STEP, (r.stop + _HALO) // _STEP) for r in (wide, broad)]
        whole = blended(*self._cut(wide, broad), _TILED, lambda *_: top[..., inside[0], inside[1]])
        return whole[..., _HALO : _HALO + len(rows), _HALO : _HALO + len(columns)]

    def _top(self) -> Tensor:
        """The fused picture at 1 / `_STEP` of the frame's size, (1, 3, h, w)."""
        ends = [-(-side // _STEP) * _STEP + _HALO for side in (self.height, self.width)]
        size = [(end + _HALO) // _STEP for end in ends]
        small, cut = torch.empty(len(self.sources), 4, *size), _HALO // _STEP
        for rows in self._parts(-_HALO, ends[0]):
            for columns in self._parts(-_HALO, ends[1]):
                part = torch.cat(self._cut(_grown(rows), _grown(columns)), dim=1)
                for _ in range(_TILED):
                    part = halved(part)
                top, left = ((part.start + _HALO) // _STEP for part in (rows, columns))
                height, width = len(rows) // _STEP, len(columns) // _STEP
                inside = part[..., cut : cut + height, cut : cut + width]
                small[..., top : top + height, left : left + width] = inside
        depth = max(0, int(math.log2(min(size))) - 2)
        return blended(small[:, :3], small[:, 3:], depth, lambda x, w: (x * w).sum(dim=0, keepdim=True))

    def _cut(self, rows: range, columns: range) -> tuple[Tensor, Tensor]:
        """A window of all pictures (N, 3, h, w) and its weights (N, 1, h, w), which sum to 1."""

        def window(planes: Tensor) -> Tensor:
            return mirrored_window(planes, rows, columns)

        pictures = torch.stack([to_float(window(source.rgb)) for source in self.sources])
        weights = quality(pictures) * shares_at(self.sources, window)
        return pictures, weights / weights.sum(dim=0, keepdim=True)

    def _parts(self, start: int, end: int) -> list[range]:
        """Parts of a side, each a multiple of `_STEP`; the last may reach beyond the end."""
        end = start - (start - end) // _STEP * _STEP
        return [range(at, min(at + self.side, end)) for at in range(start, end, self.side)]


def _grown(part: range) -> range:
    return range(part.start - _HALO, part.stop + _HALO)
