"""How well unseen paintings serve as styles: groups of works that took no part in training.

    python benchmarks/references.py --data ../shared --cache works.safetensors

Ten works of each group are given to `--style` one by one. Columns as in `quality.py`, and the time that
reading a style from a painting takes. *closed* counts towards the group's mean, as for named styles.
"""

import argparse
import time
from pathlib import Path

from quality import SIDE, Bench
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stylize.images import read_rgb
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.styles import resolve_style

GROUPS = ("byzantine-icon", "chinese-silk-landscape")
COLUMNS = ("closed", "colour", "luminance", "edges", "content")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--every", type=int, default=12)
    options = parser.parse_args()
    bench = Bench(options.data, options.every, options.cache)
    table = Table("references from", *COLUMNS, "encoding, s")
    for group in GROUPS:
        files = bench.files[group][:: len(bench.files[group]) // 10][:10]
        rows, seconds = [], []
        for file in track(files, group):
            read_rgb(file, SIDE)
            started = time.perf_counter()
            style = resolve_style(str(file))
            seconds.append(time.perf_counter() - started)
            painter = Painter(Look(style), "auto", "auto", PaintSettings())
            painted = [painter.stylizer.paint(photo, painter.code, painter.stroke) for photo in bench.photos]
            rows.append(bench.row(group, painted))
        means = [sum(row[column] for row in rows) / len(rows) for column in COLUMNS]
        table.add_row(
            group, *(f"{value:.2f}" for value in means), f"{sorted(seconds)[len(seconds) // 2]:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
