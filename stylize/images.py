"""Picture files: reading every common kind into upright sRGB, writing atomically.

What is read is never trusted: the size is checked before anything is decoded, only known formats are
tried, and any damage becomes one sentence.
"""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFilter,
    ImageOps,
    Jpeg2KImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from torch import Tensor

from stylize.animation import ANIMATED, frame_count, in_palette, read_motion, write_motion
from stylize.colour import can_write, convert_deep, from_srgb, is_srgb, srgb_profile
from stylize.depth import deep_png, deep_tiff, is_deep, read_deep
from stylize.devices import free_memory
from stylize.errors import PictureError, UsageError
from stylize.files import atomic_path
from stylize.paths import FORMATS
from stylize.picture import Picture
from stylize.pixels import GREY, alpha_tensor, rgb_tensor, to_image, to_rgb
from stylize.places import Place, replacing
from stylize.remote import Url, read
from stylize.tags import metadata_options, read_tags
from stylize.tensors import to_8_bits

# Our own limit, checked from the header with a sentence of its own, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
# Pillow's own reader of uncompressed TIFFs takes 16-bit planes for 8-bit ones; libtiff does not.
TiffImagePlugin.READ_LIBTIFF = True

MEGAPIXELS = 500
"""Larger pictures, and animations with more in all frames, are refused."""

LIMIT_VARIABLE = "STYLIZE_MAX_MEGAPIXELS"
"""The environment variable that sets another limit."""

_PIXELS_PER_BYTE = 1000
_SUSPICIOUS_PIXELS = 50_000_000
"""A file that claims more pixels than this, and more than so many per byte, is a decompression bomb."""

_BYTES_TO_PAINT = 8
"""Memory per pixel below which a picture cannot be painted: decoded (4), and as an array in and out."""

_TOO_LARGE = "{} does not fit into the free memory; make it smaller first."
_CPU = torch.device("cpu")

_PLUGINS = (AvifImagePlugin, Jpeg2KImagePlugin, TgaImagePlugin, TiffImagePlugin, WebPImagePlugin)
_READ = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "TGA")
"""What is tried on a file. Pillow knows more, some of which start other programs."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_HEIF_MISSING = "{} is a HEIC picture; to read it, run: pip install pillow-heif"

_WITH_ALPHA = {"PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"}
_WITH_QUALITY = {"JPEG", "WEBP", "AVIF", "HEIF"}
_DEEP = {"PNG": deep_png, "TIFF": deep_tiff}


def read_picture(source: Place | bytes, name: str = "") -> Picture:
    """Read a picture from a file, a URL or from its bytes, whatever its mode, turned upright.

    Of an animation, all frames; of a file with several pages, the first. Raises PictureError with one
    sentence for anything that is not a whole picture.
    """
    name = name or _name_of(source)
    source = _at_hand(source)
    with _one_sentence(name), _opened(source, name) as image:
        if is_deep(image):
            return _read_deep(image, source, name)
        if frame_count(image) > 1:
            return _read_animation(image)
        image.load()
        return _read_still(image)


def read_rgb(path: Place, shorter_side: int | None = None) -> Tensor:
    """The picture, or an animation's first frame, as uint8 RGB (3, H, W), upright.

    It is reduced if its shorter side is longer than `shorter_side`.
    """
    with _one_sentence(str(path)), _opened(_at_hand(path), str(path)) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        if shorter_side and min(image.size) > shorter_side:
            scale = shorter_side / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            return rgb_tensor(to_rgb(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3))
        return rgb_tensor(image)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height by the header, before anything is decoded. Raises PictureError as reading does."""
    with _one_sentence(str(path)), _opened(path, str(path)) as image:
        return image.size


def read_mask(path: Path, feather: float = 0) -> Tensor:
    """A mask as uint8 (H, W): the alpha channel if the picture has one, else its luminance.

    `feather` softens its edges, in pixels.
    """
    with _one_sentence(str(path)), _opened(path, str(path)) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        clear = image.has_transparency_data
        grey = image.convert("RGBA").getchannel("A") if clear else to_rgb(image).convert("L")
    if feather:
        grey = grey.filter(ImageFilter.GaussianBlur(feather / 2))
    return torch.from_numpy(np.array(grey))


def resize_picture(picture: Picture, longer_side: int) -> Picture:
    """The picture, and all its frames, with this longer side, proportions kept."""
    return resize_picture_to(picture, scaled_size(picture.size, longer_side / max(picture.size)))


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """A width and height, scaled and rounded, each at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize_picture_to(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture, and all its frames, in this width and height."""
    if picture.size == size:
        return picture
    alpha = None if picture.alpha is None else resize_planes(picture.alpha[None], size)[0]
    motion = picture.motion
    if motion is not None:
        motion = replace(motion, frames=tuple(resize_picture_to(f, size) for f in motion.frames))
    return replace(picture, rgb=resize_planes(picture.rgb, size), alpha=alpha, motion=motion)


def resize_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 or uint16 (C, H, W) in another size (width, height), sharply reduced or smoothly enlarged."""
    if planes.dtype == torch.uint8 and len(planes) == 3:
        return rgb_tensor(to_image(planes).resize(size, Image.Resampling.LANCZOS))
    levels = planes.numpy().astype(np.float32)
    resized = [np.array(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)) for p in levels]
    limit = 255 if planes.dtype == torch.uint8 else 65535
    return _tensor(np.stack(resized, axis=-1).round().clip(0, limit).astype(planes.numpy().dtype))


def write_picture(picture: Picture, target: Place, format_name: str, quality: int) -> None:
    """Write atomically. Raises PictureError if the place cannot be written."""
    try:
        with replacing(target) as file:
            encode_picture(picture, file, format_name, quality)
    except OSError as error:
        reason = error.strerror or f"{format_name} does not take it"
        raise PictureError(f"Cannot write {target}: {reason}; choose another place with -o.") from error
    except ValueError as error:
        raise PictureError(
            f"Cannot write {target}: {format_name} does not take this picture; choose another --format."
        ) from error


def encode_picture(picture: Picture, file: BinaryIO, format_name: str, quality: int) -> None:
    """Encode into an open file, in the picture's profile where the format holds one.

    PNG and TIFF keep 16 bits, and `ANIMATED` formats all frames. Formats without alpha get the picture on
    white.
    """
    if format_name == "HEIF" and not _register_heif():
        raise PictureError("To write HEIC pictures, run: pip install pillow-heif")
    options = metadata_options(picture, format_name)
    profile = options.get("icc_profile", b"")
    assert isinstance(profile, bytes)
    if picture.rgb.dtype == torch.uint16 and format_name in _DEEP:
        file.write(_DEEP[format_name](_levels(picture, profile), options))
        return
    if format_name in _WITH_QUALITY:
        options["quality"] = quality
    if format_name in {"JPEG", "AVIF"} and quality >= 90:
        options["subsampling"] = 0 if format_name == "JPEG" else "4:4:4"  # thin strokes would bleed
    with_alpha = format_name in _WITH_ALPHA
    if picture.motion is not None and format_name in ANIMATED:
        frames = [_image(replace(frame, grey=picture.grey), profile, True) for frame in picture.motion.frames]
        write_motion(frames, picture.motion, file, format_name, options)
        return
    image = _image(picture, profile, with_alpha)
    if format_name == "GIF":
        (image,) = in_palette([image])
    image.save(file, format=format_name, **options)


def _image(picture: Picture, profile: bytes, with_alpha: bool) -> Image.Image:
    """The picture as Pillow's, 8 bits, in this profile."""
    image = to_image(picture.rgb)
    if profile and not is_srgb(profile):
        from_srgb(image, profile)
    if picture.grey:
        image = image.convert("L")
    if picture.alpha is None:
        return image
    image.putalpha(Image.fromarray(to_8_bits(picture.alpha).numpy()))
    if with_alpha:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert(image.mode[:-1])


def _levels(picture: Picture, profile: bytes) -> np.ndarray:
    """The picture as uint16 (H, W, C), in this profile."""
    levels = picture.rgb.permute(1, 2, 0).numpy()
    if profile and not is_srgb(profile):
        levels = convert_deep(levels, srgb_profile(), profile)
    if picture.grey:
        levels = (levels @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint16)[..., None]
    if picture.alpha is None:
        return levels
    return np.concatenate([levels, picture.alpha.numpy()[..., None]], axis=-1)


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


def _read_still(image: Image.Image) -> Picture:
    """A decoded picture of any mode with 8 bits, turned upright in place."""
    ImageOps.exif_transpose(image, in_place=True)
    return Picture(
        rgb_tensor(image),
        alpha_tensor(image),
        profile=_kept_profile(image),
        grey=image.mode in GREY,
        **read_tags(image),  # pyright: ignore[reportArgumentType]
    )


def _read_animation(image: Image.Image) -> Picture:
    tags = replace(_read_still(image.copy()), alpha=None)
    motion = read_motion(image, lambda frame: _read_still(frame.copy()))
    first = motion.frames[0]
    return replace(tags, rgb=first.rgb, alpha=first.alpha, motion=motion)


def _read_deep(image: Image.Image, source: Path | bytes, name: str) -> Picture:
    """A picture with 16 bits per channel, in 16-bit sRGB."""
    profile = image.info.get("icc_profile")
    grey = image.mode in GREY
    again = _open(source, name)
    with again:
        levels = read_deep(image, lambda: again)
    alpha = levels[..., -1:] if levels.shape[-1] in {2, 4} else None
    colours = levels[..., : levels.shape[-1] - (alpha is not None)]
    grey = grey or colours.shape[-1] == 1
    if colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    elif profile and not is_srgb(profile):
        colours = convert_deep(colours, profile, srgb_profile())
    return Picture(
        _tensor(colours),
        None if alpha is None else _tensor(alpha)[0],
        profile=b"" if grey else _kept_profile(image),
        grey=grey,
        **read_tags(image),  # pyright: ignore[reportArgumentType]
    )


def _tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (C, H, W), the values of a pixel side by side."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _kept_profile(image: Image.Image) -> bytes:
    """The profile in which the result is written: the picture's own, or sRGB where it cannot be."""
    profile = image.info.get("icc_profile") or b""
    return profile if not profile or can_write(profile) else srgb_profile()


def _name_of(source: Place | bytes) -> str:
    return "the picture" if isinstance(source, bytes) else str(source)


def _at_hand(source: Place | bytes) -> Path | bytes:
    """What is elsewhere, as bytes. Raises PictureError where it cannot be read, or would fill the memory."""
    return read(source, free_memory(_CPU) // 4) if isinstance(source, Url) else source


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The picture, not yet decoded, its size checked; PictureError if it is too large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no concern of the user's
        with _open(source, name) as image:
            size = source.stat().st_size if isinstance(source, Path) else len(source)
            _check_size(image, size, name)
            yield image


def _open(source: Path | bytes, name: str) -> Image.Image:
    file = source if isinstance(source, Path) else io.BytesIO(source)
    try:
        return Image.open(file, formats=_READ)
    except UnidentifiedImageError:
        if not _looks_like_heif(source):
            raise
    if not _register_heif():
        raise PictureError(_HEIF_MISSING.format(name))
    return Image.open(file, formats=("HEIF",))


def _looks_like_heif(source: Path | bytes) -> bool:
    if isinstance(source, Path):
        with source.open("rb") as file:
            start = file.read(12)
    else:
        start = source[:12]
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def _register_heif() -> bool:
    """Teach Pillow HEIC; False if the extra is not installed."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def _check_size(image: Image.Image, size: int, name: str) -> None:
    """Refuse what is too large before it is decoded. `size` is that of the file, in bytes."""
    pixels = image.width * image.height
    frames = 1
    if pixels <= _limit():
        frames = frame_count(image)  # in a GIF these must be looked for
    pixels *= frames
    what = f"{name} has {image.width} x {image.height} pixels" + f" in {frames} frames" * (frames > 1)
    enough = f"or set {LIMIT_VARIABLE}={-(-pixels // 1_000_000)} if you trust it."
    if pixels > _limit():
        most = _limit() // 1_000_000
        raise PictureError(f"{what}; the limit is {most} megapixels: make it smaller, {enough}")
    if LIMIT_VARIABLE not in os.environ and pixels > max(_SUSPICIOUS_PIXELS, _PIXELS_PER_BYTE * size):
        raise PictureError(f"{what} in {size} bytes, as decompression bombs do: do not use it, {enough}")
    if pixels * _BYTES_TO_PAINT > free_memory(_CPU):
        raise PictureError(_TOO_LARGE.format(name))


def _limit() -> int:
    """The most pixels that a picture may have."""
    wanted = os.environ.get(LIMIT_VARIABLE, str(MEGAPIXELS))
    try:
        return max(0, round(float(wanted) * 1_000_000))
    except (ValueError, OverflowError):
        raise UsageError(f"{LIMIT_VARIABLE} is {wanted!r}; set it to a number of megapixels.") from None


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Whatever goes wrong in reading a file becomes a PictureError."""
    try:
        yield
    except (PictureError, UsageError):
        raise
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
    except Exception as error:  # decoders raise almost anything for damaged files
        raise PictureError(f"{name} is damaged or cut off; get a whole copy of it.") from error
