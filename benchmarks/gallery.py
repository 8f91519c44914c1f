"""Paint the gallery of the README from the photographs in examples/.

python benchmarks/gallery.py
"""

from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as transforms

from stylize import bundled
from stylize.images import read_picture, save_grid
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.styles import resolve_style

EXAMPLES = Path(__file__).parent.parent / "examples"
PHOTOS = ("temple", "raccoon", "astronaut", "coffee", "cat")
FIRST = ("ink-wash", "ukiyo-e", "van-gogh", "impressionist", "engraving", "byzantine-mosaic")
SIZE = [225, 300]


def main() -> None:
    rest = [name for name in bundled.style_paths() if name not in (*FIRST, "photograph")]
    rows = {name: [] for name in PHOTOS}
    for photo in PHOTOS:
        rows[photo].append(thumbnail(read_picture(EXAMPLES / f"{photo}.jpg").rgb))
    for style in (*FIRST, *rest):
        painter = Painter(Look(resolve_style(style)), "auto", "auto", PaintSettings(longer_side=1024))
        for photo in PHOTOS:
            rows[photo].append(thumbnail(painter.paint(read_picture(EXAMPLES / f"{photo}.jpg")).rgb))
    save_grid([rows["temple"][:4], [rows["temple"][0], *rows["temple"][4:7]]], EXAMPLES / "gallery.jpg")
    save_grid(list(rows.values()), EXAMPLES / "styles.jpg")


def thumbnail(picture: torch.Tensor) -> torch.Tensor:
    """The middle of a picture at the gallery's size."""
    height, width = picture.shape[1:]
    scale = max(SIZE[0] / height, SIZE[1] / width)
    resized = transforms.resize(picture, [round(height * scale), round(width * scale)])
    return transforms.center_crop(resized, SIZE)


if __name__ == "__main__":
    main()
