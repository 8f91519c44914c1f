"""Pillow pictures of any mode to tensors and back."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylize.colour import is_srgb, to_srgb
from stylize.tensors import to_8_bits

_BAND = 512
"""Rows of a picture that are copied at a time."""

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
    return image.convert("RGB")


def levels_of(image: Image.Image) -> np.ndarray:
    """A grey picture of 16-bit integers, or of floats in [0, 1] or wider, as uint16 (H, W)."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    values = np.nan_to_num(np.array(image, dtype=np.float64), posinf=0, neginf=0)
    top = 65535.0
    if image.mode == "F":
        highest = values.max(initial=0)
        top = next((top for top in (1.0, 255.0, 65535.0) if highest <= top), highest)
    return (values / top * 65535).round().clip(0, 65535).astype(np.uint16)


def rgb_tensor(image: Image.Image) -> Tensor:
    """The picture as uint8 (3, H, W), copied in bands: Pillow's export in one piece would need it twice."""
    image = to_rgb(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def alpha_tensor(image: Image.Image) -> Tensor | None:
    """The transparency as uint8 (H, W), if the picture has any."""
    if not image.has_transparency_data:
        return None
    return torch.from_numpy(np.array(image.convert("RGBA").getchannel("A")))
