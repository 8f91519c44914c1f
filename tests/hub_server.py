"""A small Hub on 127.0.0.1: the parts of its protocol that `stylize` uses, for the real client to talk to.

Repositories live in memory; datasets are those whose names begin with datasets/. Large files (.safetensors,
pictures) go through LFS: `resolve` answers with a redirect to a second path that knows ranges. Faults can be
ordered: a wrong content, a connection cut.
"""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = (".safetensors", ".jpg", ".png", ".pth")


@dataclass
class Repository:
    """Revisions and their files."""

    private: bool = False
    revisions: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})


class Hub(ThreadingHTTPServer):
    """The server; `with Hub() as hub` serves in a thread."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.tokens = {"hf_reader": "read", "hf_writer": "write"}
        self.asked: Counter[str] = Counter()
        """How often each kind of request came: "GET /cdn" and the like."""
        self.ranges: list[str] = []
        self.agents: set[str] = set()
        self.gone_after: int | None = None
        """Do not answer after so many requests."""
        self.portal = False
        """Answer everything with a page to log in, as the network of a hotel does."""
        self.gone = False
        """Break every connection from now on, those that were kept alive included."""
        self.cut_after: int | None = None
        """Break the next download after so many bytes."""
        self.replaced: dict[str, bytes] = {}
        """SHA-256 -> what is sent instead."""
        self.listed: dict[str, object] = {}
        """What listings tell of every file instead of the truth."""
        self.told: dict[str, str] = {}
        """Headers of answers about files that are sent instead of the true ones."""
        self.endless = False
        """Send large files without telling their size, and go on for ever."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def storage(self) -> str:
        """Where large files lie: on another host, as with the real Hub, so that no token goes there."""
        return f"http://localhost:{self.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self.gone:
            self.stop()

    def stop(self) -> None:
        """No connection from here on."""
        self.gone = True
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""

    def add(
        self, repo: str, name: str, content: bytes, revision: str = "main", private: bool = False
    ) -> None:
        """Put a file into a repository, which is made if need be."""
        repository = self.repositories.setdefault(repo, Repository(private))
        repository.revisions.setdefault(revision, {})[name] = content


def commit_of(files: dict[str, bytes]) -> str:
    """A commit's name: it changes with the files."""
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    return digest.hexdigest()


def etag_of(name: str, content: bytes) -> str:
    """SHA-256 of a large file, git's SHA-1 of a small one."""
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entries_below(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, object]]:
    """Files and folders below a folder as the Hub lists them."""
    below = [name for name in sorted(files) if name.startswith(folder)]
    folders = {parent for name in below for parent in parents_of(name) if parent.startswith(folder)}
    entries: list[dict[str, object]] = [
        {"type": "directory", "oid": "0" * 40, "path": f} for f in sorted(folders)
    ]
    for name in below:
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(files[name]), "oid": "0" * 40}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": etag_of(name, files[name]), "size": len(files[name]), "pointerSize": 130}
        entries.append(entry)
    return [e for e in entries if recursive or "/" not in str(e["path"]).removeprefix(folder)]


def parents_of(name: str) -> list[str]:
    """The folders that a file lies in: a/b/c.png -> a, a/b."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


class _Handler(BaseHTTPRequestHandler):
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def fail(self, status: int, code: str = "", words: str = "") -> None:
        self.answer(status, b"", X_Error_Code=code, X_Error_Message=words)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_one(self) -> None:
        limit = self.server.gone_after
        if self.server.gone or (limit is not None and sum(self.server.asked.values()) >= limit):
            self.close_connection = True
            return
        path = unquote(urlsplit(self.path).path)
        content = self.body()
        self.server.asked[f"{self.command} /{path.split('/')[1]}"] += 1
        self.server.agents.add(self.headers.get("User-Agent") or "")
        if self.server.portal:
            self.answer(200, b"<html>Welcome to our hotel</html>", Content_Type="text/html")
            return
        for pattern, handler in _ROUTES:
            if match := re.fullmatch(pattern, path):
                handler(self, content, *match.groups())
                return
        self.fail(404, words=f"no route for {path}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    def role(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.server.tokens.get(token)

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """The files of a revision; answers by itself where they may not be seen."""
        found = self.server.repositories.get(repo)
        if found is None or (found.private and self.role() is None):
            # The Hub does not tell strangers which private repositories there are.
            self.fail(404 if self.role() else 401, "RepoNotFound", "Repository not found")
            return None
        commits = {commit_of(files): files for files in found.revisions.values()}
        files = found.revisions.get(revision, commits.get(revision))
        if files is None:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return files

    def info(self, content: bytes, repo: str, revision: str | None) -> None:
        files = self.files(repo, revision or "main")
        if files is None:
            return
        siblings = []
        for name, data in files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if name.endswith(LARGE):
                sha = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
            siblings.append(entry | self.server.listed)
        private = self.server.repositories[repo].private
        self.json({"id": repo, "sha": commit_of(files), "siblings": siblings, "private": private, "tags": []})

    def tree(self, content: bytes, repo: str, revision: str, folder: str | None) -> None:
        files = self.files(repo, revision)
        if files is not None:
            recursive = "recursive=true" in urlsplit(self.path).query.lower()
            entries = entries_below(files, f"{folder}/" if folder else "", recursive)
            if entries or not folder:
                self.json(entries)
            else:
                self.fail(404, "EntryNotFound", f"{folder} does not exist")

    def paths_info(self, content: bytes, repo: str, revision: str) -> None:
        files = self.files(repo, revision)
        if files is None:
            return
        wanted = parse_qs(content.decode())["paths"]
        everything = entries_below(files, "", recursive=True)
        self.json([{**e, "lastCommit": _COMMIT} for e in everything if e["path"] in wanted])

    def resolve(self, content: bytes, repo: str, revision: str, name: str) -> None:
        files = self.files(repo, revision)
        if files is None:
            return
        commit = commit_of(files)
        if name not in files:
            self.answer(404, **{"X_Error_Code": "EntryNotFound", "X_Repo_Commit": commit, **self.server.told})
            return
        etag, size = etag_of(name, files[name]), str(len(files[name]))
        if name.endswith(LARGE):
            headers = {
                "Location": f"{self.server.storage}/cdn/{etag}", "X_Repo_Commit": commit,
                "X_Linked_ETag": f'"{etag}"', "X_Linked_Size": size,
            }  # fmt: skip
            self.answer(302, **headers | self.server.told)
        else:
            self.answer(200, files[name], ETag=f'"{etag}"', X_Repo_Commit=commit)

    def cdn(self, content: bytes, sha: str) -> None:
        assert "Authorization" not in self.headers
        stored = [
            data
            for repository in self.server.repositories.values()
            for files in repository.revisions.values()
            for data in files.values()
            if hashlib.sha256(data).hexdigest() == sha
        ]
        data = self.server.replaced.get(sha, stored[0])
        if self.server.endless and self.command == "GET":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                for _ in range(600):
                    self.wfile.write(bytes(1 << 20))
            return
        begin = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            begin = int(match[1])
            self.server.ranges.append(match[0])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        cut, self.server.cut_after = self.server.cut_after, None
        if cut is None:
            self.wfile.write(data[begin:])
        else:
            self.wfile.write(data[begin : begin + cut])
            self.close_connection = True

    def create(self, content: bytes) -> None:
        wanted = json.loads(content)
        repo = f"{wanted['organization']}/{wanted['name']}"
        if self.role() != "write":
            self.fail(403 if self.role() else 401, words="You don't have the rights to create a model")
        elif repo in self.server.repositories:
            self.answer(409, json.dumps({"url": f"{self.server.endpoint}/{repo}"}).encode())
        else:
            self.server.repositories[repo] = Repository(wanted.get("visibility") == "private")
            self.json({"url": f"{self.server.endpoint}/{repo}"})

    def validate(self, content: bytes) -> None:
        """The Hub checks the YAML at a card's head before a commit."""
        head = json.loads(content)["content"].split("---\n")[1]
        values = yaml.safe_load(head)
        wrong = [] if isinstance(values.get("license"), str) else [{"message": '"license" must be a text'}]
        body = json.dumps({"errors": wrong, "warnings": []}).encode()
        self.answer(400 if wrong else 200, body, Content_Type="application/json")

    def preupload(self, content: bytes, repo: str, revision: str) -> None:
        def mode(path: str) -> str:
            return "lfs" if path.endswith(LARGE) else "regular"

        files = [
            {"path": file["path"], "uploadMode": mode(file["path"]), "shouldIgnore": False}
            for file in json.loads(content)["files"]
        ]
        self.json({"files": files})

    def lfs_batch(self, content: bytes, repo: str) -> None:
        objects = [
            {**wanted, "actions": {
                "upload": {"href": f"{self.server.endpoint}/upload/{wanted['oid']}"},
                "verify": {"href": f"{self.server.endpoint}/verify/{wanted['oid']}"},
            }}
            for wanted in json.loads(content)["objects"]
        ]  # fmt: skip
        self.json({"transfer": "basic", "objects": objects})

    def upload(self, content: bytes, sha: str) -> None:
        if hashlib.sha256(content).hexdigest() != sha:
            self.fail(400, words="checksum")
            return
        self.server.uploads[sha] = content
        self.answer(200)

    def verify(self, content: bytes, sha: str) -> None:
        self.answer(200 if json.loads(content)["size"] == len(self.server.uploads[sha]) else 400)

    def commit(self, content: bytes, repo: str, revision: str) -> None:
        if self.role() != "write":
            self.fail(403)
            return
        files = self.server.repositories[repo].revisions["main"]
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.uploads[value["oid"]]
        oid = commit_of(files)
        self.json({"commitUrl": f"{self.server.endpoint}/{repo}/commit/{oid}", "commitOid": oid})


_COMMIT = {"id": "1" * 40, "title": "A commit", "date": "2026-01-02T03:04:05.000Z"}
_REPO = r"((?:datasets/)?[\w.-]+/[\w.-]+)"
_API = rf"/api/(?:models/|(?=datasets/)){_REPO}"
_ROUTES = [
    (rf"{_API}(?:/revision/([\w./-]+))?", _Handler.info),
    (rf"{_API}/tree/([\w.-]+)(?:/(.+))?", _Handler.tree),
    (rf"{_API}/paths-info/([\w.-]+)", _Handler.paths_info),
    (rf"/{_REPO}/resolve/([\w.-]+)/(.+)", _Handler.resolve),
    (r"/cdn/(\w+)", _Handler.cdn),
    (r"/api/repos/create", _Handler.create),
    (r"/api/validate-yaml", _Handler.validate),
    (rf"{_API}/preupload/([\w.-]+)", _Handler.preupload),
    (rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (r"/upload/(\w+)", _Handler.upload),
    (r"/verify/(\w+)", _Handler.verify),
    (rf"{_API}/commit/([\w.-]+)", _Handler.commit),
]
