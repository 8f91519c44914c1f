"""Stored paintings that a change of the look is noticed by. To paint them anew, after one that is wanted:

python tests/stored_paintings.py
"""

from pathlib import Path

from stylize.images import read_picture, write_picture
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.picture import Picture
from stylize.styles import resolve_style

FOLDER = Path(__file__).parent / "paintings"
TEMPLE = Path(__file__).parent.parent / "examples" / "temple.jpg"
STYLES = ("ukiyo-e", "van-gogh")
SIDE = 320
"""Longer side in pixels."""


def painted(style: str, dtype: str) -> Picture:
    """The temple in a bundled style, at the size of what is stored."""
    painter = Painter(Look(resolve_style(style)), "cpu", dtype, PaintSettings(longer_side=SIDE))
    return painter.paint(read_picture(TEMPLE))


if __name__ == "__main__":
    for name in STYLES:
        write_picture(Picture(painted(name, "fp32").rgb), FOLDER / f"{name}.png", "PNG", 92)
