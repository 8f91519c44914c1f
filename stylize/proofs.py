"""Proof sheets: one HTML page with every picture before and after, and what became of it.

The page holds all it shows, as small pictures, so that it can be moved or sent alone, and a thousand
pictures are some 30 megabytes. It loads nothing from elsewhere and may not (its content policy).
"""

import base64
import html
import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from PIL import Image
from torch import Tensor

from stylize.console import page_text
from stylize.errors import PictureError
from stylize.files import atomic_path
from stylize.images import to_image
from stylize.remote import url_of

SIDE = 360
"""Longer side of the small pictures in pixels."""

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Proof sheet</title><style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
main { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start }
figure { margin: 0; width: 360px; content-visibility: auto; contain-intrinsic-size: 360px 320px }
.pair { position: relative; width: fit-content; --at: 50% }
.pair img { display: block; max-width: 100%; height: auto }
.pair .after { position: absolute; inset: 0; width: 100%; height: 100%; clip-path: inset(0 0 0 var(--at)) }
.pair::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--at);
  width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000 }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; z-index: 1 }
.pair:focus-within { outline: 3px solid #4477aa }
figcaption, code { overflow-wrap: anywhere } .failed { border-left: 4px solid #ee6677; padding-left: .75rem }
</style><h1>Proof sheet</h1>
"""
_FOOT = """</main><script>
document.addEventListener("input", (event) =>
  event.target.parentNode.style.setProperty("--at", event.target.value + "%"));
</script></html>
"""


def thumbnail(rgb: Tensor) -> bytes:
    """A small WebP of uint8 (3, H, W); little memory is needed, however large the picture."""
    step = max(1, max(rgb.shape[1:]) // (4 * SIDE))
    image = to_image(rgb[:, ::step, ::step])
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=70)
    return buffer.getvalue()


class ProofSheet:
    """Collects what became of pictures, on disk, and writes the page, failures first. A context.

    `command` is the command line that the page names, with the date.

    Raises PictureError if the page's folder cannot be made: then the work need not begin.
    """

    def __init__(self, target: Path, command: str = "") -> None:
        self.target = target
        self._began, self._command = datetime.now().astimezone(), command
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error
        with ExitStack() as stack:
            self._failures, self._figures = (
                stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2)
            )
            self._files = stack.pop_all()
        self._counts: dict[str, int] = {}

    def __enter__(self) -> "ProofSheet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the page, also when the work was broken off: it shows what was done. If that was before
        anything came of it, an earlier page stays."""
        try:
            if fault is None or self._counts:
                self.write()
        finally:
            self._files.close()

    def add(self, record: Mapping[str, object], before: bytes = b"", after: bytes = b"") -> None:
        """Add one picture: the record that `--json` writes, and its small pictures."""
        status = str(record["status"])
        self._counts[status] = self._counts.get(status, 0) + 1
        name = page_text(str(record["source"]))
        told = str(record["error"] or record["warning"])
        notes = [f"{status}, {record['style']}, {record['seconds']} s", *([told] if told else [])]
        if record["target"] and status != "failed":
            href = self._link(str(record["target"]))
            name = f'<a href="{href}">{name}</a>'
        pair = _pair(before, after) if before and after else ""
        text = "<br>".join([name, *map(page_text, notes)])
        pile = self._failures if status == "failed" else self._figures
        pile.write(f'<figure class="{status}">{pair}<figcaption>{text}</figcaption></figure>\n')

    def write(self) -> None:
        """Write the page with what there is so far, atomically. PictureError if that is not possible."""
        piles = self._failures, self._figures
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        about = f"<p>{self._began:%Y-%m-%d %H:%M %Z}"
        about += f": <code>{page_text(self._command)}</code></p>" if self._command else "</p>"
        try:
            with atomic_path(self.target) as temporary, temporary.open("w", encoding="utf-8") as page:
                page.write(f"{_HEAD}{about}<p>{counts or 'No pictures.'}</p><main>\n")
                for pile in piles:
                    pile.seek(0)
                    shutil.copyfileobj(pile, page)
                page.write(_FOOT)
        except OSError as error:
            raise self._refusal(error) from error
        finally:
            for pile in piles:
                pile.seek(0, os.SEEK_END)

    def _refusal(self, error: OSError) -> PictureError:
        return PictureError(
            f"Cannot write {self.target}: {error.strerror}; choose another place for --report."
        )

    def _link(self, target: str) -> str:
        """The way from the page to a result."""
        if url_of(target):
            return html.escape(quote(target, safe=":/"))
        try:
            way = os.path.relpath(target, self.target.parent)
        except ValueError:  # on another drive
            way = os.path.abspath(target)
        return html.escape(quote(os.fsencode(Path(way).as_posix())))


def _pair(before: bytes, after: bytes) -> str:
    """Two small pictures, one over the other, and a slider between them."""
    images = "".join(
        f'<img class="{name}" alt="{name}" loading="lazy" src="data:image/webp;base64,{_text(data)}">'
        for name, data in (("before", before), ("after", after))
    )
    slider = '<input type="range" min="0" max="100" value="50" aria-label="before and after">'
    return f'<div class="pair">{images}{slider}</div>'


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
