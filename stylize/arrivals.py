"""What comes from the Hub, checked against what it listed, before and while it comes. No torch.

The client of the Hub names files of its cache after what the answers say (ETag, commit), and takes as many
bytes as are sent. So its answers are read as they come: a name that is none, another file than was listed, or
more bytes than were listed end the download.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stylize.console import printable
from stylize.errors import WeightsError

_COMMIT = re.compile("[0-9a-f]{40}")
_DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Expected:
    """A file as the Hub listed it: `digest` is the SHA-256 of a large file, git's SHA-1 of a small one."""

    what: str
    """What it is called in sentences."""
    commit: str
    digest: str
    size: int

    @classmethod
    def of(cls, what: str, commit: Any, entry: Any, largest: int) -> "Expected":
        """The entry of a listing. Raises WeightsError for one that cannot be, or of too large a file."""
        digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
        size = entry.size
        if not (_is(_COMMIT, commit) and _is(_DIGEST, digest) and isinstance(size, int) and size >= 0):
            raise WeightsError(
                f"The listing of {what} is damaged: it tells no commit, size or checksum; try again later."
            )
        if size > largest:
            raise WeightsError(
                f"{what} has {size >> 20} MiB, more than the {largest >> 20} that are taken; choose another "
                "file."
            )
        return cls(what, commit, digest, size)

    def check_answer(self, answer: Any) -> None:
        """Raises WeightsError for an answer that is not about this file."""
        headers = answer.headers
        commit = headers.get("X-Repo-Commit")
        if commit is not None and commit != self.commit:
            raise self._other("commit", self.commit, commit)
        if answer.request.method == "HEAD" and answer.status_code < 400 and commit is not None:
            named = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
            if named != self.digest:
                raise self._other("checksum", self.digest, named)
        for name, below in (("X-Linked-Size", 400), ("Content-Length", 300)):
            length = headers.get(name, "0")
            if answer.status_code < below and (
                not re.fullmatch(r"\d{1,18}", length) or int(length) > self.size
            ):
                raise self._too_long()

    def check_count(self, count: float) -> None:
        """Raises WeightsError if more bytes have come than there should be."""
        if count > self.size:
            raise self._too_long()

    def _other(self, kind: str, listed: str, found: str) -> WeightsError:
        return WeightsError(
            f"The Hub lists {self.what} with the {kind} {listed[:12]} and sends one with "
            f"{printable(found[:12])!r}; run the command again."
        )

    def _too_long(self) -> WeightsError:
        return WeightsError(
            f"The Hub lists {self.what} with {self.size:,} bytes and sends more, so that was stopped; "
            "choose another file."
        )


@contextmanager
def watched(expected: Expected, title: str) -> Iterator[type]:
    """While this lasts, answers of the Hub are checked; gives the progress bar that counts the bytes."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, tqdm

    class Bar(tqdm):
        """The client's progress bar with a name; alone it would show the checksum."""

        def __init__(self, *values: Any, **options: Any) -> None:
            self.came = options.get("initial", 0)
            super().__init__(*values, **options | {"desc": title})

        def update(self, n: float | None = 1) -> bool | None:
            self.came += n or 0
            expected.check_count(self.came)
            return super().update(n)

    session = get_session()
    hooks, other_way = session.event_hooks, constants.HF_HUB_DISABLE_XET
    session.event_hooks = {**hooks, "response": [*hooks.get("response", []), expected.check_answer]}
    constants.HF_HUB_DISABLE_XET = True  # that way of downloading would not come by here
    try:
        yield Bar
    finally:
        session.event_hooks, constants.HF_HUB_DISABLE_XET = hooks, other_way


def _is(form: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and form.fullmatch(text) is not None
