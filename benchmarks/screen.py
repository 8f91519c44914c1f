"""The honest table at the size of a screen: painting or filter?

    python benchmarks/screen.py --data ../shared --out benchmarks/screen [--styles ink-wash ...]

Photographs of --data/data/large are painted at their full size, as `stylize apply` does, and only then
reduced: to a longer side of 1,024 pixels for the marks, of 576 for the networks. Columns:

    r2 r4 r8 r16  correlation of the result's luminance with the photograph's in four bands of wavelengths:
                  2 to 4, 4 to 8, 8 to 16 and 16 to 64 pixels. 1 is the photograph's own detail. A painter
                  keeps what is coarse and replaces what is fine; a filter keeps all.
    colour, grey  share of results whose nearest style, by SqueezeNet, is the one meant, among all styles
                  with many works; grey: on luminance alone
    sizes         SSIM of the result with one that was painted at 1,024 pixels

Rows: copy (the photograph itself), colour transfer (mean and deviation of a work's Lab colours), curve +
grain (what a filter does: contrast, and noise), single pass (the network at the photograph's own size), ours,
and real works (the works themselves, each left out of its style's mean).
"""

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from judges import Judges, grey
from quality import COLLECTION, PHOTOGRAPH, SIDE, Space
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylize.images import read_rgb, write_picture
from stylize.judging import colour_transfer, ssim
from stylize.looks import Look
from stylize.multiscale import resized
from stylize.painting import Painter, PaintSettings
from stylize.picture import Picture
from stylize.strokes import Stroke
from stylize.styles import resolve_style
from stylize.tensors import luminance, to_float, to_uint8

SCREEN, NETWORK = 1024, 576
"""Longer sides in pixels."""

BANDS = ("r2", "r4", "r8", "r16")
_SIGMAS = (0.75, 1.5, 3.0, 12.0)
"""Of the Gaussian windows whose differences are the bands, in pixels."""

EVERY_STYLE = (*COLLECTION, "great-wave", "art-nouveau", "cubist-futurist", "mexican-codex", "stained-glass",
               "tibetan-thangka")  # fmt: skip


def longer(picture: Tensor, side: int) -> Tensor:
    """The picture, reduced to a longer side."""
    scale = side / max(picture.shape[1:])
    height, width = (max(1, round(d * scale)) for d in picture.shape[1:])
    return resized(picture, (height, width)) if scale < 1 else picture


def light(picture: Tensor) -> Tensor:
    """Luminance (1, 1, H, W) in [0, 1]."""
    return luminance(to_float(picture)[None])


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(1, 1, H, W) under a Gaussian window; beyond the edge as in a mirror."""
    radius = round(4 * sigma)
    window = torch.exp(-torch.arange(-radius, radius + 1).square() / (2 * sigma**2))
    window = window / window.sum()
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))


def bands_of(picture: Tensor) -> list[Tensor]:
    """The luminance by wavelength, from fine to coarse."""
    blurs = [light(picture), *(blurred(light(picture), sigma) for sigma in _SIGMAS)]
    return [fine - coarse for fine, coarse in pairwise(blurs)]


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, of two tensors of one shape."""
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def curve_and_grain(photo: Tensor) -> Tensor:
    """What a filter does: more contrast, and noise."""
    x = to_float(photo)
    x = x * x * (3 - 2 * x)
    grain = 0.05 * torch.randn(1, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    return to_uint8(x + grain)


class Screen:
    """The photographs, and the judges of what becomes of them."""

    def __init__(self, data: Path, photos: Sequence[Path], cache: Path | None) -> None:
        self.photos = [read_rgb(path) for path in photos]
        self.seen = [longer(photo, SCREEN) for photo in self.photos]
        self.judges = Judges(data / "perceptual")
        self.files = {
            style: sorted((data / "data/style" / f).glob("*.jpg")) for style, f in COLLECTION.items()
        }
        content = sorted((data / "data/content").glob("*.jpg"))[7::20]
        works = self._vectors({**self.files, PHOTOGRAPH: content}, cache)
        self.colour, self.grey = (Space.of({k: v[i] for k, v in works.items()}) for i in (0, 1))
        self.works = works

    def _vectors(self, files: dict[str, list[Path]], cache: Path | None) -> dict[str, Tensor]:
        """SqueezeNet's vectors of all works, in colour and grey (2, works, D); kept in a file."""
        if cache is not None and cache.exists():
            return load_file(cache)
        vectors = {}
        for name, paths in files.items():
            seen = [self._look(read_rgb(path, SIDE)) for path in track(paths, f"Looking at {name}")]
            vectors[name] = torch.stack([torch.stack(part) for part in zip(*seen, strict=True)])
        if cache is not None:
            save_file(vectors, cache)
        return vectors

    def _look(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        floats = to_float(longer(picture, NETWORK))[None]
        return self.judges.squeeze_vector(floats), self.judges.squeeze_vector(grey(floats))

    def row(self, style: str, results: Sequence[Tensor]) -> dict[str, float]:
        """The table's numbers for results of all photographs at their full size."""
        small = [longer(result, SCREEN) for result in results]
        rows = [
            [correlation(a, b) for a, b in zip(bands_of(photo), bands_of(result), strict=True)]
            for photo, result in zip(self.seen, small, strict=True)
        ]
        numbers = dict(zip(BANDS, torch.tensor(rows).mean(0).tolist(), strict=True))
        if style in COLLECTION:
            seen = [self._look(result) for result in small]
            numbers["colour"] = sum(self.colour.nearest(c) == style for c, _ in seen) / len(seen)
            numbers["grey"] = sum(self.grey.nearest(g) == style for _, g in seen) / len(seen)
        return numbers

    def real_row(self, style: str) -> dict[str, float]:
        """How often the works themselves are recognised."""
        both = zip(("colour", "grey"), (self.colour, self.grey), self.works[style], strict=True)
        return {
            name: sum(space.nearest(v, (style, i)) == style for i, v in enumerate(vectors)) / len(vectors)
            for name, space, vectors in both
        }

    def sizes(self, painter: Painter, results: Sequence[Tensor]) -> float:
        """SSIM of results at 1,024 pixels with what was painted larger, where the photograph is larger."""
        values = []
        for photo, result in zip(self.seen, results, strict=True):
            if max(result.shape[1:]) > 1.25 * SCREEN:
                small = painter.paint(Picture(photo)).rgb
                values.append(ssim(light(small), light(longer(result, SCREEN)), 1.0))
        return sum(values) / len(values) if values else float("nan")


def painter_for(style: str, weights: Path | None) -> Painter:
    """The bundled style, or the one in a folder of style files."""
    own = weights / f"{style}.safetensors" if weights else None
    name = str(own) if own and own.exists() else style
    return Painter(Look(resolve_style(name)), "auto", "auto", PaintSettings())


def rows_of(screen: Screen, style: str, painter: Painter, with_rows: bool) -> dict[str, dict[str, float]]:
    """All rows of a style."""
    results = [painter.paint(Picture(photo)).rgb for photo in screen.photos]
    ours = {"ours": screen.row(style, results) | {"sizes": screen.sizes(painter, results)}}
    if not with_rows:
        return ours
    paint = painter.stylizer.paint
    single = [paint(photo, painter.code, Stroke(width=None)) for photo in screen.photos]
    rows = {"copy": screen.row(style, screen.photos)}
    if style in COLLECTION:
        works = [read_rgb(path, SIDE) for path in screen.files[style]]
        moved = [colour_transfer(p, works[i * 7 % len(works)]) for i, p in enumerate(screen.seen)]
        rows["colour transfer"] = screen.row(style, moved)
    rows["curve + grain"] = screen.row(style, [curve_and_grain(photo) for photo in screen.seen])
    rows["single pass"] = screen.row(style, single)
    return rows | ours | ({"real works": screen.real_row(style)} if style in COLLECTION else {})


def write_sheet(screen: Screen, painters: Sequence[Painter], target: Path) -> None:
    """One row per photograph: the photograph, and what each painter makes of it."""
    rows = []
    for photo in screen.photos:
        cells = [photo, *(painter.paint(Picture(photo)).rgb for painter in painters)]
        small = [resized(cell, (420, round(420 * cell.shape[2] / cell.shape[1]))) for cell in cells]
        rows.append(torch.cat(small, dim=2))
    width = max(row.shape[2] for row in rows)
    sheet = torch.cat([F.pad(row, (0, width - row.shape[2]), value=255) for row in rows], dim=1)
    write_picture(Picture(sheet), target, "JPEG", 88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json")
    parser.add_argument("--photos", nargs="+", help="names of photographs; default: every third")
    parser.add_argument("--styles", nargs="+", default=EVERY_STYLE)
    parser.add_argument("--weights", type=Path, help="folder of style files to judge instead of the bundled")
    parser.add_argument("--cache", type=Path, help="file to keep the judgement of the works in")
    parser.add_argument("--ours-only", action="store_true", help="leave out the other rows")
    parser.add_argument("--sheet", type=Path, help="folder for a sheet of each style: photograph | result")
    options = parser.parse_args()
    large = sorted((options.data / "data/large").glob("*.jpg"))
    chosen = [p for p in large if p.stem in options.photos] if options.photos else large[::3]
    screen = Screen(options.data, chosen, options.cache)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for style in track(options.styles, "Painting"):
        painter = painter_for(style, options.weights)
        table[style] = rows_of(screen, style, painter, not options.ours_only)
        if options.sheet:
            write_sheet(screen, [painter], options.sheet / f"{style}.jpg")
    columns = (*BANDS, "colour", "grey", "sizes")
    shown = Table("Style", "Row", *columns)
    for style, kinds in table.items():
        for kind, values in kinds.items():
            shown.add_row(style, kind, *(f"{values[c]:.2f}" if c in values else "" for c in columns))
    Console(width=110).print(shown)
    rounded = {s: {k: {c: round(v, 3) for c, v in r.items()} for k, r in t.items()} for s, t in table.items()}
    options.out.with_suffix(".json").write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
