"""Which kind of picture a file is that cannot be read here, though it may well be whole."""

from PIL import Image

from stylize.exif import Read, Value, parse_tiff

_STARTS = {
    b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL ": "JPEG XL", b"II\xbc": "JPEG XR", b"qoif": "QOI",
    b"8BPS": "Photoshop", b"%PDF": "PDF", b"%!PS": "PostScript", b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR", b"<svg": "SVG", b"<?xml": "XML, perhaps SVG", b"gimp xcf": "GIMP",
    b"FUJIFILMCCD-RAW": "raw", b"\xff\xd8\xff\xf7": "JPEG-LS", b"\xd7\xcd\xc6\x9a": "Windows Metafile",
    b"BPG\xfb": "BPG", b"SIMPLE  =": "FITS", b"\0\0\1\0": "icon", b"DDS ": "DirectDraw", b"AT&TFORM": "DjVu",
}  # fmt: skip
"""First bytes of files of other kinds."""

_WIDTH, _BITS, _COMPRESSION, _COLOURS, _SAMPLES, _PLANES, _FORMAT = 256, 258, 259, 262, 277, 284, 339
_SEPARATE = 2
_BASIC = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}
_COMPRESSIONS = {
    6: "old JPEG", 34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34925: "LZMA",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL", 34892: "lossy DNG",
    34887: "LERC", 34661: "JBIG",
}  # fmt: skip
_OPTIONAL = {50000, 50001}
"""Compressions that are known by name also to builds of Pillow that lack them."""

_NUMBERS = {2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
_RAW_COLOURS = {32803, 34892}


def unread_kind(start: bytes, read: Read) -> str:
    """What a file is that nobody here knows how to open; empty if that cannot be told."""
    for first, kind in _STARTS.items():
        if start.startswith(first):
            return kind
    tags = parse_tiff(read)
    bits, width = tags.tags.get(_BITS), tags.number(_WIDTH)
    if not width or (bits is None and _COLOURS not in tags.tags):
        return ""
    if tags.number(_COLOURS) in _RAW_COLOURS:
        return "raw"
    if read(0, 4) == b"MM\0+":
        return "BigTIFF with the most significant byte first"
    return _described(bits, int(tags.number(_FORMAT) or 1), int(tags.number(_COMPRESSION) or 1), tags.order)


def _described(bits: Value | None, numbers: int, compression: int, order: str) -> str:
    """A TIFF by how it holds its pixels."""
    if compression not in _BASIC:
        return f"TIFF with {_COMPRESSIONS.get(compression, f'compression {compression}')}"
    if bits is None:
        return "TIFF"
    depth = int.from_bytes(bits.data[:2], "little" if order == "<" else "big")
    return f"TIFF with {bits.count} x {depth}-bit {_NUMBERS.get(numbers, 'integers')} a pixel"


def unsound_kind(image: Image.Image, failed: bool = False) -> str:
    """What an opened TIFF is that Pillow decodes wrong, or not at all if that `failed`; empty for all
    others."""
    tags = getattr(image, "tag_v2", {})
    if failed and (compression := tags.get(_COMPRESSION, 1)) in _OPTIONAL:
        return f"TIFF with {_COMPRESSIONS[compression]}"
    if tags.get(_PLANES) == _SEPARATE and image.mode in {"LA", "PA"}:
        return "TIFF with grey and transparency in planes of their own"
    return ""
