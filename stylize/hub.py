"""Styles and weights on the Hugging Face Hub, fetched through its cache. No torch.

A reference is org/name, org/name@revision, org/name/file.safetensors, or any of them behind hf://. What
lies on this disk comes first, and what looks like a path to a picture is never looked for elsewhere.
The client (`huggingface_hub`, which honours HF_HOME, HF_TOKEN and HF_ENDPOINT) is imported only when a
reference is really used.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from stylize import __version__, bundled
from stylize.arrivals import Expected, watched
from stylize.console import talk
from stylize.errors import StylizeError, UsageError, WeightsError
from stylize.network import check_network
from stylize.paths import READABLE
from stylize.trust import LARGEST_STYLE, PICKLES, read_header, refuse_pickle

BASE_FILE = "base.safetensors"
"""The name of a base that lies with the styles made for it."""

_REFERENCE = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)"
    r"(@(?P<revision>refs/pr/\d+|[\w.-]+))?"
    r"(/(?P<file>([\w -][\w. -]*/)*[\w -][\w. -]*\.safetensors))?",
    re.ASCII,
)
_FORMS = "org/name, org/name@revision or org/name/file.safetensors"
_PATIENCE = 10
"""Seconds to wait for the Hub's first answer."""
_OURS = {"library_name": "stylize", "library_version": __version__}


@dataclass(frozen=True)
class Reference:
    """Something on the Hub: a repository, perhaps a revision of it, perhaps one file in it."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        """What it is called, and what results are named after."""
        return Path(self.file).stem if self.file else self.repo.split("/")[1]

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return self.repo + revision + (f"/{self.file}" if self.file else "")


def parse(text: str) -> Reference | None:
    """The reference that a text may be; None if it has another form. UsageError for a bad hf://."""
    match = _REFERENCE.fullmatch(text.removeprefix("hf://"))
    if match:
        return Reference(match["repo"], match["revision"], match["file"])
    if text.startswith("hf://"):
        raise UsageError(f"{text} is no reference to the Hub; write {_FORMS} after hf://.")
    return None


def reference_of(text: str) -> Reference | None:
    """The reference that a text is, or None where it means something on this disk."""
    refuse_pickle(Path(text))
    if text.startswith("hf://"):
        return parse(text)
    path = Path(text)
    # Unlike Path.exists, os.path.exists takes any text, however long.
    reference = None if text in bundled.known_styles() or os.path.exists(path) else parse(text)
    if reference is None or os.path.exists(path.parts[0]):
        return None  # in a folder that exists, a name that does not is a slip of the pen
    known = {".safetensors", *READABLE, *PICKLES}
    return reference if reference.file or path.suffix.lower() not in known else None


def style_name(text: str) -> str:
    """What a style is called, without fetching it. UsageError for what is neither here nor a reference."""
    reference = reference_of(text)
    return reference.name if reference else bundled.style_file(text).resolve().stem


def find_style(text: str, offline: bool = False) -> Path:
    """The file or folder behind a style, fetched from the Hub if it is there.

    Raises UsageError if there is none, WeightsError if it cannot be fetched.
    """
    reference = reference_of(text)
    return fetch_style(reference, offline) if reference else bundled.style_file(text)


def fetch_style(reference: Reference, offline: bool = False) -> Path:
    """A style file in the cache; beside it the base that it needs, where that is not the bundled one."""
    path = fetch(reference, offline)
    metadata = read_header(path).metadata
    needed = "" if "generator" in metadata else metadata.get("identity", "")
    if needed and needed != bundled_identity():
        try:
            fetch(replace(reference, file=BASE_FILE), offline)
        except UsageError:
            raise WeightsError(
                f"{reference} was made for another base, which is not in its repository; "
                f"ask its author to add {BASE_FILE}."
            ) from None
    return path


def bundled_identity() -> str:
    """What the bundled base is called in the styles that were made for it."""
    return read_header(bundled.base_path()).metadata["identity"]


def fetch(reference: Reference, offline: bool = False, largest: int = LARGEST_STYLE) -> Path:
    """A safetensors file of at most `largest` bytes, downloaded or from the cache.

    Without `file` the repository must hold one style. A connection that breaks is taken up again where
    it broke. Raises UsageError for what is not there, WeightsError for what cannot be had.
    """
    client = _client()
    with _in_our_words(reference, offline):
        listing = None if offline else _listing(reference)
        found = None if listing is None else listing.files
        names = found if found is not None or reference.file else _cached_files(reference)
        file = reference.file or _only_style(reference, names or {})
        if found is not None and file not in found:
            raise UsageError(f"{reference.repo} holds no {file}; it holds {_some_of(found)}.")
        options: dict[str, Any] = {"revision": reference.revision, **_OURS}
        if listing is None:
            path = client.hf_hub_download(reference.repo, file, local_files_only=True, **options)
            expected = None
        else:
            what = f"{file} of {reference.repo}"
            expected = Expected.of(what, listing.commit, listing.files[file], largest)
            with watched(expected, f"Fetching {reference.repo}") as bar:
                path = client.hf_hub_download(reference.repo, file, tqdm_class=bar, **options)
    _check_sum(Path(path), "" if expected is None else expected.digest, reference)
    return Path(path)


def upload(repo: str, files: Mapping[str, bytes], private: bool) -> str:
    """Commit files to a repository, which is made if need be. Returns the address of the commit.

    Raises UsageError where the token is missing, or where `private` is wanted of a public repository.
    """
    client = _client()
    if client.get_token() is None:
        raise UsageError(
            "Sharing needs a token that may write: run hf auth login, or set HF_TOKEN to one from "
            "https://huggingface.co/settings/tokens."
        )
    check_network()
    api = client.HfApi(**_OURS)
    with _in_our_words(Reference(repo), offline=False):
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise UsageError(f"{repo} exists and is public; choose another name or leave out --private.")
        operations = [client.CommitOperationAdd(name, content) for name, content in files.items()]
        return api.create_commit(repo, operations, commit_message="Share a style").commit_url


def _client() -> Any:
    """The package huggingface_hub, told to be quiet: what goes wrong is said once, by us."""
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars, logging

    logging.set_verbosity_error()
    if not talk.is_terminal:
        disable_progress_bars()
    return huggingface_hub


@dataclass(frozen=True)
class _Listing:
    """Path -> entry of the files of a commit."""

    commit: Any
    files: dict[str, Any]


def _listing(reference: Reference) -> _Listing | None:
    """The files where the reference points; None where the Hub cannot be reached."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if not constants.HF_HUB_OFFLINE:
        check_network()
    try:
        # Of the ways to list files this one asks once: without a network, the cache answers at once.
        information = (
            _client()
            .HfApi(**_OURS)
            .model_info(reference.repo, revision=reference.revision, files_metadata=True, timeout=_PATIENCE)
        )
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise
        return None
    except (_transport_error(), OfflineModeIsEnabled):
        return None
    files = {file.rfilename: file for file in information.siblings or []}
    return _Listing(information.sha, {name: file for name, file in files.items() if name.isprintable()})


def _cached_files(reference: Reference) -> dict[str, Any]:
    """The names of the files of a repository that the cache holds."""
    folder = Path(
        _client().snapshot_download(reference.repo, revision=reference.revision, local_files_only=True)
    )
    return dict.fromkeys(path.name for path in folder.iterdir())


def _only_style(reference: Reference, files: Mapping[str, Any]) -> str:
    """The style file of a repository. UsageError if there is none, or which one is not clear."""
    styles = [n for n in files if n.endswith(".safetensors") and n != BASE_FILE and "/" not in n]
    named = [name for name in styles if Path(name).stem == reference.name]
    if len(styles) == 1 or named:
        return (named or styles)[0]
    if styles:
        raise UsageError(f"{reference.repo} holds {_some_of(styles)}; name one: {reference}/{styles[0]}.")
    if pickles := [name for name in files if Path(name).suffix in PICKLES]:
        refuse_pickle(Path(pickles[0]))
    raise UsageError(f"{reference.repo} holds no .safetensors file; choose another repository.")


def _some_of(names: Mapping[str, Any] | list[str]) -> str:
    """The first few of some names."""
    some = ", ".join(islice(names, 5))
    return some + (" and others" if len(names) > 5 else "") or "nothing there"


def _check_sum(path: Path, announced: str, reference: Reference) -> None:
    """Compare a file with the checksum that the Hub announced; remove it from the cache if it differs."""
    # The cache names a blob by its ETag: the SHA-256 of a large file, git's SHA-1 of a small one.
    announced = announced or (path.readlink().name if path.is_symlink() else "")
    if re.fullmatch("[0-9a-f]{64}", announced):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", announced):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: digest).hexdigest()
    if found != announced:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"{reference} does not have the checksum that the Hub announced, so it was removed from "
            "the cache; run the command again."
        )


def _transport_error() -> type[Exception]:
    """What the client raises where there is no connection, whichever HTTP library it uses."""
    from huggingface_hub import errors

    return errors.HTTPError  # pyright: ignore[reportPrivateImportUsage]


@contextmanager
def _in_our_words(reference: Reference, offline: bool) -> Iterator[None]:
    """Turn the client's errors into sentences that say what to do next."""
    from huggingface_hub import errors

    try:
        yield
    except StylizeError:
        raise
    except errors.LocalEntryNotFoundError as error:
        raise WeightsError(_not_cached(reference, offline)) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{reference} is no name for a repository; write org/name.") from error
    except errors.HfHubHTTPError as error:
        raise _refusal(reference, error) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
            reason = " ".join(str(error).split()).rstrip(".")
            raise WeightsError(f"The Hub does not take {reference}: {reason}; mend the card.") from error
        raise WeightsError(
            f"What answers for {reference} is not the Hub; check the network (log-in page?) and HF_ENDPOINT."
        ) from error
    except (_transport_error(), OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise WeightsError(
                f"Cannot write {reference} to the cache: {error.strerror}; set HF_HOME to another folder."
            ) from error
        raise WeightsError(
            f"The connection broke while {reference} was under way; run the command again."
        ) from error


def _not_cached(reference: Reference, offline: bool) -> str:
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        return f"{reference} is not in the cache; run the command once online, without --offline."
    return (
        f"{reference} is not in the cache and the Hub ({constants.ENDPOINT}) cannot be reached; "
        "check the connection."
    )


def _refusal(reference: Reference, error: Any) -> StylizeError:
    """What an answer of the Hub means for the user."""
    from huggingface_hub import errors

    repo = reference.repo
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"{repo} has no revision {reference.revision!r}; leave it out for the newest.")
    if isinstance(error, errors.GatedRepoError):
        return WeightsError(f"{repo} asks for consent; accept its terms on its page and set HF_TOKEN.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(
            f"There is neither a file nor a folder {reference}, nor {repo} on the Hub; check the name, or "
            "if it is private set HF_TOKEN to a token that may read it."
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return UsageError(f"{repo} holds no {reference.file}; look at its files on the Hub.")
    status = error.response.status_code
    if status in (401, 403):
        return WeightsError(f"The Hub refuses the token for {repo}; set HF_TOKEN to one that has the rights.")
    return WeightsError(f"The Hub answers with error {status} for {reference}; try again later.")
