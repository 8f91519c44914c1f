"""From a painting to a style code, by way of the statistics of its perceptual features.

A style is described by the mean statistics of a set of works: one painting, or a hundred. So a named
style and a reference painting are the same thing, and need the same code path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylize.perceptual import DEEP_LAYERS, SHALLOW_LAYERS, CompactPlan, Features
from stylize.statistics import gram_matrix, low_pass_chroma, low_pass_luminance, mean_and_std, quantiles

ENCODER_LAYERS = SHALLOW_LAYERS + DEEP_LAYERS
"""Layers of the compact perceptual network that the encoder reads."""

REFERENCE_SIDE = 384
"""Shorter side in pixels at which works are seen, in training and as references: it sets how broad the
strokes are."""

TONE_LEVELS = 33
"""Quantiles kept of a work's low-pass luminance."""


@dataclass(frozen=True)
class StyleStatistics:
    """What a style is made of, for N works: moments and Gram matrices per layer, tones and palette."""

    moments: dict[str, tuple[Tensor, Tensor]]
    """Layer -> mean and standard deviation, each (N, C)."""
    grams: dict[str, Tensor]
    """Layer -> Gram matrices (N, C, C)."""
    tones: Tensor
    """Quantiles of the low-pass luminance (N, TONE_LEVELS)."""
    palette: tuple[Tensor, Tensor]
    """Mean and standard deviation of the low-pass chroma, each (N, 2)."""

    def vector(self) -> Tensor:
        """All moments side by side (N, D): what the style encoder reads."""
        return torch.cat([part for pair in self.moments.values() for part in pair], dim=1)

    def mean_of(self, indices: Sequence[int]) -> "StyleStatistics":
        """The statistics of a set of works as one style (N = 1)."""
        chosen = torch.as_tensor(indices)
        return StyleStatistics(
            {k: (m[chosen].mean(0, True), s[chosen].mean(0, True)) for k, (m, s) in self.moments.items()},
            {k: gram[chosen].mean(0, True) for k, gram in self.grams.items()},
            self.tones[chosen].mean(0, True),
            (self.palette[0][chosen].mean(0, True), self.palette[1][chosen].mean(0, True)),
        )

    def to(self, device: torch.device) -> "StyleStatistics":
        """The same on a device."""
        return StyleStatistics(
            {k: (m.to(device), s.to(device)) for k, (m, s) in self.moments.items()},
            {k: gram.to(device) for k, gram in self.grams.items()},
            self.tones.to(device),
            (self.palette[0].to(device), self.palette[1].to(device)),
        )

    @staticmethod
    def concatenate(parts: "Sequence[StyleStatistics]") -> "StyleStatistics":
        """Statistics of several styles as one batch."""
        first = parts[0]
        return StyleStatistics(
            {
                k: (torch.cat([p.moments[k][0] for p in parts]), torch.cat([p.moments[k][1] for p in parts]))
                for k in first.moments
            },
            {k: torch.cat([p.grams[k] for p in parts]) for k in first.grams},
            torch.cat([p.tones for p in parts]),
            (torch.cat([p.palette[0] for p in parts]), torch.cat([p.palette[1] for p in parts])),
        )


def describe(picture: Tensor, features: Features) -> StyleStatistics:
    """Statistics of N pictures (N, 3, H, W) in [0, 1] and their perceptual features."""
    return StyleStatistics(
        {name: mean_and_std(x) for name, x in features.items()},
        {name: gram_matrix(x) for name, x in features.items()},
        quantiles(low_pass_luminance(picture).flatten(1), TONE_LEVELS),
        mean_and_std(low_pass_chroma(picture)),
    )


def moments_vector(features: Features) -> Tensor:
    """Means and deviations of all layers side by side: (N, D), the order of `StyleStatistics.vector`."""
    return torch.cat([part for x in features.values() for part in mean_and_std(x)], dim=1)


class StyleEncoder(nn.Module):
    """Moments of the perceptual features -> style code.

    The moments are standardised over many works (`mean`, `spread`, set once by `calibrate`) and
    clipped, so that an odd reference cannot throw the generator off.
    """

    mean: Tensor
    spread: Tensor
    LIMIT = 5.0

    def __init__(self, inputs: int, code_size: int = 128) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, 256)
        self.code = nn.Linear(256, code_size)

    def calibrate(self, vectors: Tensor) -> None:
        """Take mean and spread from the moment vectors (N, D) of many works."""
        self.mean.copy_(vectors.mean(0))
        self.spread.copy_(vectors.std(0) + 1e-3 * vectors.std(0).mean() + 1e-6)

    def forward(self, vector: Tensor) -> Tensor:
        """Moment vectors (N, D) -> codes (N, code_size)."""
        standard = ((vector.float() - self.mean) / self.spread).clamp(-self.LIMIT, self.LIMIT)
        return self.code(torch.nn.functional.silu(self.hidden(standard)))


def moments_size(plan: CompactPlan = CompactPlan()) -> int:
    """Length of the moment vector of a compact perceptual network."""
    widths = dict(entry for entry in plan.widths if isinstance(entry, tuple))
    return 2 * sum(widths[name] for name in ENCODER_LAYERS)
