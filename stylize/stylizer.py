"""Painting with a trained base: padding, device, precision and strength, uint8 in and out."""

from collections.abc import Callable

import torch
from torch import Tensor

from stylize.encoder import ENCODER_LAYERS, REFERENCE_SIDE, moments_vector
from stylize.generator import STRIDE, Modulation
from stylize.model import Base
from stylize.perceptual import CompactVGG, fit_to_network
from stylize.tensors import reflect_pad, to_float, to_uint8

MARGIN = 64
"""Mirrored pixels around a picture, so that the convolutions' zero padding stays out of it."""

_SMALLEST = 128
"""Padded sides are at least this, so that instance statistics mean something."""


class Stylizer:
    """A base on a device, ready to paint. `perceptual` is called when a picture must be encoded."""

    def __init__(
        self, base: Base, perceptual: Callable[[], CompactVGG], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.base = base
        self.perceptual = perceptual
        self.device = device
        self.dtype = dtype
        self.generator = base.generator.to(device).to(memory_format=torch.channels_last)
        self._set_precision(dtype)

    def _set_precision(self, dtype: torch.dtype) -> None:
        """Precision of the convolutions; the expansion of codes stays in fp32, it costs nothing."""
        for name, part in self.generator.named_children():
            if name != "expansion":
                part.to(dtype)

    def encode(self, picture: Tensor) -> Tensor:
        """The style code (1, code_size) of a painting or photograph, uint8 (3, H, W)."""
        return encode_style(self.base, self.perceptual(), picture)

    def paint(self, picture: Tensor, code: Tensor, strength: float = 1.0) -> Tensor:
        """Paint uint8 RGB (3, H, W) in the style of a code (1, code_size); same form and size.

        Below strength 1 the code moves towards that of the photograph itself.
        """
        if strength != 1:
            code = torch.lerp(self.encode(picture), code, strength)
        with torch.inference_mode():
            modulation = self.generator.expand(code.to(self.device))
            padded, top, left = _pad(to_float(picture)[None])
            painted = self._run(padded, modulation)
            height, width = picture.shape[1:]
            return to_uint8(painted[0, :, top : top + height, left : left + width]).cpu()

    def _run(self, picture: Tensor, modulation: Modulation) -> Tensor:
        """One pass; a half-precision overflow is mended by a second one in fp32."""
        moved = picture.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        painted = self.generator(moved, modulation)
        if self.dtype == torch.float16 and not torch.isfinite(painted).all():
            self._set_precision(torch.float32)
            painted = self.generator(moved.float(), modulation)
            self._set_precision(self.dtype)
        return painted


def encode_style(base: Base, perceptual: CompactVGG, picture: Tensor) -> Tensor:
    """The style code (1, code_size) of a uint8 picture (3, H, W), reduced to the scale that training saw."""
    with torch.inference_mode():
        seen = fit_to_network(to_float(picture)[None], shorter_side=REFERENCE_SIDE)
        return base.encoder(moments_vector(perceptual(seen, ENCODER_LAYERS)))


def _pad(picture: Tensor) -> tuple[Tensor, int, int]:
    """Mirror-pad (1, 3, H, W) by a margin, up to whole strides; also the margin's top and left."""
    height, width = picture.shape[-2:]
    extra_y, extra_x = (_padded_side(side) - side for side in (height, width))
    top, left = extra_y // 2, extra_x // 2
    return reflect_pad(picture, left, extra_x - left, top, extra_y - top), top, left


def _padded_side(side: int) -> int:
    return max(_SMALLEST, -(-(side + 2 * MARGIN) // STRIDE) * STRIDE)
