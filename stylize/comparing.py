"""How styles differ: distances with their uncertainty, and what in plain words the difference is."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.encoder import ENCODER_LAYERS, REFERENCE_SIDE, StyleEncoder, moments_vector
from stylize.losses import edge_map
from stylize.perceptual import CompactVGG, fit_to_network
from stylize.statistics import gram_matrix
from stylize.tensors import luminance, to_float

MEASURES = ("lightness", "contrast", "colourfulness", "warmth", "stroke scale", "orientation", "edge density")
"""What `measures` tells, in this order."""

Measure = Callable[[Tensor, Tensor], float]
"""A distance between two sets of works."""

_GRAM_LAYER = "relu3_1"
_EDGE = 0.15
_DRAWS = 200


@dataclass(frozen=True)
class Described:
    """What is known of the works of one style: one row per work."""

    name: str
    moments: Tensor
    """Standardised channel means and deviations of the perceptual features (W, D)."""
    grams: Tensor
    """Gram matrices of relu3_1, flattened and scaled to length 1 (W, C * C)."""
    measures: Tensor
    """The `MEASURES` (W, 7)."""


@dataclass(frozen=True)
class Distance:
    """A distance between two styles and the 5 and 95 % points of its interval."""

    value: float
    low: float
    high: float


def measures(picture: Tensor) -> Tensor:
    """Seven numbers that a person can read, for RGB (1, 3, H, W) in [0, 1].

    lightness     - mean luminance, 0 ... 1
    contrast      - standard deviation of the luminance
    colourfulness - mean distance of a pixel's colour from grey, 0 ... 1
    warmth        - mean of red minus blue: above 0 warm, below 0 cool
    stroke scale  - the length in pixels over which the fine structure changes: the root of the ratio of
                    the energies of the high-passed luminance and of its gradient
    orientation   - how much one direction rules, 0 (all alike) ... 1 (parallel lines), from the mean
                    structure tensor: |E (gx + i gy)^2| / E |g|^2
    edge density  - share of pixels whose Sobel magnitude is above 0.15
    """
    light = luminance(picture)
    fine = light - F.avg_pool2d(light, 17, 1, 8, count_include_pad=False)
    # Central differences: forward ones would share a pixel and so agree where nothing does.
    gx = (fine[..., 1:-1, 2:] - fine[..., 1:-1, :-2]) / 2
    gy = (fine[..., 2:, 1:-1] - fine[..., :-2, 1:-1]) / 2
    energy = (gx.square() + gy.square()).mean()
    direction = torch.stack([(gx.square() - gy.square()).mean(), (2 * gx * gy).mean()]).norm()
    chroma = picture - light
    return torch.stack(
        [
            light.mean(),
            light.std(),
            chroma.square().sum(dim=1).sqrt().mean(),
            (picture[:, 0] - picture[:, 2]).mean(),
            (fine.square().mean() / energy.clamp_min(1e-9)).sqrt(),
            direction / energy.clamp_min(1e-9),
            (edge_map(picture) > _EDGE).float().mean(),
        ]
    )


@torch.inference_mode()
def describe_works(
    name: str, works: Sequence[Tensor], network: CompactVGG, encoder: StyleEncoder
) -> Described:
    """Look at the works of a style: uint8 pictures (3, H, W), seen with a shorter side of 384 pixels.

    Moments are standardised as the style encoder was calibrated: over many works of many styles.
    """
    moments, grams, plain = [], [], []
    for work in works:
        picture = fit_to_network(to_float(work)[None], shorter_side=REFERENCE_SIDE)
        features = network(picture, ENCODER_LAYERS)
        moments.append((moments_vector(features) - encoder.mean) / encoder.spread)
        grams.append(F.normalize(gram_matrix(features[_GRAM_LAYER]).flatten(1)))
        plain.append(measures(picture)[None])
    return Described(name, torch.cat(moments), torch.cat(grams), torch.cat(plain))


def moment_distance(a: Tensor, b: Tensor) -> float:
    """Root mean square difference of the mean moments of two sets of works (W, D), in standard
    deviations over many works: 0 for the same, about 1 for unlike styles."""
    return (a.mean(0) - b.mean(0)).square().mean().sqrt().item()


def gram_distance(a: Tensor, b: Tensor) -> float:
    """1 - cosine of the mean Gram matrices of two sets of works (W, C * C): 0 ... 1."""
    return 1 - F.cosine_similarity(a.mean(0), b.mean(0), dim=0).item()


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy of two sets of moment vectors (W, D), unbiased: about 0 (or just
    below) for sets of one kind.

    The kernel inception distance (Binkowski et al., 2018, arXiv:1801.01401), k(x, y) = (x . y / D + 1)^3,
    on our moments instead of Inception features.
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        values = kernel(x, x)
        return (values.sum() - values.diagonal().sum()) / max(1, len(x) * (len(x) - 1))

    return (within(a) + within(b) - 2 * kernel(a, b).mean()).item()


def with_interval(distance: Measure, a: Tensor, b: Tensor, seed: int = 0) -> Distance:
    """The distance with its 90 % interval, from halves of the works drawn without replacement.

    Halves spread as much around the whole as the whole around the truth (the delete-half jackknife: Shao and
    Wu, 1989), and unlike a bootstrap hold no work twice, which kernels would take for a likeness. Means of
    fewer works are farther apart by chance; the interval is shifted back by the mean of that excess.
    """
    chance = random.Random(seed)
    value = distance(a, b)
    drawn = sorted(distance(_half(a, chance), _half(b, chance)) for _ in range(_DRAWS))
    excess = sum(drawn) / len(drawn) - value
    low, high = drawn[int(0.05 * _DRAWS)], drawn[int(0.95 * _DRAWS) - 1]
    return Distance(value, max(0.0, min(value, low - excess)), max(value, high - excess))


def _half(works: Tensor, chance: random.Random) -> Tensor:
    count = min(len(works), max(2, len(works) // 2))
    return works[chance.sample(range(len(works)), count)]


def difference_in_words(a: Described, b: Described, most: int = 3) -> list[tuple[str, float]]:
    """The measures in which b differs most from a, with the difference in pooled standard deviations.

    Cohen's d; only what exceeds 0.5 is told.
    """
    pooled = ((_variance(a.measures) + _variance(b.measures)) / 2).sqrt() + 1e-4
    effect = (b.measures.mean(0) - a.measures.mean(0)) / pooled
    ranked = sorted(zip(MEASURES, effect.tolist(), strict=True), key=lambda pair: -abs(pair[1]))
    return [(name, size) for name, size in ranked[:most] if abs(size) > 0.5]


def _variance(rows: Tensor) -> Tensor:
    """Variance over works; a single work has none, so a small one is assumed."""
    return rows.var(0) if len(rows) > 1 else torch.full((rows.shape[1],), 1e-3)


def flat_map(styles: Sequence[Described]) -> list[Tensor]:
    """All works in two dimensions, style by style (W, 2): the first two principal components."""
    together = torch.cat([style.moments for style in styles])
    centred = together - together.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    if len(directions) < 2:
        directions = F.pad(directions, (0, 0, 0, 2 - len(directions)))
    places = centred @ directions[:2].T
    return list(places.split([len(style.moments) for style in styles]))
