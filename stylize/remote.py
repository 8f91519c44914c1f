"""What lies on object stores, named by URLs such as s3://bucket/folder/photo.jpg, by way of fsspec. No torch.

fsspec, and the package that speaks to a store, are imported only when a URL is really used. Keys, tokens
and addresses are taken from where that package looks for them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...).
"""

import importlib
import re
import uuid
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path, PurePosixPath
from typing import Any

from stylize.errors import PictureError, StylizeError, UsageError

_FORM = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)

_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "az"}
"""Schemes whose first part names a bucket."""

_HUB_KINDS = {"datasets", "spaces", "models", "buckets"}
"""First parts of hf:// URLs that say what kind of repository org/name is."""

_WHOLE = _BUCKETS | {"hf", "memory"}
"""Schemes whose stores show an object when all of it has arrived, and not before: one put is atomic.
Elsewhere a file may grow as it is written, so it is written beside and then moved."""

_MACHINES = {"sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs", "webdav", "dav", "davs"}
"""Schemes whose first part names a machine, not a bucket: their file systems must be told it apart."""

_INSTALL = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs",
    "ssh": "paramiko", "sftp": "paramiko", "smb": "smbprotocol", "webdav": "webdav4",
    "hdfs": "pyarrow", "webhdfs": "requests",
    "http": "aiohttp requests", "https": "aiohttp requests",
}  # fmt: skip
"""Scheme -> what is installed for it. A module's name is not always that of what brings it: others could own
that name."""

_NO_RIGHTS = {"PermissionError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}
_NO_ANSWER = {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ConnectError"}
_NO_ANSWER |= {"ConnectionError", "TimeoutError", "ConnectTimeout", "FSTimeoutError", "ReadTimeoutError"}


class Url(PurePosixPath):
    """An object or a folder on a store. A path like others, but what opens files on this disk refuses it."""

    __fspath__ = None  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __str__(self) -> str:
        text = super().__str__()
        scheme, colon, rest = text.partition(":/")
        return f"{scheme}://{rest}" if colon and "/" not in scheme else text

    @property
    def scheme(self) -> str:
        """The kind of store: s3, gs, hf ..."""
        return self.parts[0].removesuffix(":")

    @property
    def bucket(self) -> "Url":
        """What must be there before anything is written: s3://bucket, hf://datasets/org/name, or, for a
        repository of models, hf://org/name."""
        if self.scheme != "hf":
            return Url(*self.parts[:2])
        return Url(*self.parts[: 4 if self.parts[1] in _HUB_KINDS else 3])


def url_of(text: str) -> Url | None:
    """The URL that a text is; None for a path on this disk. UsageError for one that cannot be used."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme in {"file", "local"}:
        raise UsageError(f"{text} lies on this machine; write its path without {scheme}://.")
    if scheme in _MACHINES:
        raise UsageError(f"{scheme}:// is not supported; mount the folder of that machine and give its path.")
    if scheme == "memory":
        rest = rest.lstrip("/")
    url = Url(f"{scheme}://{rest}")
    if len(url.parts) < 2 or not _is_plain(url, f"{scheme}://{rest}"):
        raise UsageError(f"{text} has an empty part, '..' or '::' in it; name an object or folder outright.")
    return url


def _is_plain(url: Url, text: str) -> bool:
    """Does the URL mean what the text says, and nothing outside its folder?"""
    return str(url) == text.rstrip("/") and not {".", ".."} & set(url.parts) and "::" not in text


def check_store(url: Url) -> None:
    """Raises PictureError where the store cannot be reached, or the URL's bucket is not there."""
    if url.scheme not in _BUCKETS | {"hf"}:
        return
    # One may be allowed to use objects without being allowed to look at the bucket.
    with _reached(url.bucket, "used") as store, suppress(PermissionError):
        store.info(str(url.bucket))


def is_folder(url: Url) -> bool:
    """Is there anything below this URL?"""
    with _reached(url, "read") as store:
        return store.isdir(str(url))


def files_in(
    folder: Url, recursive: bool, without: Url | None, suffixes: Set[str]
) -> tuple[list[Url], list[tuple[Url, str]]]:
    """The objects with these suffixes in a folder, sorted, and what cannot be used, each with a sentence.

    Hidden ones (.name) and those in the folder `without` are left out.
    """
    found: list[Url] = []
    left: list[tuple[Url, str]] = []
    for name in _names(folder, recursive):
        url = Url(name)
        if url.suffix.lower() not in suffixes or (without is not None and url.is_relative_to(without)):
            continue
        if not _is_plain(url, name) or not url.is_relative_to(folder):
            left.append((url, f"{name} has an empty folder or '..' in its name; rename it to paint it."))
        elif not any(part.startswith(".") for part in url.relative_to(folder).parts):
            found.append(url)
    return sorted(found), left


def objects_in(folder: Url) -> set[Url]:
    """Everything below a folder; nothing where there is no such folder yet."""
    return {Url(name) for name in _names(folder, recursive=True)}


def _names(folder: Url, recursive: bool) -> list[str]:
    """The URLs of all objects in a folder as the store writes them."""
    with _reached(folder, "listed") as store:
        try:
            names = store.find(str(folder), maxdepth=None if recursive else 1)
        except FileNotFoundError:
            if folder.scheme in _BUCKETS:
                raise  # without its bucket; a folder that is not there is an empty one
            return []
    return [f"{folder.scheme}://{name.partition('://')[2] or name.lstrip('/')}" for name in names]


def read(url: Url, most: int) -> bytes:
    """An object's bytes. Raises PictureError if it is not there, or has more than `most` bytes."""
    with _reached(url, "read") as store:
        size = store.info(str(url)).get("size")
        if size is not None and size > most:
            raise PictureError(f"{url} has {size >> 20} MiB, which do not fit into the free memory.")
        return store.cat_file(str(url))


def write(url: Url, content: bytes) -> None:
    """Write an object: whoever looks sees the old one, or none, or the whole new one.

    Raises PictureError.
    """
    with _reached(url, "written") as store:
        if url.scheme in _WHOLE:
            store.pipe_file(str(url), content)
            return
        with _beside(store, url) as part:
            store.pipe_file(part, content)


def fetch(url: Url, target: Path) -> None:
    """Copy an object, of whatever size, to a file. Raises PictureError."""
    with _reached(url, "read") as store:
        store.get_file(str(url), str(target))


def send(source: Path, url: Url) -> None:
    """Copy a file to an object, as `write` does with bytes. Raises PictureError."""
    with _reached(url, "written") as store:
        if url.scheme in _WHOLE:
            store.put_file(str(source), str(url))
            return
        with _beside(store, url) as part:
            store.put_file(str(source), part)


@contextmanager
def _beside(store: Any, url: Url) -> Iterator[str]:
    """A name to write to that becomes the URL when the block ends well."""
    part = str(url.with_name(f".{url.name}.{uuid.uuid4().hex}.part"))
    store.makedirs(str(url.parent), exist_ok=True)
    yield part
    store.mv(part, str(url))


def written_at(url: Url) -> float | None:
    """When an object was written, in seconds since the epoch by the store's clock; 0 if the store does not
    say; None if there is no object."""
    with _reached(url, "read") as store:
        try:
            moment = store.modified(str(url))
        except (FileNotFoundError, IsADirectoryError):
            return None
        except NotImplementedError:
            return 0.0 if store.isfile(str(url)) else None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@contextmanager
def _reached(url: Url, verb: str) -> Iterator[Any]:
    """The file system that knows a URL; whatever goes wrong with it becomes one sentence."""
    try:
        yield _file_system(url.scheme)
    except StylizeError:
        raise
    except Exception as error:  # every store has exceptions of its own
        raise PictureError(_sentence(url, verb, error)) from error


def _file_system(scheme: str) -> Any:
    """The file system for a scheme. Raises StylizeError where there is none, or its package is missing."""
    fsspec = importlib.import_module("fsspec")
    if scheme == "hf":  # its bars, one for each object, would tear ours
        importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        if scheme in _INSTALL:
            raise StylizeError(f"For {scheme}:// URLs, run: pip install {_INSTALL[scheme]}") from error
        raise StylizeError(
            f"For {scheme}:// URLs fsspec lacks a library, which its documentation names: {error}"
        ) from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise UsageError(f"{scheme}:// is no kind of store that is known; s3, gs and hf are some.") from error


def _is_not_on_the_hub(error: BaseException) -> bool:
    """Is it the repository that is missing, and not a file in it?"""
    return type(error.__cause__).__name__ in {"RepositoryNotFoundError", "HFValidationError"}


def _sentence(url: Url, verb: str, error: Exception) -> str:
    """What is said of an exception that came from a store."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    bucket, status = url.bucket, getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, FileNotFoundError):
        missing = bucket if "bucket does not exist" in str(error) or _is_not_on_the_hub(error) else url
        return f"There is no {missing}; check the names of bucket and object."
    if kinds & _NO_RIGHTS or status in {401, 403}:
        keys = "token (HF_TOKEN, or hf auth login)" if url.scheme == "hf" else "keys"
        return f"{url} may not be {verb}; check your {keys} and what {bucket} allows."
    if kinds & _NO_ANSWER:
        return f"{bucket} cannot be reached; check the network and the store's address (AWS_ENDPOINT_URL)."
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"{url} cannot be {verb}: {reason}; try again, or another place."
