"""Which files are pictures, and where they are. No torch, so that a command can be checked at once."""

import os
from collections.abc import Iterable, Set
from pathlib import Path, PurePath

from stylize.errors import UsageError

FORMATS = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "png": "PNG",
    "apng": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "gif": "GIF",
    "avif": "AVIF",
    "heic": "HEIF",
    "heif": "HEIF",
}
"""Suffix -> Pillow's name of the formats that are written."""

READABLE = {f".{suffix}" for suffix in (*FORMATS, "jfif", "jpe", "hif", "ppm", "pgm", "tga", "jp2")}
"""Suffixes that are taken for pictures in folders. A file named outright may have any suffix."""

CLIP_FORMATS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
"""Suffix -> FFmpeg's name of the video formats that are written."""

READABLE_CLIPS = {
    f".{suffix}"
    for suffix in (*CLIP_FORMATS, "avi", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "flv", "3gp", "ogv")
}
"""Suffixes of what is painted frame by frame, as a film."""


def is_clip(path: PurePath) -> bool:
    """Is this, by its name, a film and not a picture?"""
    return path.suffix.lower() in READABLE_CLIPS


def find_pictures(places: Iterable[Path], recursive: bool = True) -> list[Path]:
    """The picture files among files and folders, each folder sorted by name.

    Raises UsageError for a place that is not there or a folder without pictures.
    """
    found: list[Path] = []
    for place in places:
        if is_folder(place):
            pictures, _ = pictures_in(place, recursive)
            if not pictures:
                hint = "" if recursive else ", or add --recursive for the folders in it"
                raise UsageError(f"There are no pictures in {place}; name another folder{hint}.")
            found += pictures
        elif os.path.lexists(place):
            found.append(place)
        else:
            raise UsageError(f"There is no file or folder {place}; check the path.")
    return found


def is_folder(place: Path) -> bool:
    """Is there a folder? A name that no file can have is none (Path.is_dir raises for some)."""
    return os.path.isdir(place)


def pictures_in(
    folder: Path, recursive: bool, without: Path | None = None, suffixes: Set[str] = READABLE
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The pictures in a folder, sorted by name, and what could not be looked at, each with a sentence.

    With other `suffixes`, other files.
    Hidden files and folders are left out, so is the folder `without`, and so are links to folders,
    which could lead round in circles. A link that leads out of the folder is not followed, but told.
    """
    found: list[Path] = []
    left: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        place = Path(error.filename)
        left.append((place, f"Cannot read the folder {place}: {error.strerror}; check its permissions."))

    root, skipped = os.path.realpath(folder), without and os.path.realpath(without)
    for place, folders, names in os.walk(folder, onerror=unreadable):
        visible = [name for name in folders if recursive and not name.startswith(".")]
        folders[:] = [name for name in visible if os.path.realpath(os.path.join(place, name)) != skipped]
        for path in (Path(place, name) for name in names):
            if path.suffix.lower() not in suffixes or path.name.startswith("."):
                continue
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                why = f"{path} is a link that leads out of {folder}; name it outright to paint it."
                left.append((path, why))
            elif path.is_file():
                found.append(path)
    return sorted(found), left


def read_list(data: bytes) -> list[str]:
    """The names in a list, one to a line; after zero bytes instead of lines if there are any (find -print0).

    Names need not be UTF-8. Of lines, empty ones and comments (# ...) are left out, and ~ is the home folder,
    unless there is a file of just that name.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        return [os.fsdecode(name) for name in data.split(b"\0") if name]
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in data.split(b"\n")]
    return [_at_home(line) for line in lines if line.strip() and not _is_comment(line)]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#") and not os.path.lexists(line)


def _at_home(name: str) -> str:
    return os.path.expanduser(name) if name.startswith("~") and not os.path.lexists(name) else name
