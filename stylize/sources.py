"""Pictures that shall become one: brought to one size, each with its share of every place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.images import resize_planes
from stylize.picture import Picture
from stylize.tensors import mirrored_window, to_8_bits, to_float, to_pixels

Fit = Literal["cover", "contain", "stretch"]
"""How a picture of another size comes to that of the first: filling it, and losing what reaches beyond;
whole inside it; or pulled to its proportions."""


@dataclass(frozen=True)
class Source:
    """One of several pictures of one size and depth: RGB (3, H, W) in uint8 or uint16."""

    rgb: Tensor
    weight: float
    """Its share, 0 or more; only the proportion to the other sources' counts."""
    where: Tensor | None = None
    """Where it takes part, (H, W) in uint8: 0 nowhere ... 255 with its whole weight; None: everywhere."""


def shares_at(sources: Sequence[Source], window: Callable[[Tensor], Tensor], cell: int = 1) -> Tensor:
    """The sources' shares of each place of a window, (N, 1, h / cell, w / cell), summing to 1.

    `window` cuts planes (1, H, W) to (1, h, w). Where no source takes part, the first does.
    """
    parts = []
    for source in sources:
        if source.where is None:
            parts.append(torch.full((1, 1, 1, 1), source.weight))
        else:
            parts.append(F.avg_pool2d(to_float(window(source.where[None]))[None], cell) * source.weight)
    shares = torch.cat(torch.broadcast_tensors(*parts))
    total = shares.sum(dim=0, keepdim=True)
    first = torch.zeros_like(shares)
    first[0] = 1
    return torch.where(total > 0, shares / total.clamp_min(1e-12), first)


def overall_shares(sources: Sequence[Source]) -> list[float]:
    """The sources' shares of the whole picture, summing to 1."""
    parts = [s.weight * (1.0 if s.where is None else s.where.float().mean().item() / 255) for s in sources]
    total = sum(parts)
    return [part / total for part in parts] if total else [1.0, *[0.0] * (len(parts) - 1)]


def as_source(picture: Picture, like: Picture, weight: float, fit: Fit = "cover") -> Source:
    """A picture as a source beside `like`, in its size and depth; its transparent places take no part."""
    rgb = fitted(picture.rgb, like.size, fit)
    rgb = rgb if rgb.dtype == like.rgb.dtype else to_pixels(to_float(rgb), like.rgb.dtype)
    opaque = torch.full((1, *picture.rgb.shape[1:]), 255, dtype=torch.uint8)
    where = None if picture.alpha is None else to_8_bits(picture.alpha)[None]
    if fit == "contain":
        where = _inside(opaque if where is None else where, like.size)
    elif where is not None:
        where = fitted(where, like.size, fit)
    return Source(rgb, weight, None if where is None else where[0])


def fitted(planes: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """uint8 or uint16 (C, H, W) brought to another size (width, height); beside what is contained, a mirror
    goes on."""
    height, width = planes.shape[1:]
    if (width, height) == size:
        return planes
    if fit == "cover":
        scale = max(size[0] / width, size[1] / height)
        part = (max(1, round(size[0] / scale)), max(1, round(size[1] / scale)))
        left, top = (width - part[0]) // 2, (height - part[1]) // 2
        planes = planes[:, top : top + part[1], left : left + part[0]]
    if fit != "contain":
        return resize_planes(planes, size)
    rows, columns = _place((width, height), size)
    small = resize_planes(planes, (len(columns), len(rows)))
    return mirrored_window(
        small, range(-rows.start, size[1] - rows.start), range(-columns.start, size[0] - columns.start)
    )


def _inside(opaque: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a contained picture is opaque (1, H, W), and 0 beside it."""
    result = torch.zeros((1, size[1], size[0]), dtype=torch.uint8)
    rows, columns = _place((opaque.shape[2], opaque.shape[1]), size)
    result[:, rows.start : rows.stop, columns.start : columns.stop] = resize_planes(
        opaque, (len(columns), len(rows))
    )
    return result


def _place(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[range, range]:
    """Rows and columns, in the middle of `outer`, that a picture as large as can be takes there."""
    scale = min(outer[0] / inner[0], outer[1] / inner[1])
    width, height = (max(1, min(o, round(i * scale))) for i, o in zip(inner, outer, strict=True))
    left, top = (outer[0] - width) // 2, (outer[1] - height) // 2
    return range(top, top + height), range(left, left + width)
