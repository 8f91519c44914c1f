"""Following a folder: which pictures have arrived, and lie still."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from stylize.jobs import Job
from stylize.places import Place

POLL = 0.5
"""Seconds between two looks. Looking works on every file system, network drives among them."""

STILL = 2.0
"""Seconds for which a file must not change before it is taken to be whole."""

PATIENCE = 15.0
"""The same for a file that lacks its end, as one does that is being copied over a slow line."""

_ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
"""What stands at the end of a whole file."""

_TAIL = 4096
"""Bytes in which the end is looked for: some programs write more behind it."""

_Stamp = tuple[int, int, int]


def arrivals(
    look: Callable[[], Sequence[Job]], poll: float = POLL, still: float = STILL
) -> Iterator[list[Job]]:
    """Without end, the jobs whose pictures have come to rest since the last time; often none.

    A picture that changes later comes again, and its job says so. `look` gives all jobs that there are now.
    """
    # By what they become: a picture may have several results.
    handled: dict[Place, _Stamp] = {}
    resting: dict[Place, tuple[_Stamp, float]] = {}
    while True:
        began, ready, seen = time.monotonic(), [], {}
        for job in look():
            stamp = _stamp(job.source)
            if stamp is None or handled.get(job.target) == stamp:
                continue
            before, since = resting.get(job.target, (None, began))
            seen[job.target] = (stamp, since if before == stamp else began)
            rests = began - seen[job.target][1]
            if rests >= still and (rests >= PATIENCE or _has_its_end(job.source)):
                ready.append(replace(job, again=job.target in handled))
                handled[job.target] = stamp
        resting = seen
        took = time.monotonic() - began
        yield ready
        time.sleep(max(poll, 5 * took))  # a look at a very large folder shall not be all that is done


def _has_its_end(path: Place) -> bool:
    """Does a file end as its kind does? True of kinds whose end cannot be told."""
    assert isinstance(path, Path)
    end = _ENDS.get(path.suffix.lower())
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return end is None or end in file.read()
    return True


def _stamp(path: Place) -> _Stamp | None:
    """What changes when a file does; None if it is gone or still empty."""
    assert isinstance(path, Path)  # only folders on this disk are followed
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if found.st_size else None
