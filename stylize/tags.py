"""Metadata of picture files: read from wherever a format keeps it, written to wherever another does."""

import math
from collections.abc import Mapping

from PIL import Image, IptcImagePlugin, PngImagePlugin

from stylize.marking import shortened, with_captions
from stylize.picture import Picture

_ORIENTATION, _TIFF_XMP, _EXIF_IFD, _MAKER_NOTE = 274, 700, 0x8769, 0x927C
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

_TEXT_LIMIT = 65_536
_NOT_CAPTIONS = ("XML:com.adobe.xmp", "Raw profile type")

_IPTC = {(2, 5): "title", (2, 25): "subject", (2, 80): "creator", (2, 116): "rights", (2, 120): "description"}
_PNG = {"Title": "title", "Author": "creator", "Copyright": "rights", "Description": "description"}
"""IPTC fields and PNG keywords -> their names in the Dublin Core, which XMP uses."""


def read_tags(image: Image.Image) -> dict[str, object]:
    """EXIF, XMP, texts and resolution of a decoded picture, as fields of `Picture`.

    Captions in IPTC fields, PNG texts and comments are in the XMP too, so that every format keeps them.
    Damage in metadata never costs the picture: what cannot be read is left out.
    """
    texts = _texts(image)
    captions = _iptc(image) | {_PNG[key]: [text] for key, text in texts.items() if key in _PNG}
    if "Comment" in texts:
        captions.setdefault("description", [texts["Comment"]])
    xmp = _xmp(image)
    return {
        "exif": _exif(image),
        "xmp": with_captions(xmp, captions) if captions else xmp,
        "texts": texts,
        "dpi": _dpi(image),
    }


def _xmp(image: Image.Image) -> bytes:
    """The XMP packet, wherever the format keeps it."""
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else bytes(found)


def _texts(image: Image.Image) -> dict[str, str]:
    """The texts of a PNG, or the comment of a JPEG or GIF."""
    found = dict(getattr(image, "text", {})) if image.format == "PNG" else {}
    if image.format in {"JPEG", "MPO", "GIF"} and (comment := image.info.get("comment")):
        found["Comment"] = _decoded(comment)
    return {
        key: str(text)
        for key, text in found.items()
        if 0 < len(text) <= _TEXT_LIMIT and not key.startswith(_NOT_CAPTIONS) and "\0" not in text
    }


def _decoded(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _iptc(image: Image.Image) -> dict[str, list[str]]:
    try:
        fields = IptcImagePlugin.getiptcinfo(image) or {}  # pyright: ignore[reportArgumentType]
    except Exception:  # any damage
        return {}
    return {
        name: [_printable(_decoded(value)) for value in (found if isinstance(found, list) else [found])]
        for key, name in _IPTC.items()
        if (found := fields.get(key))
    }


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter for letter in text if letter >= " " or letter in "\n\t")


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, if they are such as a printer could use."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    usable = all(math.isfinite(value) and 1 < value <= 30_000 for value in (across, down))
    return (across, down) if usable else None


def _exif(image: Image.Image) -> bytes:
    """EXIF without what was true of the file but not of the picture; nothing if it cannot be read."""
    try:
        exif = image.getexif()
        for tag in _STRUCTURE:
            exif.pop(tag, None)
        if not len(exif):
            return b""
        inner = exif.get_ifd(_EXIF_IFD) if _EXIF_IFD in exif else {}
        for tag in _PIXEL_SIZE:
            inner.pop(tag, None)
    except Exception:  # any damage
        return b""
    try:
        return exif.tobytes()
    except Exception:  # one bad tag is enough
        return _sound_part(exif)


def _sound_part(exif: Image.Exif) -> bytes:
    """The tags that can be written."""
    sound = Image.Exif()
    for tag in list(exif):
        alone = Image.Exif()
        try:
            alone[tag] = exif[tag]
            alone.tobytes()
        except Exception:  # this is the bad one, or one of them
            continue
        sound[tag] = exif[tag]
    try:
        return sound.tobytes() if len(sound) else b""
    except Exception:  # a directory within is damaged
        return b""


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
    elif format_name == "TIFF" and xmp:
        tags = Image.Exif()  # for this format Pillow writes EXIF or other tags, not both
        if exif:
            tags.load(exif)
        tags[_TIFF_XMP] = xmp
        options["exif"] = tags
    elif xmp:
        options["xmp"] = xmp
    return options


def _short_exif(exif: bytes) -> bytes:
    """EXIF that fits into a JPEG: without the maker's notes, if they are what is too long."""
    if len(exif) <= _JPEG_SEGMENT:
        return exif
    tags = Image.Exif()
    try:
        tags.load(exif)
        tags.get_ifd(_EXIF_IFD).pop(_MAKER_NOTE, None)
        short = tags.tobytes()
    except Exception:  # any damage
        return b""
    return short if len(short) <= _JPEG_SEGMENT else b""


def _png_texts(texts: Mapping[str, str], xmp: bytes) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        if 0 < len(key) < 80 and key.isascii() and key.isprintable():
            chunks.add_itxt(key, text)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return chunks
