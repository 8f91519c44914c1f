"""Metadata of picture files: read from wherever a format keeps it, written to wherever another does."""

import math
import re
import struct
from collections.abc import Iterator, Mapping

from PIL import PngImagePlugin

from stylize import exif as exifs
from stylize.exif import Directory
from stylize.marking import LARGEST_XMP, is_sound, of_the_picture, shortened, with_captions
from stylize.picture import Picture
from stylize.wrapping import MOST_TEXT, Beside

_ORIENTATION, _TIFF_XMP, _TIFF_IPTC, _MAKER_NOTE = 274, 700, 33723, 0x927C
_PIXEL_SIZE = (0xA002, 0xA003)
_JPEG_SEGMENT = 65_533 - 29
"""Bytes that fit into one segment of a JPEG, beside the name that stands before XMP."""

_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291),
    *(292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336, 338, 339, 340),
    *(341, 342, 343, 344, 345, 346, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    *(_ORIENTATION, _TIFF_XMP, 33723, 34377, 34675, 37724),
}
"""TIFF tags that say how its pixels are stored, or hold what is kept elsewhere: not for another file."""

_NOT_CAPTIONS = ("XML:com.adobe.xmp", "Raw profile type")
_XMP_TURN = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')

_IPTC = {
    5: "title", 25: "subject", 40: "photoshop:Instructions", 55: "photoshop:DateCreated", 80: "creator",
    85: "photoshop:AuthorsPosition", 90: "photoshop:City", 92: "Iptc4xmpCore:Location",
    95: "photoshop:State", 101: "photoshop:Country", 103: "photoshop:TransmissionReference",
    105: "photoshop:Headline", 110: "photoshop:Credit", 115: "photoshop:Source", 116: "rights",
    120: "description", 122: "photoshop:CaptionWriter",
}  # fmt: skip
_PNG = {"Title": "title", "Author": "creator", "Copyright": "rights", "Description": "description"}
"""IPTC fields (of record 2) and PNG keywords -> their names in XMP, of the Dublin Core without a prefix."""

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_MOST_FIELDS = 500


def directory_of(beside: Beside, tiff: exifs.Read | None = None) -> Directory:
    """The EXIF of a file, or of a TIFF the tags of its picture, whose XMP and IPTC fields go to `beside`."""
    if tiff is None:
        found = exifs.parse(beside.exif)
        if beside.exif and not found:
            beside.lose("its EXIF")
        return found
    found = exifs.parse_tiff(tiff, _STRUCTURE - {_ORIENTATION, _TIFF_XMP, _TIFF_IPTC})
    if _TIFF_XMP in found.tags:
        beside.xmp = found.tags[_TIFF_XMP].data
    if _TIFF_IPTC in found.tags:
        beside.iptc = found.tags[_TIFF_IPTC].data
    return found


def turn_of(directory: Directory, xmp: bytes) -> int:
    """How a picture is to be turned, from 1 (not at all) to 8."""
    if _ORIENTATION in directory.tags:
        return directory.orientation
    found = _XMP_TURN.search(xmp[:LARGEST_XMP])
    return int(found[1]) if found else 1


def read_tags(
    beside: Beside, directory: Directory, dpi: object = None, is_png: bool = False
) -> dict[str, object]:
    """EXIF, XMP, texts and resolution of a picture, as fields of `Picture`, without what was true of the file
    but not of the picture.

    Captions in IPTC fields, PNG texts and comments are in the XMP too, so that every format keeps them.
    Damage in metadata never costs the picture: what cannot be read is left out.
    """
    texts = _texts(beside, is_png)
    captions = _captions(beside.iptc) | {_PNG[key]: [text] for key, text in texts.items() if key in _PNG}
    if "Comment" in texts:
        captions.setdefault("description", [texts["Comment"]])
    captions = {name: [_printable(text) for text in found] for name, found in captions.items()}
    if beside.xmp and not is_sound(beside.xmp):
        beside.lose("its XMP")
    xmp = of_the_picture(beside.xmp) if len(beside.xmp) <= LARGEST_XMP else b""
    resolution = _dpi(dpi) or _dpi(_dpi_of(directory))
    directory.pop(*_STRUCTURE, *_PIXEL_SIZE)
    return {
        "exif": exifs.block(directory),
        "xmp": with_captions(xmp, captions) if captions else xmp,
        "texts": texts,
        "dpi": resolution,
    }


def _texts(beside: Beside, is_png: bool) -> dict[str, str]:
    """The texts of a PNG, or the comment of a JPEG or GIF."""
    found = dict(beside.texts)
    if beside.comment:
        found["Comment"] = _decoded(beside.comment)
    kept = {
        key: text
        for key, text in found.items()
        if 0 < len(text) <= MOST_TEXT and not key.startswith(_NOT_CAPTIONS) and "\0" not in text
    }
    if is_png and any(len(text) > MOST_TEXT for text in found.values()):
        beside.lose("a long or broken text")
    return kept


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _captions(block: bytes) -> dict[str, list[str]]:
    """Captions among IPTC fields, by their names in XMP."""
    found: dict[str, list[str]] = {}
    for number, value in _fields(block):
        if number in _IPTC and (text := _decoded(value).strip("\0 ")):
            date = _DATE.fullmatch(text) if number == 55 else None
            found.setdefault(_IPTC[number], []).append("-".join(date.groups()) if date else text)
    return found


def _fields(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the fields of record 2, as IPTC-IIM 4.2 defines them."""
    place = 0
    for _ in range(_MOST_FIELDS):
        if place + 5 > len(block) or block[place] != 0x1C:
            return
        record, number, size = struct.unpack_from(">BBH", block, place + 1)
        if size & 0x8000:  # longer than any caption
            return
        if record == 2:
            yield number, block[place + 5 : place + 5 + size]
        place += 5 + size


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        letter
        for letter in text
        if (letter >= " " or letter in "\n\t") and not "\ud800" <= letter <= "\udfff" and letter < "\ufffe"
    )


def _dpi_of(directory: Directory) -> tuple[float, float] | None:
    """What the tags say of the resolution."""
    across, down, unit = (directory.number(tag) for tag in (282, 283, 296))
    if across is None or unit not in {2, 3}:
        return None
    scale = 2.54 if unit == 3 else 1
    return across * scale, (across if down is None else down) * scale


def _dpi(found: object) -> tuple[float, float] | None:
    """Pixels per inch, if they are such as a printer could use."""
    try:
        across, down = (float(value) for value in found)  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    usable = all(math.isfinite(value) and 1 < value <= 30_000 for value in (across, down))
    return (across, down) if usable else None


# -- writing --------------------------------------------------------------------------------------


def metadata_options(picture: Picture, format_name: str) -> dict[str, object]:
    """How Pillow is told to write metadata and resolution in this format."""
    options: dict[str, object] = {}
    if picture.dpi and format_name in {"JPEG", "PNG", "TIFF", "BMP"}:
        options["dpi"] = picture.dpi
    if format_name in {"GIF", "JPEG"} and "Comment" in picture.texts:
        options["comment"] = picture.texts["Comment"].encode()[:_JPEG_SEGMENT]
    if format_name in {"BMP", "GIF"}:
        return options
    exif, xmp = picture.exif, picture.xmp
    if format_name == "JPEG":
        exif, xmp = _short_exif(exif), shortened(xmp, _JPEG_SEGMENT)
    if exif:
        options["exif"] = exif
    if picture.profile and not picture.grey:
        options["icc_profile"] = picture.profile
    if format_name == "PNG":
        options["pnginfo"] = _png_texts(picture.texts, xmp)
    elif format_name == "TIFF":
        options.pop("exif", None)  # see `tiff_tags`
    elif xmp:
        options["xmp"] = xmp
    return options


def tiff_tags(picture: Picture) -> Directory:
    """What is put into a TIFF that Pillow has written without it: Pillow would make "?" of accents."""
    directory = exifs.parse(picture.exif)
    if picture.xmp:
        directory.tags[_TIFF_XMP] = exifs.Value(1, picture.xmp)
    return directory


def _short_exif(exif: bytes) -> bytes:
    """EXIF that fits into a JPEG: without the maker's notes, and then the longest tags, if it is too long."""
    if len(exif) <= _JPEG_SEGMENT:
        return exif
    directory = exifs.parse(exif)
    directory.pop(_MAKER_NOTE)
    places = [directory, *directory.within.values()]
    sizes = [(len(value.data), place, tag) for place in places for tag, value in place.tags.items()]
    excess = len(exifs.block(directory)) - _JPEG_SEGMENT
    for size, place, tag in sorted(sizes, key=lambda entry: entry[0], reverse=True):
        if excess <= 0:
            break
        place.pop(tag)
        excess -= size
    return exifs.block(directory)


def _png_texts(texts: Mapping[str, str], xmp: bytes) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        if 0 < len(key) < 80 and key.isascii() and key.isprintable():
            chunks.add_itxt(key, text)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return chunks
