"""Paint the references anew, after a change of the look that is wanted:  python tests/references/paint.py"""

from pathlib import Path

from stylize.images import read_picture, write_picture
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.picture import Picture
from stylize.styles import resolve_style

HERE = Path(__file__).parent
STYLES = ("ukiyo-e", "van-gogh")
SIDE = 320
"""Longer side in pixels."""


def painted(style: str, dtype: str) -> Picture:
    """The temple in a bundled style, at the size of the references."""
    painter = Painter(Look(resolve_style(style)), "cpu", dtype, PaintSettings(longer_side=SIDE))
    return painter.paint(read_picture(HERE.parent.parent / "examples" / "temple.jpg"))


if __name__ == "__main__":
    for name in STYLES:
        write_picture(Picture(painted(name, "fp32").rgb), HERE / f"{name}.png", "PNG", 92)
