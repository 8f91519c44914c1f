"""The pictures of `stylize texture`: find the styles, paint, write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylize import bundled
from stylize.canvas import CELL, Canvas
from stylize.devices import choose_device, choose_dtype, out_of_memory
from stylize.errors import StylizeError, UsageError, WeightsError
from stylize.images import write_picture
from stylize.marking import ALL_BY_MODEL, xmp_packet
from stylize.model import load_canvas
from stylize.paths import FORMATS
from stylize.picture import Picture
from stylize.styles import ResolvedStyle, resolve_blend
from stylize.texturing import OnShare, TextureStylizer, check_size


@dataclass(frozen=True)
class TextureJob:
    """What `stylize texture` was asked for."""

    styles: Sequence[str]
    """Blended by their weights, or with `morph` one after the other from left to right."""
    outputs: Sequence[Path]
    """A file for each seed, from `seed` on."""
    width: int
    height: int
    seed: int = 0
    tileable: bool = False
    morph: bool = False
    offline: bool = False
    quality: int = 92
    device: str = "auto"
    dtype: str = "auto"


def carry_out(job: TextureJob, on_share: OnShare) -> None:
    """Paint and write every picture; `on_share` is told of shares of one. Raises StylizeError."""
    device = choose_device(job.device)
    check_size(job.height, job.width, job.tileable, job.morph, device)
    styles = [resolve_blend(names, offline=job.offline) for names in _parts(job)]
    painter = TextureStylizer(styles[0].base, canvas_of(styles), device, choose_dtype(job.dtype, device))
    codes = [style.code for style in styles]
    cards = [card for style in styles for card in style.cards]
    for number, output in enumerate(job.outputs):
        try:
            rgb = painter.paint(codes, job.height, job.width, job.seed + number, job.tileable, on_share)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            smaller = f"{job.width // 32 * CELL}x{job.height // 32 * CELL}"
            raise StylizeError(f"The memory does not suffice for this size; try --size {smaller}.") from error
        picture = Picture(rgb, xmp=xmp_packet(cards, source_type=ALL_BY_MODEL))
        write_picture(picture, output, FORMATS[output.suffix.lower().lstrip(".")], job.quality)


def _parts(job: TextureJob) -> list[list[str]]:
    """What is blended, for each style from left to right."""
    return [[style] for style in job.styles] if job.morph else [list(job.styles)]


def canvas_of(styles: Sequence[ResolvedStyle]) -> Canvas:
    """What these styles are painted on: what the first that learnt it brings along, else the bundled canvas.

    UsageError for styles with networks of their own, of which the bundled canvas knows nothing.
    """
    base = styles[0].base
    if any(style.base.identity != base.identity for style in styles):
        raise UsageError("These styles were made for different bases and cannot be used together.")
    own = next((style.canvas for style in styles if style.canvas is not None), None)
    if own is not None:
        shape, needed = own.config, base.generator.config
        if (shape.outputs, shape.code_size) != (needed.quarter_width, needed.code_size):
            raise WeightsError("The canvas of this style does not fit its base; fetch the style again.")
        return own
    canvas, identity = load_canvas(bundled.canvas_path())
    if identity != base.identity:
        raise UsageError(
            "This style paints with networks of its own, which never learnt textures; take one of "
            "stylize styles, or teach its works with stylize train --texture."
        )
    return canvas
