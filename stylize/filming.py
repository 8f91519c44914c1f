"""Painting a clip from end to end: frames in, frames out, in constant memory, and resumable.

    decode (a thread) -> paint -> encode (a thread)     with a few frames between them

What is painted is kept in segments of `SEGMENT` frames in a hidden folder beside the target, with all that
the painter knew at the end of the last one. So a run that was stopped goes on there, and the result is the
same, bit for bit, as that of a run that was not. At the end the segments are joined with the clip's sound.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stylize.errors import PictureError
from stylize.files import atomic_path, companion, write_tensors
from stylize.film import FilmStylizer
from stylize.flow import Change, change
from stylize.marking import Metadata
from stylize.overlap import ahead, workers
from stylize.tensors import to_8_bits
from stylize.video import LARGEST_FRAME, Clip, FFmpegError, Segment, check_encoder, join

SEGMENT = 100
"""Frames in a segment: what is lost at most when a run is stopped."""

AHEAD = 3
"""So many frames wait, at most, before and behind the painter."""

Compose: TypeAlias = Callable[[Tensor, FilmStylizer], Tensor]
"""Paints one frame (3, H, W) with all that the look asks for."""


@dataclass(frozen=True)
class Order:
    """What is to be painted, and how it is written.

    `identity` stands for everything that the painting depends on: segments with another one are not used.
    """

    clip: Path
    target: Path
    identity: str
    longer_side: int | None = None
    quality: int = 92
    resume: bool = False
    threads: bool = True
    metadata: Metadata = "all"
    """What is kept of the clip's own metadata."""
    tags: Mapping[str, str] = field(default_factory=dict)
    xmp: bytes = b""
    """What is added to it."""

    @property
    def suffix(self) -> str:
        """The target's suffix, lower case and without the dot."""
        return self.target.suffix.lower().lstrip(".")


@dataclass(frozen=True)
class _Shot:
    """A frame on its way, uint8 or uint16 (3, H, W), and when it is shown, in units of the time base."""

    index: int
    rgb: Tensor
    time: int
    duration: int
    change: Change = field(default_factory=Change)
    seconds: float = 0.0
    """Since the frame before."""
    state: Mapping[str, Tensor] | None = None
    """What the painter knew after it, if a segment ends here."""


def paint_clip(
    order: Order, brush: FilmStylizer, compose: Compose, tell: Callable[[int, int | None], None]
) -> list[str]:
    """Paint a clip; what the user should know of it, a sentence each.

    `tell` hears how many frames are done, of about how many. Raises PictureError if the clip cannot be
    read at all, or the result not be written.
    """
    check_encoder(order.suffix)
    with Clip(order.clip) as clip, _in_words(order.target):
        reel = _Reel(order, clip)
        start = reel.begin(brush)

        def painted(shot: _Shot) -> _Shot:
            brush.follow(shot.change, shot.seconds)
            rgb = compose(shot.rgb, brush)
            ends = (shot.index + 1) % SEGMENT == 0
            return replace(shot, rgb=rgb, change=Change(), state=brush.tensors() if ends else None)

        threads = int(order.threads)
        try:
            with workers(threads) as reader, workers(threads) as writer:
                shots = _until_none(reader, _shots(clip, reel.size, start))
                for done in ahead(writer, reel.write, map(painted, shots), AHEAD):
                    tell(done, clip.expected)
            reel.finish()
        finally:
            reel.drop()
        return [*reel.notes, *_words_on_damage(clip), *reel.join()]


def opening(path: Path) -> Tensor:
    """The first frame of a clip, uint8 or uint16 (3, H, W). Raises PictureError if there is none."""
    with Clip(path) as clip:
        frame, _, _ = next(clip.frames())
        return _tensor(clip.rgb(frame, (clip.layout.width, clip.layout.height)))


def frame_size(path: Path) -> tuple[int, int]:
    """Width and height of a clip as it is seen. Raises PictureError if it cannot be read."""
    with Clip(path) as clip:
        return clip.layout.upright_size


@contextmanager
def _in_words(target: Path) -> Iterator[None]:
    """What goes wrong with the encoder becomes one sentence; what the system says has its own."""
    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise PictureError(
            f"Cannot write {target}: {error.strerror}; choose another format with -o."
        ) from error


def _until_none(reader: Executor, shots: Iterator[_Shot]) -> Iterator[_Shot]:
    """The shots, a few of them read before they are asked for."""
    for shot in ahead(reader, lambda _: next(shots, None), repeat(None), AHEAD):
        if shot is None:
            return
        yield shot


def _tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)


def _shots(clip: Clip, size: tuple[int, int], start: int) -> Iterator[_Shot]:
    """The frames from number `start` on, each with how it follows from the one before."""
    before: np.ndarray | None = None
    last = 0
    for index, (frame, time, duration) in enumerate(clip.frames()):
        if index >= start - 1:
            tensor = _tensor(clip.rgb(frame, size))
            now = np.ascontiguousarray(to_8_bits(tensor).permute(1, 2, 0).numpy())
            if index >= start:
                seconds = float((time - last) * clip.layout.time_base) if index else 0.0
                yield _Shot(index, tensor, time, duration, change(before, now), seconds)
            before = now
        last = time


def _words_on_damage(clip: Clip) -> list[str]:
    words = []
    if clip.damaged:
        words.append(f"{clip.path} is damaged in {clip.damaged} places; what could be read of it is painted.")
    if clip.cut_off:
        words.append(f"{clip.path} is cut off; what there is of it is painted.")
    return words


class _Reel:
    """The segments of one target, in a hidden folder beside it."""

    def __init__(self, order: Order, clip: Clip) -> None:
        self.order = order
        self.clip = clip
        self.size = _size(clip, order.longer_side)
        self.folder = companion(order.target, "segments")
        self.notes: list[str] = []
        self._segments = 0
        self._open: Segment | None = None

    def begin(self, brush: FilmStylizer) -> int:
        """Make ready; the number of frames that an earlier run has painted, which `brush` then knows of."""
        found = self._kept(brush) if self.order.resume else 0
        if not found:
            if self.order.resume and any(self.folder.glob("*.safetensors")):
                self.notes.append(
                    f"{self.order.clip} was begun in another way, and is painted from its start."
                )
            self._remove()
            self.folder.mkdir()
        self._segments = found
        return found * SEGMENT

    def _kept(self, brush: FilmStylizer) -> int:
        """How many segments of this very order are whole."""
        states = [] if self.folder.is_symlink() else sorted(self.folder.glob("*.safetensors"))
        if not states:
            return 0
        count = int(states[-1].stem) if states[-1].stem.isdigit() else 0
        try:
            with safe_open(states[-1], "pt") as file:
                if (file.metadata() or {}).get("identity") != self.order.identity:
                    return 0
                brush.load({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError):
            return 0
        return count if all(self._path(i).is_file() for i in range(count)) else 0

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.mp4"

    def write(self, shot: _Shot) -> int:
        """Add a painted frame, the next one; how many there are now."""
        if self._open is None:
            order, size = self.order, self.size
            self._open = Segment(
                self._path(self._segments), self.clip.layout, size, order.suffix, order.quality
            )
        self._open.write(shot.rgb.permute(1, 2, 0).numpy(), shot.time, shot.duration)
        if shot.state is not None:
            self.finish()
            state = self.folder / f"{self._segments:06}.safetensors"
            write_tensors(state, shot.state, {"identity": self.order.identity})
            (self.folder / f"{self._segments - 1:06}.safetensors").unlink(missing_ok=True)
        return shot.index + 1

    def finish(self) -> None:
        """End the segment that is being written."""
        if self._open is not None:
            segment, self._open = self._open, None
            segment.close()
            with self._path(self._segments).open("rb+") as file:
                os.fsync(file.fileno())
            self._segments += 1

    def drop(self) -> None:
        """Leave the segment that is being written; the next run writes it anew."""
        if self._open is not None:
            self._open.drop()

    def join(self) -> list[str]:
        """Make the segments one clip, with sound, and remove them; a sentence for each stream left out."""
        order = self.order
        paths = [self._path(i) for i in range(self._segments)]
        with atomic_path(order.target) as temporary:
            left_out = join(paths, order.clip, temporary, order.suffix, order.tags, order.xmp, order.metadata)
        self._remove()
        return left_out

    def _remove(self) -> None:
        """Remove the folder; of a link, only the link."""
        if self.folder.is_symlink():
            self.folder.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def _size(clip: Clip, longer_side: int | None) -> tuple[int, int]:
    """Width and height of the result as stored; even, if they are chosen here."""
    width, height = clip.layout.width, clip.layout.height
    if longer_side is None:
        return width, height
    scale = longer_side / max(width, height)
    size = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
    if size[0] * size[1] > LARGEST_FRAME:
        raise PictureError(
            f"Frames of {size[0]} x {size[1]} pixels are too many to paint; choose a smaller --size."
        )
    return size
