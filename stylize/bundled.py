"""Where the weights that come with the package are, and what the styles are called. No torch."""

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from stylize.errors import UsageError, WeightsError

PACKAGE = Path(__file__).parent


@cache
def weights_folder() -> Path:
    """`stylize/weights` in an installed package, `weights` beside the package in a checkout."""
    for folder in (PACKAGE / "weights", PACKAGE.parent / "weights"):
        if (folder / "perceptual.safetensors").is_file():
            return folder
    raise WeightsError("The bundled weights are missing; install stylize again.")


def base_path() -> Path:
    """The base generator."""
    return weights_folder() / "base.safetensors"


def perceptual_path() -> Path:
    """The compact perceptual network."""
    return weights_folder() / "perceptual.safetensors"


def style_paths() -> dict[str, Path]:
    """Name -> file of every bundled style, in alphabetical order."""
    return {path.stem: path for path in sorted((weights_folder() / "styles").glob("*.safetensors"))}


def style_file(reference: str) -> Path:
    """The file behind a style: a bundled one by name, else a style file or a painting by path.

    Raises UsageError, with the nearest name, if there is none.
    """
    styles = style_paths()
    if reference in styles:
        return styles[reference]
    path = Path(reference)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"There is no style file or painting {reference}; check the path.")
    near = get_close_matches(reference, list(styles), n=1, cutoff=0.5)
    if near:
        raise UsageError(f"There is no style {reference!r}; did you mean {near[0]!r}?")
    raise UsageError(f"There is no style {reference!r}; there are {', '.join(styles)}.")
