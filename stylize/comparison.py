"""`stylize styles compare`: from names and folders to distances, drawings and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylize import bundled, hub
from stylize.comparing import (
    MEASURES,
    Described,
    Distance,
    describe_works,
    difference_in_words,
    flat_map,
    gram_distance,
    moment_distance,
    with_interval,
)
from stylize.devices import choose_device, choose_dtype
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import UsageError
from stylize.images import read_rgb
from stylize.invented import InventedPictures
from stylize.model import load_base
from stylize.reports import figure, matrix, scatter, table, write_page
from stylize.selection import read_all
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer

_PAINTED = 12
"""So many pictures are painted to see what a style that is given by name looks like."""


@dataclass(frozen=True)
class Comparison:
    """Two styles side by side."""

    first: str
    second: str
    moments: Distance
    gram: float
    differences: list[tuple[str, float]]
    """Measure and effect size, the largest first; above 0 the second style has more of it."""

    def words(self) -> str:
        """The differences as a person would say them."""
        more = [
            f"{'more' if size > 0 else 'less'} {name} ({size:+.1f} sd)" for name, size in self.differences
        ]
        return f"{self.second} has " + ", ".join(more) if more else "no clear difference in these measures"


def describe_all(references: Sequence[str]) -> list[Described]:
    """Look at every style: a folder's works, or pictures painted in a style that is given by name.

    Raises UsageError for less than two styles or two of one name.
    """
    names = [Path(reference).name or reference for reference in references]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError("Give at least two styles or folders with different names to compare.")
    base, network = load_base(bundled.base_path()), perceptual_network()
    return [
        describe_works(name, _works(reference), network, base.encoder)
        for name, reference in zip(names, references, strict=True)
    ]


def _works(reference: str) -> list[Tensor]:
    path = hub.find_style(reference)
    if path.suffix.lower() != ".safetensors":
        return read_all([path], lambda work: read_rgb(work, REFERENCE_SIDE))
    style, device = resolve_style(reference), choose_device("auto")
    stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
    pictures = InventedPictures(_PAINTED, REFERENCE_SIDE)
    return [stylizer.paint(pictures[i], style.code, style.stroke) for i in range(_PAINTED)]


def compare(styles: Sequence[Described]) -> list[Comparison]:
    """Every pair."""
    return [
        Comparison(
            a.name,
            b.name,
            with_interval(moment_distance, a.moments, b.moments),
            gram_distance(a.grams, b.grams),
            difference_in_words(a, b),
        )
        for i, a in enumerate(styles)
        for b in styles[i + 1 :]
    ]


def write_comparison(styles: Sequence[Described], pairs: Sequence[Comparison], target: Path) -> list[Path]:
    """Write TARGET.html with everything in it, and the drawings beside it as PNG."""
    names = [style.name for style in styles]
    distances = {frozenset((p.first, p.second)): p.moments.value for p in pairs}
    values = [[distances.get(frozenset((a, b)), 0.0) for b in names] for a in names]
    drawings = {
        "matrix": matrix(names, values, "Distance between styles"),
        "map": scatter(names, [points.tolist() for points in flat_map(styles)], "Works on a map"),
    }
    written = []
    for kind, image in drawings.items():
        written.append(target.with_name(f"{target.stem}.{kind}.png"))
        image.save(written[-1])
    rows = [
        [p.first, p.second, f"{p.moments.value:.2f} ({p.moments.low:.2f} to {p.moments.high:.2f})",
         f"{p.gram:.2f}", p.words()]
        for p in sorted(pairs, key=lambda pair: pair.moments.value)
    ]  # fmt: skip
    means = [
        [style.name, str(len(style.measures)), *(f"{x:.2f}" for x in style.measures.mean(0))]
        for style in styles
    ]
    parts = [
        figure(drawings["map"], "Each point is a work; near points have alike statistics."),
        figure(drawings["matrix"], "Root mean square difference of the channel statistics, in sd."),
        "<h2>Pairs, the nearest first</h2>",
        table(["", "", "distance (90 % interval)", "Gram", "what differs"], rows),
        "<h2>Measures, mean over works</h2>",
        table(["", "works", *MEASURES], means),
        "<p>These are differences between sets of pictures, not between cultures: they say what these "
        "works look like to a network, and nothing of what they mean.</p>",
    ]
    write_page("Styles compared", parts, target)
    return [target, *written]
