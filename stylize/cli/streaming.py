"""One picture through pipes: `stylize apply - -o -`."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stylize.console import say, write_json
from stylize.errors import PictureError, UsageError
from stylize.jobs import Job, check_output, record
from stylize.paths import FORMATS
from stylize.places import Place, is_folder

if TYPE_CHECKING:
    from stylize.painting import Painter
    from stylize.picture import Picture

STREAM = Path("-")


def stream(
    make: Callable[[], "Painter"],
    source: Place,
    output: Place | None,
    suffix: str | None,
    told: str | None,
    keep: Sequence[str | Path | None] = (),
) -> None:
    """Paint one picture from stdin or to stdout; `told` is the style's name if JSON is wanted. The result may
    not replace a file in `keep`.

    Raises UsageError where the picture would get lost, PictureError if it cannot be read or written.
    """
    if output is None or output == STREAM:
        if told is not None:
            raise UsageError("The picture goes to standard output, so --json cannot; name a file with -o.")
        if sys.stdout is None or sys.stdout.isatty():
            raise UsageError("The picture would go to the terminal; name a file with -o or use a pipe.")
        with _picture_on_stdout() as file:
            _paint_to(file, make(), source, suffix)
        return
    job = Job(source, output, told or "")
    if is_folder(job.target) or job.suffix not in FORMATS:
        raise UsageError(f"For a picture from -, -o names a file that ends in one of {', '.join(FORMATS)}.")
    if suffix and FORMATS[suffix] != job.format_name:
        raise UsageError(f"--format {suffix} and the name {output} disagree; leave one out.")
    if isinstance(output, Path):
        check_output(output, keep)
    painter, began = make(), time.monotonic()
    if not (done := painter.is_done(job)):
        from stylize.images import write_picture

        painted = painter.paint(_read(source, job.format_name, painter))
        write_picture(painted, output, job.format_name, painter.settings.quality)
    if told is not None:
        write_json(record(source, output, "skipped" if done else "done", told, time.monotonic() - began))


def _paint_to(file: BinaryIO, painter: "Painter", source: Place, suffix: str | None) -> None:
    from stylize.images import encode_picture

    format_name = FORMATS[suffix or "png"]
    painted = painter.paint(_read(source, format_name, painter))
    buffer = BytesIO()  # Pillow overlooks it when a file takes less than all
    encode_picture(painted, buffer, format_name, painter.settings.quality)
    file.write(buffer.getbuffer())


def _read(source: Place, format_name: str, painter: "Painter") -> "Picture":
    """The picture, if a file of the format can hold its painting."""
    from stylize.images import check_size, read_picture
    from stylize.painting import for_format

    name, content = ("standard input", _standard_input()) if source == STREAM else ("", source)
    picture = read_picture(content, name)
    if picture.remark:
        say(picture.remark)
    if not painter.settings.longer_side:
        check_size(picture.size, format_name, "The result")
    return for_format(picture, format_name)


def _standard_input() -> bytes:
    """What comes through the pipe. Raises PictureError for more than could be painted."""
    from stylize.images import most_bytes

    if not sys.stdin:
        return b""
    most = most_bytes()
    content = sys.stdin.buffer.read(most + 1)
    if len(content) > most:
        raise PictureError(
            f"Standard input has more than {most >> 20} MiB, which is no picture; name a file."
        )
    return content


@contextmanager
def _picture_on_stdout() -> Iterator[BinaryIO]:
    """Standard output for the picture alone: whatever else is printed meanwhile, by whomever, goes to stderr.

    Raises PictureError if it cannot be written; a pipe that is closed stays a BrokenPipeError.
    """
    sys.stdout.flush()
    number = sys.stdout.fileno()
    kept = os.dup(number)
    os.dup2(2, number)
    try:
        with os.fdopen(os.dup(kept), "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise PictureError(f"Cannot write to standard output: {error.strerror}.") from error
    finally:
        sys.stdout.flush()
        os.dup2(kept, number)
        os.close(kept)
