"""Colour profiles: pixels from a file's profile to sRGB, in which everything is painted, and back.

8-bit pixels go through LittleCMS by way of Pillow, which has no 16-bit colour. For 16 bits the profiles
that cameras and editors use (three curves and a matrix: Adobe RGB, Display P3, ProPhoto, Rec. 2020) are
computed here, as ICC.1:2022 defines them (https://www.color.org/specification/ICC.1-2022-05.pdf).
"""

import io
import struct
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

_LEVELS = 65536
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""The colour space of a profile -> Pillow's mode of pixels that it speaks about."""

_BAND = 256
"""Rows that are converted at a time: floats need much memory."""


@cache
def srgb_profile() -> bytes:
    """The profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def is_srgb(profile: bytes) -> bool:
    """Does a profile call itself sRGB? Then nothing is converted, and no level is lost."""
    try:
        return "srgb" in ImageCms.getProfileDescription(_opened(profile)).lower()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


def can_write(profile: bytes) -> bool:
    """Can RGB pixels be converted to this profile? Those of printers and scanners may go one way only."""
    try:
        source = _opened(profile)
        if _space(source) != "RGB":
            return False
        ImageCms.buildTransform(_opened(srgb_profile()), source, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False
    return True


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """An 8-bit picture in this profile as sRGB RGB; None if the profile is damaged or not for it."""
    try:
        source = _opened(profile)
        mode = _MODES[_space(source)]
        if image.mode != mode:
            if "CMYK" in {mode, image.mode}:
                return None
            image = image.convert(mode)
        return ImageCms.profileToProfile(image, source, _opened(srgb_profile()), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError):
        return None


def from_srgb(image: Image.Image, profile: bytes) -> None:
    """Turn an 8-bit sRGB picture into this profile, in place. It must be one that `can_write`."""
    ImageCms.profileToProfile(image, _opened(srgb_profile()), _opened(profile), inPlace=True)


def convert_deep(pixels: np.ndarray, source: bytes, target: bytes) -> np.ndarray:
    """uint16 (H, W, 3) from one RGB profile to another, in 16 bits.

    Profiles of another kind (tables instead of a matrix) are converted in 8 bits.
    """
    before, after = _matrix_profile(source), _matrix_profile(target)
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _BAND):
        rows = slice(top, top + _BAND)
        if before is None or after is None:
            result[rows] = _in_8_bits(pixels[rows], source, target)
        else:
            result[rows] = after.encoded(before.linear(pixels[rows]))
    return result


def _in_8_bits(pixels: np.ndarray, source: bytes, target: bytes) -> np.ndarray:
    image = Image.fromarray((pixels / 257).round().astype(np.uint8))
    try:
        ImageCms.profileToProfile(image, _opened(source), _opened(target), inPlace=True)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return pixels  # a damaged profile: the plain values are the best guess
    return np.asarray(image).astype(np.uint16) * 257


@dataclass(frozen=True)
class _MatrixProfile:
    """Curves (3, 65536), from levels to light, and the matrix from light to XYZ under D50."""

    curves: np.ndarray
    matrix: np.ndarray

    def linear(self, pixels: np.ndarray) -> np.ndarray:
        """uint16 (H, W, 3) -> XYZ floats."""
        light = np.stack([self.curves[i][pixels[..., i]] for i in range(3)], axis=-1)
        return light @ self.matrix.T

    def encoded(self, xyz: np.ndarray) -> np.ndarray:
        """XYZ floats (H, W, 3) -> uint16; colours outside the profile are clipped."""
        light = (xyz @ np.linalg.inv(self.matrix).T).clip(0, 1)
        levels = np.arange(_LEVELS)
        planes = [np.interp(light[..., i], self.curves[i], levels) for i in range(3)]
        return np.stack(planes, axis=-1).round().astype(np.uint16)


@lru_cache(maxsize=8)
def _matrix_profile(profile: bytes) -> _MatrixProfile | None:
    """The profile's curves and matrix, or None if it is of another kind or damaged."""
    try:
        tags = _tags(profile)
        if "A2B0" in tags or profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
            return None
        curves = np.stack([_curve(tags[f"{c}TRC"]) for c in "rgb"])
        columns = [struct.unpack(">3i", tags[f"{c}XYZ"][8:20]) for c in "rgb"]
        matrix = np.array(columns).T / 65536
        rising = (np.diff(curves) >= 0).all() and np.isfinite(curves).all()
        return _MatrixProfile(curves, matrix) if rising and np.linalg.cond(matrix) < 1e4 else None
    except (KeyError, ValueError, struct.error, np.linalg.LinAlgError):
        return None


def _tags(profile: bytes) -> dict[str, bytes]:
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for i in range(min(count, 100)):
        name, start, size = struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i])
        tags[name.decode("latin-1")] = profile[start : start + size]
    return tags


def _curve(tag: bytes) -> np.ndarray:
    """A curve tag (10.6 and 10.18 of the specification) at all 65,536 levels."""
    x = np.linspace(0, 1, _LEVELS)
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        values = struct.unpack(f">{count}H", tag[12 : 12 + 2 * count])
        if count == 0:
            return x
        if count == 1:
            return x ** (values[0] / 256)
        return np.interp(x, np.linspace(0, 1, count), np.array(values) / 65535)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    (kind,) = struct.unpack(">H", tag[8:10])
    count = (1, 3, 4, 5, 7)[min(kind, 4)]
    given = [v / 65536 for v in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count])]
    g, a, b, c, d, e, f = (given + [1, 0, 0, 0, 0, 0][len(given) - 1 :])[:7]
    if kind in {1, 2}:  # below -b / a the curve is constant
        e, c, d, f = (c if kind == 2 else 0), 0, -b / a, (c if kind == 2 else 0)
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f).clip(0, 1)


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    """The colour space of the pixels that a profile is about."""
    return profile.profile.xcolor_space.strip()  # pyright: ignore[reportAttributeAccessIssue]
