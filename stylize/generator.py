"""The generator: repaints a picture in the style that a code describes.

    picture --stem--> 1/8 features --body--> 1/4 features --head--> picture
                                     ^
                          modulation (scale and shift per layer), expanded from the code

Every normalisation and the attention live at 1/4 of the size or below. The stem and the head are
plain local convolutions, so the picture's full size costs little and can be cut into tiles exactly.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.config import GeneratorConfig
from stylize.tensors import constant

Modulation = list[tuple[Tensor, Tensor]]
"""One (scale, shift) per modulated layer, each (N, C)."""

Norm = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Features (N, C, H, W), scale and shift (N, C) -> normalised, scaled and shifted features, a new tensor."""

STRIDE = 8
"""The generator takes pictures whose sides are multiples of this."""

HEAD_LAYERS = 2
"""So many modulated layers, the last ones, belong to the head."""

_FIXED = "attention"
"""Layers whose kernels are the same for every style."""


def conv_to_the_edge(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """A convolution over a picture whose outermost pixels are repeated once beyond its edge.

    The same as `padding_mode="replicate"`, without copying the picture: the fast zero-padded
    convolution, to which the strips that it lacks are added. Zeros would betray where the edge is, and
    the network would paint frames.
    """
    if torch.is_grad_enabled():  # small pictures; adding in place would cost more on the way back
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias, stride)
    result = F.conv2d(x, weight, bias, stride, padding=1)
    height, width = x.shape[-2:]
    reach = weight.shape[-1] - 2  # how far the last window reaches beyond the middle of the picture's end
    strips = [(slice(0, 1), slice(0, 1), slice(0, 1))]  # (of the picture, of the kernel, of the result)
    ends = (slice(-1, None), slice(-1, None), slice(-1, None))
    for inside, taps, place in strips + [ends] * ((height - reach) % stride == 0):
        row = F.pad(x[:, :, inside], (1, 1, 0, 0), mode="replicate")
        result[:, :, place] += F.conv2d(row, weight[:, :, taps], None, (1, stride))
    for inside, taps, place in strips + [ends] * ((width - reach) % stride == 0):
        column = F.conv2d(x[..., inside], weight[..., taps], None, (stride, 1), padding=(1, 0))
        result[..., place] += column
    return result


class EdgeConv(nn.Conv2d):
    """A 3x3 convolution that goes on at the picture's edge as if it were not there."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        return conv_to_the_edge(input, self.weight, self.bias, self.stride[0])


def conditional_instance_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance normalisation with scale and shift from the style; statistics in fp32.

    Dumoulin et al., 2017 (arXiv:1610.07629). (N, C, H, W), with scale and shift (N, C).
    """
    if x.device.type == "cpu":
        # For one picture, instance norm is batch norm; that kernel is 10 x faster on channels_last.
        pictures = zip(x.split(1), scale.float(), shift.float(), strict=True)
        normalised = [F.batch_norm(one, None, None, a, b, training=True) for one, a, b in pictures]
        return normalised[0] if len(normalised) == 1 else torch.cat(normalised)
    variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
    gain = scale.float() * (variance + 1e-5).rsqrt()
    offset = shift.float() - mean * gain
    return torch.addcmul(offset.to(x.dtype)[..., None, None], x, gain.to(x.dtype)[..., None, None])


def film(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Feature-wise scale and shift (Perez et al., 2018, arXiv:1709.07871): local, so tiles agree."""
    return torch.addcmul(shift.to(x.dtype)[..., None, None], x, scale.to(x.dtype)[..., None, None])


_PHASES = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
"""Enlarged twofold by repetition, the three taps of a kernel fall on two pixels of the original: which
taps on which, for even and for odd places."""


def phase_kernels(weight: Tensor) -> Tensor:
    """3x3 kernels (C', C, 3, 3) for an enlarged picture -> 2x2 kernels (4 C', C, 2, 2) for the original."""
    taps = constant(_PHASES, weight)
    kernels = torch.einsum("pty,qux,oiyx->pqoitu", taps, taps, weight).flatten(0, 2)
    return kernels.contiguous(memory_format=torch.channels_last)


def conv_by_phases(x: Tensor, kernels: Tensor, bias: Tensor, to_the_edge: bool = True) -> Tensor:
    """Enlarge twofold by repetition and convolve 3x3, as four 2x2 convolutions of the small picture, one
    for each place in the 2x2 blocks of the large one: the same sums with 4/9 of the multiply-adds.

    Shi et al., 2016 (arXiv:1609.07009). (N, C, H, W) -> (N, C', 2 H, 2 W). Beyond the edge the picture
    goes on, or else is zero.
    """
    height, width = x.shape[-2:]
    convolve = conv_to_the_edge if to_the_edge else partial(F.conv2d, padding=1)
    phases = convolve(x, kernels, bias.repeat(4)).unflatten(1, (2, 2, -1))
    size = (len(x), len(bias), 2 * height, 2 * width)
    result = torch.empty(size, dtype=phases.dtype, device=x.device, memory_format=torch.channels_last)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        result[:, :, i::2, j::2] = phases[:, i, j, :, i : i + height, j : j + width]
    return result


class UpConv(nn.Conv2d):
    """Enlarge twofold by repetition, then convolve 3x3: no checkerboard, unlike a transposed convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        assert self.bias is not None
        return conv_by_phases(input, phase_kernels(self.weight).to(input.dtype), self.bias.to(input.dtype))


def even_phases(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Kernels (4 C, C', k, k) and biases (4 C,) ahead of a pixel shuffle, without their checkerboard.

    Flat features give flat pictures when the kernels of a colour's four sub-pixels have equal sums (Sugawara
    et al., 2018, arXiv:1806.02658). What they differ by is taken from all of a kernel's numbers alike: edges,
    which live on differences within a kernel, stay as sharp as they are.
    """
    kernels, levels = weight.unflatten(0, (-1, 4)), bias.unflatten(0, (-1, 4))
    means = kernels.mean(dim=(3, 4), keepdim=True)
    even = kernels + (means.mean(dim=1, keepdim=True) - means)
    return even.flatten(0, 1), levels.mean(dim=1, keepdim=True).expand_as(levels).flatten()


class ToPixels(EdgeConv):
    """The last convolution: what a pixel shuffle makes the picture of, with even phases."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 12)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 12, H, W)."""
        assert self.bias is not None
        return conv_to_the_edge(input, *even_phases(self.weight, self.bias))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each followed by conditional instance norm, added to the input.

    He et al., 2016 (arXiv:1512.03385). Takes two (scale, shift) pairs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = EdgeConv(channels, channels)
        self.second = EdgeConv(channels, channels)

    def forward(self, x: Tensor, modulation: Modulation, norm: Norm = conditional_instance_norm) -> Tensor:
        y = F.relu(norm(self.first(x), *modulation[0]), inplace=True)
        y = self.second(y)
        return norm(y, *modulation[1]).add_(x)


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

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Attend to `memory`, the pooled grid of features (N, C, h, w); by default that of x itself."""
        memory = self.pool(x) if memory is None else memory
        query, key, value = (
            tensor.flatten(2).transpose(1, 2)  # (N, positions, channels)
            for tensor in (self.query(x), self.key(memory), self.value(memory))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.gate.to(x.dtype) * self.out(mixed)

    def pool(self, x: Tensor) -> Tensor:
        """The grid that x is reduced to: what there is to attend to."""
        return F.adaptive_avg_pool2d(x, (min(self.grid, x.shape[-2]), min(self.grid, x.shape[-1])))


class Context:
    """What the body asks about the picture as a whole: the statistics of its features, and the grid that
    attention looks at. Here every answer comes from the features at hand."""

    def norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The instance norm of features (N, C, H, W)."""
        return conditional_instance_norm(x, scale, shift)

    def memory(self, attention: GatedAttention, x: Tensor) -> Tensor:
        """What `attention` attends to."""
        return attention.pool(x)


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
        self.stem_half = EdgeConv(12, half)
        self.stem_quarter = EdgeConv(half, quarter, 2)
        self.stem_eighth = EdgeConv(quarter, eighth, 2)
        self.eighth_blocks = nn.ModuleList(ResidualBlock(eighth) for _ in range(config.eighth_blocks))
        self.attention = (
            GatedAttention(eighth, config.attention_width, config.attention_grid)
            if config.attention_grid
            else None
        )
        self.up_quarter = UpConv(eighth, quarter)
        self.quarter_blocks = nn.ModuleList(ResidualBlock(quarter) for _ in range(config.quarter_blocks))
        self.up_half = UpConv(quarter, half)
        self.head = EdgeConv(half, half)
        self.to_rgb = ToPixels(half)
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
        if self.to_rgb.weight.is_meta:  # only shapes are wanted; arithmetic there loads a compiler
            return
        nn.init.normal_(self.expansion.weight, std=0.05)
        nn.init.zeros_(self.expansion.bias)
        # ICNR (Aitken et al., 2017, arXiv:1707.02937): the four sub-pixels of a colour start equal,
        # so that no pixel of a cell is favoured at the start.
        with torch.no_grad():
            kernel = self.to_rgb.weight[::4] * 0.5
            self.to_rgb.weight.copy_(kernel.repeat_interleave(4, dim=0))
            nn.init.zeros_(self.to_rgb.bias)  # pyright: ignore[reportArgumentType]

    def expand(self, code: Tensor) -> Modulation:
        """Codes (N, code_size) -> scale (around 1) and shift (around 0) of each modulated layer.

        A code may be followed by what a style learned beyond it: `offsets_size` numbers to be added to the
        scales and shifts, and after them `changes_size` numbers to be added to the kernels (see
        `changed_kernels`). Codes with and without them are mixed by `mix_codes`.
        """
        code, offsets, _ = self.parts(code.float())
        expanded = self.expansion(code)
        scales, shifts = (expanded + offsets if offsets.shape[1] else expanded).chunk(2, dim=1)
        sizes = list(self.modulated)
        return [
            (1 + scale, shift)
            for scale, shift in zip(scales.split(sizes, 1), shifts.split(sizes, 1), strict=True)
        ]

    @property
    def offsets_size(self) -> int:
        """How many offsets may follow a code."""
        return 2 * sum(self.modulated)

    @property
    def kernels(self) -> dict[str, Tensor]:
        """The kernels that a style may change, by name: those of the body and the head, then the stem's.

        The stem's are last, so that changes without them, as older styles have, are a beginning of the whole.
        """
        convs = {name: module for name, module in self.named_modules() if isinstance(module, nn.Conv2d)}
        names = [name for name in convs if not name.startswith(_FIXED)]
        names.sort(key=lambda name: name.startswith("stem"))
        return {f"{name}.weight": convs[name].weight for name in names}

    @property
    def stem_kernels(self) -> int:
        """How many of the kernels that a style may change are the stem's."""
        return sum(name.startswith("stem") for name in self.kernels)

    @property
    def changes_size(self) -> int:
        """How many changes of kernels may follow the offsets."""
        return sum(kernel.numel() for kernel in self.kernels.values())

    def kernels_in(self, changes: Tensor) -> int:
        """How many kernels, the first ones, changes (1, ...) are for: all, or all but the stem's."""
        whole = changes.shape[1] == self.changes_size
        return len(self.kernels) - (0 if whole else self.stem_kernels)

    def changed_kernels(self, code: Tensor) -> dict[str, Tensor]:
        """The kernels, by name, with the changes that a code (1, ...) brings; none if it brings none."""
        changes = self.parts(code)[2]
        if not changes.shape[1]:
            return {}
        kernels = list(self.kernels.items())[: self.kernels_in(changes)]
        parts = changes[0].split([kernel.numel() for _, kernel in kernels])
        return {
            name: kernel + part.view_as(kernel) for (name, kernel), part in zip(kernels, parts, strict=True)
        }

    def parts(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A code alone, its offsets and its changes of kernels; the last two may be empty."""
        size, both = self.config.code_size, self.config.code_size + self.offsets_size
        return code[:, :size], code[:, size:both], code[:, both:]

    def forward(self, picture: Tensor, modulation: Modulation) -> Tensor:
        """Paint RGB (N, 3, H, W) in [0, 1], sides multiples of `STRIDE`; the result has the same form."""
        body, head = modulation[:-HEAD_LAYERS], modulation[-HEAD_LAYERS:]
        return torch.sigmoid(self.run_head(self.run_body(self.run_stem(picture), body), head).float())

    def run_stem(self, picture: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] -> features (N, quarter_width, H / 4, W / 4); local, no modulation."""
        return F.relu(self.stem_quarter(F.relu(self.stem_half(self.unshuffle(picture - 0.5)))))

    def run_body(self, quarter: Tensor, modulation: Modulation, context: "Context | None" = None) -> Tensor:
        """The stem's features in the style, same form.

        What the body needs to know of the picture as a whole comes from the features themselves, or
        else from `context`.
        """
        context = context or Context()
        layers = iter(modulation)
        x = F.relu(self.stem_eighth(quarter), inplace=True)
        for number, block in enumerate(self.eighth_blocks, start=1):
            x = block(x, [next(layers), next(layers)], context.norm)
            if self.attention is not None and number == (len(self.eighth_blocks) + 1) // 2:
                x = self.attention(x, context.memory(self.attention, x))
        x = self.up_quarter(x)
        # The skip carries edges, not colours: normalised, and never from the raw picture. Small
        # networks that are offered the picture itself learn to copy it.
        x = F.relu(context.norm(quarter, *next(layers)).add_(x), inplace=True)
        del quarter  # large pictures need the memory
        for block in self.quarter_blocks:
            x = block(x, [next(layers), next(layers)], context.norm)
        return x

    def run_head(self, x: Tensor, modulation: Modulation) -> Tensor:
        """The body's features -> the picture before the final sigmoid (N, 3, H, W); local."""
        x = F.relu(film(self.up_half(x), *modulation[0]))
        x = F.relu(film(self.head(x), *modulation[1]))
        return self.shuffle(self.to_rgb(x))


def mix_codes(codes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum of codes (1, code_size), some of which may be followed by offsets and changes."""
    longest = max(code.shape[1] for code in codes)
    padded = [F.pad(code, (0, longest - code.shape[1])) for code in codes]
    return torch.stack([weight * code for weight, code in zip(weights, padded, strict=True)]).sum(0)
