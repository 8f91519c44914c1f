"""Pictures as tensors: 8-bit arrays to NCHW floats in [0, 1] and back, colour to luminance, padding."""

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.601 luma, the weights behind Pillow's "L" mode.
_LUMA = (0.299, 0.587, 0.114)


def to_float(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels of any shape into floats in [0, 1]."""
    return pixels.float().div_(255)


def to_uint8(picture: Tensor) -> Tensor:
    """Turn floats in [0, 1] of any shape into rounded uint8 pixels; values outside are clipped."""
    return picture.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def luminance(picture: Tensor) -> Tensor:
    """Luma of an RGB picture: (N, 3, H, W) -> (N, 1, H, W), same range."""
    weights = picture.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def reflect_pad(picture: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Mirror-pad an (N, C, H, W) picture by any amount, also by more than the picture is wide.

    One reflection can add at most size - 1 pixels, and a 1-pixel side has nothing to mirror; so
    reflections are repeated, and a 1-pixel side is replicated.
    """
    while left or right or top or bottom:
        height, width = picture.shape[-2:]
        step_x, step_y = width - 1, height - 1
        now = (
            min(left, step_x) if step_x else left,
            min(right, step_x) if step_x else right,
            min(top, step_y) if step_y else top,
            min(bottom, step_y) if step_y else bottom,
        )
        horizontal, vertical = (*now[:2], 0, 0), (0, 0, *now[2:])
        picture = F.pad(picture, horizontal, mode="reflect" if step_x else "replicate")
        picture = F.pad(picture, vertical, mode="reflect" if step_y else "replicate")
        left, right, top, bottom = left - now[0], right - now[1], top - now[2], bottom - now[3]
    return picture
