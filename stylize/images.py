"""Picture files: reading every common kind into upright 8-bit sRGB, writing atomically."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageFilter, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from stylize.devices import free_memory
from stylize.errors import PictureError
from stylize.files import atomic_path
from stylize.paths import FORMATS

# Our own limit, checked from the header with a sentence of its own, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
MAX_PIXELS = 500_000_000

_BYTES_TO_PAINT = 8
"""Memory per pixel below which a picture cannot be painted: decoded (4), and as an array in and out."""

_TOO_LARGE = "{} does not fit into the free memory; make it smaller first."
_CPU = torch.device("cpu")

_BAND = 512
"""Rows of a picture that are copied at a time."""

_TIFF_XMP = 700
"""The tag under which TIFF files hold XMP."""

_WITH_ALPHA = {"PNG", "WEBP", "TIFF"}


@dataclass(frozen=True)
class Picture:
    """An upright picture: RGB (3, H, W) and, if it has one, alpha (H, W), both uint8; and its metadata.

    The three values of a pixel lie side by side in memory, as in files: no copy is needed either way.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    exif: bytes = b""
    xmp: bytes = b""
    has_profile: bool = False
    """Did the file carry a colour profile? The pixels are sRGB now, and are written with that profile."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.shape[2], self.rgb.shape[1]


def read_picture(source: Path | bytes, name: str = "") -> Picture:
    """Read a picture from a file or from its bytes, whatever its mode, turned upright.

    Raises PictureError with one sentence for anything that is not a whole picture.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    image = _decode(source, name)
    try:
        has_profile = bool(image.info.get("icc_profile"))
        return Picture(_rgb_tensor(image), _alpha_tensor(image), _exif(image), _xmp(image), has_profile)
    except MemoryError:
        raise PictureError(_TOO_LARGE.format(name)) from None


def read_rgb(path: Path, shorter_side: int | None = None) -> Tensor:
    """The picture as uint8 RGB (3, H, W), upright; reduced if its shorter side is longer."""
    image = _decode(path, str(path))
    if shorter_side and min(image.size) > shorter_side:
        scale = shorter_side / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        return _rgb_tensor(_to_rgb(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3))
    return _rgb_tensor(image)


def read_mask(path: Path, feather: float = 0) -> Tensor:
    """A mask as uint8 (H, W): the alpha channel if the picture has one, else its luminance.

    `feather` softens its edges, in pixels.
    """
    image = _decode(path, str(path))
    grey = (
        image.convert("RGBA").getchannel("A") if image.has_transparency_data else _to_rgb(image).convert("L")
    )
    if feather:
        grey = grey.filter(ImageFilter.GaussianBlur(feather / 2))
    return torch.from_numpy(np.array(grey))


def resize_picture(picture: Picture, longer_side: int) -> Picture:
    """The picture with this longer side, proportions kept."""
    scale = longer_side / max(picture.size)
    size = (max(1, round(picture.size[0] * scale)), max(1, round(picture.size[1] * scale)))
    rgb = to_image(picture.rgb).resize(size, Image.Resampling.LANCZOS)
    alpha = None
    if picture.alpha is not None:
        small = Image.fromarray(picture.alpha.numpy()).resize(size, Image.Resampling.LANCZOS)
        alpha = torch.from_numpy(np.array(small))
    return replace(picture, rgb=_rgb_tensor(rgb), alpha=alpha)


def to_image(rgb: Tensor) -> Image.Image:
    """uint8 (3, H, W) -> Pillow picture."""
    return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())


def write_picture(picture: Picture, target: Path, format_name: str, quality: int) -> None:
    """Write atomically. Raises PictureError if the place cannot be written."""
    try:
        with atomic_path(target) as temporary, temporary.open("wb") as file:
            encode_picture(picture, file, format_name, quality)
    except OSError as error:
        reason = error.strerror or f"{format_name} does not take it"
        raise PictureError(f"Cannot write {target}: {reason}; choose another place with -o.") from error
    except ValueError as error:
        raise PictureError(
            f"Cannot write {target}: {format_name} does not take this picture; choose another --format."
        ) from error


def encode_picture(picture: Picture, file: BinaryIO, format_name: str, quality: int) -> None:
    """Encode into an open file. Formats without alpha get the picture on white."""
    image = to_image(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha.numpy()))
        if format_name not in _WITH_ALPHA:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    options = _metadata_options(picture, format_name)
    if format_name in {"JPEG", "WEBP"}:
        options["quality"] = quality
    if format_name == "JPEG" and quality >= 90:
        options["subsampling"] = 0  # thin coloured strokes would bleed
    image.save(file, format=format_name, **options)


def _metadata_options(picture: Picture, format_name: str) -> dict[str, object]:
    """How Pillow is told to write EXIF, XMP and profile in this format."""
    options: dict[str, object] = {}
    if format_name == "BMP":
        return options
    if picture.exif:
        options["exif"] = picture.exif
    if picture.has_profile:
        options["icc_profile"] = _srgb_profile()
    if picture.xmp and format_name == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", picture.xmp.decode())
        options["pnginfo"] = texts
    elif picture.xmp and format_name == "TIFF":
        tags = Image.Exif()  # for this format Pillow writes EXIF or other tags, not both
        if picture.exif:
            tags.load(picture.exif)
        tags[_TIFF_XMP] = picture.xmp
        options["exif"] = tags
    elif picture.xmp:
        options["xmp"] = picture.xmp
    return options


@cache
def _srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save_grid(rows: Sequence[Sequence[Tensor]], target: Path) -> None:
    """Write equal-sized uint8 pictures (3, H, W) as one PNG or JPEG sheet with thin white gaps."""
    gap = 6
    height, width = rows[0][0].shape[1:]
    columns = max(len(row) for row in rows)
    size = (columns * (width + gap) - gap, len(rows) * (height + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(to_image(picture), (x * (width + gap), y * (height + gap)))
    with atomic_path(target) as temporary:
        sheet.save(temporary, format=FORMATS[target.suffix.lower().lstrip(".")], quality=90)


# -- decoding -------------------------------------------------------------------------------------


def _decode(source: Path | bytes, name: str) -> Image.Image:
    """Open, check the size, decode and turn upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no concern of the user's
            image = Image.open(source if isinstance(source, Path) else io.BytesIO(source))
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(
                    f"{name} has {image.width} x {image.height} pixels; the limit is "
                    f"{MAX_PIXELS // 1_000_000} megapixels, so make it smaller first."
                )
            if image.width * image.height * _BYTES_TO_PAINT > free_memory(_CPU):
                raise PictureError(_TOO_LARGE.format(name))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except FileNotFoundError:
        raise PictureError(f"There is no file {name}; check the path.") from None
    except PermissionError:
        raise PictureError(f"{name} may not be read; change its permissions.") from None
    except IsADirectoryError:
        raise PictureError(f"{name} is a folder, not a picture.") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read; convert it to PNG or JPEG.") from None
    except MemoryError:
        raise PictureError(_TOO_LARGE.format(name)) from None
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError) as error:
        # Pillow's decoders raise all of these for damaged files.
        raise PictureError(f"{name} is damaged or cut off; get a whole copy of it.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit sRGB; an embedded colour profile is applied."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_to_8_bit(image)
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA")
    if (profile := image.info.get("icc_profile")) and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        try:
            opaque = image.convert("RGB") if image.mode == "RGBA" else image
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile: the plain conversion is the best guess
    return image.convert("RGB")


def _deep_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit integers, and floats in [0, 1] or wider, to 8-bit grey."""
    values = np.nan_to_num(np.array(image, dtype=np.float64))
    top = 65535.0
    if image.mode == "F":
        top = 1.0 if values.max(initial=0) <= 1 else 255.0
    return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))


def _rgb_tensor(image: Image.Image) -> Tensor:
    """The picture as uint8 (3, H, W), copied in bands: Pillow's export in one piece would need it twice."""
    image = _to_rgb(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _alpha_tensor(image: Image.Image) -> Tensor | None:
    if not image.has_transparency_data:
        return None
    return torch.from_numpy(np.array(image.convert("RGBA").getchannel("A")))


def _xmp(image: Image.Image) -> bytes:
    """The XMP packet, wherever the format keeps it."""
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else bytes(found)


def _exif(image: Image.Image) -> bytes:
    """EXIF without the orientation that has been applied; nothing if it cannot be written again."""
    try:
        exif = image.getexif()
        return exif.tobytes() if len(exif) else b""
    except Exception:  # any damage in metadata must not cost the picture
        return b""
