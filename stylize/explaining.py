"""Why a painting looks as it does: where it differs from the photograph, and which layers made it so."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylize.console import printable
from stylize.generator import Generator, mix_codes
from stylize.images import to_image
from stylize.strokes import Stroke
from stylize.stylizer import Stylizer
from stylize.tensors import luminance, to_8_bits, to_float, to_uint8

_SIDE = 640
"""Longer side of the picture that is explained; what a style does shows at this size, and soon."""

_BLUR = 15


@dataclass(frozen=True)
class Share:
    """What a group of layers contributes: the change of the painting, in grey levels of 255, if their part
    of the style is replaced by the photograph's own."""

    name: str
    colour: float
    light: float
    texture: float


def explain(stylizer: Stylizer, photo: Tensor, code: Tensor, stroke: Stroke, title: str) -> Image.Image:
    """A sheet for people: photograph, painting, where it changed, and which layers did it.

    `photo` is uint8 or uint16 (3, H, W). The layers are judged by occlusion (Zeiler & Fergus, 2014,
    arXiv:1311.2901): each group in turn is given the style of the photograph.
    """
    photo = _reduced(photo)
    painted = stylizer.paint(photo, code, stroke)
    neutral = stylizer.encode(photo)
    shares = []
    for name, layers in layer_groups(stylizer.base.generator).items():
        without = stylizer.paint(photo, occluded(stylizer.base.generator, code, neutral, layers), stroke)
        shares.append(Share(name, *_changes(painted, without)))
    return _sheet(photo, painted, heat_map(photo, painted), shares, title)


def _reduced(photo: Tensor) -> Tensor:
    photo = to_8_bits(photo)
    scale = _SIDE / max(photo.shape[1:])
    if scale >= 1:
        return photo
    size = [max(1, round(side * scale)) for side in photo.shape[1:]]
    return F.interpolate(photo[None], size, mode="bilinear", antialias=True)[0]


def layer_groups(generator: Generator) -> dict[str, range]:
    """The modulated layers in five groups, named by what they can reach."""
    eighth, quarter = 2 * generator.config.eighth_blocks, 2 * generator.config.quarter_blocks
    early = eighth // 2
    bounds = [0, early, eighth, eighth + 1, eighth + 1 + quarter, eighth + 3 + quarter]
    names = (
        "large forms (first half of the 1/8 blocks)",
        "large strokes (second half of the 1/8 blocks)",
        "edges kept from the photograph (1/4 skip)",
        "fine strokes (1/4 blocks)",
        "colour and grain (head, 1/2)",
    )
    return {name: range(start, stop) for name, start, stop in zip(names, bounds, bounds[1:], strict=False)}


def occluded(generator: Generator, code: Tensor, neutral: Tensor, layers: range) -> Tensor:
    """The code, with offsets that give these layers the scales and shifts of the neutral code, and without
    what it changes in their kernels."""
    size = generator.config.code_size
    with torch.inference_mode():
        ours, theirs = (_expanded(generator, one) for one in (code, neutral))
        starts = [0]
        for width in generator.modulated:
            starts.append(starts[-1] + width)
        change = torch.zeros_like(ours)
        part = slice(starts[layers.start], starts[layers.stop])
        for half in (0, starts[-1]):  # all scales come first, then all shifts
            places = slice(part.start + half, part.stop + half)
            change[:, places] = theirs[:, places] - ours[:, places]
        undone = _undone(generator, generator.parts(code)[2], layers)
        return mix_codes([code, torch.cat([torch.zeros(1, size), change, undone], dim=1)], [1, 1])


def _undone(generator: Generator, changes: Tensor, layers: range) -> Tensor:
    """What takes a code's changes (1, ...) of the kernels in these layers back; empty if it has none."""
    if not changes.shape[1]:
        return changes
    last = len(generator.modulated) - 1
    sizes = [kernel.numel() for kernel in generator.kernels.values()][: generator.kernels_in(changes)]
    # Kernels and modulated layers go side by side; the one to RGB, which is next, counts to the last layer.
    # The stem's come after it, and stay: no layer is modulated there.
    shares = [-float(k <= last + 1 and min(k, last) in layers) for k in range(len(sizes))]
    return torch.cat([s * part for s, part in zip(shares, changes.split(sizes, 1), strict=True)], dim=1)


def _expanded(generator: Generator, code: Tensor) -> Tensor:
    """All scales, then all shifts, of a code (1, ...)."""
    layers = generator.expand(code)
    return torch.cat([torch.cat([scale for scale, _ in layers], 1), torch.cat([s for _, s in layers], 1)], 1)


def _changes(painted: Tensor, without: Tensor) -> tuple[float, float, float]:
    """Mean change in colour, in light and in texture, in grey levels."""
    a, b = to_float(painted)[None], to_float(without)[None]
    light_a, light_b = luminance(a), luminance(b)
    broad_a, broad_b = _smooth(light_a), _smooth(light_b)
    colour = ((a - light_a) - (b - light_b)).abs().mean()
    light = (broad_a - broad_b).abs().mean()
    texture = ((light_a - broad_a) - (light_b - broad_b)).abs().mean()
    return tuple(float(x) * 255 for x in (colour, light, texture))  # pyright: ignore[reportReturnType]


def _smooth(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, _BLUR, 1, _BLUR // 2, count_include_pad=False)


def heat_map(photo: Tensor, painted: Tensor) -> Tensor:
    """The photograph in grey, coloured from blue (little) to red (most) where the painting changed it.

    uint8 (3, H, W) both. The change is the mean over colours, smoothed, relative to its own largest.
    """
    change = _smooth((to_float(photo) - to_float(painted)).abs().mean(0, keepdim=True)[None])
    heat = change / torch.quantile(change.flatten()[:: max(1, change.numel() // 100_000)], 0.99).clamp_min(
        1e-3
    )
    heat = heat.clamp(0, 1)
    ramp = torch.cat(
        [(2 * heat - 0.5).clamp(0, 1), 1 - (2 * heat - 1).abs(), (1.5 - 2 * heat).clamp(0, 1)], 1
    )
    return to_uint8(0.45 * luminance(to_float(photo)[None]) + 0.55 * ramp)[0]


def _sheet(photo: Tensor, painted: Tensor, heat: Tensor, shares: list[Share], title: str) -> Image.Image:
    """Three pictures in a row, and bars below."""
    height, width = photo.shape[1:]
    unit = max(width, 260)
    sheet = Image.new("RGB", (3 * unit + 40, height + 90 + 34 * (len(shares) + 1)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    captions = ("the photograph", title, "where it changed: blue little, red most")
    for i, (picture, caption) in enumerate(zip((photo, painted, heat), captions, strict=True)):
        sheet.paste(to_image(picture), (10 + i * (unit + 10), 10))
        draw.text((10 + i * (unit + 10), height + 16), printable(caption), fill="black", font=font)
    top = height + 50
    draw.text(
        (10, top),
        "How much the painting changes when a part of the network paints without the style",
        "black",
        font,
    )
    most = max(max(s.colour, s.light, s.texture) for s in shares) or 1
    kinds = {"colour": "#cc3311", "light": "#ddaa33", "texture": "#0077bb"}
    x = 400
    room = (sheet.width - x - 20) / 3
    for row, share in enumerate(shares, start=1):
        y = top + 34 * row
        draw.text((10, y), share.name, fill="black", font=font)
        for i, (kind, tint) in enumerate(kinds.items()):
            value, left = getattr(share, kind), x + i * room
            draw.rectangle((left, y + 2, left + 1 + value / most * (room - 120), y + 16), fill=tint)
            draw.text(
                (left + 8 + value / most * (room - 120), y), f"{kind} {value:.0f}", fill="black", font=font
            )
    return sheet
