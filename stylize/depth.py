"""PNG and TIFF with 16 bits per channel, of which Pillow reads and writes only the upper eight.

Reading: Pillow can be told to take the first or the second byte of every sample, so two passes give both.
Writing: Pillow writes a picture of bytes with all its metadata, and the few fields of the header that say
how the bytes form pixels are put right.
"""

import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from stylize.pixels import levels_of

_PAIRED = {"RGB;16", "RGBA;16", "RGBX;16"}
_GREY_WITH_ALPHA = "LA;16B"
_WHITES = {"I;12": 4095, "I;16S": 32767, "I;16BS": 32767, "I;16NS": 32767}
"""The level that is white in these ways to hold a pixel, where it is not 65,535."""

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PLANES, _SEPARATE = 284, 2
_SAMPLE_FORMAT = 339


def is_deep(image: Image.Image) -> bool:
    """Has an opened picture more than 8 bits per channel, and can they be had?

    Not from a TIFF that holds one plane after the other: Pillow takes the upper byte of every sample then.
    """
    raw = _raw_mode(image)
    if _tiff_tag(image, _PLANES) == _SEPARATE:
        return False
    return image.mode[0] in "IF" or raw == _GREY_WITH_ALPHA or raw[:-1] in _PAIRED


def read_deep(image: Image.Image, again: Callable[[], Image.Image]) -> np.ndarray:
    """All bits of a picture that `is_deep`, as stored: uint16 (H, W, C), grey, RGB or either with alpha.

    `again` opens the same file once more.
    """
    raw = _raw_mode(image)
    if image.mode[0] in "IF":
        signed = _tiff_tag(image, _SAMPLE_FORMAT) in {2, (2,)}
        levels = levels_of(_loaded(image), signed)[..., None]
        if (white := _WHITES.get(raw)) is not None:
            levels = (levels.astype(np.uint32) * 65535 // white).clip(0, 65535).astype(np.uint16)
        if image.mode.startswith("I;16") and _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
            levels = 65535 - levels
    elif raw == _GREY_WITH_ALPHA:
        levels = np.asarray(_loaded(image, "RGBA")).view(">u2").astype(np.uint16)
    else:
        swapped = {"L": False, "B": True, "N": sys.byteorder == "big"}[raw[-1]]
        upper, lower = ("B", "L") if swapped else ("L", "B")
        levels = np.asarray(_loaded(image, raw[:-1] + upper)).astype(np.uint16) << 8
        levels |= np.asarray(_loaded(again(), raw[:-1] + lower))
    return _with_clear_colour(levels, image.info.get("transparency"))


def _raw_mode(image: Image.Image) -> str:
    """How the file holds a pixel, in Pillow's words; empty if it does not say."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _loaded(image: Image.Image, raw: str = "") -> Image.Image:
    """The picture, decoded as if the file held pixels in this way."""
    if raw:
        image.tile = [  # pyright: ignore[reportAttributeAccessIssue]
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in image.tile  # pyright: ignore[reportAttributeAccessIssue]
        ]
    image.load()
    return image


def _tiff_tag(image: Image.Image, tag: int) -> object:
    return getattr(image, "tag_v2", {}).get(tag)


def _with_clear_colour(levels: np.ndarray, clear: object) -> np.ndarray:
    """PNG may name one colour that stands for clear."""
    if clear is None or levels.shape[-1] in {2, 4}:
        return levels
    alpha = (levels != np.array(clear, dtype=np.uint16)).any(axis=-1, keepdims=True)
    return np.concatenate([levels, alpha.astype(np.uint16) * 65535], axis=-1)


# -- writing --------------------------------------------------------------------------------------

_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_TIFF_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WIDTH, _BITS = 256, 258


def deep_png(pixels: np.ndarray, options: dict[str, object]) -> bytes:
    """uint16 (H, W, C) as a PNG. `options` are Pillow's, for metadata."""
    height, width, channels = pixels.shape
    frame = BytesIO()
    Image.new("L", (1, 1)).save(frame, "PNG", **options)  # pyright: ignore[reportArgumentType]
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    result = [frame.getvalue()[:8]]
    for kind, data in _chunks(frame.getvalue()):
        if kind == b"IHDR":
            data = header
        elif kind == b"IDAT":
            data = _compressed(pixels)
        result.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(result)


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        chunks.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _compressed(pixels: np.ndarray) -> bytes:
    """Rows as differences of neighbouring pixels (PNG's filter 1), which compress better."""
    packer, parts = zlib.compressobj(6), []
    step = 2 * pixels.shape[-1]
    for row in pixels.astype(">u2"):
        values = np.frombuffer(row.tobytes(), np.uint8)
        values = np.concatenate([values[:step], values[step:] - values[:-step]])
        parts.append(packer.compress(b"\1" + values.tobytes()))
    return b"".join([*parts, packer.flush()])


def deep_tiff(pixels: np.ndarray, options: dict[str, object]) -> bytes:
    """uint16 (H, W, C) as an uncompressed TIFF. `options` are Pillow's, for metadata."""
    height, width, channels = pixels.shape
    values = np.ascontiguousarray(pixels, "<u2").view(np.uint8).reshape(height, 2 * width, channels)
    mode = _TIFF_MODES[channels]
    image = Image.frombuffer(mode, (2 * width, height), values.tobytes(), "raw", mode, 0, 1)
    file = BytesIO()
    image.save(file, "TIFF", **options)  # pyright: ignore[reportArgumentType]
    content = bytearray(file.getvalue())
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", content, entry)
        if tag == _WIDTH:
            struct.pack_into("<H" if kind == 3 else "<I", content, entry + 8, width)
        elif tag == _BITS:
            at = entry + 8 if number <= 2 else value
            struct.pack_into(f"<{number}H", content, at, *[16] * number)
    return bytes(content)
