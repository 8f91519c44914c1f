"""A generator made ready to paint one style: what does not depend on the picture is computed beforehand."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.generator import (
    HEAD_LAYERS,
    Context,
    Generator,
    UpConv,
    conv_by_phases,
    even_phases,
    phase_kernels,
)


class FoldedUpConv(nn.Module):
    """An `UpConv` with its kernels split by phase, and scaled and shifted as `film` would do.

    Inside a tile with a halo, `to_the_edge` is not needed: what it mends is cut off.
    """

    kernels: Tensor
    bias: Tensor

    def __init__(
        self,
        conv: UpConv,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        to_the_edge: bool = True,
    ) -> None:
        super().__init__()
        self.to_the_edge = to_the_edge
        weight, bias = _folded(conv, scale, shift)
        self.register_buffer("kernels", phase_kernels(weight))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        return conv_by_phases(x, self.kernels, self.bias, self.to_the_edge)


class FoldedGenerator(nn.Module):
    """A generator and one style, for painting only: the same picture as `Generator.forward`, sooner.

    What the style changes in kernels is added to them; the head's scales and shifts are part of its weights;
    kernels are split by phase once. Everything is folded in fp32 and only then cast to `dtype`. It takes
    levels 0 ... 255, which half precision holds exactly, and scales them by the stem's weights.
    """

    def __init__(self, generator: Generator, code: Tensor, device: torch.device, dtype: torch.dtype) -> None:
        """`code` (1, ...) may bring offsets and changes of kernels, see `Generator.expand`."""
        super().__init__()
        self.config = generator.config
        with torch.inference_mode(False), torch.no_grad():
            modulation = generator.expand(code.cpu())
            network = copy.deepcopy(generator).float()
            network.load_state_dict(network.changed_kernels(code.cpu()), strict=False)
        body, head = modulation[:-HEAD_LAYERS], modulation[-HEAD_LAYERS:]
        network.stem_half.weight.data /= 255
        self.up_half = FoldedUpConv(network.up_half, *_one(head[0]), to_the_edge=False)
        weight, bias = _folded(network.head, *_one(head[1]))
        network.head.weight, network.head.bias = nn.Parameter(weight), nn.Parameter(bias)
        weight, bias = even_phases(*_folded(network.to_rgb, None, None))
        network.to_rgb.weight, network.to_rgb.bias = nn.Parameter(weight), nn.Parameter(bias)
        network.up_quarter = FoldedUpConv(network.up_quarter)  # pyright: ignore[reportAttributeAccessIssue]
        self.network = network
        self.requires_grad_(False)
        self.to(device, dtype).to(memory_format=torch.channels_last)
        self.body = [(scale.to(device), shift.to(device)) for scale, shift in body]
        self.device = device
        self.dtype = dtype

    def run_stem(self, pixels: Tensor) -> Tensor:
        """As `Generator.run_stem`, for uint8 or uint16 (N, 3, H, W) on any device; right but at the edge."""
        if pixels.dtype == torch.uint16:
            pixels = pixels.float().div_(257)
        pixels = pixels.to(self.device, memory_format=torch.channels_last).to(self.dtype)
        x = _conv(self.network.stem_half, self.network.unshuffle(pixels.sub_(127.5)))
        return F.relu(_conv(self.network.stem_quarter, F.relu(x, inplace=True)), inplace=True)

    def run_body(self, stem: list[Tensor], context: Context | None = None) -> Tensor:
        """As `Generator.run_body`, for any number of pictures in this style.

        `stem` is a list of one, the stem's features: they are taken out of it, so that the memory of a
        large picture is free again as soon as they have served.
        """
        n = len(stem[0])
        body = [(scale.expand(n, -1), shift.expand(n, -1)) for scale, shift in self.body]
        return self.network.run_body(stem.pop(), body, context)

    def run_head(self, x: Tensor) -> Tensor:
        """As `Generator.run_head`; right but at the edge."""
        x = F.relu(self.up_half(x), inplace=True)
        x = F.relu(_conv(self.network.head, x), inplace=True)
        return self.network.shuffle(_conv(self.network.to_rgb, x))


def _conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The plain, zero-padded convolution: a halo keeps the zeros out of the picture."""
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, padding=1)


def _one(layer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The scale and shift (C,) of a single style."""
    scale, shift = layer
    return scale[0].cpu().float(), shift[0].cpu().float()


def _folded(conv: nn.Conv2d, scale: Tensor | None, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution followed by scale and shift."""
    assert conv.bias is not None
    weight, bias = conv.weight.detach().float().cpu(), conv.bias.detach().float().cpu()
    if scale is None or shift is None:
        return weight, bias
    return weight * scale[:, None, None, None], bias * scale + shift
