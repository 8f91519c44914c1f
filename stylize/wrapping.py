"""What a picture file holds beside its pixels, taken out before anything else looks at the file.

Pillow decodes metadata as it opens a file, whatever that costs, and gives up a picture for one odd tag. So
JPEG and PNG are taken apart here, within limits, and Pillow gets the pixels alone.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

MOST_TEXT = 65_536
"""Characters of one text, more of which are no caption."""

_MOST_TEXTS = 1 << 20
"""Bytes of all texts, profiles aside."""

_MOST_PROFILE = 8 << 20
_MOST_XMP = 1 << 20
_MOST_SCANS = 200
"""Of a progressive JPEG, each of which goes over all pixels; encoders make about ten."""

_HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions (ITU-T H.273) whose light is beyond that of sRGB."""


class OtherKindError(Exception):
    """A whole file of a kind that is not read here; says which."""


@dataclass
class Beside:
    """What a file holds beside its pixels, as it stands there."""

    exif: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    iptc: bytes = b""
    comment: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What could not be kept, in a user's words."""
    whole: bool = True
    """Has it its end mark?"""

    def lose(self, what: str) -> None:
        """Note that something is left out, once."""
        if what not in self.left_out:
            self.left_out.append(what)


def hdr_name(transfer: int) -> str:
    """The name of a transfer function of high dynamic range; empty for others."""
    return _HDR.get(transfer, "")


def is_jpeg(start: bytes) -> bool:
    """Does a file that starts like this hold a JPEG?"""
    return start[:3] == b"\xff\xd8\xff"


def is_png(start: bytes) -> bool:
    """Does a file that starts like this hold a PNG?"""
    return start[:8] == b"\x89PNG\r\n\x1a\n"


# -- JPEG -----------------------------------------------------------------------------------------

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BARE = {0x00, 0x01, *range(0xD0, 0xD9)}
"""Markers with nothing behind them."""

_SOS, _EOI, _COMMENT = 0xDA, 0xD9, 0xFE
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def unwrap_jpeg(content: bytes) -> tuple[bytes, Beside]:
    """A JPEG without metadata, cut at its end, and the metadata.

    Raises OtherKindError for what cannot be decoded here, ValueError for what would take too long.
    """
    beside, kept, place = Beside(), [content[:2]], 2
    profile: dict[int, bytes] = {}
    while place + 4 <= len(content):
        marker = content[place + 1]
        if content[place] != 0xFF or marker == 0xFF or marker in _BARE:
            place += 1  # junk between segments, which others overlook, too
            continue
        if marker in {_SOS, _EOI}:
            break
        stop = place + 2 + struct.unpack_from(">H", content, place + 2)[0]
        segment = content[place + 4 : stop]
        if marker in _FRAMES and segment[:1] not in {b"\x08", b""}:
            raise OtherKindError(f"{segment[0]}-bit JPEG")
        if marker in {*range(0xE0, 0xF0), _COMMENT}:
            _take_segment(marker, segment, beside, profile)
        if marker not in {*range(0xE1, 0xEE), 0xEF, _COMMENT}:
            kept.append(content[place:stop])
        place = stop
    beside.profile = b"".join(profile[number] for number in sorted(profile))
    end = _end_of_scans(content, place)
    beside.whole = end is not None
    return b"".join([*kept, content[place:end]]), beside


def _take_segment(marker: int, segment: bytes, beside: Beside, profile: dict[int, bytes]) -> None:
    """Keep what one segment of a JPEG says."""
    if marker == _COMMENT:
        beside.comment = segment
    elif marker == 0xE1 and segment.startswith(b"Exif\0"):
        beside.exif += segment if not beside.exif else segment[6:]
    elif marker == 0xE1 and segment.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        beside.xmp = beside.xmp or segment[29:]
    elif marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0") and len(segment) > 14:
        profile.setdefault(segment[12], segment[14:])
    elif marker == 0xED and segment.startswith(b"Photoshop 3.0\0"):
        beside.iptc = beside.iptc or iptc_of(segment[14:])


def _end_of_scans(content: bytes, place: int) -> int | None:
    """Where a JPEG ends whose pixels begin at `place`; None where its end mark is missing."""
    scans = 0
    while found := _MARKER.search(content, place):
        place = found.end()
        if content[place - 1] == _EOI:
            return place
        scans += content[place - 1] == _SOS
        if scans > _MOST_SCANS:
            raise ValueError("more scans than any encoder makes")
        if content[place - 1] not in _BARE:
            place += (
                struct.unpack_from(">H", content.ljust(place + 2, b"\0"), place)[0]
                if (place + 2 <= len(content))
                else 2
            )
    return None


def iptc_of(resources: bytes) -> bytes:
    """The block of IPTC fields among Photoshop's resources; nothing if there is none."""
    place = 0
    while resources[place : place + 4] == b"8BIM" and place + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, place + 4)
        name = 1 + resources[place + 6]
        start = place + 6 + name + name % 2
        if start + 4 > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, start)
        if number == 0x0404:
            return resources[start + 4 : start + 4 + size]
        place = start + 4 + size + size % 2
    return b""


# -- PNG ------------------------------------------------------------------------------------------

_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"pHYs"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_OF_FRAMES = {b"acTL", b"fcTL", b"fdAT"}
_XMP_KEY, _RAW = "XML:com.adobe.xmp", "Raw profile type "
_END = b"\0\0\0\0IEND\xaeB`\x82"


def unwrap_png(content: bytes) -> tuple[bytes, Beside]:
    """A PNG with what its pixels need alone, and its metadata. Raises OtherKindError for what is not read."""
    beside, room = Beside(), [_MOST_TEXTS]
    kept: list[tuple[bytes, bytes]] = []
    place, ending = 8, b""
    for kind, start, stop in png_chunks(content):
        sound = zlib.crc32(content[start - 4 : stop]) == struct.unpack_from(">I", content, stop)[0]
        place = stop + 4
        if kind in _NEEDED or not kind[0] & 32:
            if sound or not kind[0] & 32:
                kept.append((kind, content[start - 8 : place]))
            else:
                beside.lose(f"a broken part ({kind.decode('latin-1')})")
        elif not sound:
            beside.lose(f"a broken part ({kind.decode('latin-1')!r})")
        else:
            _take_chunk(kind, content[start:stop], beside, room)
        if kind == b"IEND":
            break
    else:
        ending = content[place:] or _END
    if not _frames_are_sound(kept):
        beside.lose("its frames")
        kept = [(kind, chunk) for kind, chunk in kept if kind not in _OF_FRAMES]
    return b"".join([content[:8], *(chunk for _, chunk in kept), ending]), beside


def _frames_are_sound(chunks: list[tuple[bytes, bytes]]) -> bool:
    """Has a PNG no frames, or as many as it says, each with data, and in order?"""
    said = [struct.unpack_from(">I", chunk, 8)[0] for kind, chunk in chunks if kind == b"acTL"]
    order = [(kind, chunk[8:12]) for kind, chunk in chunks if kind in {b"fcTL", b"fdAT"}]
    if not said:
        return not order
    numbers = [number for _, number in order]
    kinds = [kind for kind, _ in chunks if kind in {b"fcTL", b"fdAT", b"IDAT"}]
    empty = any(kind == b"fcTL" and then == b"fcTL" for kind, then in pairwise([*kinds, b"fcTL"]))
    return (
        numbers == [struct.pack(">I", index) for index in range(len(order))]
        and said != [0]
        and said == [sum(kind == b"fcTL" for kind, _ in order)]
        and not empty
    )


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and first and last byte of the data, of every whole chunk."""
    place = 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        if place + 12 + size > len(content):
            return
        yield content[place + 4 : place + 8], place + 8, place + 8 + size
        place += 12 + size


def _take_chunk(kind: bytes, data: bytes, beside: Beside, room: list[int]) -> None:
    """Keep what one chunk of a PNG says; `room` is how many bytes of texts there may still be."""
    try:
        if kind == b"eXIf":
            beside.exif = data
        elif kind == b"cICP" and hdr_name(data[1]):
            raise OtherKindError(f"{hdr_name(data[1])} picture of high dynamic range")
        elif kind == b"iCCP":
            beside.profile = _inflated(data[data.index(b"\0") + 2 :], _MOST_PROFILE)
        elif kind in _TEXTS:
            _take_text(kind, data, beside, room)
    except (ValueError, IndexError, zlib.error):
        what = {b"iCCP": "its colour profile", b"eXIf": "its EXIF"}.get(kind, "a long or broken text")
        beside.lose(what)


def _take_text(kind: bytes, data: bytes, beside: Beside, room: list[int]) -> None:
    key, _, rest = data.partition(b"\0")
    name, code = key.decode("latin-1"), "latin-1"
    most = min(room[0], _MOST_XMP if name == _XMP_KEY or name.startswith(_RAW) else 4 * MOST_TEXT)
    if kind == b"iTXt":
        packed, code = rest[:1] == b"\1", "utf-8"
        rest = rest[2:].split(b"\0", 2)[2]
    else:
        packed, rest = kind == b"zTXt", rest[kind == b"zTXt" :]
    text = _inflated(rest, most) if packed else rest
    if len(text) > most:
        raise ValueError("a text is too long")
    room[0] -= len(text)
    if name == _XMP_KEY:
        beside.xmp = text
    elif name.startswith(_RAW):
        _take_raw(name.removeprefix(_RAW), text, beside)
    else:
        beside.texts[name] = text.decode(code)


def _take_raw(name: str, text: bytes, beside: Beside) -> None:
    """A profile in hexadecimal digits, behind a line with its name and one with its length."""
    raw = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    if name in {"exif", "APP1"} and raw.startswith((b"Exif", b"II", b"MM")):
        beside.exif = beside.exif or raw
    elif name == "xmp":
        beside.xmp = beside.xmp or raw
    elif name == "iptc":
        beside.iptc = beside.iptc or iptc_of(raw) or raw


def _inflated(data: bytes, most: int) -> bytes:
    """What was deflated. Raises ValueError for more than `most` bytes."""
    packer = zlib.decompressobj()
    result = packer.decompress(data, most + 1)
    if len(result) > most:
        raise ValueError("too long")
    return result


def grey_bits(content: bytes) -> int:
    """Bits of a pixel in a grey PNG; 0 in one of another kind."""
    return content[24] if len(content) > 25 and content[25] == 0 else 0
