"""Drawings and self-contained HTML pages: matrices, maps, tables. No script or style from elsewhere."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stylize.console import page_text, printable
from stylize.errors import PictureError
from stylize.files import atomic_path

COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#332288", "#ddcc77",
    "#117733", "#882255", "#44aa99", "#999933", "#cc6677", "#88ccee", "#aa4499", "#000000",
)  # fmt: skip
"""Colours that people with colour-blindness can tell apart (Tol, 2021)."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .75rem; text-align: left }
tr:nth-child(even) { background: #f4f4f4 } th { border-bottom: 1px solid #888 } img { max-width: 100% }
"""


def matrix(names: Sequence[str], values: Sequence[Sequence[float]], title: str) -> Image.Image:
    """A square table of numbers from 0 up, darker where they are larger."""
    cell, font, names = 64, ImageFont.load_default(14), [printable(name) for name in names]
    margin = round(max(font.getlength(name) for name in names)) + 20
    size = margin + cell * len(names)
    image = Image.new("RGB", (size + 10, size + 40), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 10), title, fill="black", font=ImageFont.load_default(16))
    top = max(max(row) for row in values) or 1
    for i, name in enumerate(names):
        y = margin + 30 + i * cell
        draw.text((margin - 10, y + cell / 2), name, fill="black", font=font, anchor="rm")
        _upright(image, name, (margin + i * cell + cell // 2, margin + 22), font)
        for j, value in enumerate(values[i]):
            shade = round(255 - 200 * value / top)
            x = margin + j * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=(shade, shade, 255))
            ink = "white" if shade < 110 else "black"
            draw.text((x + cell / 2, y + cell / 2), f"{value:.2f}", fill=ink, font=font, anchor="mm")
    return image


def _upright(
    image: Image.Image, text: str, foot: tuple[int, int], font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    """Write a text from bottom to top, ending above `foot`."""
    length = round(font.getlength(text)) + 4
    label = Image.new("RGB", (length, 20), "white")
    ImageDraw.Draw(label).text((0, 2), text, fill="black", font=font)
    image.paste(label.rotate(90, expand=True), (foot[0] - 10, foot[1] - length))


def scatter(names: Sequence[str], places: Sequence[Sequence[Sequence[float]]], title: str) -> Image.Image:
    """Points in the plane, a colour for each name, with the name at the middle of its points."""
    side, edge = 760, 60
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 10), title, fill="black", font=ImageFont.load_default(16))
    every = [point for points in places for point in points]
    spans = [[pick(point[axis] for point in every) for pick in (min, max)] for axis in (0, 1)]
    reach = max(high - low for low, high in spans) or 1

    def place(point: Sequence[float]) -> tuple[float, float]:
        x, y = (
            side / 2 + (value - (low + high) / 2) / reach * (side - 2 * edge)
            for value, (low, high) in zip(point, spans, strict=True)
        )
        return x, y

    for index, points in enumerate(places):
        for point in points:
            x, y = place(point)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=COLOURS[index % len(COLOURS)])
    for index, (name, points) in enumerate(zip(names, places, strict=True)):
        middle = [sum(point[axis] for point in points) / len(points) for axis in (0, 1)]
        colour, font = COLOURS[index % len(COLOURS)], ImageFont.load_default(16)
        outline: dict[str, Any] = {"anchor": "mm", "stroke_width": 3, "stroke_fill": "white"}
        draw.text(place(middle), printable(name), fill=colour, font=font, **outline)
    return image


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; all texts are escaped."""
    cells = "".join(f"<th>{page_text(text)}</th>" for text in header)
    lines = ["".join(f"<td>{page_text(text)}</td>" for text in row) for row in rows]
    return f"<table><tr>{cells}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def figure(image: Image.Image, caption: str) -> str:
    """A picture inside the page."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = page_text(caption)
    picture = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{text}</figcaption></figure>"


def write_page(title: str, parts: Sequence[str], target: Path) -> None:
    """Write one HTML page, atomically. Raises PictureError if the place cannot be written."""
    text = page_text(title)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{text}</title><style>{_STYLE}</style>'
    )
    try:
        with atomic_path(target) as temporary:
            temporary.write_text(f"{page}<h1>{text}</h1>{''.join(parts)}</html>\n", encoding="utf-8")
    except OSError as error:
        raise PictureError(f"Cannot write {target}: {error.strerror}; choose another -o.") from error
