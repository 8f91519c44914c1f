"""Picture files: reading every common kind into upright sRGB, writing atomically.

What is read is never trusted: the size is checked before anything is decoded, only known formats are
tried, and any damage becomes one sentence.
"""

import hashlib
import io
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import (
    AvifImagePlugin,
    Image,
    ImageChops,
    ImageFilter,
    Jpeg2KImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from torch import Tensor

from stylize import boxes, gifs, wrapping
from stylize.animation import ANIMATED, frame_count, in_palette, read_motion, write_motion
from stylize.colour import can_write, convert_deep, from_srgb, is_srgb, srgb_profile
from stylize.depth import deep_png, deep_tiff, is_deep, read_deep
from stylize.devices import free_memory
from stylize.errors import DiskFullError, PictureError, UsageError, is_full
from stylize.exif import Directory, Read, claimed_bytes, into_tiff
from stylize.kinds import unread_kind, unsound_kind
from stylize.paths import FORMATS
from stylize.picture import Motion, Picture
from stylize.pixels import GREY, alpha_tensor, fill_hidden, rgb_tensor, to_image, to_rgb
from stylize.places import Place, replacing
from stylize.remote import Url, read
from stylize.tags import directory_of, metadata_options, read_tags, tiff_tags, turn_of
from stylize.tensors import to_8_bits
from stylize.wrapping import Beside, OtherKindError

# Our own limit, checked from the header with a sentence of its own, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
# Pillow's own reader of uncompressed TIFFs takes 16-bit planes for 8-bit ones; libtiff does not.
TiffImagePlugin.READ_LIBTIFF = True

MEGAPIXELS = 500
"""Larger pictures, and animations with more in all frames, are refused."""

LIMIT_VARIABLE = "STYLIZE_MAX_MEGAPIXELS"
"""The environment variable that sets another limit."""

_PIXELS_PER_BYTE = 100
_ORIENTATION = 274

_LARGEST_FILE = 2 << 30
"""Bytes of a compressed picture; one of 500 megapixels has some hundred million."""

_FREE_CLAIM = 1 << 16
"""Bytes that the tags of a TIFF may claim beyond twice the file's size."""

_SUSPICIOUS_PIXELS = 50_000_000
"""A file that claims more pixels than this, and more than so many per byte, is a decompression bomb."""

MOST_FRAMES = 1000
"""Animations with more are refused: each takes as long to paint as a picture."""

_BYTES_TO_PAINT = 8
"""Memory per pixel below which a picture cannot be painted: decoded (4), and as an array in and out."""

_BYTES_OF_WEBP = 20
"""Pillow decodes WebP by way of four copies."""

_TOO_LARGE = "{} does not fit into the free memory; make it smaller first."
_BAND = 512
"""Rows that are looked at together."""

_CPU = torch.device("cpu")

_PLUGINS = (AvifImagePlugin, Jpeg2KImagePlugin, TgaImagePlugin, TiffImagePlugin, WebPImagePlugin)
_READ = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "TGA")
"""What is tried on a file. Pillow knows more, some of which start other programs."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_HEIF_MISSING = "{} is a HEIC picture; to read it, run: pip install pillow-heif"

_WITH_ALPHA = {"PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"}
_WITH_QUALITY = {"JPEG", "WEBP", "AVIF", "HEIF"}
_DEEP = {"PNG": deep_png, "TIFF": deep_tiff}

_LONGEST_SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535, "AVIF": 65_536, "HEIF": 16_384}
"""Pixels a side that a format, or what writes it, can hold."""
_NAMES = {"WEBP": "WebP", "HEIF": "HEIC"}

_FULL = "There is no room for {}; free some, then run the same command again with --skip-existing."
_DAMAGED = "{} is damaged or cut off; get a whole copy of it."
_RARE_BMP = "Unsupported BMP"
"""What Pillow says of a BMP that is whole, but not of a common form."""

_OTHER_KIND = "{} is of a kind that cannot be read here ({}); convert it to PNG or 8-bit JPEG."


def read_picture(source: Place | bytes, name: str = "") -> Picture:
    """Read a picture from a file, a URL or from its bytes, whatever its mode, turned upright.

    Of an animation, all frames; of a file with several pages, the first. Raises PictureError with one
    sentence for anything that is not a whole picture.
    """
    name = name or _name_of(source)
    source = _at_hand(source)
    with _one_sentence(name), _opened(source, name) as file:
        if file.gif is not None:
            picture = _read_gif(file.gif)
        elif is_deep(file.image):
            picture = _read_deep(file)
        elif frame_count(file.image) > 1:
            picture = _read_animation(file)
        else:
            picture = _read_still(file, file.image)
        return file.described(picture, name)


def read_rgb(path: Place, shorter_side: int | None = None) -> Tensor:
    """The picture, or an animation's first frame, as uint8 RGB (3, H, W), upright.

    It is reduced if its shorter side is longer than `shorter_side`.
    """
    with _one_sentence(str(path)), _opened(_at_hand(path), str(path)) as file:
        image = file.upright(file.first())
        rgb = _seen(image)
        if shorter_side and min(image.size) > shorter_side:
            scale = shorter_side / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            return rgb_tensor(to_image(rgb).resize(size, Image.Resampling.LANCZOS, reducing_gap=3))
        return rgb


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height by the header, before anything is decoded. Raises PictureError as reading does."""
    with _one_sentence(str(path)), _opened(path, str(path)) as file:
        return file.image.size if file.gif is None else file.gif.size


def pixel_count(path: Path) -> int:
    """How many pixels must be decoded, of all frames, before any is. Raises PictureError as reading does."""
    with _one_sentence(str(path)), _opened(path, str(path)) as file:
        if file.gif is not None:
            return file.gif.pixels
        return file.image.width * file.image.height * frame_count(file.image)


def read_mask(path: Path, feather: float = 0) -> Tensor:
    """A mask as uint8 (H, W): the picture's luminance, or, of a cut-out, its opacity.

    `feather` softens its edges, in pixels.
    """
    with _one_sentence(str(path)), _opened(path, str(path)) as file:
        image = file.upright(file.first())
        grey = _mask_of(image)
    if feather:
        grey = grey.filter(ImageFilter.GaussianBlur(feather / 2))
    return torch.from_numpy(np.array(grey))


def _mask_of(image: Image.Image) -> Image.Image:
    """White is the mask of a drawing in black and white, and what is clear is none of it. Where a picture is
    not that, the mask is what is opaque, if anything is clear."""
    light = to_rgb(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if alpha is None or alpha.getextrema() == (255, 255):
        return light.convert("L")
    seen, pixels = np.asarray(alpha) == 255, np.asarray(light)
    grey = pixels.max(axis=2) - pixels.min(axis=2) < 8
    drawn = (pixels[..., 0] < 64)[seen].any() and (pixels[..., 0] > 191)[seen].any()
    if not (drawn and grey[seen].all()):
        return alpha
    return ImageChops.multiply(light.convert("L"), alpha)


def is_mask_for(mask: Tensor, size: tuple[int, int]) -> bool:
    """Has a mask (H, W) the proportions of a picture of this width and height, to a pixel?"""
    height, width = mask.shape
    wide, high = size[0] * height / width, size[1] * width / height
    return abs(wide - size[1]) <= max(1, size[1] / height) and abs(high - size[0]) <= max(1, size[0] / width)


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
    """Write atomically. Raises PictureError if the place cannot be written, DiskFullError if it is full."""
    check_size(picture.size, format_name, str(target))
    buffer = io.BytesIO()  # Pillow overlooks it when a file takes less than all
    try:
        encode_picture(picture, buffer, format_name, quality)
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise PictureError(
            f"Cannot write {target}: {format_name} does not take this picture; choose another --format."
        ) from error
    try:
        with replacing(target) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        if is_full(error):
            raise DiskFullError(_FULL.format(target)) from error
        reason = error.strerror or "it cannot be written"
        raise PictureError(f"Cannot write {target}: {reason}; choose another place with -o.") from error


def check_size(size: tuple[int, int], format_name: str, name: str) -> None:
    """Raises PictureError where a format cannot hold a picture of this width and height."""
    most = _LONGEST_SIDES.get(format_name)
    if most is not None and max(size) > most:
        known = _NAMES.get(format_name, format_name)
        raise PictureError(
            f"{name} would have {size[0]} x {size[1]} pixels, and {known} holds {most:,} "
            f"a side; choose --format png, or make it smaller with --size."
        )


def encode_picture(picture: Picture, file: BinaryIO, format_name: str, quality: int) -> None:
    """Encode into an open file, in the picture's profile where the format holds one.

    PNG and TIFF keep 16 bits, and `ANIMATED` formats all frames. Formats without alpha get the picture on
    white.
    """
    check_size(picture.size, format_name, "The result")
    if format_name == "HEIF" and not _register_heif():
        raise PictureError("To write HEIC pictures, run: pip install pillow-heif")
    options = metadata_options(picture, format_name)
    profile = options.get("icc_profile", b"")
    assert isinstance(profile, bytes)
    if format_name == "TIFF":
        file.write(into_tiff(_tiff(picture, profile, options), tiff_tags(picture)))
        return
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


def _tiff(picture: Picture, profile: bytes, options: dict[str, object]) -> bytes:
    """A TIFF without EXIF."""
    if picture.rgb.dtype == torch.uint16:
        return deep_tiff(_levels(picture, profile), options)
    buffer = io.BytesIO()
    _image(picture, profile, True).save(buffer, "TIFF", **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


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
    buffer = io.BytesIO()
    sheet.save(buffer, format=FORMATS[target.suffix.lower().lstrip(".")], quality=90)
    with replacing(target) as file:
        file.write(buffer.getbuffer())


# -- decoding -------------------------------------------------------------------------------------

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF's orientations, and what makes a picture upright."""


@dataclass
class _File:
    """An opened file: what is to be decoded, and what lies beside the pixels."""

    source: Path | bytes
    """What Pillow opens: without the metadata."""
    image: Image.Image
    """Not decoded; of a GIF an empty one, since `gif` has its frames."""
    beside: Beside
    directory: Directory = field(default_factory=lambda: Directory("<"))
    gif: gifs.Gif | None = None
    turn: int = 1
    """EXIF's number for how what Pillow decodes is to be turned."""
    part: tuple[int, int, int, int] | None = None
    """What of the pixels is to be shown, if not all."""

    def first(self) -> Image.Image:
        """The picture, or the first frame, decoded."""
        if self.gif is not None:
            return Image.fromarray(next(gifs.shown(self.gif)))
        self.image.load()
        return self.image

    def upright(self, image: Image.Image) -> Image.Image:
        """A decoded picture or frame of the file, as it is to be seen."""
        if self.part is not None:
            image = image.crop(self.part)
        if self.turn == 1:
            return image
        turned = image.transpose(_TURNS[self.turn])
        turned.info = dict(image.info)
        return turned

    def described(self, picture: Picture, name: str) -> Picture:
        """The picture with the file's metadata."""
        is_png = self.image.format == "PNG"
        tags = read_tags(self.beside, self.directory, self.image.info.get("dpi"), is_png)
        remark = ""
        if self.beside.left_out:
            what = " and ".join(self.beside.left_out)
            remark = f"{name} was read without {what}, which cannot be read."
        return replace(picture, remark=remark, **tags)  # pyright: ignore[reportArgumentType]


def _read_still(file: _File, image: Image.Image) -> Picture:
    """A picture of any mode with 8 bits, or one frame of the file."""
    image.load()
    image = file.upright(image)
    return Picture(
        _seen(image), alpha_tensor(image), profile=_kept_profile(file.image), grey=image.mode in GREY
    )


def _seen(image: Image.Image) -> Tensor:
    """RGB (3, H, W) of a decoded picture, in which clear pixels do not count."""
    rgb, alpha = rgb_tensor(image), alpha_tensor(image)
    return rgb if alpha is None else fill_hidden(rgb, alpha)


def _read_animation(file: _File) -> Picture:
    profile = file.image.info.get("icc_profile")

    def frame(image: Image.Image) -> Picture:
        copy = image.copy()
        if profile:
            copy.info["icc_profile"] = profile
        return _read_still(file, copy)

    motion = read_motion(file.image, frame)
    first = motion.frames[0]
    return replace(first, profile=_kept_profile(file.image), motion=motion)


def _read_gif(gif: gifs.Gif) -> Picture:
    frames = []
    for shown in gifs.shown(gif):
        rgb, alpha = _tensor(shown[..., :3]), torch.from_numpy(shown[..., 3].copy())
        clear = int(alpha.min()) < 255
        frames.append(Picture(fill_hidden(rgb, alpha), alpha) if clear else Picture(rgb))
    first = replace(frames[0], grey=gifs.is_grey(gif))
    if len(frames) == 1:
        return first
    if any(frame.alpha is not None for frame in frames):
        opaque = torch.full(first.rgb.shape[1:], 255, dtype=torch.uint8)
        frames = [replace(f, alpha=opaque if f.alpha is None else f.alpha) for f in frames]
        first = replace(first, alpha=frames[0].alpha)
    durations = tuple(float(frame.duration) for frame in gif.frames)
    return replace(first, motion=Motion(tuple(frames), durations, gif.plays))


def _read_deep(file: _File) -> Picture:
    """A picture with 16 bits per channel, in 16-bit sRGB."""
    image = file.image
    profile = image.info.get("icc_profile")
    grey = image.mode in GREY
    again = Image.open(_stream(file.source), formats=_READ)
    with again:
        if again.format == "TIFF":
            _let_turn(again, turn_of(file.directory, file.beside.xmp))
        levels = read_deep(image, lambda: again)
    levels = _turned(levels, file.turn)
    alpha = levels[..., -1:] if levels.shape[-1] in {2, 4} else None
    colours = levels[..., : levels.shape[-1] - (alpha is not None)]
    grey = grey or colours.shape[-1] == 1
    if colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    elif profile and not is_srgb(profile):
        colours = convert_deep(colours, profile, srgb_profile())
    rgb, clear = _tensor(colours), None if alpha is None else _tensor(alpha)[0]
    return Picture(
        rgb if clear is None else fill_hidden(rgb, clear),
        clear,
        profile=b"" if grey else _kept_profile(image),
        grey=grey,
    )


def _turned(levels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) of this orientation, upright."""
    if orientation == 1:
        return levels
    if orientation > 4:
        levels = levels.swapaxes(0, 1)
    upside_down, mirrored = orientation in {3, 4, 7, 8}, orientation in {2, 3, 6, 7}
    return levels[:: -1 if upside_down else 1, :: -1 if mirrored else 1].copy()


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
    return read(source, most_bytes()) if isinstance(source, Url) else source


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[_File]:
    """The picture, not yet decoded, its size checked; PictureError if it is too large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no concern of the user's
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        start = _start_of(source)
        if gifs.is_gif(start):
            yield _gif_file(_whole(source, name), name)
            return
        source, beside = _unwrapped(source, start, size, name)
        with _open(source, name) as image:
            need = _BYTES_OF_WEBP if image.format == "WEBP" else _BYTES_TO_PAINT
            _check_size(image.width * image.height, _frames(image), image.size, size, name, need)
            if not beside.whole:
                assert isinstance(source, bytes)
                source = _with_end(source)
                image = Image.open(io.BytesIO(source), formats=_READ)
            try:
                yield _described_file(source, image, beside)
            except OSError:
                if kind := unsound_kind(image, failed=True):
                    raise OtherKindError(kind) from None
                raise


def _gif_file(content: bytes, name: str) -> _File:
    gif = gifs.parse(content, MOST_FRAMES)
    if not gif.frames:
        raise UnidentifiedImageError
    count = len(gif.frames) + gif.more
    _check_size(gif.pixels, count, gif.size, len(content), name)
    return _File(b"", Image.new("1", (1, 1)), Beside(xmp=gif.xmp, comment=gif.comment), gif=gif)


def _unwrapped(source: Path | bytes, start: bytes, size: int, name: str) -> tuple[Path | bytes, Beside]:
    """What Pillow may open, and the metadata that was taken out of it. Raises what is wrong with the rest."""
    if wrapping.is_jpeg(start):
        return wrapping.unwrap_jpeg(_whole(source, name))
    if wrapping.is_png(start):
        return wrapping.unwrap_png(_whole(source, name))
    if start[:2] in {b"II", b"MM"}:
        if claimed_bytes(_reader(source)) > 2 * size + _FREE_CLAIM:
            raise ValueError("its tags claim more than the file holds")
    elif boxes.is_boxes(start):
        source = _whole(source, name)
        if boxes.claims_of_tags(source) > 2 * size + _FREE_CLAIM:
            raise ValueError("its tags claim more than the file holds")
        if light := wrapping.hdr_name(boxes.transfer_of(source)):
            raise OtherKindError(f"{light} picture of high dynamic range")
    return source, Beside()


def _described_file(source: Path | bytes, image: Image.Image, beside: Beside) -> _File:
    """An opened picture, from which Pillow is to decode no metadata."""
    info, part = image.info, None
    if image.format == "TIFF":
        directory = directory_of(beside, _reader(source))
        _let_turn(image, turn_of(directory, beside.xmp))
        return _File(source, image, beside, directory, turn=1)
    if image.format in {"JPEG", "PNG"}:
        if beside.profile:
            info["icc_profile"] = beside.profile
        if image.format == "PNG" and isinstance(source, bytes) and isinstance(info.get("transparency"), int):
            info["transparency"] *= {2: 85, 4: 17}.get(wrapping.grey_bits(source), 1)
    else:
        xmp = info.pop("xmp", None) or b""
        beside.exif = info.pop("exif", None) or b""
        beside.xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    if image.format == "AVIF" and isinstance(source, bytes):
        part = boxes.clean_aperture(source, image.size)
    directory = directory_of(beside)
    return _File(source, image, beside, directory, turn=turn_of(directory, beside.xmp), part=part)


def _let_turn(image: Image.Image, turn: int) -> None:
    """Tell Pillow, which turns a TIFF as it decodes it, how; else it would decode every tag to find out."""
    image._exif = tags = Image.Exif()  # pyright: ignore[reportAttributeAccessIssue]
    tags._loaded = True
    tags[_ORIENTATION] = turn


def _with_end(content: bytes) -> bytes:
    """A JPEG of which only the end mark is missing, with it. Raises ValueError if more is.

    If all pixels are there, it does not matter what follows them.
    """
    content = content.rstrip(b"\xff")
    ended = [content + more + b"\xff\xd9" for more in (b"", b"\x5a\xa5" * 4096)]
    if _digest(ended[0]) != _digest(ended[1]):
        raise ValueError("it is cut off")
    return ended[0]


def _digest(content: bytes) -> bytes:
    """A digest of the pixels of a file."""
    digest = hashlib.sha256()
    with Image.open(io.BytesIO(content), formats=_READ) as image:
        image.load()
        for top in range(0, image.height, _BAND):
            digest.update(image.crop((0, top, image.width, min(top + _BAND, image.height))).tobytes())
    return digest.digest()


def _start_of(source: Path | bytes) -> bytes:
    """The first bytes of a file, by which its kind is known."""
    if isinstance(source, bytes):
        return source[:16]
    with source.open("rb") as file:
        return file.read(16)


def _whole(source: Path | bytes, name: str) -> bytes:
    """All bytes of a file. Raises PictureError if they would fill the memory."""
    if isinstance(source, bytes):
        return source
    most = most_bytes()
    with source.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise PictureError(_TOO_LARGE.format(name))
    return content


def most_bytes() -> int:
    """The most bytes of a file that are read at once."""
    return min(_LARGEST_FILE, free_memory(_CPU) // 4)


def _reader(source: Path | bytes) -> Read:
    """Reads places of a file; it is opened for each, since there are few."""
    if isinstance(source, bytes):
        return lambda place, size: source[place : place + size]

    def read_at(place: int, size: int) -> bytes:
        with source.open("rb") as file:
            file.seek(place)
            return file.read(size)

    return read_at


def _stream(source: Path | bytes) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source)


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        image = Image.open(_stream(source), formats=_READ)
    except UnidentifiedImageError:
        if not _looks_like_heif(source):
            if kind := unread_kind(_start_of(source), _reader(source)):
                raise OtherKindError(kind) from None
            raise
    else:
        if image.format == "TIFF" and (kind := unsound_kind(image)):
            image.close()
            raise OtherKindError(kind)
        return image
    if not _register_heif():
        raise PictureError(_HEIF_MISSING.format(name))
    return Image.open(_stream(source), formats=("HEIF",))


def _looks_like_heif(source: Path | bytes) -> bool:
    start = _start_of(source)
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def _register_heif() -> bool:
    """Teach Pillow HEIC; False if the extra is not installed."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def _frames(image: Image.Image) -> int:
    """How many frames are to be painted; 1 for a picture that is too large anyhow."""
    return frame_count(image) if image.width * image.height <= _limit() else 1


def _check_size(
    pixels: int, frames: int, canvas: tuple[int, int], size: int, name: str, need: int = _BYTES_TO_PAINT
) -> None:
    """Refuse what is too large before it is decoded. `size` is that of the file, in bytes, `need` the memory
    for each pixel."""
    if frames > MOST_FRAMES:
        raise PictureError(
            f"{name} has more than {MOST_FRAMES} frames; make a clip of it (.mp4), and paint that."
        )
    pixels = max(pixels, canvas[0] * canvas[1] * frames)
    what = f"{name} has {canvas[0]} x {canvas[1]} pixels" + f" in {frames} frames" * (frames > 1)
    enough = f"or set {LIMIT_VARIABLE}={-(-pixels // 1_000_000)} if you trust it."
    if pixels > _limit():
        most = _limit() // 1_000_000
        raise PictureError(f"{what}; the limit is {most} megapixels: make it smaller, {enough}")
    if LIMIT_VARIABLE not in os.environ and pixels > max(_SUSPICIOUS_PIXELS, _PIXELS_PER_BYTE * size):
        raise PictureError(f"{what} in {size} bytes, as decompression bombs do: do not use it, {enough}")
    if pixels * need > free_memory(_CPU):
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
    except OtherKindError as error:
        raise PictureError(_OTHER_KIND.format(name, error)) from None
    except OSError as error:
        if str(error).startswith(_RARE_BMP):
            raise PictureError(_OTHER_KIND.format(name, "a rare BMP")) from None
        raise PictureError(_DAMAGED.format(name)) from error
    except MemoryError:
        raise PictureError(_TOO_LARGE.format(name)) from None
    except Exception as error:  # decoders raise almost anything for damaged files
        raise PictureError(_DAMAGED.format(name)) from error
