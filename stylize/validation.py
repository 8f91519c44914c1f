"""What a network can do by now on fixed photographs: a sheet to look at, a small table, vital signs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.dataset import PictureSet, centre_crop
from stylize.devices import comparing_autocast
from stylize.encoder import StyleStatistics
from stylize.judging import content_distance, edge_ssim
from stylize.library import PHOTOGRAPH, StyleLibrary
from stylize.losses import moment_loss
from stylize.perceptual import Features, LossNetwork
from stylize.tensors import luminance, to_float

SAMPLE_SIZE = 256
"""Side in pixels of the pictures on a sample sheet."""

COLUMNS = ("closed", "edges", "content")

_ENOUGH_EDGES, _MOST_CONTENT = 0.33, 0.65
"""What a painting should keep of its photograph, in edge SSIM and content distance."""

Row = dict[str, float]
Spreads = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Validation:
    """Sample sheet (3, H, W) in [0, 1], table (style -> column -> value), vital signs, and one score."""

    sheet: Tensor
    table: dict[str, Row]
    vitals: dict[str, float] = field(default_factory=dict)
    score: float = 0.0
    """Higher is better; says which checkpoint is the best."""


def fixed_photos(photos: PictureSet, count: int = 5) -> list[Tensor]:
    """Some of the photographs, always the same, as (1, 3, SAMPLE_SIZE, SAMPLE_SIZE) floats."""
    step = max(1, len(photos) // count)
    chosen = [photos[i * step] for i in range(min(count, len(photos)))]
    return [centre_crop(to_float(photo), SAMPLE_SIZE)[None] for photo in chosen]


@torch.no_grad()
def validate_styles(
    paint: Callable[[Tensor, str], Tensor],
    photos: Sequence[Tensor],
    library: StyleLibrary,
    loss_network: LossNetwork,
    spreads: Spreads,
    device: torch.device,
) -> Validation:
    """Paint every photograph (1, 3, H, W) in every style of the library by `paint(photo, style)`."""
    results = {
        style: [paint(photo.to(device), style).float().cpu() for photo in photos] for style in library.members
    }
    seen = [_features(photo, loss_network, device) for photo in photos]
    table, nearest = {}, []
    for style, painted in results.items():
        found = [_features(result, loss_network, device) for result in painted]
        target = library.statistics.mean_of(library.members[style])
        table[style] = _row(painted, photos, found, seen, target, spreads)
        nearest.append(_nearest_work(found, library, style, spreads))
    columns = [torch.cat(list(photos), 2)[0], *(torch.cat(p, 2)[0] for p in results.values())]
    below = torch.cat([torch.ones(3, SAMPLE_SIZE, SAMPLE_SIZE), *nearest], dim=2)
    sheet = torch.cat([torch.cat(columns, dim=2), below], dim=1)
    counted = [row for style, row in table.items() if style != PHOTOGRAPH] or list(table.values())
    score = sum(map(_score, counted)) / len(counted)
    return Validation(sheet, table, vital_signs(photos, results), score)


def _features(picture: Tensor, loss_network: LossNetwork, device: torch.device) -> Features:
    with comparing_autocast(device):
        return {k: v.float().cpu() for k, v in loss_network(picture.to(device)).items()}


def _row(
    painted: Sequence[Tensor], photos: Sequence[Tensor], found: Sequence[Features],
    seen: Sequence[Features], target: StyleStatistics, spreads: Spreads,
) -> Row:  # fmt: skip
    """Share of the style distance that is closed, edge SSIM, content distance; means over photographs."""
    near = sum(style_distance(f, target, spreads) for f in found)
    far = sum(style_distance(f, target, spreads) for f in seen)
    count = len(photos)
    edges = sum(edge_ssim(p, photo) for p, photo in zip(painted, photos, strict=True)) / count
    content = sum(content_distance(f, s) for f, s in zip(found, seen, strict=True)) / count
    return dict(zip(COLUMNS, (1 - near / far, edges, content), strict=True))


def style_distance(features: Features, target: StyleStatistics, spreads: Spreads) -> float:
    """Mean over layers of the moment loss to a style."""
    parts = [
        moment_loss(x, *target.moments[name], *(s.cpu() for s in spreads[name])).item()
        for name, x in features.items()
    ]
    return sum(parts) / len(parts)


def _score(row: Row) -> float:
    """Style closed, less what the photograph lost beyond what it may."""
    lost = max(0.0, _ENOUGH_EDGES - row["edges"]) + max(0.0, row["content"] - _MOST_CONTENT)
    return row["closed"] - 2 * lost


def _nearest_work(found: Sequence[Features], library: StyleLibrary, style: str, spreads: Spreads) -> Tensor:
    """The work of a style that the first result is nearest to, (3, SAMPLE_SIZE, SAMPLE_SIZE)."""
    members = library.members[style]
    distances = [style_distance(found[0], library.statistics.mean_of([i]), spreads) for i in members]
    best = min(range(len(distances)), key=distances.__getitem__)
    return centre_crop(to_float(library.groups[style][best]), SAMPLE_SIZE)


def vital_signs(photos: Sequence[Tensor], results: Mapping[str, Sequence[Tensor]]) -> dict[str, float]:
    """Signs of collapse and of copying, from results (1, 3, H, W) by style; the worst style counts.

    variety        how much results differ between photographs, as a share of how much those differ
    style_variety  how much results differ between styles (mean absolute difference)
    change         how much results differ from their photographs (the same)
    """
    if len(photos) < 2:
        return {}
    painted = {style: pictures for style, pictures in results.items() if style != PHOTOGRAPH}
    vitals = {}
    if painted:
        span = _spread([_outline(photo) for photo in photos])
        spans = [_spread([_outline(picture) for picture in pictures]) for pictures in painted.values()]
        vitals["variety"] = min(spans) / max(span, 1e-6)
        changes = [
            torch.stack([(a - b).abs().mean() for a, b in zip(pictures, photos, strict=True)]).mean().item()
            for pictures in painted.values()
        ]
        vitals["change"] = min(changes)
    if len(painted) > 1:
        vitals["style_variety"] = min(
            (a[0] - b[0]).abs().mean().item() for a, b in combinations(painted.values(), 2)
        )
    return vitals


def _outline(picture: Tensor) -> Tensor:
    """Small, in luminance, zero mean and unit deviation: what is where, whatever the palette."""
    small = F.adaptive_avg_pool2d(luminance(picture), 24)
    return (small - small.mean()) / (small.std() + 0.02)


def _spread(pictures: Sequence[Tensor]) -> float:
    """Mean absolute difference over all pairs."""
    pairs = [(a - b).abs().mean().item() for a, b in combinations(pictures, 2)]
    return sum(pairs) / len(pairs)
