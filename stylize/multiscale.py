"""Painting from coarse to fine: what happens to pictures between the passes (see `strokes`).

Pictures are uint8 or uint16 (3, H, W). All is deterministic: the noise depends on the seed and the size.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.strokes import Size, Stroke
from stylize.tensors import row_bands, to_float, to_pixels
from stylize.tiling import Painted

PaintPass = Callable[[Sequence[Tensor], int], list[Painted]]
"""Paints pictures in one pass, of which this is the number, from 0."""

_KEPT = 2
"""Pixels of the pass before, per cell of the grid on which its colours are kept: a pass only sharpens, and
what is seen on a screen is that of the passes up to its size."""

_FIELD = 1024
"""Columns of the field that noise is cut from, or a multiple of them."""

_NOISE = ((1, 0.5), (4, 1.0), (12, 1.0))
"""Widths of the grains in pixels, and their amplitudes."""

_AT_ONCE = 4_000_000
"""Pixels of a picture whose planes are resized together: more would take much memory as floats."""

_KEPT_NOISE = 1_000_000
"""Pixels of noise that is kept for the next picture."""


def paint_coarse_to_fine(
    photos: Sequence[Tensor], sizes: Sequence[Sequence[Size]], stroke: Stroke, paint: PaintPass
) -> list[Painted]:
    """Paint photographs in passes of growing size; `sizes` has as many for each. Results have their size.

    Each pass pulls colours to the style's mean once more, so the low frequencies of the pass before are kept,
    as in a Laplacian pyramid.
    """
    first = [resized(photo, s[0]) for photo, s in zip(photos, sizes, strict=True)]
    painted = paint([with_noise(picture, stroke.noise, stroke.seed) for picture in first], 0)
    for number in range(1, len(sizes[0])):
        before = painted
        enlarged = [resized(p.rgb, s[number]) for p, s in zip(before, sizes, strict=True)]
        if stroke.detail:
            pairs = zip(enlarged, photos, strict=True)
            enlarged = [with_detail(e, photo, stroke.detail, sizes[0][0]) for e, photo in pairs]
        painted = [
            Painted(with_low_frequencies(now.rgb, was.rgb), now.finite and was.finite)
            for now, was in zip(paint(enlarged, number), before, strict=True)
        ]
    return [Painted(resized(p.rgb, _size(photo)), p.finite) for p, photo in zip(painted, photos, strict=True)]


def _size(picture: Tensor) -> Size:
    return picture.shape[1], picture.shape[2]


def resized(picture: Tensor, size: Size) -> Tensor:
    """A picture in another size, bicubic, with antialiasing where it is reduced."""
    if picture.shape[1:] == size:
        return picture
    if picture.dtype == torch.uint8 and picture.device.type == "cpu":
        return F.interpolate(picture[None], size, mode="bicubic", antialias=True)[0]
    largest = max(picture[0].numel(), size[0] * size[1])
    parts = [picture] if largest <= _AT_ONCE else picture.split(1)
    resampled = [
        to_pixels(F.interpolate(to_float(p)[None], size, mode="bicubic", antialias=True), p.dtype)[0]
        for p in parts
    ]
    return resampled[0] if len(resampled) == 1 else torch.cat(resampled)


def with_noise(picture: Tensor, amplitude: float, seed: int) -> Tensor:
    """The picture with smooth and fine grey noise; `amplitude` is a share of the range of values."""
    if not amplitude:
        return picture
    height, width = picture.shape[1:]
    known = _kept_noise if height * width <= _KEPT_NOISE else _noise_on
    return to_pixels(
        to_float(picture) + amplitude * known(height, width, seed, picture.device), picture.dtype
    )


def _noise_on(height: int, width: int, seed: int, device: torch.device) -> Tensor:
    return noise_of(height, width, seed).to(device)


_kept_noise = lru_cache(maxsize=8)(_noise_on)


def noise_of(height: int, width: int, seed: int) -> Tensor:
    """Noise (height, width) of three grain widths, about normal.

    It is cut from a wide field row by row: sizes that differ by a pixel, as those of two copies of one
    photograph may, get the same noise.
    """
    total = torch.zeros(height, width)
    for number, (grain, amplitude) in enumerate(_NOISE):
        rng = torch.Generator().manual_seed(seed + number)
        rows, columns = height // grain + 2, -(-width // _FIELD) * (_FIELD // grain + 2)
        field = torch.randn(1, 1, rows, columns, generator=rng)
        if grain > 1:
            field = F.interpolate(field, scale_factor=grain, mode="bicubic")
        total += amplitude * field[0, 0, :height, :width]
    return total


def noises(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """Noises of the same kind (count, 1, height, width), drawn where the source of chance lies."""
    total = torch.zeros(count, 1, height, width, device=rng.device)
    for grain, amplitude in _NOISE:
        size = (count, 1, height // grain + 2, width // grain + 2)
        field = torch.randn(size, generator=rng, device=rng.device)
        if grain > 1:
            field = F.interpolate(field, scale_factor=grain, mode="bicubic")
        total += amplitude * field[:, :, :height, :width]
    return total


def with_detail(painted: Tensor, photo: Tensor, share: float, coarse: Size) -> Tensor:
    """An enlarged painting to which a share of the photograph's luminance detail is added: what is finer than
    the first pass could show."""
    size = (painted.shape[1], painted.shape[2])
    sharp = resized(photo, size)
    soft = resized(resized(photo, coarse), size)
    result = torch.empty_like(painted)
    for rows in row_bands(size[0]):
        detail = (to_float(sharp[:, rows]) - to_float(soft[:, rows])).mean(dim=0)
        result[:, rows] = to_pixels(to_float(painted[:, rows]) + share * detail, painted.dtype)
    return result


def with_low_frequencies(fine: Tensor, coarse: Tensor) -> Tensor:
    """A painting with the low frequencies of a smaller one: what is coarser than `_KEPT` of its pixels."""
    grid = (max(1, coarse.shape[1] // _KEPT), max(1, coarse.shape[2] // _KEPT))
    change = _means(coarse, grid) - _means(fine, grid)
    height, width = fine.shape[1:]
    result = torch.empty_like(fine)
    rows_of_change = F.interpolate(change, (height, grid[1]), mode="bilinear")
    for rows in row_bands(height):
        part = F.interpolate(rows_of_change[:, :, rows], (rows.stop - rows.start, width), mode="bilinear")
        result[:, rows] = to_pixels(to_float(fine[:, rows]) + part[0], fine.dtype)
    return result


def _means(picture: Tensor, grid: Size) -> Tensor:
    """The picture reduced to a grid, (1, 3, h, w) floats in [0, 1]."""
    if picture.dtype == torch.uint8 and picture.device.type == "cpu":
        return to_float(F.interpolate(picture[None], grid, mode="bilinear", antialias=True))
    parts = [picture] if picture[0].numel() <= _AT_ONCE else picture.split(1)
    small = [F.interpolate(to_float(p)[None], grid, mode="bilinear", antialias=True) for p in parts]
    return small[0] if len(small) == 1 else torch.cat(small, dim=1)
