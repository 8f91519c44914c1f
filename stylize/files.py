"""Atomic writes, and claims: a reader sees the old file or the new one, and two processes never do one job.

Both rest on locks that the system drops when their process ends, however it ends: what a killed
process leaves behind has a name that the next one uses again, and stops nobody. Where a file system
knows no locks (or on Windows) everything works but this guard between processes.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

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

    Another process that writes the same target waits for this one. For what insists on a path; all else
    writes with `atomic_file`. Raises OSError where the temporary file is a link, or became another one.
    """
    with _replacing(target) as (temporary, _):
        yield temporary


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """A file that replaces `target` when the block ends well, with all that was written, else vanishes.

    What is written goes to the file that was made, whatever becomes of its name meanwhile.
    """
    with _replacing(target) as (temporary, handle):
        opened = temporary.open("wb") if handle == _NO_HANDLE else os.fdopen(os.dup(handle), "wb")
        with opened as file:
            yield file
            file.flush()
            if os.fstat(file.fileno()).st_size != file.tell():
                raise OSError(errno.EIO, "it was not written whole", str(target))


@contextmanager
def _replacing(target: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `target`, by its path and its handle, that takes its place in the end."""
    temporary = companion(target, "part")
    handle = _locked(temporary, wait=True)
    try:
        yield temporary, handle
        _keep(temporary, handle)
        temporary.replace(target)
        if handle != _NO_HANDLE and not _is_at(target, handle):
            raise OSError(errno.ELOOP, "it was exchanged for another file", str(temporary))
    except BaseException:
        with suppress(OSError):
            if handle == _NO_HANDLE or _is_at(temporary, handle):
                temporary.unlink(missing_ok=True)
        raise
    finally:
        _close(handle)


def _keep(temporary: Path, handle: int) -> None:
    """Bring what was written to the disk. Raises OSError if the name now means another file."""
    if handle == _NO_HANDLE:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        return
    os.fsync(handle)
    if not _is_at(temporary, handle):
        raise OSError(errno.ELOOP, "it was exchanged for another file", str(temporary))


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically, with the access rights that any new file has.

    Raises SafetensorError for tensors that it cannot hold.
    """
    from safetensors.torch import save  # torch comes with it

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))
    with atomic_file(path) as file:
        file.write(content)


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
    """A new, empty, locked file at `path`.

    One that is there was left by a process that was killed, and goes, unless it has another name as well:
    then it is none of ours. Raises BlockingIOError if another process has the lock and we do not wait,
    OSError for a link.
    """
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    while True:
        try:
            handle, made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            handle, made = _existing(path, flags), False
        if handle == _NO_HANDLE:
            continue
        if fcntl is None:
            os.close(handle)  # Windows neither renames nor removes what is open
            return _NO_HANDLE
        try:
            _lock(handle, wait)
            if _is_at(path, handle):
                if made:
                    return handle
                _check_ours(path, handle)
                path.unlink(missing_ok=True)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _existing(path: Path, flags: int) -> int:
    """What is at `path`, opened; no handle if it is gone by now. Raises OSError for a link."""
    if fcntl is None:
        with suppress(FileNotFoundError):
            path.unlink()
        return _NO_HANDLE
    try:
        return os.open(path, flags | os.O_NONBLOCK)
    except FileNotFoundError:
        return _NO_HANDLE


def _check_ours(path: Path, handle: int) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise OSError(errno.ELOOP, "it is a link or no file; remove it", str(path))


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
