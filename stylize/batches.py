"""The data of a training step: drawn by its number alone, so that a resumed run sees the same."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from stylize.augment import compressed
from stylize.config import TrainConfig
from stylize.dataset import PictureSet
from stylize.encoder import StyleStatistics
from stylize.library import PHOTOGRAPH, StyleDraw, StyleLibrary
from stylize.tensors import reflect_pad

BORDER = 32
"""Pixels of a training crop that are painted but not judged, in all. What a network sees of the zero
padding at a crop's border differs from what it sees of a picture's, and losses over the border teach it
to paint frames."""

MIRRORED_SHARE = 0.5
"""Share of the steps whose border is mirrored, as around a picture that is painted, and not more photograph.
In these the window ends where the picture does."""

COMPRESSED_SHARE = 0.5
"""Share of the samples that are painted from a JPEG of the photograph they are judged by: blocks and rings
are faint, but in a sky they are all there is, and would be made into a weave."""

GREY_SHARE = 0.3
"""Share of the samples whose style is judged without colour. Palette alone brings a picture so near its
style that strokes are hardly worth learning; in grey, nothing else is left."""

Window = Callable[[Tensor], Tensor]
"""Cuts the judged part out of pictures."""

T = TypeVar("T")


@dataclass
class Batch:
    """Photographs, a style for each, and crops of real works in those styles."""

    photos: Tensor
    inputs: Tensor
    """The photographs as they are given to be painted: some with the traces of JPEG."""
    works: Tensor
    vectors: Tensor
    targets: StyleStatistics
    grey: Tensor
    """Which samples (N,) are compared with their style in luminance alone; `targets` are theirs."""
    window: Window
    randoms: list[torch.Generator]
    """All chance that concerns one sample comes from its own source."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, pictures with their channels last."""

        def moved(pictures: Tensor) -> Tensor:
            return pictures.to(device).contiguous(memory_format=torch.channels_last)

        return Batch(
            moved(self.photos), moved(self.inputs), moved(self.works), self.vectors.to(device),
            self.targets.to(device), self.grey.to(device), self.window, self.randoms,
        )  # fmt: skip


def chance(seed: int, step: int, sample: int) -> torch.Generator:
    """The source of chance for one sample of one step: independent of how samples are shared out among
    batches and processes. `sample` -1 is for what all samples of a step have in common."""
    return torch.Generator().manual_seed((seed << 42) + (step << 16) + sample + 1)


def draw_batch(
    config: TrainConfig, photos: PictureSet, library: StyleLibrary, step: int, samples: range
) -> Batch:
    """The samples of these numbers in a step."""
    size, common = config.size, chance(config.seed, step, -1)
    randoms = [chance(config.seed, step, sample) for sample in samples]
    pictures, inputs, works, draws, grey = [], [], [], [], []
    for random in randoms:
        index = int(torch.randint(len(photos), (), generator=random))
        draw = library.draw(random)
        works.append(library.crop(draw, size, random))
        if draw.group == PHOTOGRAPH:  # the way back: paint from a work
            pictures.append(library.crop(library.draw(random), size, random))
        else:
            pictures.append(photos.crop(index, size, random, config.zoom, config.rotate, config.flip))
        spoilt = torch.rand((), generator=random) < COMPRESSED_SHARE
        inputs.append(compressed(pictures[-1], random) if spoilt else pictures[-1])
        draws.append(draw)
        grey.append(bool(torch.rand((), generator=random) < GREY_SHARE))
    window, seen, given = random_window(size, common), torch.stack(pictures), torch.stack(inputs)
    if torch.rand((), generator=common) < MIRRORED_SHARE:
        seen, given = (reflect_pad(window(stacked), *[BORDER // 2] * 4) for stacked in (seen, given))
        window = central_window(size)
    targets = [library.target(draw, without) for draw, without in zip(draws, grey, strict=True)]
    vectors = torch.cat([_vector(library, draw) for draw in draws])
    statistics = StyleStatistics.concatenate(targets)
    grey_samples = torch.tensor(grey)
    return Batch(seen, given, torch.stack(works), vectors, statistics, grey_samples, window, randoms)


def _vector(library: StyleLibrary, draw: StyleDraw) -> Tensor:
    return library.mean_vector(draw.works)


def random_window(size: int, random: torch.Generator) -> Window:
    """A window of size - BORDER, at a random place: a fixed one would still betray the border."""
    side = size - BORDER
    top, left = torch.randint(0, BORDER + 1, (2,), generator=random).tolist()
    return lambda pictures: pictures[..., top : top + side, left : left + side]


def central_window(size: int) -> Window:
    """The same size, in the middle."""
    inner = slice(BORDER // 2, size - BORDER // 2)
    return lambda pictures: pictures[..., inner, inner]


class Ahead(Generic[T]):
    """Draws what the next step needs in a thread while this one is computed."""

    def __init__(self, draw: Callable[[int, int], T]) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(1)
        self._next: tuple[tuple[int, int], Future[T]] | None = None

    def take(self, step: int, part: int, then: tuple[int, int]) -> T:
        """The data of a part of a step; `then` says which will be asked for next."""
        ready = self._next[1] if self._next and self._next[0] == (step, part) else None
        batch = ready.result() if ready else self._draw(step, part)
        self._next = (then, self._pool.submit(self._draw, *then))
        return batch
