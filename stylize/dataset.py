"""Pictures for training: folders held decoded in memory, and random crops of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from stylize.errors import PictureError, StylizeError
from stylize.images import read_rgb


class PictureSet:
    """A list of picture files, each decoded once (shorter side at most `side`) and kept as uint8."""

    def __init__(self, paths: Sequence[Path], side: int = 384) -> None:
        if not paths:
            raise StylizeError("There are no pictures to train on; name a folder that holds some.")
        self.paths = list(paths)
        self.side = side
        self._decoded: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """The picture as uint8 (3, H, W)."""
        if index not in self._decoded:
            self._decoded[index] = self._first_readable(index)
        return self._decoded[index]

    def _first_readable(self, index: int) -> Tensor:
        """The picture, or the next that can be read: one bad file must not end a night's run."""
        faults: list[PictureError] = []
        for offset in range(len(self.paths)):
            try:
                return read_rgb(self.paths[(index + offset) % len(self.paths)], shorter_side=self.side)
            except PictureError as error:
                faults.append(error)
        raise faults[0]

    def crop(
        self, index: int, size: int, random: torch.Generator, zoom: tuple[float, float] = (1.0, 1.0)
    ) -> Tensor:
        """A random square crop, half the time mirrored, as floats (3, size, size) in [0, 1].

        The crop covers `size * z` pixels of the picture, z drawn log-uniformly from the range
        `zoom` (below 1 enlarges), as far as the picture is large enough.
        """
        picture = self[index]
        height, width = picture.shape[1:]
        draw = torch.rand(4, generator=random).tolist()
        factor = zoom[0] * (zoom[1] / zoom[0]) ** draw[0]
        extent = min(round(size * factor), height, width)
        top = round(draw[1] * (height - extent))
        left = round(draw[2] * (width - extent))
        crop = picture[:, top : top + extent, left : left + extent].float().div_(255)
        if extent != size:
            crop = transforms.resize(crop, [size, size])
        return transforms.horizontal_flip(crop) if draw[3] < 0.5 else crop


def centre_crop(picture: Tensor, size: int) -> Tensor:
    """The largest centred square of (3, H, W) floats, resized to `size`."""
    side = min(picture.shape[1:])
    return transforms.resize(transforms.center_crop(picture, [side, side]), [size, size])
