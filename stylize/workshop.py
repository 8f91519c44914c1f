"""What all training commands do around a game: a locked folder, going on, the report, the files made."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from stylize import __version__, parallel
from stylize.dataset import PictureSet
from stylize.devices import peak_memory
from stylize.exporting import install
from stylize.fitting import Rhythm, Run, RunFolder, Watcher
from stylize.game import Game
from stylize.images import to_image
from stylize.run_report import write_run_report
from stylize.settings import write_settings
from stylize.sheets import write_sheet
from stylize.tensors import to_uint8
from stylize.validation import Validation

_MEASURED_STEPS = 3

Note = Callable[[str], None]
"""Is told, in a sentence, of works that are left out and other things to know."""


@dataclass(frozen=True)
class Errand:
    """What is the same for every training command."""

    name: str
    folder: Path
    device: str = "auto"
    dtype: str = "auto"
    rhythm: Rhythm = Rhythm()
    changed: bool = False
    """Go on although settings or data are not those of the checkpoint."""


class Workshop(ABC):
    """A plan with its data and networks: ready to train, or to say how long that would take."""

    notes: list[str]
    """What may spoil the run and could be known before it."""

    @property
    @abstractmethod
    def game(self) -> Game:
        """What is played."""

    @abstractmethod
    def data(self) -> list[str]:
        """Sentences about what is learnt from."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """How many pictures there are of what."""

    @abstractmethod
    def shown(self) -> list[tuple[str, Tensor]]:
        """Some of the pictures, with their names, as uint8 (3, H, W)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All settings, as tables of config.toml; `run` is one of them."""

    @abstractmethod
    def write(self, validation: Validation | None) -> list[Path]:
        """Write what was learnt so far. The last validation, if any, goes into the cards."""

    @abstractmethod
    def to_install(self, written: Sequence[Path]) -> list[Path]:
        """Those of the files that are to be found by name."""


Open = Callable[[Path, Note], Workshop]
"""Opens a workshop: a file to keep in what was seen in the works, and whom to tell."""


@dataclass(frozen=True)
class Forecast:
    """What a run would take on this machine, measured on a few steps, one judging and one checkpoint."""

    counts: dict[str, int]
    steps: int
    seconds_per_step: float
    memory: int | None
    """Bytes, as in `devices.peak_memory`."""
    seconds_to_open: float = 0.0
    """Reading the works and the networks."""
    seconds_per_judging: float = 0.0
    seconds_per_checkpoint: float = 0.0
    rhythm: Rhythm = Rhythm()

    @property
    def judgings(self) -> int:
        """How often samples are painted and judged: from time to time, and at the end."""
        return int(self.steps * self.seconds_per_step / self.rhythm.validation) + 1

    @property
    def checkpoints(self) -> int:
        """How many are written: from time to time, at the end, and one for the best."""
        training = self.steps * self.seconds_per_step + self.judgings * self.seconds_per_judging
        return int(training / self.rhythm.checkpoint) + 2

    @property
    def seconds(self) -> float:
        """The run from beginning to end."""
        judging = self.judgings * self.seconds_per_judging
        writing = self.checkpoints * self.seconds_per_checkpoint
        return self.seconds_to_open + self.steps * self.seconds_per_step + judging + writing


def carry_out(
    errand: Errand, open_workshop: Open, watcher: Watcher, on_note: Note
) -> tuple[bool, list[Path]]:
    """Run it, or go on with it. Returns whether it was finished, and the files that it wrote."""
    with parallel.joined():
        folder = RunFolder(errand.folder)
        if parallel.rank() > 0:
            workshop = open_workshop(folder.path / "works.safetensors", lambda note: None)
            return Run(workshop.game, folder, errand.rhythm).go(errand.changed), []
        with folder.locked():
            return _carry_out(errand, folder, open_workshop, watcher, on_note)


def _carry_out(
    errand: Errand, folder: RunFolder, open_workshop: Open, watcher: Watcher, on_note: Note
) -> tuple[bool, list[Path]]:
    """The part of the process that writes."""
    left_out: list[str] = []

    def note(sentence: str) -> None:
        left_out.append(sentence)
        on_note(sentence)

    workshop = open_workshop(folder.path / "works.safetensors", note)
    for sentence in workshop.notes:
        on_note(sentence)

    def write() -> None:
        workshop.write(None)
        write_run_report(errand.folder, errand.name, [*workshop.data(), *left_out], workshop.shown())

    run = Run(workshop.game, folder, errand.rhythm, replace(watcher, on_checkpoint=write))
    _write_config(errand, folder, workshop)
    if not run.go(errand.changed):
        return False, workshop.write(None)
    validation = run.validation
    assert validation is not None
    if folder.best_score() > validation.score + 0.01:
        workshop.game.load(folder.best, changed=True)
        on_note(f"Step {workshop.game.steps_done} was better than the last one and is what is kept.")
        validation = workshop.game.validate()
    return True, _finish(workshop, folder, validation)


def _finish(workshop: Workshop, folder: RunFolder, validation: Validation) -> list[Path]:
    """Files with their cards in full, the contact sheet, and copies that are found by name."""
    written = workshop.write(validation)
    write_sheet(to_image(to_uint8(validation.sheet)), folder.path / "sheet.png")
    installed = [install(path) for path in workshop.to_install(written)]
    return [*written, *installed, folder.path / "sheet.png", folder.path / "report.html"]


def _write_config(errand: Errand, folder: RunFolder, workshop: Workshop) -> None:
    """Write the settings of a run in full, so that it can be understood, and done again."""
    tables = workshop.settings()
    about = {
        "stylize": __version__, "torch": torch.__version__, "name": errand.name, "device": errand.device,
        "dtype": errand.dtype, "processes": parallel.count(),
    }  # fmt: skip
    write_settings(folder.config, {**tables, "run": about | tables["run"]})


def some_of(piles: Mapping[str, PictureSet], most: int = 24) -> list[tuple[str, Tensor]]:
    """Pictures of each pile, evenly chosen, `most` in all, with the names of their files."""
    each = max(1, most // len(piles))
    return [
        (f"{name}: {pile.paths[i].name}"[:18], pile[i])
        for name, pile in piles.items()
        for i in range(0, len(pile.paths), max(1, -(-len(pile.paths) // each)))
    ]


def forecast(open_workshop: Open, on_note: Note, rhythm: Rhythm) -> Forecast:
    """Measure a few steps, one judging and one checkpoint, and leave nothing behind."""
    with TemporaryDirectory() as place:
        begin = perf_counter()
        workshop = open_workshop(Path(place) / "works.safetensors", on_note)
        opened = perf_counter() - begin
        game = workshop.game
        game.step()
        begin = perf_counter()
        for _ in range(_MEASURED_STEPS):
            game.step()
        seconds = (perf_counter() - begin) / _MEASURED_STEPS
        begin = perf_counter()
        game.validate()
        judging = perf_counter() - begin
        begin = perf_counter()
        RunFolder(Path(place) / "run").save(game)
        saving = perf_counter() - begin
    memory = peak_memory(game.device)
    return Forecast(workshop.counts(), game.config.steps, seconds, memory, opened, judging, saving, rhythm)
