"""GIF as browsers show it: every frame on its place, what no frame has covered clear, within the canvas.

Pillow decodes the frames one by one; where they lie, how long and what becomes of them is worked out here, so
that their number is known, and limited, before any is decoded.
https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image

_LOOPS = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
_XMP = b"XMP DataXMP"
_XMP_TRAILER = 258
_BAND = 256
"""Rows that are put on the canvas at a time."""

_RESTORE, _CLEAR = 3, 2
"""What becomes of a frame when the next one comes."""


@dataclass(frozen=True)
class Frame:
    """One frame as the file holds it, not decoded."""

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    clear: int | None
    """The index of the palette that is transparent."""
    disposal: int
    duration: int
    """In milliseconds."""
    data: bytes
    """From the size of the first code on, with the empty block at the end."""


@dataclass
class Gif:
    """The frames of a file and what else it says."""

    size: tuple[int, int]
    frames: list[Frame] = field(default_factory=list)
    plays: int = 1
    """How often it is shown; 0: without end."""
    comment: bytes = b""
    xmp: bytes = b""
    more: bool = False
    """Are there more frames than were to be looked at?"""

    @property
    def pixels(self) -> int:
        """How many pixels must be decoded and shown for all frames."""
        canvas = self.size[0] * self.size[1]
        return sum(max(canvas, frame.width * frame.height) for frame in self.frames)


def is_gif(start: bytes) -> bool:
    """Does a file that starts like this hold a GIF?"""
    return start[:6] in {b"GIF87a", b"GIF89a"}


def parse(content: bytes, most: int) -> Gif:
    """At most `most` frames of a GIF. Raises ValueError, IndexError or struct.error where it is cut off."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    gif, place = Gif((width, height)), 13
    palette, place = _palette(content, place, flags)
    control = (0, 0, None)
    while place < len(content) and content[place] != 0x3B:
        if content[place] == 0x2C:
            if len(gif.frames) == most:
                gif.more = True
                break
            frame, place = _frame(content, place, palette, control)
            gif.frames.append(frame)
            control = (0, 0, None)
        elif content[place] == 0x21:
            control, place = _extension(content, place, gif, control)
        else:
            place += 1  # other readers overlook such bytes
    if gif.frames and (gif.frames[0].width > width or gif.frames[0].height > height):
        gif.size = max(width, gif.frames[0].width), max(height, gif.frames[0].height)  # so do others
    return gif


def _palette(content: bytes, place: int, flags: int) -> tuple[bytes, int]:
    size = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    return content[place : place + size], place + size


def _blocks_end(content: bytes, place: int) -> int:
    """Where a chain of blocks that begins at `place` ends."""
    while size := content[place]:
        place += size + 1
    return place + 1


def _frame(
    content: bytes, place: int, palette: bytes, control: tuple[int, int, int | None]
) -> tuple[Frame, int]:
    left, top, width, height, flags = struct.unpack_from("<HHHHB", content, place + 1)
    own, start = _palette(content, place + 10, flags)
    end = _blocks_end(content, start + 1)
    disposal, duration, clear = control
    interlaced = bool(flags & 0x40)
    frame = Frame(
        left, top, width, height, interlaced, own or palette, clear, disposal, duration, content[start:end]
    )
    return frame, end


def _extension(
    content: bytes, place: int, gif: Gif, control: tuple[int, int, int | None]
) -> tuple[tuple[int, int, int | None], int]:
    """What an extension says of the next frame, or of all; and where it ends."""
    label, start = content[place + 1], place + 2
    end = _blocks_end(content, start)
    first = content[start + 1 : start + 1 + content[start]]
    if label == 0xF9 and len(first) >= 4:
        flags, delay, clear = struct.unpack_from("<BHB", first)
        control = (flags >> 2 & 7, 10 * delay, clear if flags & 1 else None)
    elif label == 0xFE and not gif.comment:
        gif.comment = b"".join(_blocks(content, start))
    elif label == 0xFF and first in _LOOPS:
        loop = content[start + 12 : start + 16]
        if loop[:2] == b"\3\1":
            count = struct.unpack_from("<H", loop, 2)[0]
            gif.plays = count and count + 1
    elif label == 0xFF and first == _XMP:
        gif.xmp = content[start + 12 : end - _XMP_TRAILER]
    return control, end


def _blocks(content: bytes, place: int) -> Iterator[bytes]:
    while size := content[place]:
        yield content[place + 1 : place + 1 + size]
        place += size + 1


def shown(gif: Gif) -> Iterator[np.ndarray]:
    """What is seen of each frame in turn: uint8 (H, W, 4), which the next one changes.

    Raises almost anything for damaged files.
    """
    canvas = np.zeros((gif.size[1], gif.size[0]), np.uint32)
    for frame in gif.frames:
        rows = slice(frame.top, frame.top + frame.height)
        columns = slice(frame.left, frame.left + frame.width)
        part = canvas[rows, columns]
        before = part.copy() if frame.disposal == _RESTORE else None
        _paint(part, _decoded(frame), frame)
        yield canvas.view(np.uint8).reshape(*canvas.shape, 4)
        if frame.disposal == _CLEAR:
            part[:] = 0
        elif before is not None:
            part[:] = before


def _paint(part: np.ndarray, indices: np.ndarray, frame: Frame) -> None:
    """Put a frame's colours on a part of the canvas, in place."""
    colours = _colours(frame.palette)
    indices = indices[: part.shape[0], : part.shape[1]]
    for row in range(0, len(part), _BAND):
        band = indices[row : row + _BAND]
        seen = True if frame.clear is None else band != frame.clear
        np.copyto(part[row : row + _BAND], colours[band], where=seen)


def _colours(palette: bytes) -> np.ndarray:
    """256 opaque colours, each four bytes in one number; without a palette, greys."""
    table = np.full((256, 4), 255, np.uint8)
    if palette:
        found = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        table[:, :3] = 0
        table[: len(found), :3] = found
    else:
        table[:, :3] = np.arange(256)[:, None]
    return table.view(np.uint32)[:, 0]


def _decoded(frame: Frame) -> np.ndarray:
    """The frame's indices (h, w), decoded as a file of its own."""
    size = struct.pack("<HH", frame.width, frame.height)
    bits = max(1, (len(frame.palette) // 3 - 1).bit_length()) if frame.palette else 0
    head = b"GIF89a" + size + bytes([0x80 | bits - 1 if bits else 0, 0, 0]) + frame.palette
    place = b"\x2c" + b"\0" * 4 + size + bytes([0x40 * frame.interlaced])
    with Image.open(BytesIO(head + place + frame.data + b";"), formats=("GIF",)) as image:
        image.load()
        return np.asarray(image)


def is_grey(gif: Gif) -> bool:
    """Is it a grey picture: one frame whose palette holds greys alone?"""
    table = np.frombuffer(gif.frames[0].palette, np.uint8).reshape(-1, 3)
    return len(gif.frames) == 1 and bool((table == table[:, :1]).all())
