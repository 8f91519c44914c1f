"""Paint the gallery of the README from the photographs in examples/.

python benchmarks/gallery.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as transforms

from stylize import bundled
from stylize.images import read_picture, save_grid
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.sheets import save_sheet
from stylize.styles import resolve_style

EXAMPLES = Path(__file__).parent.parent / "examples"
FIRST = ("ukiyo-e", "van-gogh", "cubist-futurist", "stained-glass", "engraving", "ink-wash")
SIZE = [225, 300]
COLUMNS = 6
WAYS = {
    "fuse": ["fuse", "temple.jpg", "raccoon.jpg", "--style", "van-gogh", "--size", "640"],
    "texture": ["texture", "--style", "ukiyo-e", "--size", "608x448", "--seed", "3"],
    "optimize": ["optimize", "cat.jpg", "gallery.jpg", "--size", "448", "--steps", "90", "--preview", "0"],
    "cycle: there": ["apply", "temple.jpg", "--style", "photo-van-gogh"],
}
"""What else there is -> the command."""


def main() -> None:
    """Six styles on the temple, and every style on the temple and the astronaut."""
    rest = [name for name in bundled.style_paths() if name not in (*FIRST, "photograph")]
    every: list[tuple[str, torch.Tensor]] = []
    for photo in ("temple", "astronaut"):
        picture = read_picture(EXAMPLES / f"{photo}.jpg")
        every.append(("the photograph", thumbnail(picture.rgb)))
        for style in (*FIRST, *rest):
            painter = Painter(Look(resolve_style(style)), "auto", "auto", PaintSettings(longer_side=1024))
            every.append((style, thumbnail(painter.paint(picture).rgb)))
        every += [("", torch.full_like(every[0][1], 255))] * (-len(every) % COLUMNS)
    save_sheet(every, EXAMPLES / "styles.jpg", COLUMNS)
    first = [picture for _, picture in every]
    save_grid([first[:4], [first[0], *first[4:7]]], EXAMPLES / "gallery.jpg")
    save_sheet([(name, thumbnail(made(WAYS[name]))) for name in WAYS], EXAMPLES / "ways.jpg", len(WAYS))


def made(command: list[str]) -> torch.Tensor:
    """The picture that a command makes."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder, "x.png"))
        subprocess.run([sys.executable, "-m", "stylize", *command, "-o", target], cwd=EXAMPLES, check=True)
        return read_picture(Path(target)).rgb


def thumbnail(picture: torch.Tensor) -> torch.Tensor:
    """The middle of a picture at the gallery's size."""
    height, width = picture.shape[1:]
    scale = max(SIZE[0] / height, SIZE[1] / width)
    resized = transforms.resize(picture, [round(height * scale), round(width * scale)])
    return transforms.center_crop(resized, SIZE)


if __name__ == "__main__":
    main()
