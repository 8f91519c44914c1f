"""A translation between two piles of pictures, both ways: what `stylize cycle` trains."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.generator import Generator

THERE, BACK = 0, 1
"""The two ways: from pile A to pile B, and from B to A."""


class Translator(nn.Module):
    """One generator that is told the way by a code, or one generator for each way.

    Zhu et al., 2017 (arXiv:1703.10593) use one for each; with a code, both share what they know.
    """

    def __init__(self, generators: Sequence[Generator], codes: Tensor) -> None:
        """`codes` (2, code_size) are where the codes of the two ways start."""
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.codes = nn.Parameter(codes.clone())
        config = generators[0].config
        self.heads = nn.ModuleList(PatchHead(width) for width in (config.half_width, config.quarter_width))

    def generator(self, way: int) -> Generator:
        """The generator for a way."""
        generator = self.generators[way % len(self.generators)]
        assert isinstance(generator, Generator)
        return generator

    def forward(self, picture: Tensor, way: int) -> Tensor:
        """Translate RGB (N, 3, H, W) in [0, 1], sides multiples of 8; the result has the same form."""
        generator = self.generator(way)
        return generator(picture, generator.expand(self.codes[way : way + 1].expand(len(picture), -1)))

    def patches(self, picture: Tensor, way: int, places: Sequence[Tensor] | None = None) -> list[Tensor]:
        """What the stem of a way sees at some places, at 1/2 and 1/4 of the size: (N, P, D) each.

        For the contrastive loss. `places` are fractions (P, 2) of height and width, one per size.
        """
        generator = self.generator(way)
        half = F.relu(generator.stem_half(generator.unshuffle(picture - 0.5)))
        quarter = F.relu(generator.stem_quarter(half))
        found = []
        for index, (head, features) in enumerate(zip(self.heads, (half, quarter), strict=True)):
            height, width = features.shape[-2:]
            chosen = places[index] if places is not None else torch.rand(64, 2)
            rows = (chosen[:, 0] * height).long().clamp_max(height - 1)
            columns = (chosen[:, 1] * width).long().clamp_max(width - 1)
            found.append(head(features[:, :, rows, columns].transpose(1, 2)))
        return found


class PatchHead(nn.Module):
    """Features of patches (N, P, C) to unit vectors (N, P, 64), as in SimCLR (arXiv:2002.05709)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, patches: Tensor) -> Tensor:
        return F.normalize(self.layers(patches).float(), dim=-1)
