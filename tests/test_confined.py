"""Work in a process of its own: it ends when it takes too long, and others have their turn."""

import os
import re
import threading
import time

import pytest

from stylize.confined import Confined, TooLongError
from stylize.errors import PictureError, StylizeError


def refuse(word: str) -> None:
    raise PictureError(f"{word} is not good.")


def hold_the_lock() -> None:
    """Holds the interpreter's lock for hours, so that no other thread of the process does anything."""
    re.match(r"(a+)+$", "a" * 60 + "b")


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError


def fail_oddly() -> None:
    raise Unpicklable("odd")


@pytest.fixture
def confined() -> Confined:
    return Confined()


def test_what_takes_too_long_is_ended_and_the_next_has_its_turn(confined: Confined) -> None:
    first = confined.call(60, os.getpid)
    assert first not in (os.getpid(), 0)
    assert confined.call(60, os.getpid) == first
    begun = time.monotonic()
    with pytest.raises(TooLongError, match=r"more than 0\.5 seconds and was stopped"):
        confined.call(0.5, hold_the_lock)
    assert time.monotonic() - begun < 3
    second = confined.call(60, os.getpid)
    assert second != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    confined.close()


def test_what_goes_wrong_is_told_as_it_was(confined: Confined) -> None:
    with pytest.raises(PictureError, match="It is not good"):
        confined.call(60, refuse, "It")
    with pytest.raises(StylizeError, match="odd"):
        confined.call(60, fail_oddly)
    with pytest.raises(StylizeError, match="ended, perhaps for want of memory"):
        confined.call(60, os._exit, 9)
    assert confined.call(60, abs, -3) == 3
    confined.close()


def test_closing_ends_what_is_under_way_at_once(confined: Confined) -> None:
    confined.call(60, abs, 1)
    told: list[str] = []

    def ask() -> None:
        try:
            confined.call(60, hold_the_lock)
        except StylizeError as error:
            told.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    confined.close()
    thread.join(5)
    assert told == ["The window is closed."]
    with pytest.raises(StylizeError, match="closed"):
        confined.call(60, abs, 1)
