"""Pictures as tensors: 8- or 16-bit arrays to floats in [0, 1] and back, colour to luminance, padding."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BAND = 512

# ITU-R BT.601 luma, the weights behind Pillow's "L" mode.
_LUMA = (0.299, 0.587, 0.114)


def to_float(pixels: Tensor) -> Tensor:
    """Turn uint8 or uint16 pixels of any shape into floats in [0, 1]."""
    return pixels.float().div_(_highest(pixels.dtype))


def to_pixels(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn floats in [0, 1] of any shape into rounded uint8 or uint16 pixels; values outside are clipped."""
    highest = _highest(dtype)
    return picture.float().mul(highest).round_().clamp_(0, highest).to(dtype)


def to_8_bits(pixels: Tensor) -> Tensor:
    """uint8 pixels as they are, uint16 pixels rounded to uint8."""
    return pixels if pixels.dtype == torch.uint8 else to_uint8(to_float(pixels))


def _highest(dtype: torch.dtype) -> int:
    return 65535 if dtype == torch.uint16 else 255


def to_uint8(picture: Tensor) -> Tensor:
    """Turn floats in [0, 1] of any shape into rounded uint8 pixels; values outside are clipped."""
    return picture.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def luminance(picture: Tensor) -> Tensor:
    """Luma of an RGB picture: (N, 3, H, W) -> (N, 1, H, W), same range."""
    weights = constant(_LUMA, picture).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def constant(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """Numbers as a tensor of the type, and on the device, of another; not to be changed.

    To a GPU they are sent once: each time, the CPU would wait until all that came before is computed.
    """
    if like.device.type != "cuda":
        return like.new_tensor(values)
    return _sent(values, like.dtype, like.device)


@lru_cache(maxsize=64)
def _sent(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # gradients may have to pass
        return torch.tensor(values, dtype=dtype, device=device)


def mirrored_window(picture: Tensor, rows: range, columns: range) -> Tensor:
    """A window (..., len(rows), len(columns)) of a picture that goes on beyond its sides as in a mirror.

    The window may lie anywhere; where it lies inside the picture no pixel is copied.
    """
    for dim, window in ((-2, rows), (-1, columns)):
        length = picture.shape[dim]
        if window.start >= 0 and window.stop <= length:
            picture = picture.narrow(dim, window.start, len(window))
        else:
            places = _mirrored(torch.arange(window.start, window.stop, device=picture.device), length)
            picture = picture.index_select(dim, places)
    return picture


def repeated_window(features: Tensor, rows: range, columns: range) -> Tensor:
    """A window of features (N, C, H, W) whose outermost values go on beyond their sides."""
    height, width = features.shape[-2:]
    top, left = max(0, rows.start), max(0, columns.start)
    bottom, right = min(height, rows.stop), min(width, columns.stop)
    inside = features[..., top:bottom, left:right]
    beyond = (left - columns.start, columns.stop - right, top - rows.start, rows.stop - bottom)
    return F.pad(inside, beyond, mode="replicate") if any(beyond) else inside


def _mirrored(places: Tensor, length: int) -> Tensor:
    """Any integers -> 0 .. length - 1, going back and forth without repeating the ends."""
    if length == 1:
        return torch.zeros_like(places)
    turn = places.remainder(2 * (length - 1))
    return torch.minimum(turn, 2 * (length - 1) - turn)


def reflect_pad(picture: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Mirror-pad an (N, C, H, W) picture by any amount, also by more than the picture is wide."""
    height, width = picture.shape[-2:]
    return mirrored_window(picture, range(-top, height + bottom), range(-left, width + right))


def row_bands(height: int) -> Iterator[slice]:
    """Bands of rows that cover a picture from top to bottom: what runs band by band needs little memory."""
    for top in range(0, height, _BAND):
        yield slice(top, min(top + _BAND, height))
