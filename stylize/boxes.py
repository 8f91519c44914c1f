"""What the boxes of an AVIF or HEIC say and Pillow does not: light beyond sRGB, a smaller part.

Boxes are those of ISO/IEC 14496-12, properties those of ISO/IEC 23008-12.
"""

import re
import struct
from collections.abc import Iterator

from stylize.exif import Read, claimed_bytes

_DEPTH = 1000
"""Boxes side by side that are looked at."""

_TIFF_STARTS = re.compile(rb"II\*\0|MM\0\*")


def is_boxes(start: bytes) -> bool:
    """Does a file that starts like this consist of boxes?"""
    return start[4:8] == b"ftyp"


def transfer_of(content: bytes) -> int:
    """The transfer function (ITU-T H.273) of the picture; 2, unspecified, if the file does not say."""
    for kind, data in _properties(content):
        if kind == b"colr" and data[:4] == b"nclx" and len(data) >= 10:
            return struct.unpack_from(">H", data, 6)[0]
    return 2


def clean_aperture(content: bytes, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The part (left, top, right, bottom) of a picture of this size that is to be shown, where not all is."""
    width, height = size
    for kind, data in _properties(content):
        if kind != b"clap" or len(data) < 32:
            continue
        wide, wide_in, high, high_in, x, x_in, y, y_in = struct.unpack(">LLLLlLlL", data[:32])
        if not (wide_in and high_in and x_in and y_in):
            return None
        wide, high = wide / wide_in, high / high_in
        left = round(x / x_in + (width - wide) / 2)
        top = round(y / y_in + (height - high) / 2)
        part = left, top, left + round(wide), top + round(high)
        sound = 0 <= left < part[2] <= width and 0 <= top < part[3] <= height
        return part if sound and part != (0, 0, width, height) else None
    return None


def claims_of_tags(content: bytes) -> int:
    """The most bytes that a TIFF anywhere within says that the values of its tags take."""
    places = [found.start() for found in _TIFF_STARTS.finditer(content)][:16]
    return max((claimed_bytes(_reader(content, place)) for place in places), default=0)


def _reader(content: bytes, start: int) -> Read:
    return lambda place, size: content[start + place : start + place + size]


def _boxes(content: bytes, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind and place of the content of the boxes that lie side by side."""
    for _ in range(_DEPTH):
        if place + 8 > end:
            return
        size, kind = struct.unpack_from(">L4s", content, place)
        start = place + 8
        if size == 1 and place + 16 <= end:
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        stop = end if size == 0 else place + size
        if stop < start or stop > end:
            return
        yield kind, start, stop
        place = stop


def _within(content: bytes, place: int, end: int, kind: bytes) -> tuple[int, int]:
    """Where the content of the first box of a kind lies; an empty place if there is none."""
    found = next((box for box in _boxes(content, place, end) if box[0] == kind), (b"", end, end))
    return found[1], found[2]


def _properties(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of the properties of the main picture."""
    start, end = _within(content, 0, len(content), b"meta")
    start = min(start + 4, end)
    at, stop = _within(content, start, end, b"pitm")
    if stop - at < 6:
        return []
    main = struct.unpack_from(">H" if content[at] == 0 else ">L", content.ljust(at + 8, b"\0"), at + 4)[0]
    inner, inner_end = _within(content, start, end, b"iprp")
    listed = list(_boxes(content, *_within(content, inner, inner_end, b"ipco")))
    try:
        numbers = _associated(content, *_within(content, inner, inner_end, b"ipma"), main)
    except (struct.error, IndexError):
        return []
    chosen = [listed[number - 1] for number in numbers if 0 < number <= len(listed)]
    return [(kind, content[begin:stop]) for kind, begin, stop in chosen]


def _associated(content: bytes, place: int, end: int, item: int) -> list[int]:
    """The numbers of the properties that belong to an item."""
    if end - place < 8:
        return []
    version, wide = content[place], content[place + 3] & 1
    (count,) = struct.unpack_from(">L", content, place + 4)
    place += 8
    for _ in range(min(count, _DEPTH)):
        number = struct.unpack_from(">L" if version else ">H", content, place)[0]
        place += 4 if version else 2
        many = content[place]
        form = f">{many}{'H' if wide else 'B'}"
        found = struct.unpack_from(form, content, place + 1)
        place += 1 + many * (2 if wide else 1)
        if number == item:
            return [value & (0x7FFF if wide else 0x7F) for value in found]
    return []
