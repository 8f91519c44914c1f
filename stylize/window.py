"""The window of `stylize ui`: Gradio's components, and what happens when they are touched.

What is done is done in `stylize.atelier`; here is only what it looks like. Everything comes from this
machine: system fonts, no telemetry, and a policy that keeps the page from loading anything from elsewhere.
"""

import functools
import html
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stylize.atelier import MOST_BLENDED, VIEW, Atelier, Manner, Sitting
from stylize.cards import StyleCard
from stylize.console import debugging
from stylize.errors import UsageError, sentence_of
from stylize.paths import READABLE

_FIRST = "ink-wash"
"""The style that a photograph is shown in at first."""

_SIZES = {"As the photo": None, "1024 pixels": 1024, "2048 pixels": 2048, "4096 pixels": 4096}
_FORMATS = {"As the photo": None, "JPEG": "jpg", "PNG": "png", "WebP": "webp", "TIFF": "tiff"}

_OLDEST = (3600, 86400)
"""Every hour, uploads and results older than a day are removed; in seconds."""

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline';"
    " script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; frame-ancestors 'self'"
)
"""A browser's Content-Security-Policy: Gradio's page, and nothing from any other place."""

_CSS = """
.gradio-container { max-width: 1500px !important; margin: 0 auto; padding: 1.5rem !important; }
footer { display: none !important; }
#title { font-size: 1.35rem; font-weight: 600; letter-spacing: .01em; margin: .2rem 0 .6rem; }
#photo { max-width: 760px; margin: 8vh auto 0; width: 100%; }
#hint { text-align: center; opacity: .6; font-size: .9rem; }
#about { font-size: .95rem; line-height: 1.5; min-height: 3.2rem; }
#about .dim { opacity: .65; } #about summary { cursor: pointer; opacity: .65; }
#notes { font-size: .92rem; } #notes li { margin-left: 1.2rem; list-style: disc; }
#styles .caption-label, #variations .caption-label { font-size: .78rem; }
#stage img { border-radius: 2px; }
"""

_SAVE = """(file) => { if (!file) return; const link = document.createElement("a");
  link.href = file.url; link.download = file.orig_name; link.click(); }"""
"""Lets the browser save the file of a component."""


class Guard:
    """Adds the policy to every answer, and fetches nothing from elsewhere for anyone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application."""
        if scope["type"] == "http" and ("file=http" in scope["path"] or "proxy=" in scope["path"]):
            await PlainTextResponse("This window fetches nothing.", 403)(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message["headers"] = [*message.get("headers", []), policy]
            await send(message)

        await self._app(scope, receive, add)


class Window:
    """The page: its components and their actions. `blocks` is what Gradio serves."""

    def __init__(self, atelier: Atelier, megabytes: int) -> None:
        self.atelier = atelier
        self.megabytes = megabytes
        with gr.Blocks(title="stylize", analytics_enabled=False, delete_cache=_OLDEST) as self.blocks:
            self.sitting = gr.State(None, delete_callback=_close)
            self._entrance()
            with gr.Row(visible=False) as self.room:
                with gr.Column(scale=3, min_width=420):
                    self._stage()
                with gr.Column(scale=2, min_width=360), gr.Tabs():
                    with gr.Tab("Styles"):
                        self._styles()
                    with gr.Tab("Variations"):
                        self._variations()
                    with gr.Tab("Many photos"):
                        self._many()
            self._wire_photo()
            self._wire_styles()
            self._wire_variations()
            self._wire_files()

    def launch(self, host: str, port: int | None) -> str:
        """Begin to serve, in threads of its own. The address."""
        local = host in {"127.0.0.1", "localhost"}
        guards = [Middleware(Guard)]
        if local:  # a page elsewhere whose name was made to point here is not let in
            guards.append(Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]))
        _, address, _ = self.blocks.launch(
            server_name=host, server_port=port, share=False, prevent_thread_lock=True, quiet=True,
            inline=False, max_file_size=self.megabytes << 20, allowed_paths=[], enable_monitoring=False, ssr_mode=False,
            pwa=False, mcp_server=False, run_history=False, footer_links=[], theme=_theme(), css=_CSS,
            app_kwargs={"middleware": guards, "docs_url": None, "redoc_url": None, "openapi_url": None},
        )  # fmt: skip
        return address

    # -- what there is to see -------------------------------------------------------------------------

    def _entrance(self) -> None:
        gr.HTML("stylize", elem_id="title")
        self.photo = gr.File(label="Your photo", height=340, elem_id="photo", file_types=_kinds())
        megapixels = self.atelier.megapixels
        self.hint = gr.HTML(
            f"Up to {self.megabytes} MB and {megapixels} megapixels. It stays on this machine.",
            elem_id="hint",
        )

    def _stage(self) -> None:
        self.stage = gr.ImageSlider(
            show_label=False, container=False, interactive=False, max_height=620, buttons=["fullscreen"],
            elem_id="stage",
        )  # fmt: skip
        self.about = gr.HTML(elem_id="about")
        with gr.Row():
            self.strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", scale=3, elem_id="strength")
            self.keep_colour = gr.Checkbox(label="Keep the photo's colours", scale=2, elem_id="keep-colour")
        with gr.Row():
            self.download = gr.Button("Download", variant="primary", elem_id="download")
            self.another = gr.UploadButton("Another photo", file_types=_kinds(), elem_id="another")
        self.saved = gr.DownloadButton(visible=False, size="sm", elem_id="saved")
        with gr.Accordion("File", open=False), gr.Row():
            self.size = gr.Dropdown(list(_SIZES), label="Longer side", elem_id="size")
            self.format = gr.Dropdown(list(_FORMATS), label="Format", elem_id="format")
            self.private = gr.Checkbox(label="Leave out location and serial numbers", elem_id="private")

    def _styles(self) -> None:
        self.styles = _gallery(3, 470, "styles")
        self.blending = gr.Checkbox(label="Blend: a click adds a style, or takes it out", elem_id="blend")
        self.weights = [
            gr.Slider(0, 1, 1, step=0.05, visible=False, elem_id=f"weight-{number}")
            for number in range(MOST_BLENDED)
        ]
        self.work = gr.UploadButton("A painting as style", size="sm", file_types=_kinds(), elem_id="work")

    def _variations(self) -> None:
        self.four = _gallery(2, 400, "variations")
        with gr.Row():
            self.vary = gr.Button("Four variations", variant="primary", elem_id="vary")
            self.back = gr.Button("Back", elem_id="back")
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(
                show_label=False, placeholder="A name, to keep it", max_length=100, scale=2, elem_id="name"
            )
            self.keep = gr.Button("Keep as a style", elem_id="keep")

    def _many(self) -> None:
        self.files = gr.File(label="Photos", file_count="multiple", height=240, elem_id="files")
        with gr.Row():
            self.paint_all = gr.Button("Paint all", variant="primary", elem_id="paint-all")
            self.stop = gr.Button("Stop", elem_id="stop")
        self.archive = gr.DownloadButton(visible=False, elem_id="archive")
        self.notes = gr.HTML(elem_id="notes", min_height=40)

    # -- what happens ---------------------------------------------------------------------------------

    @property
    def _manner(self) -> list[Any]:
        """The components that say how a style is laid on, in the order of `_manner_of`."""
        return [self.strength, self.keep_colour, self.size, self.format, self.private]

    def _wire_photo(self) -> None:
        def show(sitting: Sitting | None, file: str | None, *manner: Any) -> Sequence[Any]:
            if file is None:
                return [gr.skip()] * 6
            sitting = sitting or self.atelier.sitting()
            sitting.open(Path(file))
            if sitting.chosen is None:
                sitting.choose({_FIRST: 1.0})
            here, gone = gr.update(visible=True), gr.update(visible=False, value=None)
            return sitting, here, gone, gr.update(visible=False), *self._seen(sitting, *manner)

        def thumbnails(sitting: Sitting | None, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008
            return self._thumbnails(_here(sitting), progress)

        for source in (self.photo, self.another):
            shown = [self.sitting, self.room, self.photo, self.hint, self.stage, self.about]
            opened = self._on(source.upload, show, [self.sitting, source, *self._manner], shown)
            self._on(opened.success, thumbnails, self.sitting, self.styles)
            self._on(opened.success, lambda: ([], gr.update(visible=False)), None, [self.four, self.saved])
        for control in (self.strength, self.keep_colour, self.size):
            self._look_again(control.input)

    def _wire_styles(self) -> None:
        def choose(event: gr.SelectData, sitting: Sitting | None, blending: bool) -> Sequence[Any]:
            sitting, name = _here(sitting), _here(sitting).shown[event.index]
            if blending:
                sitting.take(name)
            else:
                sitting.choose({name: 1.0})
            return [*self._sliders(sitting), []]

        def weigh(sitting: Sitting | None, *values: float) -> None:
            sitting = _here(sitting)
            sitting.choose(dict(zip(sitting.weights, values, strict=False)))

        def add(sitting: Sitting | None, file: str) -> Sequence[Any]:
            sitting = _here(sitting)
            sitting.choose({sitting.add_work(Path(file)): 1.0})
            return [self._thumbnails(sitting), *self._sliders(sitting), []]

        shown = [*self.weights, self.four]
        self._look_again(self._on(self.styles.select, choose, [self.sitting, self.blending], shown).success)
        self._look_again(
            self._on(self.work.upload, add, [self.sitting, self.work], [self.styles, *shown]).success
        )
        for slider in self.weights:
            weighed = self._on(slider.input, weigh, [self.sitting, *self.weights], None, "always_last")
            self._look_again(weighed.success)

    def _wire_variations(self) -> None:
        def vary(sitting: Sitting | None, *manner: Any) -> Sequence[Any]:
            return gr.update(value=_here(sitting).vary(_manner_of(*manner)), selected_index=None)

        def pick(event: gr.SelectData, sitting: Sitting | None) -> Any:
            _here(sitting).pick(event.index)
            return gr.update(value="Four nearer to it")

        def back(sitting: Sitting | None) -> Sequence[Any]:
            _here(sitting).back()
            return [], "Four variations"

        def keep(sitting: Sitting | None, name: str) -> Sequence[Any]:
            sitting = _here(sitting)
            path = sitting.keep(name)
            gr.Info(html.escape(f"Kept: stylize apply photo.jpg --style {path.stem}"), title="")
            return self._thumbnails(sitting), ""

        self._on(self.vary.click, vary, [self.sitting, *self._manner], self.four)
        self._look_again(self._on(self.four.select, pick, self.sitting, self.vary).success)
        self._look_again(self._on(self.back.click, back, self.sitting, [self.four, self.vary]).success)
        for event in (self.keep.click, self.name.submit):
            self._on(event, keep, [self.sitting, self.name], [self.styles, self.name])

    def _wire_files(self) -> None:
        def paint(sitting: Sitting | None, *manner: Any) -> Any:
            path = _here(sitting).paint_full(_manner_of(*manner))
            return gr.DownloadButton(path.name, value=path, visible=True)

        def paint_all(
            sitting: Sitting | None,
            files: Sequence[str] | None,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 - this is how Gradio is asked for it
            *manner: Any,
        ) -> Sequence[Any]:
            if not files:
                raise UsageError("Choose some photos first.")

            def tell(done: int, total: int) -> None:
                progress((done, total), desc="Painting", unit="photos")

            batch = _here(sitting).paint_many([Path(file) for file in files], _manner_of(*manner), tell)
            failed = "".join(f"<li>{html.escape(note)}</li>" for note in batch.notes)
            report = f"{batch.done} of {len(files)} painted.<ul>{failed}</ul>"
            if batch.archive is None:
                return gr.update(visible=False), report
            return gr.DownloadButton(batch.archive.name, value=batch.archive, visible=True), report

        def stop(sitting: Sitting | None) -> None:
            _here(sitting).stopped = True

        self._on(self.download.click, paint, [self.sitting, *self._manner], self.saved).success(
            None, self.saved, None, js=_SAVE
        )
        self._on(
            self.paint_all.click,
            paint_all,
            [self.sitting, self.files, *self._manner],
            [self.archive, self.notes],
        )
        self._on(self.stop.click, stop, self.sitting, None)

    def _look_again(self, event: Callable[..., Any]) -> None:
        """Paint what is shown anew when something has happened."""

        def look(sitting: Sitting | None, *manner: Any) -> Sequence[Any]:
            return [*self._seen(_here(sitting), *manner), gr.update(visible=False)]

        self._on(
            event, look, [self.sitting, *self._manner], [self.stage, self.about, self.saved], "always_last"
        )

    def _seen(self, sitting: Sitting, *manner: Any) -> Sequence[Any]:
        """What stands on the stage, and below it."""
        wanted = _manner_of(*manner)
        return sitting.view(wanted), _about(sitting.cards, sitting.is_reduced(wanted))

    def _thumbnails(self, sitting: Sitting, progress: gr.Progress | None = None) -> Any:
        def tell(done: int, total: int) -> None:
            if progress is not None:
                progress((done, total), desc="Painting", unit="styles")

        shown, notes = sitting.thumbnails(tell)
        for note in notes:
            gr.Warning(html.escape(note), title="")
        return gr.update(value=shown, selected_index=None)

    def _sliders(self, sitting: Sitting) -> list[Any]:
        """A slider for each style of a blend."""
        blended = list(sitting.weights.items()) if len(sitting.weights) > 1 else []
        shown = [gr.Slider(label=name, value=weight, visible=True) for name, weight in blended]
        return shown + [gr.Slider(visible=False)] * (MOST_BLENDED - len(shown))

    def _on(
        self, event: Callable[..., Any], action: Callable[..., Any], inputs: Any, outputs: Any,
        trigger: str = "once",
    ) -> Any:  # fmt: skip
        """Let an action follow an event. With the trigger "always_last" the last of many counts."""
        more = {"trigger_mode": trigger, "show_progress": "minimal", "api_visibility": "private"}
        return event(self._told(action), inputs, outputs, **more)

    def _told(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """An action that tells what is wrong in a sentence."""

        @functools.wraps(action)
        def call(*values: Any, **more: Any) -> Any:
            try:
                return action(*values, **more)
            except Exception as fault:
                if debugging():
                    traceback.print_exception(fault)
                sentence = html.escape(self.atelier.plain(sentence_of(fault)))
                raise gr.Error(sentence, title="", print_exception=False) from fault

        return call


def _here(sitting: Sitting | None) -> Sitting:
    """The sitting. UsageError before there is one."""
    if sitting is None:
        raise UsageError("Choose a photo first.")
    return sitting


def _close(sitting: Sitting | None) -> None:
    if sitting is not None:
        sitting.close()


def _manner_of(strength: float, keep_colour: bool, size: str, format: str, private: bool) -> Manner:
    """What the components say."""
    return Manner(strength, keep_colour, _FORMATS[format], _SIZES[size], "public" if private else "all")


def _kinds() -> list[str]:
    """What a browser offers to choose from."""
    return sorted(READABLE)


def _gallery(columns: int, height: int, name: str) -> gr.Gallery:
    return gr.Gallery(
        columns=columns, height=height, object_fit="cover", allow_preview=False, interactive=False,
        buttons=[], show_label=False, container=False, elem_id=name,
    )  # fmt: skip


def _about(cards: Sequence[StyleCard], reduced: bool) -> str:
    """What is on the stage, as HTML; texts of cards are no markup."""
    heads, more = [], []
    for card in cards:
        title = html.escape(card.title or card.name)
        heads.append(f"<b>{title}</b> {html.escape(card.description)}")
        told = " ".join(text for text in (card.cultural_note, card.avoid and f"Avoid: {card.avoid}") if text)
        if told:
            more.append(f"<p>{title}: {html.escape(told)}</p>")
    note = f" Shown at {VIEW} pixels; in full size strokes are finer." if reduced else ""
    details = f"<details><summary>About</summary>{''.join(more)}</details>" if more else ""
    return f"{'<br>'.join(heads)}<span class='dim'>{note}</span>{details}"


def _theme() -> gr.themes.Base:
    """Quiet greys, and the fonts of the system: others would be fetched."""
    return gr.themes.Base(
        primary_hue="stone", neutral_hue="stone", radius_size="sm", font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )  # fmt: skip
