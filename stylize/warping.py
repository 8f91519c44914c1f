"""Random smooth motion, as between two frames of a film, for the loss that keeps strokes steady."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 8.0
"""Furthest translation in pixels, either way: the stride of the generator, so that its whole grid is seen."""

_BEND = 4.0
"""Furthest standard deviation of the bending, in pixels."""

_KNOTS = 5
"""Places a side at which the bending is drawn; between them it is smooth."""


def smooth_flow(size: tuple[int, int], randoms: Sequence[torch.Generator]) -> Tensor:
    """Displacements (N, 2, H, W) in pixels, x before y: a translation, for about half of them with a bend.

    Those without are of whole pixels, so that nothing is blurred by being moved.
    """
    flows = []
    for random in randoms:
        shift = (2 * torch.rand(1, 2, 1, 1, generator=random) - 1) * _SHIFT
        bends, amplitude = torch.rand(2, generator=random).tolist()
        knots = torch.randn(1, 2, _KNOTS, _KNOTS, generator=random)
        bent = shift + _BEND * amplitude * F.interpolate(knots, size, mode="bicubic", align_corners=True)
        flows.append(bent if bends < 0.5 else shift.round().expand(1, 2, *size))
    return torch.cat(flows)


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N, C, H, W) with each pixel taken from where `flow` (N, 2, H, W) points, mirrored beyond
    the edge."""
    height, width = pictures.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(-1, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    x = (columns + flow[:, 0]) * 2 / (width - 1) - 1
    y = (rows + flow[:, 1]) * 2 / (height - 1) - 1
    grid = torch.stack([x, y], dim=-1).to(pictures.dtype)
    moved = F.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
    return moved.clamp(0, 1)
