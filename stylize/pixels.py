"""Pillow pictures of any mode to tensors and back."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylize.colour import is_srgb, to_srgb
from stylize.tensors import to_8_bits

_BAND = 512
"""Rows of a picture that are copied at a time."""

_STEP, _STRIP = 4, 64
"""Side of the blocks whose clear pixels get one colour, and rows that are looked at together."""

GREY = {"1", "L", "LA", "La", "F", "I", "I;16", "I;16B", "I;16L"}
"""Modes without colour."""


def to_image(rgb: Tensor) -> Image.Image:
    """uint8 or uint16 (3, H, W) -> 8-bit Pillow picture."""
    return Image.fromarray(to_8_bits(rgb).permute(1, 2, 0).contiguous().numpy())


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit sRGB; an embedded colour profile is applied."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray((levels_of(image) / 257).round().astype(np.uint8))
    if image.mode in {"P", "PA", "La", "RGBa"}:
        image = image.convert("RGBA")
    if profile and not is_srgb(profile):
        converted = to_srgb(image, profile)
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def levels_of(image: Image.Image, signed: bool = False) -> np.ndarray:
    """A grey picture of 16- or 32-bit integers, or of floats in [0, 1] or wider, as uint16 (H, W).

    `signed` says of 32-bit integers that they may be below 0.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
        top = _white_of(values)
    else:
        values = np.asarray(image)
        values = values if signed else values.view(np.uint32)
        top = 65535.0 if values.max(initial=0) <= 65535 else 2.0 ** (31 if signed else 32) - 1
    result = np.empty(values.shape, np.uint16)
    for row in range(0, len(values), _BAND):
        band = values[row : row + _BAND].astype(np.float64)
        result[row : row + _BAND] = (band / top * 65535).round().clip(0, 65535)
    return result


def _white_of(values: np.ndarray) -> float:
    """Which float is white. Lights in a picture of [0, 1] may go beyond it, and are clipped."""
    highest = float(values.max(initial=0))
    usual = float(np.quantile(values[::4, ::4], 0.99)) if values.size else 0.0
    if highest <= 1.5 or usual <= 1:
        return 1.0
    return next((top for top in (255.0, 65535.0) if highest <= top), highest)


def rgb_tensor(image: Image.Image) -> Tensor:
    """The picture as uint8 (3, H, W), copied in bands: in one piece Pillow would need it twice or more."""
    if image.mode.startswith("I") or image.mode == "F":
        image = to_rgb(image)  # its white depends on all of it
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        pixels[top:bottom] = np.asarray(to_rgb(image.crop((0, top, image.width, bottom))))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def fill_hidden(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Give wholly clear pixels of RGB (3, H, W), in place, colours that go on from those that are seen.

    What a file holds there is seen by nobody, so it must not count. Without anything to be seen, white.
    """
    if not bool((alpha == 0).any()):
        return rgb
    if not bool((alpha != 0).any()):
        return rgb.fill_(_white(rgb.dtype))
    smooth = _continued(rgb, alpha).round_().to(torch.int32).to(rgb.dtype).permute(1, 2, 0).contiguous()
    for top in range(0, rgb.shape[1], _STRIP):
        clear = alpha[top : top + _STRIP] == 0
        if bool(clear.any()):
            band = rgb[:, top : top + _STRIP].permute(1, 2, 0)
            colours = smooth[top // _STEP : -(-(top + _STRIP) // _STEP)].repeat_interleave(_STEP, 0)
            colours = colours[: band.shape[0]].repeat_interleave(_STEP, 1)[:, : band.shape[1]]
            band.copy_(torch.where(clear[..., None], colours, band))
    return rgb


def _white(dtype: torch.dtype) -> int:
    return 65535 if dtype == torch.uint16 else 255


def _continued(rgb: Tensor, alpha: Tensor) -> Tensor:
    """A quarter of the size, in floats: mean colours of what is seen; elsewhere, those of around."""
    height, width = -(-rgb.shape[1] // _STEP), -(-rgb.shape[2] // _STEP)
    light, seen = torch.empty(3, height, width), torch.empty(1, height, width)
    for top in range(0, height, _STRIP // _STEP):
        rows, small = slice(_STEP * top, _STEP * top + _STRIP), slice(top, top + _STRIP // _STEP)
        share = (alpha[rows] != 0).float()[None]
        both = torch.cat([rgb[:, rows].float() * share, share])
        pooled = F.avg_pool2d(both[None], _STEP, ceil_mode=True, count_include_pad=False)[0]
        light[:, small], seen[:, small] = pooled[:3], pooled[3:]
    return _filled(light, seen, _white(rgb.dtype))


def _filled(light: Tensor, seen: Tensor, white: float) -> Tensor:
    """Sums of colours (3, H, W) and how much was seen of them (1, H, W) -> colours everywhere."""
    own = light / seen.clamp_min(1e-12)
    if bool((seen > 0).all()):
        return own
    if own.shape[1:] == (1, 1):
        return torch.full_like(own, white)
    half = F.avg_pool2d(torch.cat([light, seen])[None], 2, ceil_mode=True, count_include_pad=False)[0]
    size = (own.shape[1], own.shape[2])
    around = F.interpolate(_filled(half[:3], half[3:], white)[None], size, mode="bilinear")[0]
    return torch.where(seen > 0, own, around)


def alpha_tensor(image: Image.Image) -> Tensor | None:
    """The transparency as uint8 (H, W), if the picture has any."""
    if not image.has_transparency_data:
        return None
    if image.mode not in {"LA", "RGBA"}:
        image = image.convert("RGBA")
    return torch.from_numpy(np.array(image.getchannel("A")))
