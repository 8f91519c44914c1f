"""Where the weights that come with the package are, and what the styles are called. No torch."""

import os
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import typer

from stylize.errors import UsageError, WeightsError

PACKAGE = Path(__file__).parent


@cache
def weights_folder() -> Path:
    """`stylize/weights` in an installed package, `weights` beside the package in a checkout."""
    for folder in (PACKAGE / "weights", PACKAGE.parent / "weights"):
        if (folder / "perceptual.safetensors").is_file():
            return folder
    raise WeightsError("The bundled weights are missing; install it again as the README says.")


def base_path() -> Path:
    """The base generator."""
    return weights_folder() / "base.safetensors"


def perceptual_path() -> Path:
    """The compact perceptual network."""
    return weights_folder() / "perceptual.safetensors"


def canvas_path() -> Path:
    """The canvas that textures are painted on."""
    return weights_folder() / "texture.safetensors"


def sample_picture() -> Path:
    """A photograph to show styles on."""
    for path in (weights_folder() / "sample.jpg", PACKAGE.parent / "examples" / "temple.jpg"):
        if path.is_file():
            return path
    raise WeightsError("The bundled photograph is missing; name one with --photo.")


def style_paths() -> dict[str, Path]:
    """Name -> file of every bundled style, in alphabetical order."""
    return {path.stem: path for path in sorted((weights_folder() / "styles").glob("*.safetensors"))}


def translation_paths() -> dict[str, Path]:
    """Name -> file of every bundled translation: a style with networks of its own that goes both ways."""
    return {path.stem: path for path in sorted((weights_folder() / "translations").glob("*.safetensors"))}


def own_styles_folder() -> Path:
    """Where styles that the user made or fetched are found by name; STYLIZE_HOME moves it."""
    home = os.environ.get("STYLIZE_HOME") or typer.get_app_dir("stylize")
    return Path(home) / "styles"


def own_style_path(name: str) -> Path:
    """The file of the user's own style of this name, whether there is one or not."""
    return own_styles_folder() / f"{name}.safetensors"


def known_styles() -> dict[str, Path]:
    """Name -> file of the bundled styles and translations, and of the user's own, which take no bundled
    name."""
    own = {path.stem: path for path in sorted(own_styles_folder().glob("*.safetensors"))}
    bundled = style_paths() | translation_paths()
    return bundled | {name: path for name, path in own.items() if name not in bundled}


def may_be_own_style(name: str) -> bool:
    """Can a style of the user's own be called so: a plain name, and not a bundled one's?"""
    return bool(re.fullmatch(r"\w[\w.-]{0,99}", name)) and name not in style_paths() | translation_paths()


def check_new_style(name: str, run: Path) -> None:
    """Raises UsageError where a run in a folder may not end in a style of this name: it is no plain name, or
    another style has it. A run that is there already goes on."""
    if not may_be_own_style(name):
        raise UsageError(f"A style cannot be called {name!r} here; choose another --name, like my-ink.")
    if (there := own_style_path(name)).exists() and not run.exists():
        raise UsageError(f"You have a style {name!r} ({there}); choose another --name, or remove that file.")


def weighted(text: str) -> tuple[str, float]:
    """A style and its weight: "ink-wash:0.7", or "ink-wash" for 1. UsageError for no good weight."""
    reference, colon, number = text.rpartition(":")
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not colon:
        return text, 1.0
    if not 0 <= weight < float("inf"):
        raise UsageError(f"The weight in {text!r} is not a number from 0 up; write for instance :0.5.")
    return reference, weight


def _nearest(text: str, names: list[str]) -> str | None:
    """The name that a text was probably meant for: a part of it will do, whatever its case and hyphens."""
    plain = {name: _letters(name) for name in names}
    wanted = _letters(text)
    for fits in (lambda name: wanted == name, lambda name: len(wanted) > 2 and wanted in name):
        if found := next((name for name, letters in plain.items() if fits(letters)), None):
            return found
    parts = {part: name for name in reversed(names) for part in (*name.split("-"), plain[name], name)}
    near = get_close_matches(text.lower(), list(parts), n=1, cutoff=0.6)
    return parts[near[0]] if near else None


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def style_file(reference: str) -> Path:
    """The file behind a style: one known by name, else a style file, a painting or a folder of works.

    Raises UsageError, with the nearest name, if there is none.
    """
    styles = known_styles()
    if reference in styles:
        return styles[reference]
    path = Path(reference)
    if os.path.exists(path):
        return path
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"There is no style file or painting {reference}; check the path.")
    if near := _nearest(reference, list(styles)):
        raise UsageError(f"There is no style {reference!r}; did you mean {near!r}?")
    raise UsageError(f"There is no style {reference!r}; there are {', '.join(styles)}.")
