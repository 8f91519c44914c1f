"""The works that a training run learns from: their statistics, and fair draws from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.dataset import PictureSet
from stylize.encoder import ENCODER_LAYERS, StyleStatistics, describe, moments_vector
from stylize.perceptual import CompactVGG, LossNetwork, fit_to_network
from stylize.tensors import to_float

PHOTOGRAPH = "photograph"
"""The style that photographs have; every base knows it."""


@dataclass(frozen=True)
class StyleDraw:
    """One style to paint in: some works of one group, and one of them to show the discriminator."""

    group: str
    works: tuple[int, ...]
    shown: int


class StyleLibrary:
    """Groups of works (one group, one style) with their statistics, all in memory.

    `vectors` (W, D) feed the style encoder; `statistics` are the targets of the losses.
    """

    def __init__(
        self, groups: Mapping[str, PictureSet], encoder_network: CompactVGG, loss_network: LossNetwork
    ) -> None:
        self.groups = dict(groups)
        self.members: dict[str, range] = {}
        self._owner: list[tuple[str, int]] = []
        vectors, statistics = [], []
        for name, pictures in groups.items():
            self.members[name] = range(len(self._owner), len(self._owner) + len(pictures))
            for index in range(len(pictures)):
                self._owner.append((name, index))
                picture = fit_to_network(to_float(pictures[index])[None])
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    features = loss_network(picture)
                    vectors.append(moments_vector(encoder_network(picture, ENCODER_LAYERS)))
                statistics.append(describe(picture, features))
        self.vectors = torch.cat(vectors)
        self.statistics = StyleStatistics.concatenate(statistics)

    def draw(self, random: torch.Generator) -> StyleDraw:
        """A group with even odds, then one work of it, three, or all: works count evenly within."""
        names = list(self.groups)
        group = names[int(torch.randint(len(names), (), generator=random))]
        members = self.members[group]
        kind = float(torch.rand((), generator=random))
        order = torch.randperm(len(members), generator=random).tolist()
        shown = members[order[0]]
        if kind < 0.4:
            works = (shown,)
        elif kind < 0.5:
            works = tuple(members[i] for i in order[:3])
        else:
            works = tuple(members)
        return StyleDraw(group, works, shown)

    def vector(self, draw: StyleDraw) -> Tensor:
        """Mean moment vector (1, D) of the drawn works."""
        return self.vectors[list(draw.works)].mean(0, keepdim=True)

    def target(self, draw: StyleDraw) -> StyleStatistics:
        """Mean statistics of the drawn works (N = 1)."""
        return self.statistics.mean_of(draw.works)

    def crop(self, draw: StyleDraw, size: int, random: torch.Generator) -> Tensor:
        """A random crop (3, size, size) of the work that was chosen to be shown."""
        group, index = self._owner[draw.shown]
        return self.groups[group].crop(index, size, random, zoom=(1.0, 1.3))
