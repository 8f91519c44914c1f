"""From what the user calls a style to a code and the base that paints it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from stylize import bundled
from stylize.errors import WeightsError
from stylize.images import read_rgb
from stylize.model import Base, Style, fits, load_base, load_perceptual, load_style
from stylize.paths import READABLE
from stylize.perceptual import CompactVGG
from stylize.stylizer import encode_style


@dataclass(frozen=True)
class ResolvedStyle:
    """A style ready to paint: its code (1, code_size) and the base that understands it."""

    code: Tensor
    base: Base


@cache
def perceptual_network() -> CompactVGG:
    """The bundled perceptual network; most paintings do without it, so it is loaded when asked for."""
    return load_perceptual(bundled.perceptual_path())


def resolve_style(reference: str) -> ResolvedStyle:
    """Load a style: a bundled name, a style file, or any painting as a picture file.

    Raises UsageError if there is none, WeightsError or PictureError if the file is not good.
    """
    path = bundled.style_file(reference)
    if path.suffix.lower() in READABLE:
        base = load_base(bundled.base_path())
        code = encode_style(base, perceptual_network(), read_rgb(path))
    else:
        style = load_style(path)
        base, code = style.base or _base_of(style, path), style.code
    return ResolvedStyle(code, base)


def _base_of(style: Style, path: Path) -> Base:
    """The base that a style was made for: the bundled one, or one that lies with the style."""
    folder = path.resolve().parent
    for candidate in (bundled.base_path(), folder / "base.safetensors", folder.parent / "base.safetensors"):
        if candidate.is_file():
            base = load_base(candidate)
            if base.identity == style.base_identity:
                break
    else:
        raise WeightsError(
            f"{path} was made for another base ({style.base_identity or 'unnamed'}); "
            "put that base.safetensors beside it."
        )
    if not fits(style.code, base.generator):
        raise WeightsError(f"Cannot use {path}: its style code does not fit its base.")
    return base
