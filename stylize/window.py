"""The window of `stylize ui`: Gradio's components, and what happens when they are touched.

What is done is done in `stylize.atelier`; here is only what it looks like. Everything comes from this
machine: system fonts, no telemetry, and a policy that keeps the page from loading anything from elsewhere.
"""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base as Theme
from starlette.middleware import Middleware

from stylize.atelier import MOST_BLENDED, VIEW, Atelier, Manner, Sitting
from stylize.cards import StyleCard
from stylize.console import debugging, page_text
from stylize.errors import UsageError, sentence_of
from stylize.guard import Guard, Rules, is_local
from stylize.paths import READABLE
from stylize.strokes import STROKES

_FIRST = "ink-wash"
"""The style that a photograph is shown in at first."""

_SIZES = {"As the photo": None, "1024 pixels": 1024, "2048 pixels": 2048, "4096 pixels": 4096}
_STROKES = {"by style": None, **STROKES}
_FORMATS = {"As the photo": None, "JPEG": "jpg", "PNG": "png", "WebP": "webp", "TIFF": "tiff"}

_OWN_COLOURS = "the style itself"

_FOUR, _NEARER = "Four variations", "Four nearer to it"

_AT_ONCE, _MOST_WAITING = 8, 200
"""So many of one action are under way at a time, and so many orders may wait; more are told to come back."""

_OLDEST = (3600, 86400)
"""Every hour, uploads and results older than a day are removed; in seconds."""

_CSS = """
footer { display: none !important; }
main.fillable { padding: 1.2rem 2rem !important; }
#title .prose { font-size: 1.3rem; font-weight: 600; }
#photo { max-width: 760px; width: 100%; margin: 0 auto; }
#hint { width: 100%; text-align: center; opacity: .6; }
#about { min-height: 3rem; } #about .dim, #about summary { opacity: .65; } #about summary { cursor: pointer; }
#notes li { margin-left: 1.2rem; list-style: disc; }
#stage img { border-radius: 2px; background: none; }
.wrap > span.error, .wrap > .clear-status { display: none; }
.toast-wrap { top: auto !important; bottom: 1rem !important; }
#styles .caption-label, #variations .caption-label { max-width: 100%; left: 0; right: 0; font-size: .72rem;
  padding: .15rem .4rem; border-radius: 0; text-align: left; background: #fffd; color: #222; }
@media (max-width: 800px) {
  #picture { display: contents; }
  #stage { position: sticky !important; top: 0; z-index: 20; width: 100%;
    background: var(--body-background-fill); }
  #stage img { max-height: 42vh !important; object-fit: contain; }
}
"""


_HEAD = """<style>@media (max-width: 800px) { .gradio-container { overflow: visible !important; }
  .gradio-container .main.fillable { padding: .6rem !important; } }</style>"""
"""What lies around what `_CSS` is for: Gradio lets that touch only what lies within."""

_SAVE = """(file) => { if (!file) return; const link = document.createElement("a");
  link.href = file.url; link.download = file.orig_name; link.click(); }"""
"""Lets the browser save the file of a component."""


class Window:
    """The page: its components and their actions. `blocks` is what Gradio serves at the address `host`.

    `rules` say who is let in. A file that is uploaded may have so many megabytes.
    """

    def __init__(self, atelier: Atelier, host: str, rules: Rules, megabytes: int) -> None:
        self.atelier = atelier
        self.host, self.rules, self.megabytes = host, rules, megabytes
        self.is_local = is_local(host)
        with gr.Blocks(
            title="stylize", analytics_enabled=False, delete_cache=_OLDEST, fill_width=True
        ) as self.blocks:
            self.sitting = gr.State(None, delete_callback=_close)
            self._entrance()
            with gr.Row(visible=False) as self.room:
                with gr.Column(scale=3, min_width=320, elem_id="picture"):
                    self._stage()
                with gr.Column(scale=2, min_width=320), gr.Tabs():
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

    def launch(self, port: int | None) -> str:
        """Begin to serve, in threads of its own. The address; without a port, the first that is free."""
        self.blocks.queue(default_concurrency_limit=_AT_ONCE, max_size=_MOST_WAITING, api_open=False)
        app, address, _ = self.blocks.launch(
            server_name=self.host, server_port=port, share=False, prevent_thread_lock=True, quiet=True,
            inline=False, max_file_size=self.megabytes << 20, allowed_paths=[], enable_monitoring=False,
            ssr_mode=False, pwa=False, mcp_server=False, run_history=False, footer_links=[], theme=_theme(),
            css=_CSS, head=_HEAD, app_kwargs={
                "middleware": [Middleware(Guard, self.rules)],
                "docs_url": None, "redoc_url": None, "openapi_url": None,
            },
        )  # fmt: skip
        # Gradio has put some of its own ahead of what it was given: these answer before they are asked.
        app.middleware_stack = Guard(app.middleware_stack or app.build_middleware_stack(), self.rules)
        self.rules.starting = False
        return address

    def close(self) -> None:
        """End all that is under way and serve no more."""
        self.atelier.close()
        self.blocks.close(verbose=False)

    # -- what there is to see -------------------------------------------------------------------------

    def _entrance(self) -> None:
        gr.HTML("stylize", elem_id="title")
        self.photo = gr.File(label="Your photo", height=150, elem_id="photo", file_types=_kinds())
        limits = f"Up to {self.megabytes} MB and {self.atelier.megapixels} megapixels."
        stays = " It does not leave this machine." if self.is_local else ""
        self.hint = gr.HTML(f"{limits}{stays} Below is a sample.", elem_id="hint")

    def _stage(self) -> None:
        self.stage = gr.ImageSlider(
            show_label=False, container=False, interactive=False, max_height=680, slider_position=30,
            buttons=["fullscreen"], elem_id="stage",
        )  # fmt: skip
        self.about = gr.HTML(elem_id="about")
        with gr.Row():
            self.strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", scale=3, elem_id="strength")
            self.stroke = gr.Dropdown(list(_STROKES), value="by style", label="Stroke", elem_id="stroke")
            self.keep_colour = gr.Checkbox(label="Keep the colours", scale=2, elem_id="keep-colour")
        with gr.Row():
            self.download = gr.Button("Download in full size", variant="primary", elem_id="download")
            self.another = gr.UploadButton("Another photo", file_types=_kinds(), elem_id="another")
        self.saved = gr.DownloadButton(visible=False, size="sm", elem_id="saved")
        with gr.Accordion("Size, format, metadata", open=False), gr.Row():
            self.size = gr.Dropdown(list(_SIZES), label="Longer side", elem_id="size")
            self.format = gr.Dropdown(list(_FORMATS), label="Format", elem_id="format")
            self.private = gr.Checkbox(label="Leave out location and serial numbers", elem_id="private")
        with gr.Accordion("Colours of another style, only a part of the photo", open=False), gr.Row():
            choices = [_OWN_COLOURS, *self.atelier.names()]
            self.palette = gr.Dropdown(choices, label="Colours of", elem_id="palette")
            self.mask = gr.File(
                label="Mask: white where the style goes", height=110, file_types=_kinds(), elem_id="mask"
            )

    def _styles(self) -> None:
        self.styles = _gallery(3, 560, "styles")
        self.blending = gr.Checkbox(label="Blend: a click adds a style, or takes it out", elem_id="blend")
        self.weights = [
            gr.Slider(0, 1, 1, step=0.05, visible=False, elem_id=f"weight-{number}")
            for number in range(MOST_BLENDED)
        ]
        self.work = gr.UploadButton("A painting as style", size="sm", file_types=_kinds(), elem_id="work")

    def _variations(self) -> None:
        self.four = _gallery(2, 560, "variations")
        with gr.Row():
            self.vary = gr.Button(_FOUR, variant="primary", elem_id="vary")
            self.back = gr.Button("Back", elem_id="back")
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(
                show_label=False, placeholder="A name, to keep it", max_length=100, scale=2, elem_id="name",
                info="Letters, digits, - _ . and no space; not that of a style that comes with stylize.",
            )  # fmt: skip
            self.keep = gr.Button("Keep as a style", elem_id="keep")

    def _many(self) -> None:
        self.files = gr.File(label="Photos", file_count="multiple", height=240, elem_id="files")
        with gr.Row():
            self.paint_all = gr.Button("Paint all", variant="primary", elem_id="paint-all")
            self.folder = gr.UploadButton("A folder", file_count="directory", elem_id="folder")
            self.stop = gr.Button("Stop", elem_id="stop")
        self.archive = gr.DownloadButton(visible=False, elem_id="archive")
        self.notes = gr.HTML(elem_id="notes", min_height=40)

    # -- what leads to what ---------------------------------------------------------------------------

    @property
    def _manner(self) -> list[Any]:
        """The components that say how a style is laid on, in the order of `_manner_of`."""
        return [
            self.strength, self.keep_colour, self.size, self.format, self.private, self.palette, self.mask,
            self.stroke,
        ]  # fmt: skip

    def _wire_photo(self) -> None:
        shown = [self.sitting, self.room, self.photo, self.hint, self.stage, self.about, self.saved]
        begun = self._on(self.blocks.load, self._begin, self.sitting, self.sitting)
        sampled = self._on(
            begun.success, self._show_sample, self.sitting, [self.room, self.stage, self.about]
        )
        self._on(sampled.success, self._show_styles, self.sitting, self.styles)
        for source in (self.photo, self.another):
            opened = self._on(source.upload, self._open, [self.sitting, source, *self._manner], shown)
            self._on(opened.success, self._show_styles, self.sitting, self.styles)
            self._on(opened.success, _no_variations, None, [self.four, self.vary])
            self._on(opened.failure, _nothing, None, source)  # a bad file goes away by itself
        for control in (self.strength, self.stroke, self.keep_colour, self.size, self.palette):
            self._look_after(control.input)
        for event in (self.mask.upload, self.mask.clear):
            self._look_after(event, self.mask)

    def _wire_styles(self) -> None:
        shown = self.weights
        chosen = self._on(self.styles.select, self._choose, [self.sitting, self.blending], shown)
        added = self._on(self.work.upload, self._add, [self.sitting, self.work], [self.styles, *shown])
        self._on(added.failure, _nothing, None, self.work)
        weighed = [
            self._on(
                slider.input, self._weigh, [self.sitting, *self.weights], None, trigger_mode="always_last"
            )
            for slider in self.weights
        ]
        for event in (chosen, added, *weighed):
            self._look_after(event.success)
            self._on(event.success, _no_variations, None, [self.four, self.vary])

    def _wire_variations(self) -> None:
        self._on(self.vary.click, self._vary, [self.sitting, *self._manner], self.four)
        picked = self._on(self.four.select, self._pick, self.sitting, self.vary)
        returned = self._on(self.back.click, self._go_back, self.sitting, None)
        self._on(returned.success, _no_variations, None, [self.four, self.vary])
        for event in (picked, returned):
            self._look_after(event.success)
        for event in (self.keep.click, self.name.submit):
            self._on(event, self._keep, [self.sitting, self.name], [self.styles, self.name])

    def _wire_files(self) -> None:
        manner = [self.sitting, *self._manner]
        painted = self._on(self.download.click, self._paint, manner, self.saved, show_progress_on=self.stage)
        painted.success(None, self.saved, None, js=_SAVE)
        self._on(
            self.paint_all.click, self._paint_all, [self.sitting, self.files, *self._manner],
            [self.archive, self.notes], show_progress="full", show_progress_on=self.notes,
        )  # fmt: skip
        self._on(self.folder.upload, self._take_folder, self.folder, self.files)
        self._on(self.stop.click, self._stop, self.sitting, None)

    def _look_after(self, event: Callable[..., Any], source: Any = None) -> None:
        """Paint what is shown anew after something has happened; a bad file goes from its source."""
        shown = [self.stage, self.about, self.saved]
        manner = [self.sitting, *self._manner]
        looked = self._on(event, self._look, manner, shown, trigger_mode="always_last")
        if source is not None:
            self._on(looked.failure, _nothing, None, source)

    def _on(
        self, event: Callable[..., Any], action: Callable[..., Any], inputs: Any, outputs: Any, **more: Any
    ) -> Any:
        """Let an action follow an event; `more` is for Gradio."""
        usual = {"show_progress": "minimal", "api_visibility": "private"}
        return event(self._told(action), inputs, outputs, **usual | more)

    def _told(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """An action, perhaps one that answers several times, that tells what is wrong in a sentence."""

        @functools.wraps(action)
        def call(*values: Any, **more: Any) -> Any:
            try:
                return action(*values, **more)
            except Exception as fault:
                raise self._error(fault) from fault

        @functools.wraps(action)
        def generate(*values: Any, **more: Any) -> Any:
            try:
                yield from action(*values, **more)
            except Exception as fault:
                raise self._error(fault) from fault

        return generate if inspect.isgeneratorfunction(action) else call

    def _error(self, fault: Exception) -> gr.Error:
        if debugging():
            traceback.print_exception(fault)
        sentence = page_text(self.atelier.plain(sentence_of(fault)))
        return gr.Error(sentence, title="", print_exception=False)

    # -- what is done ---------------------------------------------------------------------------------

    def _begin(self, sitting: Sitting | None) -> Sitting:
        return sitting or self.atelier.sitting()

    def _show_sample(self, sitting: Sitting | None) -> Any:
        """The photograph that comes along, in the first style; nothing if one's own is there already."""
        sitting = _here(sitting)
        if sitting.photo is not None:
            return gr.skip()
        sample = sitting.open_sample()
        sitting.choose({_FIRST: 1.0})
        seen = _seen(sitting)
        return (gr.update(visible=True), *seen) if sitting.photo == sample else gr.skip()

    def _open(self, sitting: Sitting | None, file: str, *manner: Any) -> Sequence[Any]:
        sitting = sitting or self.atelier.sitting()
        sitting.open(Path(file))
        if sitting.chosen is None:
            sitting.choose({_FIRST: 1.0})
        here, gone = gr.update(visible=True), gr.update(visible=False)
        return sitting, here, gr.update(visible=False, value=None), gone, *_seen(sitting, *manner), gone

    def _look(self, sitting: Sitting | None, *manner: Any) -> Sequence[Any]:
        return *_seen(_here(sitting), *manner), gr.update(visible=False)

    def _show_styles(
        self,
        sitting: Sitting | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - this is how Gradio is asked for it
    ) -> Iterator[Any]:
        """The gallery, which fills as it is painted; the style that is chosen is marked."""

        def tell(done: int, total: int) -> None:
            progress((done, total), desc="Painting", unit="styles")

        sitting = _here(sitting)
        told: list[str] = []
        for shown, notes in sitting.growing_thumbnails(tell):
            told = notes
            yield gr.update(value=shown, selected_index=_marked(sitting))
        _warn(told)

    def _choose(self, event: gr.SelectData, sitting: Sitting | None, blending: bool) -> Sequence[Any]:
        sitting = _here(sitting)
        name = sitting.style_at(event.index)
        if blending:
            sitting.take(name)
        else:
            sitting.choose({name: 1.0})
        return _sliders(sitting)

    def _weigh(self, sitting: Sitting | None, *weights: float) -> None:
        sitting = _here(sitting)
        sitting.choose(dict(zip(sitting.weights, weights, strict=False)))

    def _add(self, sitting: Sitting | None, file: str) -> Sequence[Any]:
        sitting = _here(sitting)
        sitting.choose({sitting.add_work(Path(file)): 1.0})
        return _thumbnails(sitting), *_sliders(sitting)

    def _vary(self, sitting: Sitting | None, *manner: Any) -> Any:
        sitting = _here(sitting)
        return gr.update(value=sitting.vary(_manner_of(sitting, *manner)), selected_index=None)

    def _pick(self, event: gr.SelectData, sitting: Sitting | None) -> str:
        _here(sitting).pick(event.index)
        return _NEARER

    def _go_back(self, sitting: Sitting | None) -> None:
        _here(sitting).back()

    def _keep(self, sitting: Sitting | None, name: str) -> Sequence[Any]:
        sitting = _here(sitting)
        path = sitting.keep(name)
        gr.Info(page_text(f"Kept: stylize apply photo.jpg --style {path.stem}"), title="")
        return _thumbnails(sitting), ""

    def _paint(self, sitting: Sitting | None, *manner: Any) -> Any:
        sitting = _here(sitting)
        path = sitting.paint_full(_manner_of(sitting, *manner))
        return gr.update(label=path.name, value=path, visible=True)

    def _paint_all(
        self,
        sitting: Sitting | None,
        files: Sequence[str] | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *manner: Any,
    ) -> Sequence[Any]:
        if not files:
            raise UsageError("Choose some photos first.")

        def tell(done: int, total: int) -> None:
            progress((done, total), desc="Painting", unit="photos")

        sitting = _here(sitting)
        batch = sitting.paint_many([Path(file) for file in files], _manner_of(sitting, *manner), tell)
        failed = "".join(f"<li>{page_text(note)}</li>" for note in batch.notes)
        report = f"{batch.done} of {len(files)} painted.<ul>{failed}</ul>"
        if batch.archive is None:
            return gr.update(visible=False), report
        return gr.update(label=batch.archive.name, value=batch.archive, visible=True), report

    def _take_folder(self, files: Sequence[str]) -> list[str]:
        paths = map(Path, files)
        return [str(path) for path in paths if path.suffix.lower() in READABLE and path.name[0] != "."]

    def _stop(self, sitting: Sitting | None) -> None:
        _here(sitting).stopped = True


def _here(sitting: Sitting | None) -> Sitting:
    """The sitting. UsageError before there is one."""
    if sitting is None:
        raise UsageError("Choose a photo first.")
    return sitting


def _close(sitting: Sitting | None) -> None:
    if sitting is not None:
        sitting.close()


def _nothing() -> None:
    """No file in a component."""


def _no_variations() -> Sequence[Any]:
    """No variations any more, and the word on the button that makes them."""
    return [], _FOUR


def _seen(sitting: Sitting, *manner: Any) -> Sequence[Any]:
    """What stands on the stage, and below it."""
    wanted = _manner_of(sitting, *manner)
    return sitting.view(wanted), _about(sitting.cards, sitting.is_reduced(wanted))


def _thumbnails(sitting: Sitting, tell: Callable[[int, int], None] = lambda done, total: None) -> Any:
    """The gallery of styles, and a word on those that are not good."""
    shown, notes = sitting.thumbnails(tell)
    _warn(notes)
    return gr.update(value=shown, selected_index=_marked(sitting))


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        gr.Warning(page_text(note), title="")


def _marked(sitting: Sitting) -> int | None:
    """Where the style that is chosen stands in the gallery; None for a blend."""
    names = list(sitting.weights)
    return sitting.shown.index(names[0]) if len(names) == 1 and names[0] in sitting.shown else None


def _sliders(sitting: Sitting) -> list[Any]:
    """A slider for each style of a blend."""
    blended = list(sitting.weights.items()) if len(sitting.weights) > 1 else []
    shown = [gr.update(label=name, value=weight, visible=True) for name, weight in blended]
    return shown + [gr.update(visible=False)] * (MOST_BLENDED - len(shown))


def _manner_of(
    sitting: Sitting,
    strength: float = 1.0,
    keep_colour: bool = False,
    size: str = "As the photo",
    format: str = "As the photo",
    private: bool = False,
    palette: str | None = None,
    mask: str | None = None,
    stroke: str = "by style",
) -> Manner:
    """What the components say."""
    colours = None if palette in {None, _OWN_COLOURS} else sitting.palette(palette)
    metadata = "public" if private else "all"
    white = Path(mask) if mask else None
    width = _STROKES[stroke]
    return Manner(strength, keep_colour, _FORMATS[format], _SIZES[size], metadata, colours, white, width)


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
        title = page_text(card.title or card.name)
        heads.append(f"<b>{title}</b> {page_text(card.description)}")
        told = " ".join(text for text in (card.cultural_note, card.avoid and f"Avoid: {card.avoid}") if text)
        if told:
            more.append(f"<p>{title}: {page_text(told)}</p>")
    note = f" Shown at {VIEW} pixels; in full size strokes are finer." if reduced else ""
    details = f"<details><summary>About</summary>{''.join(more)}</details>" if more else ""
    return f"{'<br>'.join(heads)}<span class='dim'>{note}</span>{details}"


def _theme() -> Theme:
    """Quiet greys, and the fonts of the system: others would be fetched."""
    return Theme(
        primary_hue="stone", neutral_hue="stone", radius_size="sm", font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )  # fmt: skip
