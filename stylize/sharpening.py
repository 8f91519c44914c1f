"""A painting of several pictures is no softer than the softest of them.

Pictures are uint8 or uint16 (3, H, W). Everything runs in bands of rows, so that large ones need little
memory.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.losses import edge_map
from stylize.tensors import row_bands, to_float, to_pixels

_MOST = 2.0
"""The largest factor of sharpening: more draws rims."""

_MARGIN = 1.03
"""Sharpness grows a little more slowly than the factor at first."""


def as_sharp_as(painted: Tensor, pictures: Sequence[Tensor]) -> Tensor:
    """The painting, sharpened to the mean gradient of the softest picture if it is softer, within limits."""
    now, least = sharpness(painted), min(sharpness(picture) for picture in pictures)
    if now >= least:
        return painted
    gained = sharpness(sharpened(painted, _MOST)) - now
    share = (_MARGIN * least - now) / max(gained, 1e-6)
    return sharpened(painted, 1 + (_MOST - 1) * min(1.0, share))


def sharpness(picture: Tensor) -> float:
    """Mean magnitude of the gradient of the luminance, by Sobel, in [0, 1]; 0 below 3 x 3 pixels."""
    total = count = 0.0
    for rows in row_bands(picture.shape[1]):
        part = picture[:, max(0, rows.start - 1) : rows.stop + 1]
        if min(part.shape[1:]) >= 3:
            edges = edge_map(to_float(part)[None])
            total += edges.double().sum().item()
            count += edges.numel()
    return total / max(count, 1)


def sharpened(picture: Tensor, factor: float) -> Tensor:
    """The picture with its differences from its own blur, over 3 x 3 pixels, times a factor."""
    result = torch.empty_like(picture)
    for rows in row_bands(picture.shape[1]):
        top = max(0, rows.start - 1)
        part = to_float(picture[:, top : rows.stop + 1])
        part = (factor * part + (1.0 - factor) * _blurred(part)).clamp(0, 1)
        result[:, rows] = to_pixels(part[:, rows.start - top : rows.stop - top], picture.dtype)
    return result


def _blurred(picture: Tensor) -> Tensor:
    """Floats (3, H, W), each pixel a mean of its 3 x 3 neighbours in which it counts fivefold; its edges, and
    pictures with a side below 3, as they are."""
    if min(picture.shape[1:]) < 3:
        return picture
    kernel = torch.ones(3, 3, device=picture.device)
    kernel[1, 1] = 5.0
    kernel = (kernel / kernel.sum()).expand(3, 1, 3, 3)
    result = picture.clone()
    result[:, 1:-1, 1:-1] = F.conv2d(picture[None], kernel, groups=3)[0]
    return result
