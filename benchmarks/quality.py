"""The honest table: how near the paintings come to each style, and how much of the photograph survives.

    python benchmarks/quality.py --data ../shared --out benchmarks/quality

Reads `data/content`, `data/style` and `perceptual` below --data. Photographs: every 20th, which
training leaves out. Beside ours stand three rows that keep a number honest: *copy* (the photograph
unchanged), *colour transfer* (the Lab mean and deviation of a work), and *real works* (other works of
the style, judged in the same way). A metric that does not put copy < ours < real works, or says why not,
is not to be believed. Columns:

    closed    style distance closed: 1 - d(result) / d(photograph), d the distance of VGG19 moments
              (relu1_1 ... relu3_4, standardised over all works) to the mean of the style's works
    colour    share of results whose nearest style, by SqueezeNet, is the one intended
    luminance the same on luminance alone
    edges     SSIM of Sobel edge maps, result and photograph
    content   mean squared difference of instance-normalised relu3_4, result and photograph
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from judges import Judges, grey, vgg_vector
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylize.images import read_rgb, save_grid
from stylize.judging import colour_transfer, content_distance, edge_ssim
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.styles import ResolvedStyle, resolve_style
from stylize.tensors import to_float

FOLDERS = {
    "ink-wash": "ink-wash",
    "ukiyo-e": "ukiyo-e",
    "van-gogh": "van-gogh",
    "impressionist": "impressionist",
    "engraving": "engraving-dore",
    "byzantine-mosaic": "byzantine-mosaic",
}
"""Style -> folder of its works."""

COLLECTION = FOLDERS | {
    "byzantine-icon": "byzantine-icon",
    "chinese-silk-landscape": "chinese-silk-landscape",
    "chinese-blue-green": "chinese-blue-green",
    "persian-mughal-miniature": "persian-mughal-miniature",
}
"""All styles with enough works to be recognised by."""

PHOTOGRAPH = "photograph"
SIDE = 384


@dataclass
class Seen:
    """What the judges see in one picture."""

    vgg: Tensor
    squeeze: Tensor
    squeeze_grey: Tensor
    features: dict[str, Tensor] | None = None


@dataclass
class Space:
    """Standardised vectors of the real works of each style; `nearest` names the closest style."""

    centre: Tensor
    spread: Tensor
    works: dict[str, Tensor]

    @staticmethod
    def of(vectors: dict[str, Tensor]) -> "Space":
        together = torch.cat(list(vectors.values()))
        centre, spread = together.mean(0), together.std(0) + 1e-6
        return Space(centre, spread, {k: (v - centre) / spread for k, v in vectors.items()})

    def standardise(self, vector: Tensor) -> Tensor:
        return (vector - self.centre) / self.spread

    def distance(self, vector: Tensor, style: str) -> float:
        return (self.standardise(vector) - self.works[style].mean(0)).norm().item()

    def nearest(self, vector: Tensor, without: tuple[str, int] | None = None) -> str:
        """The style with the nearest mean; `without` leaves one work out of its own style's mean."""
        point = self.standardise(vector)
        distances = {}
        for style, works in self.works.items():
            mean = works.mean(0)
            if without is not None and without[0] == style:
                mean = (works.sum(0) - works[without[1]]) / (len(works) - 1)
            distances[style] = (point - mean).norm().item()
        return min(distances, key=lambda style: distances[style])


class Bench:
    """The judges and what they saw in the real works."""

    def __init__(self, data: Path, every: int, cache: Path | None) -> None:
        self.judges = Judges(data / "perceptual")
        photos = sorted((data / "data/content").glob("*.jpg"))
        self.photos = [read_rgb(path, SIDE) for path in photos[:: 20 * every]]
        folders = sorted(f for f in (data / "data/style").iterdir() if len(list(f.glob("*.jpg"))) >= 20)
        self.files = {folder.name: sorted(folder.glob("*.jpg")) for folder in folders}
        works = self._look_at_works({**self.files, PHOTOGRAPH: photos[7::20]}, cache)
        self.works = works
        self.vgg, self.squeeze, self.squeeze_grey = (
            Space.of({name: vectors[part] for name, vectors in works.items()})
            for part in ("vgg", "squeeze", "squeeze_grey")
        )
        self.photos_seen = [self.look(photo, keep=True) for photo in self.photos]

    def _look_at_works(
        self, files: dict[str, list[Path]], cache: Path | None
    ) -> dict[str, dict[str, Tensor]]:
        """Vectors of all works, by style and judge; kept in `cache`, for they never change."""
        if cache is not None and cache.exists():
            kept = load_file(cache)
            return {
                name: {part: kept[f"{name}/{part}"] for part in ("vgg", "squeeze", "squeeze_grey")}
                for name in files
            }
        works = {}
        for name, paths in files.items():
            seen = [self.look(read_rgb(path, SIDE)) for path in track(paths, f"Judging {name}")]
            works[name] = {
                part: torch.stack([getattr(one, part) for one in seen])
                for part in ("vgg", "squeeze", "squeeze_grey")
            }
        if cache is not None:
            save_file({f"{n}/{part}": v for n, parts in works.items() for part, v in parts.items()}, cache)
        return works

    def look(self, picture: Tensor, keep: bool = False) -> Seen:
        """Judge a uint8 picture (3, H, W)."""
        floats = to_float(picture)[None]
        features = self.judges.vgg_features(floats)
        kept = {"relu3_4": features["relu3_4"]} if keep else None
        squeeze, squeeze_grey = (self.judges.squeeze_vector(x) for x in (floats, grey(floats)))
        return Seen(vgg_vector(features), squeeze, squeeze_grey, kept)

    def row(self, folder: str, results: Iterable[Tensor]) -> dict[str, float]:
        """The table's numbers for one picture per photograph."""
        sums = {"closed": 0.0, "colour": 0.0, "luminance": 0.0, "edges": 0.0, "content": 0.0}
        far = sum(self.vgg.distance(photo.vgg, folder) for photo in self.photos_seen)
        for result, photo, photo_seen in zip(results, self.photos, self.photos_seen, strict=True):
            seen = self.look(result, keep=True)
            assert seen.features is not None
            assert photo_seen.features is not None
            sums["closed"] += self.vgg.distance(seen.vgg, folder)
            sums["colour"] += self.squeeze.nearest(seen.squeeze) == folder
            sums["luminance"] += self.squeeze_grey.nearest(seen.squeeze_grey) == folder
            sums["edges"] += edge_ssim(to_float(result)[None], to_float(photo)[None])
            sums["content"] += content_distance(seen.features, photo_seen.features)
        count = len(self.photos)
        means = {name: value / count for name, value in sums.items()}
        return means | {"closed": 1 - sums["closed"] / far}

    def real_row(self, folder: str) -> dict[str, float]:
        """The numbers for the works themselves, each left out of its style's mean."""
        standard = self.vgg.works[folder]
        count, total = len(standard), standard.sum(0)
        far = sum(self.vgg.distance(p.vgg, folder) for p in self.photos_seen) / len(self.photos)
        near = sum(((total - w) / (count - 1) - w).norm().item() for w in standard) / count

        def hits(space: Space, part: str) -> float:
            vectors = self.works[folder][part]
            return sum(space.nearest(v, (folder, i)) == folder for i, v in enumerate(vectors)) / count

        return {
            "closed": 1 - near / far,
            "colour": hits(self.squeeze, "squeeze"),
            "luminance": hits(self.squeeze_grey, "squeeze_grey"),
        }


def painter_for(style: str, weights: Path | None) -> Painter:
    """The bundled style, or the one of a run folder."""
    resolved: ResolvedStyle
    if weights is None:
        resolved = resolve_style(style)
    else:
        name = style if (weights / f"styles/{style}.safetensors").exists() else FOLDERS[style]
        resolved = resolve_style(str(weights / f"styles/{name}.safetensors"))
    return Painter(Look(resolved), "auto", "auto", PaintSettings())


def print_table(rows: dict[str, dict[str, dict[str, float]]], console: Console) -> None:
    """One line per style and row, in the terminal."""
    columns = ("closed", "colour", "luminance", "edges", "content")
    table = Table("Style", "Row", *columns)
    for style, kinds in rows.items():
        for kind, values in kinds.items():
            table.add_row(style, kind, *(f"{values[c]:.2f}" if c in values else "" for c in columns))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json and OUT.jpg")
    parser.add_argument("--weights", type=Path, help="run folder to judge instead of the bundled weights")
    parser.add_argument("--cache", type=Path, help="file to keep the judgement of the works in")
    parser.add_argument("--every", type=int, default=1, help="judge every N-th of the photographs only")
    parser.add_argument("--ours-only", action="store_true", help="leave out copy and colour transfer")
    parser.add_argument("--collection", action="store_true", help="all ten styles of many works, not six")
    options = parser.parse_args()

    bench = Bench(options.data, options.every, options.cache)
    table: dict[str, dict[str, dict[str, float]]] = {}
    sheet = [bench.photos[:: max(1, len(bench.photos) // 6)][:6]]
    for style, folder in track((COLLECTION if options.collection else FOLDERS).items(), "Painting"):
        painter = painter_for(style, options.weights)
        painted = [painter.stylizer.paint(photo, painter.code, painter.stroke) for photo in bench.photos]
        rows = {}
        if not options.ours_only:
            files = bench.files[folder]
            works = [read_rgb(files[i * 7 % len(files)], SIDE) for i in range(len(bench.photos))]
            moved = [colour_transfer(p, w) for p, w in zip(bench.photos, works, strict=True)]
            rows = {"copy": bench.row(folder, bench.photos), "colour transfer": bench.row(folder, moved)}
        table[style] = rows | {"ours": bench.row(folder, painted), "real works": bench.real_row(folder)}
        sheet.append(painted[:: max(1, len(painted) // 6)][:6])
    kinds = list(next(iter(table.values())))
    table["mean"] = {
        kind: {
            c: sum(t[kind][c] for t in table.values()) / len(table) for c in next(iter(table.values()))[kind]
        }
        for kind in kinds
    }
    print_table(table, Console())
    rounded = {s: {k: {c: round(v, 4) for c, v in r.items()} for k, r in t.items()} for s, t in table.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(rounded, indent=1) + "\n")
    save_grid(
        list(zip(*[[square(p) for p in column] for column in sheet], strict=True)),
        options.out.with_suffix(".jpg"),
    )


def square(picture: Tensor, side: int = 320) -> Tensor:
    """The middle square, for the contact sheet."""
    height, width = picture.shape[1:]
    top, left = (height - side) // 2, (width - side) // 2
    return picture[:, top : top + side, left : left + side]


if __name__ == "__main__":
    main()
