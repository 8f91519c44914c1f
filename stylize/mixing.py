"""Putting paintings together, pixel by pixel: one's strokes with another's colours, one inside a mask.

Pictures are uint8 or uint16 (3, H, W), all of a call alike. Everything runs in bands of rows, so that
large ones need little memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.tensors import luminance, row_bands, to_float, to_pixels

_FADED = 0.3
"""Strength below which a painting fades into the photograph: there the network itself hardly changes it, so
nothing is seen twice."""


def with_palette(strokes: Tensor, palette: Tensor) -> Tensor:
    """The strokes of one painting in the colours of another of the same photograph.

    Luminance from the first, its mean and deviation moved to those of the second (Reinhard et al.,
    2001); chrominance from the second, where it stands.
    """
    (mean, std), (target_mean, target_std) = _tone(strokes), _tone(palette)
    gain = target_std / max(std, 1e-3)

    def band(rows: slice) -> Tensor:
        light = (luminance(_floats(strokes, rows)) - mean) * gain + target_mean
        return _recoloured(light, _floats(palette, rows))

    return _by_bands(strokes, band)


def keep_colour(painted: Tensor, photo: Tensor) -> Tensor:
    """The painting's luminance with the photograph's colours (Gatys et al., 2016, arXiv:1606.05897)."""
    return _by_bands(
        painted, lambda rows: _recoloured(luminance(_floats(painted, rows)), _floats(photo, rows))
    )


def faded(painted: Tensor, photo: Tensor, strength: float) -> Tensor:
    """A painting of this strength, which at 0 is the photograph itself, bit for bit."""
    share = min(1.0, strength / _FADED)
    if share in (0, 1):
        return painted if share else photo
    return _by_bands(painted, lambda rows: torch.lerp(_floats(photo, rows), _floats(painted, rows), share))


def masked(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """One picture where the mask (H, W) is 255, the other where it is 0, blended between."""

    def band(rows: slice) -> Tensor:
        share = mask[rows].float().div_(255)
        return torch.lerp(_floats(outside, rows), _floats(inside, rows), share)

    return _by_bands(inside, band)


def _by_bands(like: Tensor, band: Callable[[slice], Tensor]) -> Tensor:
    """A picture like `like`, computed band by band: rows -> floats (1, 3, h, W) in [0, 1]."""
    result = torch.empty_like(like)
    for rows in row_bands(like.shape[1]):
        result[:, rows] = to_pixels(band(rows)[0], like.dtype)
    return result


def _floats(picture: Tensor, rows: slice) -> Tensor:
    return to_float(picture[:, rows])[None]


def _tone(picture: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the luminance."""
    count = picture.shape[1] * picture.shape[2]
    total = squares = 0.0
    for rows in row_bands(picture.shape[1]):
        light = luminance(_floats(picture, rows)).double()
        total += light.sum().item()
        squares += light.square().sum().item()
    mean = total / count
    return mean, max(0.0, squares / count - mean**2) ** 0.5


def _recoloured(light: Tensor, colours: Tensor) -> Tensor:
    """Luminance (1, 1, h, W) with the chrominance of a picture (1, 3, h, W), brought into [0, 1].

    A colour that does not exist at this luminance is made paler, not clipped: clipping would shift it.
    """
    chroma = colours - luminance(colours)
    light = light.clamp(0, 1)
    room = torch.where(chroma > 0, (1 - light) / chroma.clamp_min(1e-6), light / (-chroma).clamp_min(1e-6))
    return light + chroma * room.amin(dim=1, keepdim=True).clamp_max(1)
