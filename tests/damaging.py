"""Real picture files of every format, and ways to damage them: for the short fuzz test and the long one."""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from stylize.depth import deep_png, deep_tiff

EXAMPLES = Path(__file__).parent.parent / "examples"


def samples() -> dict[str, bytes]:
    """Whole files by name, 160 pixels wide, with metadata."""
    photo = Image.open(EXAMPLES / "temple.jpg").convert("RGB").resize((160, 107))
    moved = [photo.rotate(3 * i) for i in range(4)]
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "Box Camera", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = {"exif": exif.tobytes(), "icc_profile": profile}
    film = {"save_all": True, "append_images": moved[1:], "duration": 70}
    rgba = photo.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(photo.size))
    kinds = {
        "jpg": (photo, "JPEG", tags | {"xmp": b"<x/>", "comment": b"hello"}),
        "progressive.jpg": (photo, "JPEG", {"progressive": True}),
        "cmyk.jpg": (photo.convert("CMYK"), "JPEG", {}),
        "grey.jpg": (photo.convert("L"), "JPEG", {}),
        "png": (rgba, "PNG", tags),
        "palette.png": (photo.quantize(64), "PNG", {"transparency": 3}),
        "1.png": (photo.convert("1"), "PNG", {}),
        "animated.png": (photo, "PNG", film),
        "webp": (photo, "WEBP", tags),
        "lossless.webp": (rgba, "WEBP", {"lossless": True}),
        "animated.webp": (photo, "WEBP", film),
        "tiff": (photo, "TIFF", tags),
        "lzw.tiff": (rgba, "TIFF", {"compression": "tiff_lzw"}),
        "zip.tiff": (photo.convert("CMYK"), "TIFF", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tiff": (photo, "TIFF", {"compression": "jpeg"}),
        "fax.tiff": (photo.convert("1"), "TIFF", {"compression": "group4"}),
        "float.tiff": (photo.convert("F"), "TIFF", {}),
        "bmp": (photo, "BMP", {}),
        "palette.bmp": (photo.quantize(16), "BMP", {}),
        "gif": (photo.quantize(32), "GIF", {}),
        "animated.gif": (photo, "GIF", film),
        "avif": (photo, "AVIF", tags),
        "animated.avif": (photo, "AVIF", film),
        "ppm": (photo, "PPM", {}),
        "tga": (rgba, "TGA", {"compression": "tga_rle"}),
        "jp2": (photo, "JPEG2000", {}),
    }
    found = {name: _saved(*arguments) for name, arguments in kinds.items()}
    deep = np.asarray(rgba).astype(np.uint16) * 257
    found |= {"deep.png": deep_png(deep, {}), "deep.tiff": deep_tiff(deep[..., :3], {})}
    try:
        import pillow_heif
    except ImportError:
        return found
    pillow_heif.register_heif_opener(thumbnails=False)
    return found | {"heic": _saved(photo, "HEIF", {})}


def _saved(image: Image.Image, format_name: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def damaged(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """A file with one to three kinds of damage; `other` is another file, for splicing."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        size = max(1, len(data))
        # Headers do the most harm, so half of all damage is done there.
        place = chance.randrange(min(size, 300) if chance.random() < 0.5 else size)
        match chance.randrange(8):
            case 0:
                del data[place:]
            case 1:
                for _ in range(chance.choice((1, 4, 30))):
                    if data:
                        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 2:
                data[place : place + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            case 3:
                data[place : place + chance.randrange(1, 64)] = b""
            case 4:
                data[place:] = other[chance.randrange(len(other)) :]
            case 5:
                data[place:place] = chance.randbytes(chance.randrange(1, 64))
            case 6:
                data[place : place + 2] = chance.randbytes(2)
            case 7:
                data[place : place + 8] = data[chance.randrange(size) :][:8]
    return bytes(data)
