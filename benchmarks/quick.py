"""What quick training gains over the style encoder's guess, for single paintings.

    python benchmarks/quick.py --data ../shared --out runs/quick WORK...

Every WORK is learnt with `stylize train` in its default form, as a process of its own, and timed.
Judged on photographs that training left out, by the real VGG19: the distance of the results'
standardised moments to those of the work, and the content distance to the photographs.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from judges import Judges, vgg_vector
from quality import SIDE, Bench
from rich.console import Console
from rich.table import Table

from stylize.images import read_rgb, save_grid
from stylize.judging import content_distance
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_float


def learn(work: Path, data: Path, out: Path, perceptual: str) -> tuple[Path, float]:
    """Train on one painting; the style file and the seconds that it took."""
    name = f"{work.parent.name}-{work.stem}"
    command = ["-m", "stylize", "train", str(work), "--content", str(data / "data/content"), "--name", name]
    command += ["--perceptual", perceptual]
    started = time.perf_counter()
    subprocess.run([sys.executable, *command, "-o", str(out / name), "-q"], check=True)
    return out / name / "styles" / f"{name}.safetensors", time.perf_counter() - started


def judged(style: str, target: torch.Tensor, bench: Bench) -> tuple[float, float, list[torch.Tensor]]:
    """Mean style and content distance of a style's results, and the results."""
    resolved = resolve_style(style)
    stylizer = Stylizer(resolved.base, perceptual_network, torch.device("cpu"), torch.float32)
    painted = [stylizer.paint(photo, resolved.code, resolved.stroke) for photo in bench.photos]
    near = kept = 0.0
    for result, photo in zip(painted, bench.photos_seen, strict=True):
        seen = bench.look(result, keep=True)
        assert seen.features is not None
        assert photo.features is not None
        near += (bench.vgg.standardise(seen.vgg) - target).norm().item()
        kept += content_distance(seen.features, photo.features)
    return near / len(painted), kept / len(painted), painted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--perceptual", default="bundled", help="as for stylize train")
    parser.add_argument("works", type=Path, nargs="+")
    options = parser.parse_args()
    bench = Bench(options.data, options.every, options.cache)
    judges: Judges = bench.judges
    table = Table("work", "seconds", "style: guess", "quick", "change", "content: guess", "quick", "change")
    rows = []
    for work in options.works:
        picture = read_rgb(work, SIDE)
        target = bench.vgg.standardise(vgg_vector(judges.vgg_features(to_float(picture)[None])))
        file, seconds = learn(work, options.data, options.out, options.perceptual)
        guess, learnt = judged(str(work), target, bench), judged(str(file), target, bench)
        table.add_row(
            f"{work.parent.name}/{work.stem}", f"{seconds:.0f}", f"{guess[0]:.1f}", f"{learnt[0]:.1f}",
            f"{learnt[0] / guess[0] - 1:+.0%}", f"{guess[1]:.2f}", f"{learnt[1]:.2f}",
            f"{learnt[1] / guess[1] - 1:+.0%}",
        )  # fmt: skip
        shown = range(0, len(bench.photos), max(1, len(bench.photos) // 3))[:3]
        rows += [[square(picture)] + [square(x[2][i]) for i in shown for x in (guess, learnt)]]
    Console().print(table)
    save_grid(rows, options.out / "quick.png")


def square(picture: torch.Tensor, side: int = 300) -> torch.Tensor:
    height, width = picture.shape[1:]
    top, left = (height - side) // 2, (width - side) // 2
    return picture[:, top : top + side, left : left + side]


if __name__ == "__main__":
    main()
