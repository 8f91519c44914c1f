"""How well does `stylize fuse` keep what is in its pictures?

    python benchmarks/fusing.py --data ../shared/data

Twenty pairs of photographs and works (`content/`, `style/*/`), drawn by a fixed seed, every second one a
photograph with a work. All rivals are painted in the same code, the blend of the pair's own:

- A alone, which keeps nothing of B;
- the plain average of the pixels, painted;
- the pyramid's result (`--mode pyramid`), painted;
- the features, fused inside the network (`--mode features`).

Then what becomes of ten pictures whose halves were blurred in turn, and of the balance.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from stylize.fuse_job import FusedStylizer
from stylize.generator import mix_codes
from stylize.images import read_picture, read_rgb, resize_picture
from stylize.judging import perceptual_distance, ssim
from stylize.perceptual import CompactVGG
from stylize.pyramid import fuse_pyramids
from stylize.sources import Source, as_source
from stylize.strokes import Stroke
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import luminance, to_float, to_uint8

ONE_PASS = Stroke(width=None)
"""The pictures keep their detail: fusing is what is measured."""

SIDE = 320
LEVELS = 64
BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
Fusing = Callable[[list[Source], Tensor], Tensor]


def grey(picture: Tensor) -> Tensor:
    """uint8 (3, H, W) -> luminance (1, 1, H, W) in [0, 1]."""
    return luminance(to_float(picture)[None])


def gradient(light: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude and orientation, in -pi / 2 ... pi / 2, of the Sobel gradient."""
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    x, y = F.conv2d(light, torch.stack([kernel, kernel.T])[:, None])[0]
    return (x.square() + y.square()).sqrt(), torch.where(x == 0, math.pi / 2, torch.atan(y / x))


def edge_transfer(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """Q^AB/F: how much of the edges of A and B, strength and orientation, is in F (Xydeas & Petrovic, 2000).

    Luminances (1, 1, H, W); 0: nothing ... 0.975: everything.
    """
    strength, angle = gradient(fused)
    kept = weight = 0.0
    for source in (a, b):
        own_strength, own_angle = gradient(source)
        low, high = torch.minimum(strength, own_strength), torch.maximum(strength, own_strength)
        relative = torch.where(high > 0, low / high.clamp_min(1e-9), torch.zeros_like(high))
        alike = 1 - (angle - own_angle).abs() / (math.pi / 2)
        quality = torch.sigmoid(15 * (relative - 0.5)) * torch.sigmoid(22 * (alike - 0.8)) * 0.9994 * 0.9879
        kept += (quality * own_strength).sum().item()
        weight += own_strength.sum().item()
    return kept / max(weight, 1e-9)


def information(a: Tensor, fused: Tensor) -> float:
    """Mutual information of two luminances, 2 I(A; F) / (H(A) + H(F)): 0 ... 1 (Hossny et al., 2008)."""
    rows, columns = ((x.flatten() * LEVELS).long().clamp_max(LEVELS - 1) for x in (a, fused))
    joint = torch.bincount(rows * LEVELS + columns, minlength=LEVELS**2).double().view(LEVELS, LEVELS)
    joint /= joint.sum()
    own, other, both = (_entropy(p) for p in (joint.sum(1), joint.sum(0), joint.flatten()))
    return 2 * (own + other - both) / max(own + other, 1e-9)


def _entropy(p: Tensor) -> float:
    p = p[p > 0]
    return -(p * p.log2()).sum().item()


def judge(first: Tensor, second: Tensor, result: Tensor) -> dict[str, float]:
    """All measures of a fused picture against its two."""
    a, b, f = grey(first), grey(second), grey(result)
    sharp, least = gradient(f)[0].mean().item(), min(gradient(x)[0].mean().item() for x in (a, b))
    edges, shared = edge_transfer(a, b, f), information(a, f) + information(b, f)
    mean_ssim = (ssim(a, f, 1.0) + ssim(b, f, 1.0)) / 2
    return {"Q": edges, "MI": shared, "Q + MI": edges + shared, "SSIM": mean_ssim, "sharpness": sharp / least}


def pairs_of(data: Path, count: int) -> list[list[Source]]:
    """Pairs of pictures of one size, the first a photograph."""
    chance = random.Random(0)
    photos, works = sorted((data / "content").glob("*.jpg")), sorted((data / "style").glob("*/*.jpg"))
    pairs = []
    for index in range(count):
        first = resize_picture(read_picture(chance.choice(photos)).simple(), SIDE)
        second = read_picture(chance.choice(works if index % 2 else photos)).simple()
        pairs.append([Source(first.rgb, 1), as_source(second, first, 1)])
    return pairs


def halves_of(data: Path, count: int) -> list[tuple[Tensor, list[Source]]]:
    """Photographs, and the same twice with one half out of focus."""
    chance = random.Random(1)
    photos, results = sorted((data / "content").glob("*.jpg")), []
    for path in chance.sample(photos, count):
        sharp = read_rgb(path, shorter_side=256)
        kernel = torch.exp(-(torch.arange(25.0) - 12).square() / (2 * 4.0**2))
        kernel = (kernel / kernel.sum()).view(1, 1, 1, 25).expand(3, 1, 1, 25)
        blurred = F.conv2d(F.pad(to_float(sharp)[None], (12,) * 4, mode="reflect"), kernel, groups=3)
        blurred = to_uint8(F.conv2d(blurred, kernel.transpose(2, 3), groups=3))[0]
        middle = sharp.shape[2] // 2
        left = torch.cat([sharp[..., :middle], blurred[..., middle:]], dim=2)
        right = torch.cat([blurred[..., :middle], sharp[..., middle:]], dim=2)
        results.append((sharp, [Source(left, 1), Source(right, 1)]))
    return results


def average(sources: list[Source]) -> Tensor:
    """The plain average of the pixels."""
    return to_uint8(torch.stack([to_float(source.rgb) for source in sources]).mean(0))


def rivals(stylizer: Stylizer) -> dict[str, Fusing]:
    """Name -> way to fuse and paint."""
    return {
        "A alone, painted": lambda sources, code: stylizer.paint(sources[0].rgb, code, ONE_PASS),
        "average, painted": lambda sources, code: stylizer.paint(average(sources), code, ONE_PASS),
        "pyramid, painted": lambda sources, code: stylizer.paint(fuse_pyramids(sources), code, ONE_PASS),
        "**features**": lambda sources, code: FusedStylizer(stylizer, sources).paint(
            sources[0].rgb, code, ONE_PASS
        ),
        "average, not painted": lambda sources, _: average(sources),
        "pyramid, not painted": lambda sources, _: fuse_pyramids(sources),
    }


def spearman(values: list[float]) -> float:
    """Rank correlation of values with their order."""
    places = sorted(range(len(values)), key=values.__getitem__)
    return statistics.correlation(range(len(values)), [places.index(i) for i in range(len(values))])


def distances(network: CompactVGG, pair: list[Source], stylizer: Stylizer) -> list[float]:
    """How unlike A the results are, for all balances."""
    layers = ("relu1_2", "relu2_2", "relu3_4")
    photo = network(to_float(pair[0].rgb)[None], layers)
    codes = [stylizer.encode(source.rgb) for source in pair]
    found = []
    for balance in BALANCES:
        shares = [1 - balance, balance]
        sources = [Source(s.rgb, w) for s, w in zip(pair, shares, strict=True)]
        result = stylizer.paint_fused(sources, mix_codes(codes, shares), ONE_PASS)
        found.append(perceptual_distance(network(to_float(result)[None], layers), photo))
    return found


def show(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    """A table of means."""
    columns = list(next(iter(rows.values()))[0])
    table = Table("", *columns, title=title)
    for name, results in rows.items():
        table.add_row(name, *(f"{statistics.mean(r[c] for r in results):.3f}" for c in columns))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    named = resolve_style("van-gogh")
    stylizer = Stylizer(named.base, perceptual_network, torch.device("cpu"), torch.float32)
    ways = rivals(stylizer)
    pairs = pairs_of(options.data, options.count)
    own: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    van_gogh = {name: [] for name in ways if "not" not in name}
    for pair in track(pairs, "Pairs"):
        pictures = [source.rgb for source in pair]
        code = mix_codes([stylizer.encode(rgb) for rgb in pictures], [0.5, 0.5])
        for name, way in ways.items():
            own[name].append(judge(pictures[0], pictures[1], way(pair, code)))
            if name in van_gogh:
                van_gogh[name].append(judge(pictures[0], pictures[1], way(pair, named.code)))
    show("In the pair's own styles", own)
    show("As van-gogh", van_gogh)
    sharp_enough = sum(result["sharpness"] >= 1 for result in own["**features**"])
    print(f"features not less sharp than the less sharp picture: {sharp_enough} of {len(pairs)}")

    focus: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for sharp, pair in track(halves_of(options.data, options.count // 2), "Focus"):
        code = stylizer.encode(sharp)
        aim = stylizer.paint(sharp, code, ONE_PASS)
        for name, way in ways.items():
            target = grey(sharp if "not" in name else aim)
            result = way(pair, code)
            measures = judge(pair[0].rgb, pair[1].rgb, result)
            focus[name].append(
                {
                    "SSIM with the sharp one": ssim(grey(result), target, 1.0),
                    "sharpness": measures["sharpness"],
                }
            )
    show("Halves out of focus", focus)

    network = perceptual_network()
    with torch.inference_mode():
        found = [distances(network, pair, stylizer) for pair in track(pairs, "Balance")]
    means = [f"{statistics.mean(column):.3f}" for column in zip(*found, strict=True)]
    print(f"distance to A at balance {BALANCES}: {', '.join(means)}")
    print(f"Spearman, mean over pairs: {statistics.mean(spearman(d) for d in found):.3f}")
    print(f"pairs with Spearman >= 0.9: {sum(spearman(d) >= 0.9 for d in found)} of {len(found)}")


if __name__ == "__main__":
    main()
