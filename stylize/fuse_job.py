"""One picture out of several for `stylize fuse`: read, fit, fuse, paint, write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize import bundled
from stylize.cards import StyleCard
from stylize.devices import out_of_memory
from stylize.errors import PictureError, StylizeError
from stylize.generator import mix_codes
from stylize.images import check_size, is_mask_for, read_mask, read_picture, resize_picture, write_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.marking import COMPOSITE
from stylize.model import load_base
from stylize.painting import Painter, PaintSettings, marked
from stylize.picture import Picture
from stylize.places import make_folder
from stylize.pyramid import fuse_pyramids
from stylize.sharpening import as_sharp_as
from stylize.sources import Fit, Source, as_source, fitted, overall_shares
from stylize.strokes import Stroke
from stylize.styles import ResolvedStyle, perceptual_network, resolve_blend
from stylize.stylizer import Stylizer, encode_style
from stylize.tensors import luminance, to_8_bits, to_float

Mode = Literal["features", "pyramid"]

_OVERVIEW = 32
_ALIKE, _BRIGHTER = 0.9, 0.08
"""Rank correlation above which two pictures show one scene, and difference of the mean luminance from which
on they are exposures of it."""


@dataclass(frozen=True)
class FuseJob:
    """What `stylize fuse` was asked for."""

    inputs: Sequence[tuple[Path, float]]
    """Pictures and their weights; the first gives size and metadata."""
    target: Job
    styles: Sequence[str]
    """If there are none, the pictures' own styles, in their shares."""
    mode: Mode
    fit: Fit
    mask: Path | None
    """Where it is white the second of two pictures takes part, where it is black the first."""
    feather: float
    longer_side: int | None
    device: str
    dtype: str
    offline: bool
    settings: PaintSettings

    @property
    def stays_photograph(self) -> bool:
        """Is what the pyramids give left as it is?"""
        names = {bundled.weighted(style)[0] for style in self.styles}
        return self.mode == "pyramid" and (names <= {"photograph"} or self.settings.strength == 0)


class FusedStylizer:
    """A stylizer that paints several pictures as one, whichever picture it is given."""

    def __init__(self, stylizer: Stylizer, sources: Sequence[Source]) -> None:
        self.stylizer = stylizer
        self.sources = sources

    def paint(self, picture: Tensor, code: Tensor, stroke: Stroke, strength: float = 1.0) -> Tensor:
        """Paint in the style of a code (1, code_size); below strength 1 it moves to the pictures' own.

        The result is as sharp as the softest of several pictures, or sharper.
        """
        if strength != 1:
            own = _own_code(self.sources, self.stylizer.encode)
            code = mix_codes([own, code], [1 - strength, strength])
        painted = self.stylizer.paint_fused(self.sources, code, stroke.at(strength))
        taking_part = [source.rgb for source in self.sources if source.weight > 0]
        return as_sharp_as(painted, taking_part) if len(taking_part) > 1 else painted


def carry_out(job: FuseJob, on_step: Callable[[], None]) -> str:
    """Do it, and return a hint for the user, or nothing. Raises StylizeError for what cannot be.

    `on_step` is called after each picture that is read, and at the end.
    """
    make_folder(job.target.target.parent)
    style = resolve_blend(job.styles, offline=job.offline) if job.styles else None
    try:
        picture, sources = _read(job, on_step)
        result = _fused(job, picture, sources, style)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise StylizeError(
            "There is not enough memory for these pictures; fuse them with a smaller --size."
        ) from error
    write_picture(result, job.target.target, job.target.format_name, job.settings.quality)
    on_step()
    if picture.remark:
        return picture.remark
    if job.mode == "features" and is_bracket(sources):
        return "These look like exposures of one scene; --mode pyramid keeps more of them."
    return ""


def _read(job: FuseJob, on_step: Callable[[], None]) -> tuple[Picture, list[Source]]:
    """The first picture, and all as sources of its size."""
    (path, weight), *others = job.inputs
    first = read_picture(path).still()
    mask = None if job.mask is None else _mask(job.mask, job.feather, first, path)
    first = resize_picture(first, job.longer_side) if job.longer_side else first
    check_size(first.size, job.target.format_name, str(job.target.target))
    sources = [Source(first.rgb, weight)]
    on_step()
    greys = [first.grey]
    for path, weight in others:
        other = read_picture(path).still()
        sources.append(as_source(other, first, weight, job.fit))
        greys.append(other.grey)
        on_step()
    if mask is not None:
        second = fitted(mask[None], first.size, "stretch")[0]
        sources = [replace(sources[0], where=255 - second), _within(sources[1], second)]
    return replace(first, grey=all(greys)), sources


def _mask(path: Path, feather: float, picture: Picture, name: Path) -> Tensor:
    """The mask (H, W), which must have the picture's proportions."""
    mask = read_mask(path, feather)
    if not is_mask_for(mask, picture.size):
        size = f"{mask.shape[1]} x {mask.shape[0]}"
        raise PictureError(
            f"The mask has {size} pixels and {name} {picture.size[0]} x {picture.size[1]}; "
            "give a mask of the first picture's size or proportions."
        )
    return mask


def _within(source: Source, mask: Tensor) -> Source:
    """A source that takes part only where the mask lets it."""
    if source.where is None:
        return replace(source, where=mask)
    return replace(source, where=(source.where.int() * mask // 255).to(torch.uint8))


def _fused(job: FuseJob, picture: Picture, sources: Sequence[Source], style: ResolvedStyle | None) -> Picture:
    """The result, with its metadata."""
    cards = tuple(StyleCard(path.stem) for path, _ in job.inputs)
    if job.mode == "pyramid":
        picture = replace(picture, rgb=fuse_pyramids(sources, job.settings.tile or 0))
        if job.stays_photograph:
            return marked(picture, cards, job.settings.metadata, COMPOSITE)
    if style is None:
        base = load_base(bundled.base_path())
        code = _own_code(sources, lambda rgb: encode_style(base, perceptual_network(), rgb))
        style = ResolvedStyle(code, base, cards, stroke=Stroke(width=None))
    painter = Painter(Look(style), job.device, job.dtype, job.settings)
    return painter.paint(
        picture, FusedStylizer(painter.stylizer, sources) if job.mode == "features" else None
    )


def _own_code(sources: Sequence[Source], encode: Callable[[Tensor], Tensor]) -> Tensor:
    """The code of the pictures' own styles, mixed in their shares of the picture."""
    shares = overall_shares(sources)
    seen = [(encode(source.rgb), share) for source, share in zip(sources, shares, strict=True) if share > 0]
    return mix_codes([code for code, _ in seen], [share for _, share in seen])


def is_bracket(sources: Sequence[Source]) -> bool:
    """Do these look like one scene, once darker and once lighter?"""
    small = [F.adaptive_avg_pool2d(luminance(to_float(to_8_bits(s.rgb))[None]), _OVERVIEW) for s in sources]
    ranks = [x.flatten().argsort().argsort().float() for x in small]
    alike = [torch.corrcoef(torch.stack([ranks[0], rank]))[0, 1].item() for rank in ranks[1:]]
    means = [x.mean().item() for x in small]
    return min(alike) > _ALIKE and max(means) - min(means) > _BRIGHTER
