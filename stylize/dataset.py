"""Pictures for training: folders held decoded in memory, and random crops of them."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.errors import PictureError, StylizeError
from stylize.images import read_rgb

MOST_KEPT = 4 << 30
"""Bytes of decoded pictures that a set keeps; what is beyond is decoded whenever it is wanted."""


class PictureSet:
    """A list of picture files, each decoded once (shorter side at most `side`) and kept as uint8."""

    def __init__(self, paths: Sequence[Path], side: int = 384) -> None:
        if not paths:
            raise StylizeError("There are no pictures to train on; name a folder that holds some.")
        self.paths = list(paths)
        self.side = side
        self._decoded: dict[int, Tensor] = {}
        self._kept = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """The picture as uint8 (3, H, W)."""
        known = self._decoded.get(index)
        if known is not None:
            return known
        picture = self._first_readable(index)
        if self._kept + picture.numel() <= MOST_KEPT:
            self._decoded[index] = picture
            self._kept += picture.numel()
        return picture

    def digest(self) -> str:
        """Changes whenever the files do."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

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
        self,
        index: int,
        size: int,
        random: torch.Generator,
        zoom: tuple[float, float] = (1.0, 1.0),
        rotate: float = 0.0,
        flip: bool = True,
    ) -> Tensor:
        """A random square crop as floats (3, size, size) in [0, 1].

        The crop covers `size * z` pixels of the picture, z drawn log-uniformly from the range
        `zoom` (below 1 enlarges), as far as the picture is large enough. It is turned by up to
        `rotate` degrees, and with `flip` half the time mirrored.
        """
        picture = self[index]
        height, width = picture.shape[1:]
        draw = torch.rand(5, generator=random).tolist()
        angle = rotate * (2 * draw[4] - 1)
        # What is turned must be larger than what is kept, or corners of it would be empty.
        spare = abs(math.cos(math.radians(angle))) + abs(math.sin(math.radians(angle)))
        factor = zoom[0] * (zoom[1] / zoom[0]) ** draw[0]
        extent = min(round(size * factor * spare), height, width)
        top = round(draw[1] * (height - extent))
        left = round(draw[2] * (width - extent))
        crop = picture[:, top : top + extent, left : left + extent].float().div_(255)
        if angle:
            crop = _middle(_turned(crop, angle), int(extent / spare))
        crop = resized_square(crop[None], size)[0]
        return crop.flip(-1) if flip and draw[3] < 0.5 else crop


def centre_crop(picture: Tensor, size: int) -> Tensor:
    """The largest centred square of (3, H, W) floats, resized to `size`."""
    return resized_square(_middle(picture, min(picture.shape[1:]))[None], size)[0]


def resized_square(squares: Tensor, size: int) -> Tensor:
    """Squares (N, 3, H, H) of floats in another size, bilinear, with antialiasing where they are reduced."""
    if squares.shape[-1] == size:
        return squares
    return F.interpolate(squares, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _middle(picture: Tensor, side: int) -> Tensor:
    """The square in the middle of (3, H, W)."""
    top, left = (round((length - side) / 2) for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def _turned(picture: Tensor, angle: float) -> Tensor:
    """The picture turned by so many degrees. Nothing else needs torchvision. StylizeError without it."""
    try:
        from torchvision.transforms.v2 import functional as transforms
    except ImportError as error:
        raise StylizeError("To turn crops, install torchvision, or leave `rotate` at 0.") from error
    return transforms.rotate(picture, angle, transforms.InterpolationMode.BILINEAR)
