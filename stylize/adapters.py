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

_LOST = 1e-3
"""Singular values that are no larger than this part of the largest drown in the rounding of fp16."""

Shape = tuple[int, int, int]
"""Outputs of a kernel, its numbers per output, and the rank of its change."""


class Adapters(nn.Module):
    """A change for every kernel of `Generator.kernels`, in their order; at first none at all."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.up = nn.ParameterList(torch.zeros(outputs, rank) for outputs, _, rank in shapes)
        self.down = nn.ParameterList(_small(rank, inputs) for _, inputs, rank in shapes)

    @staticmethod
    def for_generator(generator: Generator, rank: int) -> "Adapters":
        """Adapters of this rank; of half of it in the widest layers, which have the most numbers."""
        kernels = generator.kernels.values()
        widest = max(len(kernel) for kernel in kernels)
        ranks = [rank if len(kernel) < widest else max(1, rank // 2) for kernel in kernels]
        return Adapters([(len(k), k[0].numel(), r) for k, r in zip(kernels, ranks, strict=True)])

    @staticmethod
    def of_changes(generator: Generator, changes: Tensor) -> "Adapters":
        """Adapters that make these changes (1, changes_size), as they follow a code; of the least rank."""
        kernels = list(generator.kernels.values())[: generator.kernels_in(changes)]
        parts = changes[0].split([kernel.numel() for kernel in kernels])
        factors = [_factors(part.view(len(k), -1)) for part, k in zip(parts, kernels, strict=True)]
        adapters = Adapters([(len(up), down.shape[1], len(down)) for up, down in factors])
        with torch.no_grad():
            for number, (up, down) in enumerate(factors):
                adapters.up[number].copy_(up / _PACE)
                adapters.down[number].copy_(down)
        return adapters.requires_grad_(False)

    def fit(self, generator: Generator) -> bool:
        """Are these changes for the kernels of this generator, with or without the stem's?"""
        ours = [(len(up), down.shape[1]) for up, down in zip(self.up, self.down, strict=True)]
        theirs = [(len(kernel), kernel[0].numel()) for kernel in generator.kernels.values()]
        return ours in (theirs, theirs[: -generator.stem_kernels])

    def changes(self) -> Tensor:
        """All changes side by side, as they follow a code: (1, changes_size)."""
        products = [_PACE * (up @ down).flatten() for up, down in zip(self.up, self.down, strict=True)]
        return torch.cat(products)[None]


def _small(rank: int, inputs: int) -> Tensor:
    """Random factors (rank, inputs) that keep the size of what they are multiplied with."""
    if torch.get_default_device().type == "meta":  # only the shape is wanted; arithmetic loads a compiler
        return torch.empty(rank, inputs)
    return torch.randn(rank, inputs) / inputs**0.5


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Two thin matrices whose product is this one; what fp16 would lose in it is left out."""
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = max(1, int((sizes > _LOST * sizes[0]).sum()))
    root = sizes[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]
