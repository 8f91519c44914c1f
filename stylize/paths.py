"""Which files are pictures, and where they are. No torch, so that a command can be checked at once."""

from collections.abc import Iterable
from pathlib import Path

from stylize.errors import UsageError

FORMATS = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "bmp": "BMP",
}
"""Suffix -> Pillow's name of the formats that are written."""

READABLE = {f".{suffix}" for suffix in (*FORMATS, "gif", "avif", "jfif", "ppm", "pgm", "tga", "jp2")}
"""Suffixes that are taken for pictures in folders. A file named outright may have any suffix."""


def find_pictures(places: Iterable[Path], recursive: bool = True) -> list[Path]:
    """The picture files among files and folders, each folder sorted by name.

    Raises UsageError for a place that is not there or a folder without pictures.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = place.rglob("*") if recursive else place.iterdir()
            pictures = sorted(p for p in inside if p.suffix.lower() in READABLE and p.is_file())
            if not pictures:
                hint = "" if recursive else ", or add --recursive for the folders in it"
                raise UsageError(f"There are no pictures in {place}; name another folder{hint}.")
            found += pictures
        elif place.exists():
            found.append(place)
        else:
            raise UsageError(f"There is no file or folder {place}; check the path.")
    return found
