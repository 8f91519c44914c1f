"""A training run on disk: checkpoints, metrics, sample sheets, and the style files that come out."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylize.cards import StyleCard
from stylize.dataset import PictureSet, centre_crop
from stylize.files import atomic_path
from stylize.images import to_image
from stylize.library import PHOTOGRAPH
from stylize.model import Base, Style, save_base, save_style
from stylize.painters import StylePainter
from stylize.tensors import to_float, to_uint8
from stylize.training import Terms, Trainer

SAMPLE_SIZE = 256


@dataclass(frozen=True)
class Rhythm:
    """How often a run writes, in seconds."""

    checkpoint: float = 180
    samples: float = 300
    metrics_every: int = 20
    """Steps whose terms are averaged into one line of metrics."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        (path / "samples").mkdir(exist_ok=True)
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.jsonl"

    def log(self, step: int, terms: Terms, seconds: float) -> None:
        """Append one line of metrics."""
        record = {"step": step, "seconds_per_step": round(seconds, 4)}
        record |= {name: round(value, 5) for name, value in terms.items()}
        with self.metrics.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def save_sheet(self, step: int, sheet: Tensor) -> None:
        """Write a sample sheet (3, H, W) in [0, 1]."""
        with atomic_path(self.path / "samples" / f"{step:06d}.png") as temporary:
            to_image(to_uint8(sheet)).save(temporary, format="PNG")


def fit(
    trainer: Trainer,
    folder: RunFolder,
    rhythm: Rhythm = Rhythm(),
    on_step: Callable[[int, Terms, float], None] = lambda step, terms, seconds: None,
    on_checkpoint: Callable[[], object] = lambda: None,
) -> bool:
    """Train until the configured number of steps; False if Ctrl-C came first.

    A run that was stopped goes on from its last checkpoint. On Ctrl-C the step under way is
    finished and a checkpoint written.
    """
    if folder.checkpoint.exists():
        trainer.load(folder.checkpoint)
    saved = sampled = started = time.monotonic()
    terms_seen: list[Terms] = []
    with _interruptible() as interrupted:
        while trainer.steps_done < trainer.config.steps and not interrupted():
            begin = time.monotonic()
            terms_seen.append(trainer.step())
            now = time.monotonic()
            on_step(trainer.steps_done, terms_seen[-1], now - begin)
            if len(terms_seen) == rhythm.metrics_every:
                folder.log(trainer.steps_done, _mean(terms_seen), (now - started) / len(terms_seen))
                terms_seen, started = [], now
            if now - saved > rhythm.checkpoint:
                trainer.save(folder.checkpoint)
                on_checkpoint()
                saved = time.monotonic()
            if now - sampled > rhythm.samples:
                folder.save_sheet(trainer.steps_done, sample_sheet(trainer))
                sampled = time.monotonic()
        trainer.save(folder.checkpoint)
        folder.save_sheet(trainer.steps_done, sample_sheet(trainer))
    return trainer.steps_done >= trainer.config.steps


def _mean(records: list[Terms]) -> Terms:
    """Mean of each term over the steps that had it."""
    names = dict.fromkeys(name for record in records for name in record)
    result = {}
    for name in names:
        values = [record[name] for record in records if name in record]
        result[name] = sum(values) / len(values)
    return result


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a flag; a second one interrupts as usual."""
    stop = False

    def handle(number: int, frame: object) -> None:
        nonlocal stop
        if stop:
            raise KeyboardInterrupt
        stop = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sample_sheet(trainer: Trainer, count: int = 5) -> Tensor:
    """Photographs on the left, then one column per style, painted by the EMA network."""
    step = max(1, len(trainer.photos) // count)
    photos = [_square(trainer.photos, i * step) for i in range(min(count, len(trainer.photos)))]
    columns = [torch.cat(photos, dim=1)]
    with torch.no_grad(), trainer.autocast():
        for members in trainer.library.members.values():
            vector = trainer.library.mean_vector(members).to(trainer.device)
            painted = [trainer.ema(photo[None].to(trainer.device), vector)[0][0].cpu() for photo in photos]
            columns.append(torch.cat(painted, dim=1))
    return torch.cat(columns, dim=2)


def _square(pictures: PictureSet, index: int) -> Tensor:
    return centre_crop(to_float(pictures[index]), SAMPLE_SIZE)


def export(
    trainer: Trainer, folder: Path, cards: Mapping[str, StyleCard], alone: str | None = None
) -> list[Path]:
    """Write what the run learned: a base and a style file per group.

    With `alone`, only the style of that name is written, carrying its networks. Every named style's
    code is the code of the mean statistics of its works.
    """
    base = Base(trainer.ema.generator, trainer.ema.encoder, "")
    written = []
    if alone is None:
        written.append(folder / "base.safetensors")
        save_base(written[0], base)
    (folder / "styles").mkdir(parents=True, exist_ok=True)
    for group, members in trainer.library.members.items():
        if alone is not None and group == PHOTOGRAPH:
            continue
        name = alone or group
        with torch.no_grad():
            moments = trainer.library.mean_vector(members)
            code = base.encoder(moments.to(trainer.device))
        card = cards.get(group, StyleCard(name))
        style = Style(code, card, base.identity, base if alone else None, moments)
        written.append(folder / "styles" / f"{name}.safetensors")
        save_style(written[-1], style)
    return written


def export_style(trainer: Trainer, folder: Path, card: StyleCard, base: Base) -> list[Path]:
    """Write the one style that a `StylePainter` learned on top of a base."""
    assert isinstance(trainer.ema, StylePainter)
    path = folder / "styles" / f"{card.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    (members,) = trainer.library.members.values()
    moments = trainer.library.mean_vector(members)
    save_style(path, Style(trainer.ema.style_code(), card, base.identity, moments=moments))
    return [path]
