"""Several pictures fused inside the generator, and painted as one.

    A --stem--> features --\
                            fused features --body--> features --head--> picture
    B --stem--> features --/      ^
                          where which picture counts

The stem sees edges, colours and textures, not styles. At each place the pictures' features are averaged
with weights that follow from how much each has to show there: its detail, and its contrast with the rest
of the same picture, so that a quiet face holds its own against a busy wood. A high power makes the average
nearly a choice: two pictures that are both seen at one place are ghosts.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.folding import FoldedGenerator
from stylize.generator import STRIDE
from stylize.sources import Source, shares_at
from stylize.tensors import repeated_window
from stylize.tiling import STEM_HALO, Frame, Painted, Pass, Tile, tiles

_CONTRAST = 0.75
"""How much of a picture's saliency is contrast; the rest is detail."""

_SMOOTHED, _PART = 4, 24
"""Radius, in features, of the neighbourhood that decides together: at least 4, about 70 pixels across, and at
least this part of the shorter side, or large pictures would be fused in shreds."""

_DECISION, _SHARE = 16, 4
"""Powers of saliency and share: together they set how far a share moves the border between pictures."""

_FLOOR = 0.05
"""Saliency of what is flat, as a part of the mean: two flat places are averaged, not chosen from."""

_SALIENCY_HALO = 8
"""Pixels that the saliency of a place sees beyond what its features do."""


def paint_fused(network: FoldedGenerator, sources: Sequence[Source], frame: Frame, side: int) -> Painted:
    """Paint sources, which fit into the frame, as one picture, in tiles of `side` pixels (0: none)."""
    with torch.inference_mode():
        side = side // STRIDE * STRIDE or max(frame.height, frame.width)
        return FusedPass(network, sources, frame, side).painted()[0]


def fusion_weights(saliency: Tensor, shares: Tensor) -> Tensor:
    """Weights of N pictures at each place, (N, 1, h, w), summing to 1.

    From their saliency (N, 1, h, w), about 1 in the mean, and their shares of the place. A picture
    without a share has no weight.
    """
    ratio = (saliency + _FLOOR) / (saliency + _FLOOR).amax(dim=0, keepdim=True)
    weights = shares.pow(_SHARE) * ratio.pow(_DECISION).clamp_min(1e-12)
    return weights / weights.sum(dim=0, keepdim=True)


def saliency_of(detail: Tensor, contrast: Tensor) -> Tensor:
    """How much there is to see, (N, 1, h, w): 0 where a picture is flat, about 1 in the mean of all.

    Each measure is divided by the geometric mean of its mean over the same picture and over all: the busier
    picture has more to show, but not everything.
    """
    parts = []
    for measure, part in ((detail, 1 - _CONTRAST), (contrast, _CONTRAST)):
        own = measure.mean(dim=(2, 3), keepdim=True)
        parts.append(part * measure / (own * own.mean(dim=0, keepdim=True)).sqrt().clamp_min(1e-6))
    radius = max(_SMOOTHED, min(detail.shape[-2:]) // _PART)
    return smoothed(parts[0] + parts[1], radius)


def smoothed(x: Tensor, radius: int) -> Tensor:
    """The mean over a neighbourhood (N, C, h, w), twice: a window without corners; edges are repeated."""
    width = 2 * radius + 1
    x = F.pad(x, (2 * radius,) * 4, mode="replicate")
    for window in ((width, 1), (1, width)) * 2:
        x = F.avg_pool2d(x, window, stride=1)
    return x


class FusedPass(Pass):
    """Several pictures of one size on their way through a network, to one painting."""

    def __init__(self, network: FoldedGenerator, sources: Sequence[Source], frame: Frame, side: int) -> None:
        super().__init__(network, [source.rgb for source in sources], frame, side)
        self.results, self.finite = self.results[:1], self.finite[:1]
        self.sources = sources
        self.weights = fusion_weights(self._saliency(), self._shares())

    def features(self, tile: Tile) -> Tensor:
        """The fused features of a tile (1, C, h, w)."""
        rows, columns = range(tile.top // 4, tile.bottom // 4), range(tile.left // 4, tile.right // 4)
        return _fused(super().features(tile), repeated_window(self.weights, rows, columns))

    def features_of_thumbnail(self) -> Tensor:
        """The fused features of the small pictures."""
        features = super().features_of_thumbnail()
        size = features.shape[-2:]
        return _fused(features, F.interpolate(self.weights, size, mode="bilinear", antialias=True))

    def _saliency(self) -> Tensor:
        """The saliency of all pictures in the whole frame (N, 1, H / 4, W / 4), fp32."""
        mean = torch.stack([smooth.mean(dim=(2, 3)) * _size(tile) for tile, _, smooth in self._seen()])
        mean = (mean.sum(dim=0) / _size(self._whole))[..., None, None]
        detail, contrast = (self._map() for _ in range(2))
        for tile, features, smooth in self._seen():
            tile.of(detail, scale=4).copy_((features - smooth).abs().mean(dim=1, keepdim=True))
            tile.of(contrast, scale=4).copy_((smooth - mean).abs().mean(dim=1, keepdim=True))
        return saliency_of(detail, contrast)

    def _seen(self) -> Iterator[tuple[Tile, Tensor, Tensor]]:
        """Tile by tile, the features of all pictures and the same smoothed, in fp32."""
        for tile in tiles(self.frame.height, self.frame.width, self.side):
            halo = tile.grown(STEM_HALO + _SALIENCY_HALO)
            inner = tile.grown(_SALIENCY_HALO)
            features = inner.of(super().features(halo), within=halo, scale=4).float()
            yield tile, tile.of(features, inner, 4), tile.of(smoothed(features, 1), inner, 4)

    def _shares(self) -> Tensor:
        """The pictures' shares, (N, 1, H / 4, W / 4)."""
        shares = self._map()
        for tile in tiles(self.frame.height, self.frame.width, self.side):
            part = shares_at(self.sources, lambda planes, tile=tile: self.frame.cut(planes, tile), cell=4)
            tile.of(shares, scale=4).copy_(part)
        return shares

    def _map(self) -> Tensor:
        """Room for a number per picture and place."""
        size = (len(self.sources), 1, self.frame.height // 4, self.frame.width // 4)
        return torch.empty(size, device=self.device)

    @property
    def _whole(self) -> Tile:
        return Tile(0, self.frame.height, 0, self.frame.width)


def _fused(features: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of the features of N pictures (N, C, h, w): (1, C, h, w)."""
    mean = (features * weights.to(features.dtype)).sum(dim=0, keepdim=True)
    return mean.contiguous(memory_format=torch.channels_last)


def _size(tile: Tile) -> int:
    return (tile.bottom - tile.top) * (tile.right - tile.left)
