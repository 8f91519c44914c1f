"""EXIF, and the tags of a TIFF, as bytes: what a camera or a person wrote goes into the result untouched.

Values are never decoded and encoded again (Pillow would make "?" of every accent, and hours of a file that
holds millions of fractions). What cannot be read is left out; all that is read has a limit.
https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MOST_BYTES = 4 << 20
"""Of all values together; cameras write some ten thousand."""

_MOST_TAGS = 1000
"""In one directory."""

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
_WITHIN = {EXIF_IFD, GPS_IFD, INTEROP_IFD}
"""Tags that point to directories of their own."""

_ORIENTATION = 274
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_LONG_SIZES = {16: 8, 17: 8, 18: 8}
"""Bytes of one value by its type; the latter are of BigTIFF alone."""

_UNITS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8}
"""Bytes that change places when the byte order changes."""

_COMMENT, _UNICODE = 0x9286, b"UNICODE\0"
"""A person's comment, and how it starts where 16-bit letters follow, in the byte order of the file."""

_START = b"Exif\0\0"

Read = Callable[[int, int], bytes]
"""Offset, size -> bytes of a file, fewer at its end."""


@dataclass(frozen=True)
class Value:
    """A tag's type and its bytes, in the byte order of its file."""

    kind: int
    data: bytes

    @property
    def count(self) -> int:
        """How many values of the type there are."""
        return len(self.data) // _SIZES[self.kind]


@dataclass
class Directory:
    """Tags by their numbers, and the directories that some of them point to."""

    order: str
    """"<" for the least significant byte first, ">" for the most."""
    tags: dict[int, Value] = field(default_factory=dict)
    within: dict[int, "Directory"] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tags or any(self.within.values()))

    def pop(self, *tags: int) -> None:
        """Take tags out, here and in the directories within."""
        for tag in tags:
            self.tags.pop(tag, None)
            self.within.pop(tag, None)
        for directory in self.within.values():
            directory.pop(*tags)

    def number(self, tag: int) -> float | None:
        """The first value of a tag as a number; None where there is none."""
        value = self.tags.get(tag)
        form = {1: "B", 6: "b", 3: "H", 8: "h", 4: "L", 9: "l", 5: "LL", 10: "ll", 11: "f", 12: "d"}
        if value is None or value.kind not in form:
            return None
        found = struct.unpack_from(self.order + form[value.kind], value.data)
        if len(found) == 1:
            return found[0]
        return found[0] / found[1] if found[1] else None

    @property
    def orientation(self) -> int:
        """How the picture is to be turned, from 1 (not at all) to 8, in whatever type it is written."""
        found = self.number(_ORIENTATION)
        return int(found) if found is not None and found in range(1, 9) else 1


def parse(exif: bytes) -> Directory:
    """The tags of an EXIF block, with or without its first word; none where it cannot be read."""
    while exif.startswith(_START):
        exif = exif[len(_START) :]
    return parse_tiff(lambda place, size: exif[place : place + size])


def parse_tiff(read: Read, leave: frozenset[int] | set[int] = frozenset()) -> Directory:
    """The tags of a file's first picture, but for those in `leave`; none where it cannot be read."""
    order, big = _form(head := read(0, 16))
    try:
        return (
            _Reader(read, order, big).directory(_first(head, order, big), leave) if order else Directory("<")
        )
    except struct.error:
        return Directory("<")


def claimed_bytes(read: Read) -> int:
    """How many bytes a TIFF says that the values of its tags take, overlaps counted twice; of a large one, as
    others may read it, too."""
    order, big = _form(head := read(0, 16))
    claims = [0]
    forms = {False, big} if order == ">" else {big}  # Pillow takes a large one of this order for a small one
    for wide in forms if order else set():
        sizes = {**_SIZES, **(_LONG_SIZES if wide else {})}
        try:
            entries = list(_Reader(read, order, wide).entries(_first(head, order, wide), most=1 << 16))
        except struct.error:
            continue
        claims.append(sum(count * sizes.get(kind, 0) for _, kind, count, _ in entries))
    return max(claims)


def _form(head: bytes) -> tuple[str, bool]:
    """Byte order of a TIFF that starts like this, and is it a BigTIFF; no order if it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    kind = set(head[2:4]) - {0}  # some programs write these two bytes in the other order
    return (order, kind == {43}) if kind in ({42}, {43}) else ("", False)


def _first(head: bytes, order: str, big: bool) -> int:
    """Where the first directory of a TIFF lies."""
    return struct.unpack_from(order + ("Q" if big else "L"), head, 8 if big else 4)[0]


class _Reader:
    """Reads directories of one file, within one limit for all of them."""

    def __init__(self, read: Read, order: str, big: bool) -> None:
        self._read, self._order, self._big = read, order, big
        self._left = MOST_BYTES
        self._seen: set[int] = set()

    def entries(self, place: int, most: int = _MOST_TAGS) -> Iterator[tuple[int, int, int, bytes]]:
        """Tag, type, count and the field that holds the value or says where it is."""
        head, size, form = (8, 20, "HHQ8s") if self._big else (2, 12, "HHL4s")
        count = struct.unpack(self._order + ("Q" if self._big else "H"), self._read(place, head))[0]
        table = self._read(place + head, min(count, most) * size)
        for at in range(0, len(table) - size + 1, size):
            yield struct.unpack_from(self._order + form, table, at)

    def directory(self, place: int, leave: frozenset[int] | set[int] = frozenset()) -> Directory:
        """The tags at a place of the file."""
        found = Directory(self._order)
        if place in self._seen or len(self._seen) > len(_WITHIN):
            return found
        self._seen.add(place)
        for tag, kind, count, where in self.entries(place):
            if tag in leave or tag in found.tags:
                continue
            value = self._value(kind, count, where)
            if value is None:
                continue
            if tag not in _WITHIN:
                found.tags[tag] = value
            elif value.kind in {4, 13} and len(value.data) >= 4 and tag not in found.within:
                try:
                    below = self.directory(struct.unpack_from(self._order + "L", value.data)[0], leave)
                except struct.error:
                    continue
                found.within[tag] = below
        return found

    def _value(self, kind: int, count: int, where: bytes) -> Value | None:
        """What a field holds or points to; None if it cannot be had whole."""
        unit = _SIZES.get(kind) or (_LONG_SIZES.get(kind) if self._big else None)
        if unit is None or count == 0 or (size := unit * count) > self._left:
            return None
        data = where[:size]
        if size > len(where):
            data = self._read(struct.unpack(self._order + ("Q" if self._big else "L"), where)[0], size)
        if len(data) != size:
            return None
        self._left -= size
        return self._narrowed(kind, data) if kind in _LONG_SIZES else Value(kind, data)

    def _narrowed(self, kind: int, data: bytes) -> Value | None:
        """8-byte integers as 4-byte ones, which alone EXIF knows."""
        wide, narrow, new = {16: ("Q", "L", 4), 17: ("q", "l", 9), 18: ("Q", "L", 13)}[kind]
        numbers = struct.unpack(f"{self._order}{len(data) // 8}{wide}", data)
        try:
            return Value(new, struct.pack(f"{self._order}{len(numbers)}{narrow}", *numbers))
        except struct.error:
            return None


def serialised(directory: Directory, start: int = 8) -> bytes:
    """A directory with all that it points to, as it stands at the offset `start` of a file."""
    order = directory.order
    below = {tag: inner for tag, inner in directory.within.items() if inner}
    tags = sorted({*directory.tags, *below})
    place = start + 2 + 12 * len(tags) + 4
    table, data = [struct.pack(order + "H", len(tags))], []
    for tag in tags:
        if tag in below:
            content = serialised(below[tag], place)
            table.append(struct.pack(order + "HHLL", tag, 4, 1, place))
        else:
            value = directory.tags[tag]
            short = len(value.data) <= 4
            where = value.data.ljust(4, b"\0") if short else struct.pack(order + "L", place)
            table.append(struct.pack(order + "HHL4s", tag, value.kind, value.count, where))
            content = b"" if short else value.data
        content += b"\0" * (len(content) % 2)
        data.append(content)
        place += len(content)
    return b"".join([*table, b"\0" * 4, *data])


def block(directory: Directory) -> bytes:
    """A directory as an EXIF block; nothing if it has no tags."""
    if not directory:
        return b""
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[directory.order]
    return _START + head + serialised(directory)


def in_order(directory: Directory, order: str) -> Directory:
    """The same tags in this byte order."""
    if directory.order == order:
        return directory
    tags = {tag: Value(value.kind, _swapped(tag, value)) for tag, value in directory.tags.items()}
    return Directory(order, tags, {tag: in_order(inner, order) for tag, inner in directory.within.items()})


def _swapped(tag: int, value: Value) -> bytes:
    """The bytes of a value in the other order."""
    if tag == _COMMENT and value.data.startswith(_UNICODE):
        head, text = value.data[: len(_UNICODE)], value.data[len(_UNICODE) :]
        return head + _exchanged(text[: len(text) // 2 * 2], 2)
    return _exchanged(value.data, _UNITS.get(value.kind, 1))


def _exchanged(data: bytes, unit: int) -> bytes:
    result = bytearray(data)
    for place in range(unit):
        result[place::unit] = data[unit - 1 - place :: unit]
    return bytes(result)


def into_tiff(content: bytes, directory: Directory) -> bytes:
    """A TIFF of one picture, as Pillow writes them, with these tags beside those that it has."""
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    own = parse_tiff(lambda place, size: content[place : place + size])
    more = in_order(directory, order)
    both = Directory(order, {**more.tags, **own.tags}, {**more.within, **own.within})
    content += b"\0" * (len(content) % 2)
    head = content[:4] + struct.pack(order + "L", len(content))
    return head + content[8:] + serialised(both, len(content))
