"""Who may ask the window for what: known hosts, its own page, the few routes that the page needs. No torch.

Whatever serves the page may have routes of its own that fetch, run or tell things; only those listed here
are reached. A page elsewhere whose name was made to point to this machine is known by its `Host`, a page that
sends requests here by its `Origin` or `Sec-Fetch-Site`.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stylize.errors import UsageError
from stylize.trust import parse_json

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline';"
    " script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; frame-ancestors 'self';"
    " base-uri 'self'; form-action 'self'; object-src 'none'"
)
"""A browser's Content-Security-Policy: Gradio's page, and nothing from any other place."""

_ANSWERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}

_PARTS = r"(?!.*\.\.)(?:[\w@.+-]+/)*[\w@.+-]+"
ROUTES = {
    r"/": {"GET", "HEAD"},
    rf"/assets/{_PARTS}": {"GET", "HEAD"},
    rf"/static/{_PARTS}": {"GET", "HEAD"},
    r"/theme\.css": {"GET", "HEAD"},
    r"/favicon\.ico": {"GET", "HEAD"},
    r"/gradio_api/upload": {"POST"},
    r"/gradio_api/upload_progress": {"GET"},
    r"/gradio_api/queue/join": {"POST"},
    r"/gradio_api/queue/data": {"GET"},
    r"/gradio_api/heartbeat/\w{1,64}": {"GET"},
    r"/gradio_api/file=.+": {"GET", "HEAD"},
}
"""The page, its assets, its upload, its queue and its results, and how each may be asked for."""

_STARTING = "/gradio_api/startup-events"
"""What Gradio asks itself for, before anybody else is let in."""
_QUEUE, _FILE, _UPLOAD = "/gradio_api/queue/join", "/gradio_api/file=", "/gradio_api/upload"
_SPARE = 1 << 30
"""Bytes that uploads leave free on the disk."""
_MOST_WORDS = 4 << 20
"""Bytes that the order of an action may have: the names of some thousand uploads."""
_WITHOUT = {b"x-forwarded-host", b"x-gradio-server"}
"""Headers by which a request would tell the page where it lies."""

Refusal: TypeAlias = tuple[int, str]
"""Status and sentence."""


@dataclass
class Rules:
    """Who is let in. `hosts` are names and addresses without ports; `uploads` is the folder of uploads.

    `any_address`: whoever asks for an address instead of a name is let in, whichever address it is. No name
    can be made to point here by that.
    """

    hosts: frozenset[str]
    uploads: Path
    any_address: bool = False
    starting: bool = field(default=True)
    """Is the window about to open, so that Gradio may ask for its own start?"""

    @classmethod
    def of(cls, host: str, more: Iterable[str], uploads: Path) -> "Rules":
        """Those of a window that listens on `host` and is also known by other names.

        Raises UsageError for what is no name.
        """
        names = {host.strip("[]").lower(), *map(checked_name, more)}
        if host in {"127.0.0.1", "localhost", "::1"}:
            names |= {"127.0.0.1", "localhost"}
        everywhere = is_everywhere(host)
        return cls(frozenset(names | ({"localhost"} if everywhere else set())), uploads, everywhere)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a request is not answered; None if it is."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not (name in self.hosts or (self.any_address and _is_address(name))):
            return 400, "This window is not known by that name; stylize ui --allow-host NAME makes it known."
        if not self._own_page(scope, headers, hosts[0]):
            return 403, "This window answers its own page only."
        allowed = self._methods(scope["path"])
        if allowed is None:
            return 404, "There is nothing here."
        if scope["method"] not in allowed:
            return 405, "That cannot be done here."
        if scope["path"] == _UPLOAD and (refusal := self._no_room(headers.get("content-length", ""))):
            return refusal
        if scope["path"].startswith(_FILE) and not self.is_upload(scope["path"].removeprefix(_FILE)):
            return 403, "This window reads and shows only what was uploaded to it."
        return None

    def _no_room(self, length: str) -> Refusal | None:
        """Why so many bytes of uploads are not taken."""
        if not re.fullmatch(r"\d{1,18}", length, re.ASCII):
            return 411, "An upload says how long it is."
        place = next(folder for folder in (self.uploads, *self.uploads.parents) if folder.exists())
        if shutil.disk_usage(place).free - int(length) < _SPARE:
            return 507, "There is no room for this; free some."
        return None

    def _own_page(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Does the request come from this window's page, or from no page?"""
        if any(_origin_host(origin) != _bare(host) for origin in headers.getlist("origin")):
            return False
        if {"same-origin", "none"}.issuperset(headers.getlist("sec-fetch-site")):
            return True
        visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return visit and scope["method"] == "GET" and scope["path"] == "/"

    def _methods(self, path: str) -> set[str] | None:
        """How a path may be asked for; None if it may not."""
        if path == _STARTING and self.starting:
            return {"GET"}
        found = (methods for form, methods in ROUTES.items() if re.fullmatch(form, path, re.ASCII))
        return next(found, None)

    def is_upload(self, path: object) -> bool:
        """Is this the path of a file in the folder of uploads?"""
        if not isinstance(path, str) or "\0" in path or not os.path.isabs(path):
            return False
        try:
            return Path(os.path.realpath(path)).is_relative_to(self.uploads) and os.path.isfile(path)
        except (OSError, ValueError):
            return False


class Guard:
    """Lets in what the rules let in, and adds the policy to every answer; an ASGI application."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or "stylize.guarded" in scope:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer({**scope, "stylize.guarded": True}, receive, _with_policy(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._rules.refusal(scope)
        if refusal is None and scope["path"] == _QUEUE:
            body = await _body(receive, _MOST_WORDS)
            refusal = self._refusal_of(body)
            receive = _again(body, receive)
        if refusal is not None:
            status, sentence = refusal
            await PlainTextResponse(sentence, status)(scope, receive, send)
            return
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _WITHOUT]
        if scope["path"] == "/":
            scope["query_string"] = b""
        await self._app(scope, receive, send)

    def _refusal_of(self, body: bytes | None) -> Refusal | None:
        """Why the order of an action is not taken: it names a file that was not uploaded."""
        if body is None:
            return 413, "That is too long."
        try:
            order = parse_json(body)
        except ValueError:
            return 400, "That is no JSON."
        if all(self._rules.is_upload(path) for path in _paths_in(order)):
            return None
        return 403, "This window reads only what was uploaded to it."


def is_everywhere(host: str) -> bool:
    """Is this the address that stands for all addresses of a machine?"""
    return _is_address(host.strip("[]")) and ip_address(host.strip("[]")).is_unspecified


def is_local(host: str) -> bool:
    """Is this an address that only this machine reaches?"""
    name = host.strip("[]")
    return name == "localhost" or (_is_address(name) and ip_address(name).is_loopback)


def checked_name(name: str) -> str:
    """A name of --allow-host in small letters. Raises UsageError for what is no name without a port."""
    found = name.strip("[]").lower()
    if not (_is_address(found) or re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", found)):
        raise UsageError(
            f"--allow-host takes a name like studio.example.org, without http:// or a port: {name}"
        )
    return found


def host_name(host: str) -> str | None:
    """The name in a `Host` header, in small letters, without port and brackets; None if it has no form."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d{1,5})?", host, re.ASCII)
    return (match[1] or match[2]).lower() if match else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _bare(host: str) -> str:
    """A host without the port that a browser leaves out."""
    return re.sub(r":(80|443)$", "", host.lower())


def _origin_host(origin: str) -> str | None:
    """Host and port of an `Origin` header; None for one that names no place."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return _bare(parts.netloc) if parts.scheme in {"http", "https"} and not parts.path else None


def _paths_in(value: Any) -> Iterator[object]:
    """The paths of all files that JSON names, in whatever depth."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if "path" in one:
                yield one["path"]
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)


async def _body(receive: Receive, most: int) -> bytes | None:
    """What a request brings; None if it is more than so many bytes, or breaks off."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            return None
    return body


def _again(body: bytes | None, receive: Receive) -> Receive:
    """Give out a body that was read, then what else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


def _with_policy(send: Send) -> Send:
    """Add the policy to the head of an answer."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", []) if name not in _ANSWERS]
            message["headers"] = [*kept, *_ANSWERS.items()]
        await send(message)

    return add
