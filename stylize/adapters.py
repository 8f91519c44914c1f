"""Low-rank adapters: what a style changes in the kernels of a generator that stays as it is.

Each change is the product of two thin matrices (Hu et al., 2021, LoRA, arXiv:2106.09685): few numbers to
learn and to keep, and nothing more to compute once they are added to the kernels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylize.generator import Generator

_PACE = 0.25
"""Of the products: codes and adapters learn at one rate, and kernels are the smaller numbers."""

Shape = tuple[int, int, int]
"""Outputs of a kernel, its numbers per output, and the rank of its change."""


class Adapters(nn.Module):
    """A change for every kernel of `Generator.kernels`, in their order; at first none at all."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.up = nn.ParameterList(torch.zeros(outputs, rank) for outputs, _, rank in shapes)
        self.down = nn.ParameterList(torch.randn(rank, inputs) / inputs**0.5 for _, inputs, rank in shapes)

    @staticmethod
    def for_generator(generator: Generator, rank: int) -> "Adapters":
        """Adapters of this rank; of half of it in the widest layers, which have the most numbers."""
        return Adapters(
            [
                (len(kernel), kernel[0].numel(), rank if len(kernel) < widest else max(1, rank // 2))
                for widest in [max(len(kernel) for kernel in generator.kernels.values())]
                for kernel in generator.kernels.values()
            ]
        )

    def fit(self, generator: Generator) -> bool:
        """Are these changes for the kernels of this generator?"""
        ours = [(len(up), down.shape[1]) for up, down in zip(self.up, self.down, strict=True)]
        return ours == [(len(kernel), kernel[0].numel()) for kernel in generator.kernels.values()]

    def changes(self) -> Tensor:
        """All changes side by side, as they follow a code: (1, changes_size)."""
        products = [_PACE * (up @ down).flatten() for up, down in zip(self.up, self.down, strict=True)]
        return torch.cat(products)[None]
