"""Atomic writes, and claims: a reader sees the old file or the new one, and two processes never do one job.

Both rest on locks that the system drops when their process ends, however it ends: what a killed
process leaves behind has a name that the next one uses again, and stops nobody. Where a file system
knows no locks (or on Windows) everything works but this guard between processes.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_HANDLE = -1
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What flock says on a file system that knows no locks."""

_LONGEST_NAME = 200
"""Bytes of a name to which a companion's can add its own; file systems allow 255."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, else vanishes.

    Another process that writes the same target waits for this one.
    """
    temporary = companion(target, "part")
    handle = _locked(temporary, wait=True)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _close(handle)


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically, with the access rights that any new file has.

    Raises SafetensorError for tensors that it cannot hold.
    """
    from safetensors.torch import save  # torch comes with it

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


class Claims:
    """The targets that this process works on, so that no other process does the same work.

    A context: on leaving it, what is still claimed is free again.
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *problem: object) -> None:
        for target in list(self._held):
            self.release(target)

    def take(self, target: Path) -> bool:
        """Claim a target, whose folder is there; False if another process has it."""
        try:
            self._held[target] = _locked(companion(target, "claim"))
        except BlockingIOError:
            return False
        except OSError:
            return True  # where no claim can be made, no target can be written: that says the reason
        with suppress(OSError):
            companion(target, "part").unlink(missing_ok=True)  # of a process that was killed
        return True

    def release(self, target: Path) -> None:
        """Give a target back; nothing happens if it is not claimed."""
        handle = self._held.pop(target, None)
        if handle is not None:
            with suppress(OSError):
                companion(target, "claim").unlink(missing_ok=True)
            _close(handle)


def companion(target: Path, kind: str) -> Path:
    """The hidden file of a kind that goes with a target: .photo.jpg.part; for a long name, its digest."""
    name, encoded = target.name, os.fsencode(target.name)
    if len(encoded) > _LONGEST_NAME:
        name = hashlib.sha256(encoded).hexdigest()
    return target.with_name(f".{name}.{kind}")


def _locked(path: Path, wait: bool = False) -> int:
    """An open, empty, locked file at `path`, made if need be.

    Raises BlockingIOError if another process has the lock and we do not wait.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        handle = os.open(path, flags, 0o666)
        if fcntl is None:
            os.close(handle)  # Windows neither renames nor removes what is open
            return _NO_HANDLE
        try:
            _lock(handle, wait)
            if _is_at(path, handle):
                os.ftruncate(handle, 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    """Is the open file still the one at `path`? Whoever had its lock may have renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(handle: int, wait: bool) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _close(handle: int) -> None:
    if handle != _NO_HANDLE:
        os.close(handle)
