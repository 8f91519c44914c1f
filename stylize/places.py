"""Where pictures come from and go to, on this disk or on an object store: one set of verbs. No torch."""

import io
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, TypeAlias

from stylize import paths, remote
from stylize.errors import PictureError
from stylize.files import atomic_file
from stylize.paths import READABLE, READABLE_CLIPS
from stylize.remote import Url

Place: TypeAlias = Path | Url
"""A file or folder on this disk, or an object or folder elsewhere."""


def place_of(text: str) -> Place:
    """What a text on the command line names. UsageError for a URL that cannot be used."""
    return remote.url_of(text) or Path(text)


def is_folder(place: Place) -> bool:
    """Is there a folder? A URL that ends like a picture's or a clip's is taken for one without asking."""
    if isinstance(place, Path):
        return paths.is_folder(place)
    return place.suffix.lower() not in READABLE | READABLE_CLIPS and remote.is_folder(place)


def files_in(
    folder: Place, recursive: bool, without: Place | None, suffixes: Set[str]
) -> tuple[list[Place], list[tuple[Place, str]]]:
    """The files with these suffixes in a folder, sorted, and what could not be looked at, with a sentence."""
    if isinstance(folder, Url):
        beyond = without if isinstance(without, Url) else None
        found, left = remote.files_in(folder, recursive, beyond, suffixes)
    else:
        beyond = without if isinstance(without, Path) else None
        found, left = paths.pictures_in(folder, recursive, beyond, suffixes)
    return [*found], [*left]


def written_at(place: Place) -> float | None:
    """When what lies there was written, in seconds since the epoch; None if there is nothing."""
    if isinstance(place, Url):
        return remote.written_at(place)
    try:
        return place.lstat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def make_folder(folder: Place) -> None:
    """Make the folder of a result; stores need none. Raises PictureError where it cannot be."""
    if isinstance(folder, Url):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(
            f"Cannot make the folder {folder}: {error.strerror}; choose another -o."
        ) from error


@contextmanager
def replacing(target: Place) -> Iterator[BinaryIO]:
    """A file to write into that becomes `target`, all at once, when the block ends well."""
    if isinstance(target, Path):
        with atomic_file(target) as file:
            yield file
        return
    buffer = io.BytesIO()
    yield buffer
    remote.write(target, buffer.getvalue())


@contextmanager
def at_hand(source: Place, target: Place) -> Iterator[tuple[Path, Path]]:
    """Files on this disk in the place of both, for what cannot do with bytes: fetched before, sent after."""
    with TemporaryDirectory(prefix="stylize-") as folder:
        here, there = Path(folder, "in", source.name), Path(folder, "out", target.name)
        for place in (here, there):
            place.parent.mkdir()
        if isinstance(source, Url):
            remote.fetch(source, here)
        else:
            here = source
        if isinstance(target, Path):
            yield here, target
            return
        yield here, there
        remote.send(there, target)
