"""The page that explains a run: curves, samples over time, the data, the table, what was noticed."""

import base64
import io
import json
from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from stylize.console import page_text
from stylize.fitting import numbered, read_metrics
from stylize.reports import COLOURS, figure, table, write_page
from stylize.settings import read_tables
from stylize.sheets import labelled

_MOST_SAMPLES = 24
_WIDTH = 1100
_CURVES = (
    ("Losses", ("content", "style", "tone", "colour", "edge", "tv", "cycle", "identity", "warp", "nce")),
    ("The game", ("adversarial", "discriminator", "accuracy_real", "accuracy_fake")),
    ("Gradients (norms, on a logarithmic scale)", ("gradient", "discriminator_gradient")),
)

_SLIDER = """
<figure><img id="sample" alt="samples"><figcaption>
<input id="when" type="range" min="0" max="{last}" value="{last}" style="width:100%">
<output id="step"></output></figcaption></figure>
<script>
const samples = {samples};
function show(i) {{
  document.getElementById("sample").src = samples[i][1];
  document.getElementById("step").textContent = "step " + samples[i][0];
}}
const when = document.getElementById("when");
when.oninput = () => show(+when.value);
show({last});
</script>
"""


def write_run_report(
    folder: Path, title: str, data: Sequence[str], shown: Sequence[tuple[str, Tensor]] = ()
) -> Path:
    """Write report.html of a run folder from what lies in it.

    `data` are sentences about the data, `shown` some of it: named uint8 pictures (3, H, W).
    """
    metrics = folder / "metrics.jsonl"
    records = read_metrics(metrics) if metrics.exists() else []
    parts = ["<h2>Samples</h2>", _samples(numbered(folder / "samples", "png"))]
    validations = [r for r in records if "table" in r]
    if validations:
        parts += [f"<h2>Table at step {validations[-1]['step']}</h2>", _table(validations[-1])]
        parts.append(
            curves("Score (style closed, less what was lost of the photographs)", records, ("score",))
        )
    for name, terms in _CURVES:
        parts.append(curves(name, records, terms, logarithmic=name.startswith("Gradients")))
    news = [f"<li>{page_text(str(r['news']))}</li>" for r in records if "news" in r]
    parts.append(f"<h2>What was noticed</h2><ul>{''.join(news) or '<li>Nothing amiss.</li>'}</ul>")
    lines = "".join(f"<li>{page_text(sentence)}</li>" for sentence in data)
    parts += ["<h2>Data</h2>", f"<ul>{lines}</ul>"]
    if shown:
        parts.append(figure(labelled(shown, columns=8, width=120), "Some of the pictures"))
    parts += ["<h2>Settings</h2>", _settings(folder / "config.toml")]
    write_page(title, parts, folder / "report.html")
    return folder / "report.html"


def _samples(paths: Sequence[Path]) -> str:
    """A slider over the sample sheets, evenly chosen if there are many."""
    if not paths:
        return "<p>None yet.</p>"
    count = min(len(paths), _MOST_SAMPLES)
    chosen = [paths[round(i * (len(paths) - 1) / max(1, count - 1))] for i in range(count)]
    read = [(int(path.stem), _jpeg(path)) for path in chosen]
    samples = [sample for sample in read if sample[1] is not None]
    if not samples:
        return "<p>None that can be read.</p>"
    return _SLIDER.format(last=len(samples) - 1, samples=json.dumps(samples))


def _jpeg(path: Path) -> str | None:
    """A picture, no wider than the page, as a data address; None if it is damaged."""
    try:
        return _small_jpeg(path)
    except (OSError, SyntaxError, ValueError):
        return None


def _small_jpeg(path: Path) -> str:
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_WIDTH, 4 * _WIDTH))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _table(record: dict[str, Any]) -> str:
    rows = record["table"]
    columns = list(next(iter(rows.values())))
    lines = [[style, *(f"{row[c]:.2f}" for c in columns)] for style, row in rows.items()]
    vitals = ", ".join(f"{name} {value:.2f}" for name, value in record.get("vitals", {}).items())
    return table(["", *columns], lines) + f"<p>{page_text(vitals)}</p>"


def _settings(path: Path) -> str:
    if not path.exists():
        return ""
    flat = [
        [f"{name}.{key}" if name else key, str(value)]
        for name, settings in read_tables(path).items()
        for key, value in (settings.items() if isinstance(settings, dict) else [("", settings)])
    ]
    return table(["setting", "value"], flat)


def curves(
    title: str, records: Sequence[dict[str, Any]], names: Sequence[str], logarithmic: bool = False
) -> str:
    """Curves of some terms over the steps, as a drawing in the page; nothing if there are none of them."""
    series = _series(records, names, logarithmic)
    if not series:
        return ""
    every = [point for points in series.values() for point in points]
    low, high = min(y for _, y in every), max(y for _, y in every)
    end = max(x for x, _ in every)
    lines, legend = [], []
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        places = " ".join(
            f"{50 + 830 * x / end:.1f},{230 - 210 * (y - low) / (high - low or 1):.1f}" for x, y in points
        )
        lines.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        legend.append(f'<span style="color:{colour}">&#9632; {page_text(name)}</span>')
    unit = [f"10^{y:.1f}" if logarithmic else f"{y:.3g}" for y in (high, low)]
    axes = (
        '<path d="M50 15V230H880" fill="none" stroke="#888"/>'
        f'<text x="45" y="24" text-anchor="end">{unit[0]}</text>'
        f'<text x="45" y="234" text-anchor="end">{unit[1]}</text>'
        f'<text x="880" y="248" text-anchor="end">step {end}</text>'
    )
    drawing = f'<svg viewBox="0 0 900 255" font-size="12">{axes}{"".join(lines)}</svg>'
    return f"<h3>{page_text(title)}</h3><p>{' '.join(legend)}</p>{drawing}"


def _series(
    records: Sequence[dict[str, Any]], names: Sequence[str], logarithmic: bool
) -> dict[str, list[tuple[int, float]]]:
    """(step, value) for each term that was recorded; what is not finite is left out."""
    series = {}
    for name in names:
        points = [(r["step"], float(r[name])) for r in records if name in r]
        points = [(x, log10(max(y, 1e-6)) if logarithmic else y) for x, y in points if abs(y) < 1e6]
        if points:
            series[name] = points
    return series
