"""How textures compare with crops of real works, and whether they keep their promises.

    python benchmarks/textures.py --data $DATA --out runs/textures.png

For each style: how much textures of different seeds differ, as a share of how much crops of real works do;
the kernel distance of textures to crops of real works, beside that of photographs; and with --tileable the
step across the edge beside the largest inside. Then a command is given twice, and the files are compared.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from stylize import bundled
from stylize.comparing import kernel_distance
from stylize.dataset import PictureSet
from stylize.images import save_grid
from stylize.model import load_base, load_canvas, load_perceptual
from stylize.perceptual import Features
from stylize.styles import resolve_style
from stylize.tensors import to_float, to_uint8
from stylize.texture import mean_distance
from stylize.texturing import TextureStylizer
from stylize.translation import Eyes

STYLES = {
    "ink-wash": "ink-wash",
    "ukiyo-e": "ukiyo-e",
    "van-gogh": "van-gogh",
    "engraving": "engraving-dore",
    "byzantine-mosaic": "byzantine-mosaic",
    "persian-mughal-miniature": "persian-mughal-miniature",
}
"""Style -> folder of its works."""

SIDE = 256


def crops(folder: Path, count: int) -> list[Tensor]:
    """Crops (3, SIDE, SIDE) of evenly chosen pictures, one of each."""
    paths = sorted(folder.glob("*.jpg"))
    pictures = PictureSet(paths[:: max(1, len(paths) // count)][:count])
    random = torch.Generator().manual_seed(0)
    return [pictures.crop(i, SIDE, random, flip=False) for i in range(len(pictures))]


def seam(picture: Tensor) -> float:
    """The mean step across an edge over the largest mean step inside; the worse of both directions."""
    shares = []
    for dim in (1, 2):
        steps = (picture.roll(-1, dim).float() - picture.float()).abs().transpose(0, dim).flatten(1).mean(1)
        shares.append(steps[-1].item() / steps[:-1].max().item())
    return max(shares)


def judge(
    painter: TextureStylizer, code: Tensor, works: list[Tensor], photos: Tensor, eyes: Eyes
) -> list[float]:
    """Diversity, kernel distance, that of photographs, their ratio, seam."""
    textures = [to_float(painter.paint([code], SIDE, SIDE, seed)) for seed in range(len(works))]
    seen, real = ([eyes.features(picture[None]) for picture in pile] for pile in (textures, works))
    ours, theirs = moments(seen, eyes), moments(real, eyes)
    distance, before = kernel_distance(ours, theirs), kernel_distance(photos, theirs)
    diversity = mean_distance(seen) / mean_distance(real)
    return [diversity, distance, before, distance / before, seam(painter.paint([code], SIDE, SIDE, 0, True))]


def moments(features: list[Features], eyes: Eyes) -> Tensor:
    return torch.cat([eyes.moments(one) for one in features])


def same_bytes() -> bool:
    """Do two processes with one seed write the same file?"""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("a.png", "b.png")]
        for file in files:
            ask = ["texture", "-s", "van-gogh", "--size", "320x200", "--seed", "7", "-q", "-o", str(file)]
            subprocess.run([sys.executable, "-m", "stylize", *ask], check=True)
        return files[0].read_bytes() == files[1].read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds style/NAME and content")
    parser.add_argument("--canvas", type=Path, default=bundled.canvas_path())
    parser.add_argument("--count", type=int, default=8, help="textures, crops and photographs of each style")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/textures.png"), help="textures, and a crop each"
    )
    options = parser.parse_args()
    eyes = Eyes(load_perceptual(bundled.perceptual_path()), load_base(bundled.base_path()).encoder)
    canvas, _ = load_canvas(options.canvas)
    photos = moments([eyes.features(p[None]) for p in crops(options.data / "content", options.count)], eyes)
    table = Table("style", "diversity", "kernel distance", "of photographs", "ratio", "seam")
    rows, sums = [], torch.zeros(5)
    for name, folder in STYLES.items():
        style = resolve_style(name)
        painter = TextureStylizer(style.base, canvas, torch.device("cpu"), torch.float32)
        works = crops(options.data / "style" / folder, options.count)
        found = judge(painter, style.code, works, photos, eyes)
        sums += torch.tensor(found)
        table.add_row(name, *(f"{value:.3f}" for value in found))
        print(name, *(f"{value:.3f}" for value in found), flush=True)
        rows.append(
            [to_uint8(works[0]), *(painter.paint([style.code], SIDE, SIDE, seed) for seed in range(4))]
        )
    table.add_row("mean", *(f"{value:.3f}" for value in (sums / len(STYLES)).tolist()))
    Console().print(table)
    print("same bytes:", same_bytes())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_grid(rows, options.out)


if __name__ == "__main__":
    main()
