"""Contact sheets: pictures in rows with their names."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylize import bundled
from stylize.console import printable
from stylize.devices import choose_device, choose_dtype
from stylize.errors import PictureError
from stylize.images import read_picture, resize_picture, to_image
from stylize.paths import FORMATS
from stylize.places import Place, replacing
from stylize.strokes import SCREEN_SIDE
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer

_GAP = 8


def sheet_of_styles(photo: Path, target: Path, width: int, columns: int = 4) -> None:
    """Paint a photograph in all bundled styles and write the sheet. PictureError if one is not possible."""
    picture = read_picture(photo)
    # What is smaller would be painted with wider strokes.
    scale = min(1.0, max(width / picture.size[0], SCREEN_SIDE / min(picture.size)))
    picture = resize_picture(picture, round(scale * max(picture.size)))
    named: list[tuple[str, Tensor]] = [("the photograph", picture.rgb)]
    device = choose_device("auto")
    for name in bundled.style_paths():
        style = resolve_style(name)
        stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
        named.append((name, stylizer.paint(picture.rgb, style.code, style.stroke)))
    write_sheet(labelled(named, columns, width), target)


def save_sheet(named: Sequence[tuple[str, Tensor]], target: Path, columns: int) -> None:
    """Write named uint8 pictures (3, H, W) of one size as one PNG or JPEG, each with its name below."""
    write_sheet(labelled(named, columns, named[0][1].shape[2]), target)


def write_sheet(sheet: Image.Image, target: Place) -> None:
    """Write a sheet, atomically, in the format of its suffix. PictureError if that is not possible."""
    buffer = io.BytesIO()  # Pillow overlooks it when a file takes less than all
    sheet.save(buffer, format=FORMATS[target.suffix.lower().lstrip(".")], quality=90)
    try:
        with replacing(target) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        reason = error.strerror
        raise PictureError(f"Cannot write {target}: {reason}; choose another place with -o.") from error


def labelled(named: Sequence[tuple[str, Tensor]], columns: int, width: int) -> Image.Image:
    """Named uint8 pictures (3, H, W), reduced to a width, in rows of `columns`."""
    images = [to_image(picture) for _, picture in named]
    images = [image.resize((width, round(image.height * width / image.width))) for image in images]
    letters = max(11, width // 18)
    font, line = ImageFont.load_default(letters), round(letters * 1.8)
    height = max(image.height for image in images)
    rows = -(-len(named) // columns)
    size = (columns * (width + _GAP) + _GAP, rows * (height + line + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, ((name, _), image) in enumerate(zip(named, images, strict=True)):
        x = _GAP + index % columns * (width + _GAP)
        y = _GAP + index // columns * (height + line + _GAP)
        sheet.paste(image, (x, y))
        draw.text((x, y + image.height + line * 0.2), printable(name), fill="black", font=font)
    return sheet
