"""The canvas: from noise to features at a quarter of the picture's size, where the stem's would be.

    noise, style code --canvas--> 1/4 features --body--> --head--> picture

Spatial GANs with local, global and periodic noise: Bergmann et al., 2017 (PSGAN, arXiv:1705.06566); noise at
several scales: Ulyanov et al., 2016 (arXiv:1603.03417). Every layer is a convolution without padding, so
the canvas has no edges: it is a window of an endless one, or of one that repeats itself.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.config import CanvasConfig
from stylize.generator import film

CELL = 16
"""Pixels of the picture for one position of the coarsest noise."""

_REACH = 4
"""Positions of the coarsest noise that the layers without padding use up on every side."""

_STEEPEST = 0.35
"""Most cycles of a wave in one position: its length is at least 46 pixels."""


@dataclass(frozen=True)
class Noise:
    """What N canvases are made from.

    `cells`, `grain` and `fine` are white noise (N, C, h, w) at 1/16, 1/8 and 1/4 of the size; `mood` (N, M)
    concerns a picture as a whole. Waves are where they are by `phase` (N, W), and `rows`, `columns` say
    which positions the cells are.
    """

    cells: Tensor
    grain: Tensor
    fine: Tensor
    mood: Tensor
    phase: Tensor
    rows: Tensor
    columns: Tensor
    period: tuple[int, int] | None = None
    """After so many positions everything comes again."""

    def to(self, device: torch.device) -> "Noise":
        """The same on a device."""
        names = (*_PER_PICTURE, "rows", "columns")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @staticmethod
    def together(parts: "list[Noise]") -> "Noise":
        """Noise of one size as one batch."""
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _PER_PICTURE}
        return replace(parts[0], **joined)


_PER_PICTURE = ("cells", "grain", "fine", "mood", "phase")


def draw_noise(
    config: CanvasConfig,
    height: int,
    width: int,
    random: torch.Generator,
    margin: int = 0,
    wrap: bool = False,
) -> Noise:
    """Noise for a picture whose sides are multiples of `CELL`, with a margin, also in pixels, around it.

    With `wrap` the noise of the picture goes on beyond its sides as it begins on the other.
    """
    high, wide, beyond = height // CELL, width // CELL, margin // CELL

    def planes(count: int, scale: int, reach: int) -> Tensor:
        more = scale * beyond + reach  # on every side
        sides = [scale * side + (0 if wrap else 2 * more) for side in (high, wide)]
        drawn = torch.randn(1, count, *sides, generator=random)
        return around(drawn, more) if wrap else drawn

    cells = planes(config.cells, 1, _REACH)
    grain = planes(config.grain, 2, 3)
    fine = planes(config.grain, 4, 3)
    mood = torch.randn(1, config.moods, generator=random)
    phase = torch.rand(1, config.waves, generator=random)
    rows, columns = (torch.arange(-beyond - _REACH, side + beyond + _REACH) for side in (high, wide))
    return Noise(cells, grain, fine, mood, phase, rows, columns, (high, wide) if wrap else None)


def around(planes: Tensor, margin: int) -> Tensor:
    """Planes (N, C, H, W) with a margin in which they repeat themselves; it may be larger than they are."""
    for dim in (-2, -1):
        length = planes.shape[dim]
        places = torch.arange(-margin, length + margin, device=planes.device).remainder(length)
        planes = planes.index_select(dim, places)
    return planes


class Canvas(nn.Module):
    """Noise and style codes to features for the generator's body."""

    def __init__(self, config: CanvasConfig = CanvasConfig()) -> None:
        super().__init__()
        self.config = config
        width, inputs = config.width, config.code_size + config.moods
        self.first = nn.Conv2d(config.cells + config.waves, width, 3)
        self.second = nn.Conv2d(width, width, 3)
        self.eighth = nn.Conv2d(width + config.grain, width, 3)
        self.quarter = nn.Conv2d(width + config.grain, config.outputs, 3)
        self.out = nn.Conv2d(config.outputs, config.outputs, 3)
        self.modulated = (width, width, width, config.outputs)
        self.expansion = nn.Linear(inputs, 2 * sum(self.modulated))
        self.wave_numbers = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 2 * config.waves))
        if not self.out.weight.is_meta:
            nn.init.normal_(self.expansion.weight, std=0.05)
            nn.init.zeros_(self.expansion.bias)

    def forward(self, noise: Noise, code: Tensor) -> Tensor:
        """Features (N, outputs, H / 4, W / 4) of canvases in the styles of codes (N, code_size or more)."""
        return F.relu(self.out(self._before_last(noise, code)))[..., 1:-1, 1:-1]

    def _before_last(self, noise: Noise, code: Tensor) -> Tensor:
        """What the last layer sees."""
        about = torch.cat([code[:, : self.config.code_size].float(), noise.mood], dim=1)
        scales, shifts = self.expansion(about).chunk(2, dim=1)
        sizes = list(self.modulated)
        layers = zip((1 + scales).split(sizes, 1), shifts.split(sizes, 1), strict=True)
        x = torch.cat([noise.cells, self._waves(noise, about)], dim=1)
        x = _painted(self.first(x), *next(layers))
        x = _painted(self.second(x), *next(layers))
        x = torch.cat([_enlarged(x), noise.grain.to(x.dtype)], dim=1)
        x = _painted(self.eighth(x), *next(layers))
        x = torch.cat([_enlarged(x), noise.fine.to(x.dtype)], dim=1)
        return _painted(self.quarter(x), *next(layers))

    def _waves(self, noise: Noise, about: Tensor) -> Tensor:
        """Planar waves (N, W, h, w) whose wave numbers come from the style and the mood."""
        numbers = _STEEPEST * torch.tanh(self.wave_numbers(about)).unflatten(1, (2, -1))
        if noise.period:
            period = numbers.new_tensor(noise.period)[:, None]
            numbers = (numbers * period).round() / period  # whole waves
        y, x = noise.rows.to(numbers)[:, None], noise.columns.to(numbers)
        down, across = numbers[..., None, None].unbind(1)
        turns = down * y + across * x + noise.phase[..., None, None]
        # A whole turn more or less changes nothing, and in few digits much of a large number is lost.
        return torch.sin(2 * torch.pi * turns.remainder(1))

    @torch.no_grad()
    def calibrate(self, mean: Tensor, deviation: Tensor, codes: Tensor) -> None:
        """Let the features of these styles (N, code_size), before the last ReLU, start with such means and
        deviations per channel (C,), as they come out (Krähenbühl et al., 2016, arXiv:1511.06856)."""
        random = torch.Generator().manual_seed(0)
        noise = Noise.together([draw_noise(self.config, 128, 128, random) for _ in codes])
        found = self.out(self._before_last(noise, codes)).transpose(0, 1).flatten(1)
        assert self.out.bias is not None
        gain = deviation / found.std(1)
        self.out.weight.mul_(gain[:, None, None, None])
        self.out.bias.copy_((self.out.bias - found.mean(1)) * gain + mean)


def _painted(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalised at every position over the channels (Karras et al., 2018, arXiv:1710.10196), which needs
    no statistics of the whole; scaled and shifted by the style; ReLU."""
    size = x.float().square().mean(dim=1, keepdim=True).add(1e-6).rsqrt()
    return F.relu(film(x * size.to(x.dtype), scale, shift))


def _enlarged(x: Tensor) -> Tensor:
    """Twice the size, less one position on every side, by repetition and a binomial blur: bilinear. Without
    the blur, blocks show in the texture as upright and level lines."""
    taps = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), kernel, groups=x.shape[1])
