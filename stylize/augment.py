"""Changes to pictures that are learnt from.

DiffAugment, made alike to real and painted pictures before the discriminator sees them: Zhao et al., 2020
(arXiv:2006.10738). With few works a discriminator learns them by heart; with these it cannot, and since they
can be differentiated, the generator may learn through them. Translation and cutout only: colour is style.

And JPEG's traces in photographs, which a painter must not take for brushwork.
"""

import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

_MOST_SHIFT = 1 / 8
_CUTOUT = 1 / 4

_QUALITIES = (25, 91)
"""JPEG's, from the first to below the second."""

_BLOCK = 8
"""Side of the blocks that JPEG works in."""


def diff_augment(pictures: Tensor, randoms: Sequence[torch.Generator]) -> Tensor:
    """Shift each picture (N, 3, H, W), filling with black, and black out a square, a quarter as wide."""
    size = pictures.shape[-1]
    most, side = round(size * _MOST_SHIFT), round(size * _CUTOUT)
    padded = F.pad(pictures, (most, most, most, most))
    results = []
    for picture, random in zip(padded, randoms, strict=True):
        y, x = torch.randint(0, 2 * most + 1, (2,), generator=random).tolist()
        top, left = torch.randint(1 - side, size, (2,), generator=random).tolist()
        mask = picture.new_ones(1, size, size)
        mask[:, max(0, top) : top + side, max(0, left) : left + side] = 0
        results.append(picture[:, y : y + size, x : x + size] * mask)
    return torch.stack(results)


def compressed(picture: Tensor, random: torch.Generator) -> Tensor:
    """A picture (3, H, W) in [0, 1] as JPEG leaves it, with a quality and a place of the blocks by chance."""
    quality = int(torch.randint(*_QUALITIES, (), generator=random))
    top, left = torch.randint(0, _BLOCK, (2,), generator=random).tolist()
    padded = F.pad(picture[None], (left, 0, top, 0), mode="replicate")[0]
    levels = padded.clamp(0, 1).mul(255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    back = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return back.to(picture.dtype).div(255)[:, top:, left:]
