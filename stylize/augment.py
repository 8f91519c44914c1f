"""Changes made alike to real and painted pictures before the discriminator sees them: DiffAugment.

Zhao et al., 2020 (arXiv:2006.10738): with few works a discriminator learns them by heart; with these it
cannot, and since they can be differentiated, the generator may learn through them. Translation and cutout
only: colour is style.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_SHIFT = 1 / 8
_CUTOUT = 1 / 4


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
