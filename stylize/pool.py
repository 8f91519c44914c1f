"""A pool of earlier results, so that a discriminator does not forget what generators used to do."""

import torch
from torch import Tensor

from stylize.tensors import to_float, to_uint8


class HistoryPool:
    """The last pictures that were made, of which half of those asked for come.

    Shrivastava et al., 2017 (arXiv:1612.07828). Kept in 8 bits: a checkpoint holds them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: list[Tensor] = []

    def exchange(self, pictures: Tensor, random: torch.Generator) -> Tensor:
        """For new pictures (N, 3, H, W) in [0, 1]: each stays, or goes into the pool for an older one."""
        results = []
        for picture in pictures.detach():
            if self.size and len(self.pictures) < self.size:
                self.pictures.append(to_uint8(picture).cpu())
            elif self.size and torch.rand((), generator=random) < 0.5:
                place = int(torch.randint(self.size, (), generator=random))
                older, self.pictures[place] = self.pictures[place], to_uint8(picture).cpu()
                picture = to_float(older).to(picture)
            results.append(picture)
        return torch.stack(results)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"pictures": torch.stack(self.pictures)} if self.pictures else {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what a checkpoint kept."""
        self.pictures = list(tensors["pictures"]) if "pictures" in tensors else []
