"""How much the still parts of an animation flicker when it is painted, with and without `steady.py`.

A bright disc moves over a photograph that stands still, and in another film a quarter of the picture
changes from dark to bright. Where the input has not changed for so far around that no convolution sees the
change, paintings of neighbouring frames should be the same.

    python benchmarks/flicker.py
"""

from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from stylize.animation import in_palette
from stylize.devices import choose_device, choose_dtype
from stylize.pixels import rgb_tensor, to_image
from stylize.steady import SteadyStylizer
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer

EXAMPLES = Path(__file__).parent.parent / "examples"
STYLES = ("van-gogh", "ink-wash", "ukiyo-e", "engraving")
FRAMES = 8
SIZE = (640, 428)


def film(kind: str) -> list[Tensor]:
    """Eight frames; everything right of the middle stands still."""
    photo = Image.open(EXAMPLES / "temple.jpg").convert("RGB").resize(SIZE)
    frames = []
    for i in range(FRAMES):
        frame = photo.copy()
        draw = ImageDraw.Draw(frame)
        if kind == "moving disc":
            draw.ellipse((10 + 20 * i, 120, 90 + 20 * i, 200), fill=(250, 60, 40))
        else:
            draw.rectangle((0, 0, SIZE[0] // 4, SIZE[1]), fill=(i * 36, i * 36, i * 36))
        frames.append(rgb_tensor(frame))
    return frames


def flicker(paintings: list[Tensor]) -> float:
    """Mean change between neighbouring frames in grey levels, in the outermost third on the right."""
    still = [painting[..., -SIZE[0] // 3 :].float() for painting in paintings]
    return float(torch.stack([(a - b).abs().mean() for a, b in pairwise(still)]).mean())


def gif(paintings: list[Tensor], steady: bool) -> list[Tensor]:
    """The paintings in 256 colours: in our common palette, or as Pillow does it."""
    images = [to_image(painting) for painting in paintings]
    return [rgb_tensor(i) for i in (in_palette(images) if steady else [i.quantize(256) for i in images])]


def main() -> None:
    """Print a table."""
    device = choose_device("auto")
    print("| film | style | frame by frame | steady | GIF, frame by frame | GIF, steady |")
    print("|---|---|---|---|---|---|")
    for kind in ("moving disc", "a quarter changes"):
        frames = film(kind)
        for name in STYLES:
            style = resolve_style(name)
            stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
            brush = SteadyStylizer(stylizer, frames)
            alone = [stylizer.paint(frame, style.code, style.stroke) for frame in frames]
            together = [brush.paint(frame, style.code, style.stroke) for frame in frames]
            cells = [
                flicker(alone),
                flicker(together),
                flicker(gif(alone, False)),
                flicker(gif(together, True)),
            ]
            print(f"| {kind} | {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
