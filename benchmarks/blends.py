"""Do blends and strength go evenly from one look to the other?

    python benchmarks/blends.py --data ../shared --cache judged.safetensors

For weights 0, 0.25, 0.5, 0.75 and 1: the distance of the results to each style (VGG19 moments, as in
quality.py), mean over photographs, and Spearman's rank correlation of the distance with the weight, per
photograph; strength likewise, against the photograph's own style. 1 is monotone.
"""

import argparse
import statistics
from pathlib import Path

from quality import FOLDERS, PHOTOGRAPH, Bench
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.styles import resolve_blend, resolve_style

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
PAIRS = (("ink-wash", "van-gogh"), ("ukiyo-e", "engraving"), ("impressionist", "byzantine-mosaic"))


def spearman(values: list[float]) -> float:
    """Rank correlation of values with their order."""
    ranks = sorted(range(len(values)), key=values.__getitem__)
    places = [ranks.index(i) for i in range(len(values))]
    return statistics.correlation(range(len(values)), places)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--every", type=int, default=12)
    options = parser.parse_args()
    bench = Bench(options.data, options.every, options.cache)
    table = Table("from", "to", "distance to", *(f"{w:g}" for w in WEIGHTS), "Spearman")

    def row(names: tuple[str, str], towards: str, rising: bool, distances: list[list[float]]) -> None:
        sign = 1 if rising else -1
        ranks = [spearman([sign * d for d in per_photo]) for per_photo in distances]
        means = [f"{statistics.mean(column):.1f}" for column in zip(*distances, strict=True)]
        table.add_row(*names, towards, *means, f"{statistics.mean(ranks):.2f}")

    for first, second in track(PAIRS, "Blending"):
        painters = [
            Painter(
                Look(resolve_blend([f"{first}:{1 - w}", f"{second}:{w}"])), "auto", "auto", PaintSettings()
            )
            for w in WEIGHTS
        ]
        seen = [
            [bench.look(p.stylizer.paint(photo, p.code, p.stroke)).vgg for p in painters]
            for photo in bench.photos
        ]
        for towards, rising in ((first, True), (second, False)):
            folder = FOLDERS[towards]
            row(
                (first, second), towards, rising, [[bench.vgg.distance(v, folder) for v in vs] for vs in seen]
            )
    for name in track(FOLDERS, "Strength"):
        painter = Painter(Look(resolve_style(name)), "auto", "auto", PaintSettings())
        seen = [
            [bench.look(painter.stylizer.paint(photo, painter.code, painter.stroke, w)).vgg for w in WEIGHTS]
            for photo in bench.photos
        ]
        distances = [[bench.vgg.distance(v, FOLDERS[name]) for v in vs] for vs in seen]
        row((PHOTOGRAPH, name), name, False, distances)
    Console().print(table)


if __name__ == "__main__":
    main()
