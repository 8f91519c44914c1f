"""`stylize eval`: the honest table on the user's own photographs and styles."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylize import bundled, hub
from stylize.devices import choose_device, choose_dtype
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import UsageError
from stylize.images import read_rgb
from stylize.judging import colour_transfer, content_distance, edge_ssim
from stylize.model import load_base, load_style
from stylize.multiscale import resized
from stylize.perceptual import fit_to_network
from stylize.reports import figure, table, write_page
from stylize.selection import read_all
from stylize.sheets import labelled
from stylize.strokes import SCREEN_SIDE
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer, picture_moments
from stylize.tensors import to_float

COLUMNS = ("closed", "recognised", "edges", "content")
Row = dict[str, float]

CAVEAT = (
    "The judge is the bundled perceptual network, which training used as well: it flatters. "
    "Compare rows and styles with one another, and look at the pictures."
)

_ON_SHEET = 6


@dataclass(frozen=True)
class Evaluation:
    """The table (style -> row -> column -> value), and some results: style -> pictures."""

    rows: dict[str, dict[str, Row]]
    photos: list[Tensor]
    results: dict[str, list[Tensor]]


class Judge:
    """Distances to styles in standardised moments of the bundled perceptual network."""

    def __init__(self, targets: Mapping[str, Tensor]) -> None:
        encoder = load_base(bundled.base_path()).encoder
        self._mean, self._spread = encoder.mean, encoder.spread
        self.targets = {name: self.standard(moments) for name, moments in targets.items()}

    def standard(self, moments: Tensor) -> Tensor:
        """Moment vectors in standard deviations over many works."""
        return (moments - self._mean) / self._spread

    def look(self, picture: Tensor) -> Tensor:
        """The standardised moments (1, D) of a uint8 picture."""
        return self.standard(picture_moments(perceptual_network(), picture))

    def distance(self, seen: Tensor, style: str) -> float:
        """How far a picture is from a style."""
        return (seen - self.targets[style]).norm().item()

    def nearest(self, seen: Tensor) -> str:
        """The style that a picture is nearest to."""
        return min(self.targets, key=lambda style: self.distance(seen, style))


def evaluate(
    photos: Sequence[Path], styles: Sequence[str], works: Mapping[str, Path], on_style: Callable[[str], None]
) -> Evaluation:
    """Paint every photograph in every style and judge the results.

    `works` names folders with works of some of the styles: with them the rows of colour transfer and
    of real works can be shown. `on_style` is told what is done. Raises UsageError for a style whose
    file does not say what its works look like.
    """
    if unknown := sorted(set(works) - set(styles)):
        raise UsageError(
            f"--works names {unknown[0]!r}, which is none of the styles; use --works STYLE=FOLDER."
        )
    large = read_all(photos, lambda path: read_rgb(path, SCREEN_SIDE))
    pictures = [_judged(picture) for picture in large]
    real = {style: _pictures([folder]) for style, folder in works.items()}
    judge = Judge(_targets(styles, real))
    rows: dict[str, dict[str, Row]] = {}
    results: dict[str, list[Tensor]] = {}
    for style in styles:
        painted = [_judged(result) for result in _painted(large, style)]
        rows[style] = {"copy": _row(judge, style, pictures, pictures)}
        if style in real:
            moved = [colour_transfer(p, real[style][i % len(real[style])]) for i, p in enumerate(pictures)]
            rows[style]["colour transfer"] = _row(judge, style, pictures, moved)
        rows[style]["painted"] = _row(judge, style, pictures, painted)
        if len(real.get(style, [])) > 1:
            rows[style]["real works"] = _real_row(judge, style, pictures, real[style])
        results[style] = painted[:_ON_SHEET]
        on_style(style)
    return Evaluation(rows, pictures[:_ON_SHEET], results)


def _pictures(places: Sequence[Path]) -> list[Tensor]:
    """The pictures among files and folders, reduced; those that cannot be read are left out."""
    return read_all(places, lambda path: read_rgb(path, REFERENCE_SIDE))


def _judged(picture: Tensor) -> Tensor:
    """A picture in the size in which the judge looks at it: that of the works."""
    scale = REFERENCE_SIDE / min(picture.shape[1:])
    height, width = (round(side * scale) for side in picture.shape[1:])
    return resized(picture, (height, width)) if scale < 1 else picture


def _targets(styles: Sequence[str], real: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """The mean moments of all bundled styles and of those to be judged."""
    targets: dict[str, Tensor] = {}
    for name in [*bundled.style_paths(), *styles]:
        path = hub.find_style(name)
        if name in real:
            seen = [picture_moments(perceptual_network(), work) for work in real[name]]
            targets[name] = torch.cat(seen).mean(0, keepdim=True)
        elif path.suffix.lower() == ".safetensors":
            moments = load_style(path).moments
            if moments is None:
                raise UsageError(f"{name} does not say what its works look like; add --works {name}=FOLDER.")
            targets[name] = moments
        else:
            seen = [picture_moments(perceptual_network(), picture) for picture in _pictures([path])]
            targets[name] = torch.cat(seen).mean(0, keepdim=True)
    return targets


def _painted(pictures: Sequence[Tensor], name: str) -> Iterator[Tensor]:
    style, device = resolve_style(name), choose_device("auto")
    stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
    for picture in pictures:
        yield stylizer.paint(picture, style.code, style.stroke)


def _row(judge: Judge, style: str, photos: Sequence[Tensor], results: Sequence[Tensor]) -> Row:
    """Means over the photographs."""
    far = near = recognised = edges = content = 0.0
    for photo, result in zip(photos, results, strict=True):
        seen = judge.look(result)
        far += judge.distance(judge.look(photo), style)
        near += judge.distance(seen, style)
        recognised += judge.nearest(seen) == style
        edges += edge_ssim(to_float(result)[None], to_float(photo)[None])
        content += content_distance(_features(result), _features(photo))
    count = len(photos)
    values = (1 - near / far, recognised / count, edges / count, content / count)
    return dict(zip(COLUMNS, values, strict=True))


def _features(picture: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        return perceptual_network()(fit_to_network(to_float(picture)[None]), ["relu3_4"])


def _real_row(judge: Judge, style: str, photos: Sequence[Tensor], works: Sequence[Tensor]) -> Row:
    """The works themselves, each against the mean of the others."""
    seen = torch.cat([judge.look(work) for work in works])
    far = sum(judge.distance(judge.look(photo), style) for photo in photos) / len(photos)
    others = (seen.sum(0) - seen) / (len(seen) - 1)
    recognised = sum(judge.nearest(one[None]) == style for one in seen) / len(seen)
    return {"closed": 1 - (seen - others).norm(dim=1).mean().item() / far, "recognised": recognised}


def write_report(evaluation: Evaluation, target: Path) -> None:
    """Write the table and the contact sheet as one HTML page."""
    lines = [
        [style, row, *(f"{values[c]:.2f}" if c in values else "" for c in COLUMNS)]
        for style, rows in evaluation.rows.items()
        for row, values in rows.items()
    ]
    named = [("the photograph", photo) for photo in evaluation.photos]
    for style, results in evaluation.results.items():
        named += [(style, result) for result in results]
    parts = [
        table(["style", "row", *COLUMNS], lines),
        "<p>closed: share of the style distance that is gone. recognised: share of results whose nearest "
        "style is the one meant. edges: how alike the outlines are to the photograph's (1: the same). "
        "content: how far what is seen has moved (0: not at all, about 2: unrelated). "
        f"{CAVEAT}</p>",
        figure(labelled(named, len(evaluation.photos), 220), "One row per style"),
    ]
    write_page("How good are these styles?", parts, target)
