"""Is there a grid of two pixels in what is painted, as pixel shuffles leave it?

    python benchmarks/grid.py --content photos/ STYLE...

*level*: how far the means of the four places of a 2 x 2 cell lie apart, in grey levels. *alternation*: what
swings between even and odd columns, or rows, in step over cells of 16 x 16 pixels: mean of its amount, in
grey levels. Photographs have some, where something in them is as fine as that.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from stylize.images import read_rgb
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import luminance, to_float


def levels(picture: Tensor) -> Tensor:
    """Luminance in grey levels, (1, 1, H, W) with even sides, of uint8 (3, H, W)."""
    height, width = (length // 2 * 2 for length in picture.shape[1:])
    return 255 * luminance(to_float(picture)[None])[..., :height, :width]


def level(light: Tensor) -> float:
    """The range of the four means."""
    means = F.pixel_unshuffle(light, 2).mean(dim=(0, 2, 3))
    return (means.max() - means.min()).item()


def alternation(light: Tensor) -> float:
    """Of columns: second differences at even places, so that slopes do not count, averaged over cells."""
    even, odd = light[..., ::2], light[..., 1::2]
    swing = (2 * even[..., 1:] - odd[..., 1:] - odd[..., :-1]) / 4
    return F.avg_pool2d(swing, (16, 8)).abs().mean().item()


def row(name: str, pictures: Iterable[Tensor]) -> list[str]:
    lights = [levels(picture) for picture in pictures]
    found = [[level(x), alternation(x), alternation(x.transpose(2, 3))] for x in lights]
    return [name, *(f"{value:.2f}" for value in torch.tensor(found).mean(0).tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--every", type=int, default=17)
    parser.add_argument("styles", nargs="+")
    options = parser.parse_args()
    photos = [read_rgb(path) for path in sorted(options.content.glob("*.jpg"))[:: options.every]]
    table = Table("", "level", "alternation of columns", "of rows")
    table.add_row(*row("the photographs", photos))
    for name in options.styles:
        style = resolve_style(name)
        stylizer = Stylizer(style.base, perceptual_network, torch.device("cpu"), torch.float32)
        table.add_row(*row(name, (stylizer.paint(photo, style.code, style.stroke) for photo in photos)))
    Console().print(table)


if __name__ == "__main__":
    main()
