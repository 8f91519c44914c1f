"""A loss whose optimum is a painting: how a style of a few coherent works is learnt.

* Style: Gram matrices (Gatys et al., 2016, arXiv:1508.06576) at the picture's size, half and a quarter of
  it, so that large forms count as much as fine marks; little weight on relu1_1, whose statistics grain meets.
* Content and drawing: instance-normalised features, so that colours are free. Content, relu3_1 at half size,
  holds what there is; drawing, relu2_2 at full size, holds outlines (Johnson et al., 2016, arXiv:1603.08155).
* Tone and colour: low frequencies only. Light and dark stay where they were, never flatter than in the
  photograph; colours move some of the way to the works', and small differences are free.

Nothing else: terms for edges or details make a filter of it, since they ask for the photograph.
Pictures are (N, 3, H, W) in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.perceptual import VGG19, CompactVGG
from stylize.tensors import luminance

Key = tuple[int, str]
"""By how much the picture is reduced, and a layer of the perceptual network."""

CONTENT: Key = (2, "relu3_1")
DRAWING: Key = (1, "relu2_2")

_LOW = 8
"""Side in pixels of the cells over which low frequencies are means."""

_STEEPEST, _MOST_COLOURFUL = 1.6, 2.5
"""Factors by which contrast and colour of the low frequencies may grow."""

_LEAST_CONTRAST, _LEAST_COLOUR = 0.04, 0.015
"""Deviations below which a photograph has none worth amplifying."""


def usual_layers() -> dict[str, float]:
    """The layers of the style term with their weights, as "REDUCED:LAYER"."""
    return {
        "1:relu1_1": 0.2, "1:relu2_1": 0.5, "1:relu3_1": 1.0, "2:relu2_1": 1.0, "2:relu3_1": 1.0,
        "2:relu3_4": 1.0, "4:relu3_1": 1.0, "4:relu3_4": 1.0,
    }  # fmt: skip


@dataclass(frozen=True)
class PaintingRecipe:
    """How a style is learnt: its works, and how firmly a photograph is held."""

    works: tuple[str, ...] = ()
    """A few works that belong together: the mean of unlike ones is grey."""
    side: int = 512
    """Shorter side at which they are read: their strokes' width in pixels follows from it."""
    style: float = 10.0
    content: float = 1.6
    drawing: float = 0.5
    tone: float = 8.0
    colour: float = 4.0
    free: float = 0.04
    """Difference in chroma that costs nothing."""
    own_colour: float = 0.35
    """How far colours move from the photograph's mean and spread (0) to the works' (1)."""
    own_tone: float = 0.2
    """The same for the mean lightness."""
    tv: float = 0.3
    noise: float = 0.05
    """Amplitude of the noise in what the first pass sees, see `Stroke`."""
    layers: dict[str, float] = field(default_factory=usual_layers)


@dataclass(frozen=True)
class Held:
    """What a painting is to keep of its photograph."""

    content: Tensor
    drawing: Tensor
    tone: Tensor
    chroma: Tensor


class PaintingLoss:
    """The terms of the objective for one style."""

    def __init__(
        self,
        recipe: PaintingRecipe,
        works: Sequence[Tensor],
        network: VGG19 | CompactVGG,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        """`works` are (1, 3, H, W), at least 64 pixels a side; `network` is frozen."""
        self.recipe, self.network, self.autocast = recipe, network, autocast
        self.layers: dict[Key, float] = {}
        for name, weight in recipe.layers.items():
            reduced, _, layer = name.partition(":")
            self.layers[int(reduced), layer] = weight
        with torch.no_grad():
            seen = [self.features(work, self.layers) for work in works]
            self.grams = {k: torch.cat([gram(f[k]) for f in seen]).mean(0, keepdim=True) for k in self.layers}
            tones, chromas = zip(*[low_frequencies(work) for work in works], strict=True)
        self.light = torch.stack([tone.mean() for tone in tones]).mean()
        self.contrast = torch.stack([tone.std() for tone in tones]).mean()
        self.hue = torch.stack([chroma.mean((0, 2, 3)) for chroma in chromas]).mean(0).view(1, 2, 1, 1)
        self.spread = torch.stack([chroma.std((0, 2, 3)) for chroma in chromas]).mean(0).view(1, 2, 1, 1)

    def features(self, picture: Tensor, keys: Mapping[Key, float] | Sequence[Key]) -> dict[Key, Tensor]:
        """The activations of these layers, in fp32."""
        found: dict[Key, Tensor] = {}
        for reduced in sorted({reduced for reduced, _ in keys}):
            small = F.avg_pool2d(picture, reduced) if reduced > 1 else picture
            layers = sorted({layer for r, layer in keys if r == reduced})
            with self.autocast():
                seen = self.network(small.contiguous(memory_format=torch.channels_last), layers)
            found |= {(reduced, layer): x.float() for layer, x in seen.items()}
        return found

    @torch.no_grad()
    def held(self, photo: Tensor, seen: Tensor | None = None) -> Held:
        """What is kept of a photograph; its drawing is that of `seen`, if the network sees something else."""
        features = self.features(photo if seen is None else seen, [CONTENT, DRAWING])
        tone, chroma = self._low_frequencies_wanted(photo)
        return Held(normalised(features[CONTENT]), normalised(features[DRAWING]), tone, chroma)

    def _low_frequencies_wanted(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        recipe = self.recipe
        tone, chroma = low_frequencies(photo)
        mean, spread = tone.mean((1, 2, 3), True), tone.std((1, 2, 3), keepdim=True)
        steeper = (torch.maximum(self.contrast, spread) / spread.clamp_min(_LEAST_CONTRAST)).clamp(
            1, _STEEPEST
        )
        tone = torch.lerp(mean, self.light, recipe.own_tone) + (tone - mean) * steeper
        mean, spread = chroma.mean((2, 3), True), chroma.std((2, 3), keepdim=True)
        least = 1 - 0.9 * recipe.own_colour
        richer = (self.spread / spread.clamp_min(_LEAST_COLOUR)).clamp(least, _MOST_COLOURFUL)
        return tone.clamp(0, 1), torch.lerp(mean, self.hue, recipe.own_colour) + (chroma - mean) * richer

    def __call__(self, painted: Tensor, held: Held) -> dict[str, Tensor]:
        """The weighted terms."""
        recipe = self.recipe
        features = self.features(painted, [*self.layers, CONTENT, DRAWING])
        tone, chroma = low_frequencies(painted)
        return {
            "style": recipe.style * self._style(features),
            "content": recipe.content * (normalised(features[CONTENT]) - held.content).square().mean(),
            "drawing": recipe.drawing * (normalised(features[DRAWING]) - held.drawing).square().mean(),
            "tone": recipe.tone * (tone - held.tone).abs().mean(),
            "colour": recipe.colour * F.relu((chroma - held.chroma).abs() - recipe.free).mean(),
            "tv": recipe.tv * _variation(painted),
        }

    def _style(self, features: Mapping[Key, Tensor]) -> Tensor:
        """Mean over layers of the squared difference of Gram matrices, relative to the works'."""
        parts = []
        for key, weight in self.layers.items():
            target = self.grams[key]
            parts.append(
                weight * (gram(features[key]) - target).square().sum((1, 2)).mean() / target.square().sum()
            )
        return torch.stack(parts).sum() / sum(self.layers.values())


def gram(features: Tensor) -> Tensor:
    """Gram matrices (N, C, C) of features (N, C, H, W), divided by the number of values."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[1] / flat.shape[2]


def normalised(features: Tensor) -> Tensor:
    """Features with mean 0 and deviation 1 in each channel."""
    mean, spread = features.mean((2, 3), keepdim=True), features.std((2, 3), keepdim=True)
    return (features - mean) / (spread + 1e-3)


def low_frequencies(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, h, w) and chroma (N, 2, h, w: blue and red less luminance) of cells of 8 pixels."""
    small = F.avg_pool2d(picture, _LOW)
    light = luminance(small)
    return light, torch.cat([small[:, 2:] - light, small[:, :1] - light], dim=1)


def _variation(picture: Tensor) -> Tensor:
    """Total variation."""
    rows, columns = picture[..., 1:, :] - picture[..., :-1, :], picture[..., 1:] - picture[..., :-1]
    return rows.abs().mean() + columns.abs().mean()
