"""Pictures made up from shapes and textures, to train on where there are no photographs."""

import numpy as np
import torch
from torch import Tensor

from stylize.dataset import PictureSet

_SHAPES = 90


class InventedPictures(PictureSet):
    """Pictures by the dead leaves model: opaque shapes of all sizes that hide one another.

    Lee, Mumford & Huang, 2001: edges, flats and scales of such pictures are distributed as in
    photographs, though nothing in them can be recognised.
    """

    def __init__(self, count: int = 64, side: int = 384, first: int = 0) -> None:
        """`count` of them, from number `first` on."""
        self.paths = []
        self.side = side
        self._count = count
        self._first = first
        self._decoded: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self._count

    def digest(self) -> str:
        """Depends on their number and size alone."""
        return f"invented in boxes {self._first} {self._count} {self.side}"

    def __getitem__(self, index: int) -> Tensor:
        if index not in self._decoded:
            self._decoded[index] = torch.from_numpy(dead_leaves(self._first + index, self.side)).permute(
                2, 0, 1
            )
        return self._decoded[index]


def dead_leaves(seed: int, side: int) -> np.ndarray:
    """A picture (side, side, 3) in uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    picture = _surface(random, x, y)
    # Radii with a density of r^-3 look alike at every scale.
    radii = np.sort((random.uniform(1 / 0.6**2, 1 / 0.03**2, _SHAPES)) ** -0.5)[::-1]
    for radius in radii:
        centre, angle = random.uniform(-0.1, 1.1, 2), random.uniform(0, np.pi)
        power = random.choice([1.0, 2.0, 6.0])  # a rhombus, an ellipse, nearly a rectangle
        stretch = random.uniform(0.25, 1)
        columns, rows = (_around(middle, radius, side) for middle in centre)
        near_x, near_y = x[rows, columns], y[rows, columns]
        u = (near_x - centre[0]) * np.cos(angle) + (near_y - centre[1]) * np.sin(angle)
        v = (near_y - centre[1]) * np.cos(angle) - (near_x - centre[0]) * np.sin(angle)
        inside = np.abs(u / radius) ** power + np.abs(v / (radius * stretch)) ** power < 1
        picture[rows, columns][inside] = _surface(random, near_x, near_y)[inside]
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _around(middle: float, radius: float, side: int) -> slice:
    """The places, along one side, that a shape can reach: its corners are up to sqrt(2) radii away."""
    reach = radius * 2**0.5
    return slice(*np.clip([(middle - reach) * side, (middle + reach) * side + 2], 0, side).astype(int))


def _surface(random: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A colour with shading, and often a texture."""
    slope = random.normal(0, 0.35, 2)
    light = random.uniform(0.1, 0.9) + slope[0] * (x - 0.5) + slope[1] * (y - 0.5)
    if random.random() < 0.6:
        frequency, angle = 2 ** random.uniform(3, 6.5), random.uniform(0, np.pi)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))
        noise = random.normal(0, 1, x.shape)
        light = light + random.uniform(0, 0.12) * wave + random.uniform(0, 0.1) * noise
    tint = 1 + random.normal(0, 0.25, 3)
    return light[..., None] * tint
