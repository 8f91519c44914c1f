"""Following a folder: which pictures have arrived, and lie still."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stylize.jobs import Job
from stylize.places import Place

POLL = 0.5
"""Seconds between two looks. Looking works on every file system, network drives among them."""

STILL = 2.0
"""Seconds for which a file must not change before it is taken to be whole."""

_Stamp = tuple[int, int, int]


def arrivals(
    look: Callable[[], Sequence[Job]], poll: float = POLL, still: float = STILL
) -> Iterator[list[Job]]:
    """Without end, the jobs whose pictures have come to rest since the last time; often none.

    A picture that changes later comes again. `look` gives all jobs that there are now.
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
            if began - seen[job.target][1] >= still:
                handled[job.target] = stamp
                ready.append(job)
        resting = seen
        took = time.monotonic() - began
        yield ready
        time.sleep(max(poll, 5 * took))  # a look at a very large folder shall not be all that is done


def _stamp(path: Place) -> _Stamp | None:
    """What changes when a file does; None if it is gone or still empty."""
    assert isinstance(path, Path)  # only folders on this disk are followed
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if found.st_size else None
