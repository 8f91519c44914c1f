"""A training run on disk: its folder, checkpoints, metrics, and going on after any interruption."""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stylize import parallel
from stylize.errors import StylizeError, UsageError
from stylize.files import atomic_path
from stylize.game import Game, Terms
from stylize.images import to_image
from stylize.tensors import to_uint8
from stylize.validation import Validation

_KEPT = 2
"""The last checkpoints that are kept, beside the best."""


@dataclass(frozen=True)
class Rhythm:
    """How often a run writes, in seconds."""

    checkpoint: float = 180
    validation: float = 300
    metrics_every: int = 20
    """Steps whose terms are averaged into one line of metrics."""


class RunFolder:
    """The files of one run.

    config.toml, metrics.jsonl, samples/STEP.png, checkpoints/STEP.safetensors and best.safetensors,
    report.html, and what the run made: styles/, sheet.png.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "samples").mkdir(parents=True, exist_ok=True)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"Cannot make the run folder {path}: {error.strerror}; choose another -o."
            ) from error
        _check_links(path)
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.best = path / "checkpoints" / "best.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out. UsageError if one is at work here already.

        The lock goes with its process, however that ends.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            with lock:
                yield
        except Timeout:
            raise UsageError(
                f"Another process is training in {self.path}; wait for it, or choose another folder with -o."
            ) from None

    def checkpoints(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        return numbered(self.path / "checkpoints", "safetensors")

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.path / "checkpoints" / f"{step:07d}.safetensors"

    def save(self, game: Game) -> Path:
        """Write a checkpoint, and drop those that are no longer needed."""
        path = self.checkpoint(game.steps_done)
        game.save(path)
        for old in self.checkpoints()[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def keep_best(self, game: Game, score: float) -> None:
        """Keep the checkpoint of this moment as the best, if it is that."""
        if score <= self.best_score():
            return
        latest = self.save(game)
        with atomic_path(self.best) as temporary:
            shutil.copyfile(latest, temporary)
        with atomic_path(self.best.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"score": score, "step": game.steps_done}))

    def best_score(self) -> float:
        """The score of the best checkpoint; minus infinity before there is one. StylizeError if its note is
        damaged."""
        note = self.best.with_suffix(".json")
        if not (note.exists() and self.best.exists()):
            return float("-inf")
        try:
            return float(json.loads(note.read_text(encoding="utf-8"))["score"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StylizeError(
                f"{note} is damaged; remove it, and run the same command again: the best is chosen anew."
            ) from error

    def log(self, record: dict[str, object]) -> None:
        """Append one line to the metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop lines and samples of steps that were lost when the run was killed: they come again."""
        if self.metrics.exists():
            kept = [record for record in read_metrics(self.metrics) if record["step"] <= step]
            with atomic_path(self.metrics) as temporary:
                lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
                temporary.write_text("".join(lines), encoding="utf-8")
        for sample in self.samples():
            if int(sample.stem) > step:
                sample.unlink()

    def samples(self) -> list[Path]:
        """The sample sheets, oldest first."""
        return numbered(self.path / "samples", "png")

    def save_samples(self, step: int, validation: Validation) -> None:
        """Write the sheet of a validation."""
        with atomic_path(self.path / "samples" / f"{step:06d}.png") as temporary:
            to_image(to_uint8(validation.sheet)).save(temporary, format="PNG")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; one that a killed process left half-written at the end is left out.

    StylizeError, naming the file and the line, if any other is damaged.
    """
    lines = path.read_bytes().splitlines()
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line.decode())
            if type(record["step"]) is not int:
                raise ValueError("no step")
            records.append(record)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            if number < len(lines):
                raise StylizeError(
                    f"Line {number} of {path} is damaged; remove that line, and run the same command again."
                ) from error
    return records


def numbered(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder that have a number for their name, in its order."""
    found = [path for path in folder.glob(f"[0-9]*.{suffix}") if re.fullmatch(r"[0-9]{1,12}", path.stem)]
    return sorted(found, key=lambda path: int(path.stem))


def _check_links(folder: Path) -> None:
    """Raises StylizeError for links in a run folder that would have files written, or emptied, elsewhere."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink() and not path.exists():
            raise StylizeError(f"{path} is a link to what is not there; remove it, or choose another -o.")
    for name in (".lock", "metrics.jsonl"):
        path = folder / name
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            raise StylizeError(f"{path} is a link to another file; remove it, or choose another -o.")


@dataclass
class Watcher:
    """Who is told what during a run; all of it optional."""

    on_step: Callable[[int, Terms, float], None] = lambda step, terms, seconds: None
    on_record: Callable[[dict[str, object]], None] = lambda record: None
    """Every line of the metrics."""
    on_news: Callable[[str], None] = lambda sentence: None
    """What `stylize.health` found."""
    on_checkpoint: Callable[[], object] = lambda: None
    """After a checkpoint: the moment to write what the run has made so far."""


class Run:
    """A game, played in a folder until its steps are done."""

    def __init__(
        self, game: Game, folder: RunFolder, rhythm: Rhythm = Rhythm(), watcher: Watcher | None = None
    ) -> None:
        self.game = game
        self.folder = folder
        self.rhythm = rhythm
        self.watcher = watcher or Watcher()
        self._terms: list[Terms] = []
        self._seconds = 0.0
        self.validation: Validation | None = None
        """The last one in this process."""

    def go(self, changed: bool = False) -> bool:
        """Go on from the last checkpoint, if any, to the end; False if Ctrl-C came first.

        On Ctrl-C the step under way is finished and a checkpoint written. `changed` lets settings or
        data differ from those of the checkpoint.
        """
        game = self.game
        steps = [int(path.stem) for path in self.folder.checkpoints()]
        # Another machine may see a shared folder as it was a moment ago: all take what process 0 sees.
        last = parallel.of_first(max(steps, default=-1), game.device)
        if last >= 0:
            game.load(self.folder.checkpoint(last), changed)
        if parallel.rank() == 0:
            self.folder.best_score()  # what is damaged is told now, and not after hours
            self.folder.forget_after(game.steps_done)
        saved = validated = time.monotonic()
        with _interruptible() as interrupted:
            while game.steps_done < game.config.steps:
                if parallel.any_of(interrupted(), game.device):
                    break
                self._step()
                if parallel.rank() > 0:
                    continue
                if time.monotonic() - validated > self.rhythm.validation:
                    self._validate()
                    validated = time.monotonic()
                if time.monotonic() - saved > self.rhythm.checkpoint:
                    self._save()
                    saved = time.monotonic()
            finished = game.steps_done >= game.config.steps
            if parallel.rank() == 0:
                if finished:
                    self._validate()
                self._save()
        return finished

    def _step(self) -> None:
        begin = time.monotonic()
        self._terms.append(self.game.step())
        seconds = time.monotonic() - begin
        self._seconds += seconds
        self.watcher.on_step(self.game.steps_done, self._terms[-1], seconds)
        for sentence in self.game.health.take_news():
            self._tell({"step": self.game.steps_done, "news": sentence})
        if self.game.steps_done % self.rhythm.metrics_every == 0:
            means = {name: round(value, 5) for name, value in _mean(self._terms).items()}
            pace = round(self._seconds / len(self._terms), 4)
            self._tell({"step": self.game.steps_done, "seconds_per_step": pace, **means})
            self._terms, self._seconds = [], 0.0

    def _tell(self, record: dict[str, object]) -> None:
        if parallel.rank() == 0:
            self.folder.log(record)
            self.watcher.on_record(record)
            if "news" in record:
                self.watcher.on_news(str(record["news"]))

    def _validate(self) -> None:
        """Samples, table and vital signs; and the checkpoint of this moment, if none was better."""
        step, validation = self.game.steps_done, self.game.validate()
        self.folder.save_samples(step, validation)
        table = {s: {c: round(v, 4) for c, v in row.items()} for s, row in validation.table.items()}
        vitals = {name: round(value, 4) for name, value in validation.vitals.items()}
        self._tell({"step": step, "score": round(validation.score, 4), "table": table, "vitals": vitals})
        self.game.health.judge(step, validation.vitals)
        for sentence in self.game.health.take_news():
            self._tell({"step": step, "news": sentence})
        self.folder.keep_best(self.game, validation.score)
        self.validation = validation

    def _save(self) -> None:
        self.folder.save(self.game)
        self.watcher.on_checkpoint()


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
