"""Which files are fit to learn from: readable, large enough, and no two the same."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.console import say
from stylize.errors import PictureError
from stylize.images import read_rgb
from stylize.paths import find_pictures
from stylize.tensors import luminance, to_float

SMALLEST = 64
"""Shorter side in pixels below which a work shows no strokes."""

_ALIKE = 5
"""Bits of 64 by which the fingerprints of two copies of one work may differ."""


T = TypeVar("T")


def read_all(places: Sequence[Path], read: Callable[[Path], T]) -> list[T]:
    """What `read` gives for the pictures among files and folders; one that it refuses is left out, and said
    to be. Raises UsageError for a place that is not there, PictureError where no picture is left."""
    found: list[T] = []
    refused: list[PictureError] = []
    for path in find_pictures(places):
        try:
            found.append(read(path))
        except PictureError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    for error in refused:
        _say_once(f"Left out: {error}")
    return found


@cache
def _say_once(sentence: str) -> None:
    say(sentence)


def select_works(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The works to learn from, and a sentence for each that is left out."""
    kept: list[Path] = []
    prints = torch.empty(len(paths), 64, dtype=torch.bool)
    left_out: list[str] = []
    for path in paths:
        try:
            picture = read_rgb(path, shorter_side=2 * SMALLEST)
        except PictureError as error:
            left_out.append(f"Left out: {error}")
            continue
        if min(picture.shape[1:]) < SMALLEST:
            left_out.append(f"Left out: {path} is smaller than {SMALLEST} pixels.")
            continue
        mark = fingerprint(picture)
        twins = ((prints[: len(kept)] ^ mark).sum(dim=1) <= _ALIKE).nonzero()
        if len(twins):
            left_out.append(f"Left out: {path} is nearly the same as {kept[int(twins[0])]}.")
            continue
        prints[len(kept)] = mark
        kept.append(path)
    return kept, left_out


def fingerprint(picture: Tensor) -> Tensor:
    """64 bits (difference hash) of a uint8 picture (3, H, W): is each cell lighter than the next?

    They survive resizing, compression and small changes of tone.
    """
    light = luminance(to_float(picture)[None])
    cells = F.interpolate(light, (8, 9), mode="bilinear", antialias=True)[0, 0]
    return (cells[:, 1:] > cells[:, :-1] + 1 / 512).flatten().to(torch.bool)
