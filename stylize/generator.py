"""The generator: repaints a picture in the style that a code describes.

    picture --stem--> 1/8 features --body--> 1/4 features --head--> picture
                                     ^
                          modulation (scale and shift per layer), expanded from the code

Every normalisation and the attention live at 1/4 of the size or below. The stem and the head are
plain local convolutions, so the picture's full size costs little and can be cut into tiles exactly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.config import GeneratorConfig

Modulation = list[tuple[Tensor, Tensor]]
"""One (scale, shift) per modulated layer, each (N, C)."""

STRIDE = 8
"""The generator takes pictures whose sides are multiples of this."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def conditional_instance_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance normalisation with scale and shift from the style; statistics in fp32.

    Dumoulin et al., 2017 (arXiv:1610.07629). (N, C, H, W), with scale and shift (N, C).
    """
    if x.device.type == "cpu":
        # For one picture, instance norm is batch norm; that kernel is 10 x faster on channels_last.
        pictures = zip(x.split(1), scale.float(), shift.float(), strict=True)
        return torch.cat([F.batch_norm(one, None, None, a, b, training=True) for one, a, b in pictures])
    variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
    gain = scale.float() * (variance + 1e-5).rsqrt()
    offset = shift.float() - mean * gain
    return torch.addcmul(offset.to(x.dtype)[..., None, None], x, gain.to(x.dtype)[..., None, None])


def film(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Feature-wise scale and shift (Perez et al., 2018, arXiv:1709.07871): local, so tiles agree."""
    return torch.addcmul(shift.to(x.dtype)[..., None, None], x, scale.to(x.dtype)[..., None, None])


class BorderlessConv(nn.Conv2d):
    """A 3x3 convolution whose zero padding leaves no mark: at the border, where a third of the window
    is missing, the sum over the rest is scaled up.

    Partial convolution as padding, Liu et al., 2018 (arXiv:1811.11718). The convolution itself stays
    the fast zero-padded one; only the outermost rows and columns are touched again.
    """

    _SCALE = 3 / 2

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(input)
        assert self.bias is not None
        bias = self.bias.to(x.dtype)[:, None]
        for edge in (x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]):
            edge.sub_(bias).mul_(self._SCALE).add_(bias)
        return x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each followed by conditional instance norm, added to the input.

    He et al., 2016 (arXiv:1512.03385). Takes two (scale, shift) pairs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = BorderlessConv(channels, channels)
        self.second = BorderlessConv(channels, channels)

    def forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        y = F.relu(conditional_instance_norm(self.first(x), *modulation[0]))
        return x + conditional_instance_norm(self.second(y), *modulation[1])


class GatedAttention(nn.Module):
    """Self-attention of every position to a pooled grid of keys, added through a gate that starts at 0.

    Zhang et al., 2019 (SAGAN, arXiv:1805.08318). With at most grid x grid keys, the cost is linear
    in the picture's size. A gate of 0 makes the block the identity, so it can be taken out.
    """

    def __init__(self, channels: int, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, width, 1)
        self.out = nn.Conv2d(width, channels, 1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pooled = F.adaptive_avg_pool2d(x, (min(self.grid, height), min(self.grid, width)))
        query, key, value = (
            tensor.flatten(2).transpose(1, 2)  # (N, positions, channels)
            for tensor in (self.query(x), self.key(pooled), self.value(pooled))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).unflatten(2, (height, width))
        return x + self.gate.to(x.dtype) * self.out(mixed)


class Generator(nn.Module):
    """Picture and style to picture.

    `expand` turns codes into modulation; `forward` paints. Splitting the two lets a style be
    expanded once for a whole folder, and lets layers take their style from different codes.
    """

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth = config.half_width, config.quarter_width, config.eighth_width
        self.unshuffle = nn.PixelUnshuffle(2)
        self.stem_half = _conv(12, half)
        self.stem_quarter = _conv(half, quarter, stride=2)
        self.stem_eighth = _conv(quarter, eighth, stride=2)
        self.eighth_blocks = nn.ModuleList(ResidualBlock(eighth) for _ in range(config.eighth_blocks))
        self.attention = (
            GatedAttention(eighth, config.attention_width, config.attention_grid)
            if config.attention_grid
            else None
        )
        self.up_quarter = BorderlessConv(eighth, quarter)
        self.quarter_blocks = nn.ModuleList(ResidualBlock(quarter) for _ in range(config.quarter_blocks))
        self.up_half = _conv(quarter, half)
        self.head = _conv(half, half)
        self.to_rgb = _conv(half, 12)
        self.shuffle = nn.PixelShuffle(2)
        self.modulated = (
            *[eighth] * (2 * config.eighth_blocks),
            quarter,  # the normalised skip from the stem
            *[quarter] * (2 * config.quarter_blocks),
            half,
            half,
        )
        self.expansion = nn.Linear(config.code_size, 2 * sum(self.modulated))
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.expansion.weight, std=0.05)
        nn.init.zeros_(self.expansion.bias)
        # ICNR (Aitken et al., 2017, arXiv:1707.02937): the four sub-pixels of a colour start equal,
        # so that the pixel shuffle starts without a checkerboard.
        with torch.no_grad():
            kernel = self.to_rgb.weight[::4] * 0.5
            self.to_rgb.weight.copy_(kernel.repeat_interleave(4, dim=0))
            nn.init.zeros_(self.to_rgb.bias)  # pyright: ignore[reportArgumentType]

    def expand(self, code: Tensor) -> Modulation:
        """Codes (N, code_size) -> scale (around 1) and shift (around 0) of each modulated layer."""
        scales, shifts = self.expansion(code.float()).chunk(2, dim=1)
        sizes = list(self.modulated)
        return [
            (1 + scale, shift)
            for scale, shift in zip(scales.split(sizes, 1), shifts.split(sizes, 1), strict=True)
        ]

    def forward(self, picture: Tensor, modulation: Modulation) -> Tensor:
        """Paint RGB (N, 3, H, W) in [0, 1], sides multiples of `STRIDE`; the result has the same form."""
        layers = iter(modulation)
        half = F.relu(self.stem_half(self.unshuffle(picture - 0.5)))
        quarter = F.relu(self.stem_quarter(half))
        x = F.relu(self.stem_eighth(quarter))
        for number, block in enumerate(self.eighth_blocks, start=1):
            x = block(x, [next(layers), next(layers)])
            if self.attention is not None and number == (len(self.eighth_blocks) + 1) // 2:
                x = self.attention(x)
        x = self.up_quarter(F.interpolate(x, scale_factor=2, mode="nearest"))
        # The skip carries edges, not colours: normalised, and never from the raw picture. Small
        # networks that are offered the picture itself learn to copy it.
        x = F.relu(x + conditional_instance_norm(quarter, *next(layers)))
        for block in self.quarter_blocks:
            x = block(x, [next(layers), next(layers)])
        x = self.up_half(F.interpolate(x, scale_factor=2, mode="nearest"))
        x = F.relu(film(x, *next(layers)))
        x = F.relu(film(self.head(x), *next(layers)))
        return torch.sigmoid(self.shuffle(self.to_rgb(x)).float())
