"""What a training run looks like in the terminal: progress, pace, terms, and what was noticed."""

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stylize.console import printable, talk, write_json, write_line

if TYPE_CHECKING:
    from stylize.fitting import Watcher
    from stylize.workshop import Forecast

_NEWS = 4


class LiveView:
    """A view that follows a run on stderr; lines of JSON on stdout if asked for; nothing when quiet.

    Where there is no terminal only what was noticed is written.
    """

    def __init__(self, steps: int, pictures: int, quiet: bool, as_json: bool) -> None:
        self._pictures = pictures
        self._quiet = quiet
        self._as_json = as_json
        self._pace = 0.0
        self._terms: dict[str, float] = {}
        self._news: list[str] = []
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[pace]}"), console=talk,
        )  # fmt: skip
        self._task = self._bar.add_task("Reading the works", total=steps, pace="")
        self._live = Live(self._drawing(), console=talk, refresh_per_second=4, transient=True)
        self._shown = not quiet and talk.is_terminal

    def __enter__(self) -> "LiveView":
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._live.stop()

    def watcher(self) -> "Watcher":
        """What the run has to tell this view."""
        from stylize.fitting import Watcher

        return Watcher(on_step=self._step, on_record=self._record, on_news=self._notice)

    def _step(self, step: int, terms: dict[str, float], seconds: float) -> None:
        self._pace = 0.9 * self._pace + 0.1 * seconds if self._pace else seconds
        self._terms |= terms
        pace = f"{self._pictures / self._pace:.1f} pictures/s"
        self._bar.update(self._task, description="Training", completed=step, pace=pace)
        self._live.update(self._drawing())

    def _record(self, record: dict[str, object]) -> None:
        if self._as_json:
            write_json(record)

    def _notice(self, sentence: str) -> None:
        self._news = [*self._news, sentence][-_NEWS:]
        if not self._shown and not self._quiet:
            talk.print(sentence, markup=False)

    def _drawing(self) -> Group:
        """Bar, terms side by side, and the last things noticed."""
        table = Table(box=None, pad_edge=False)
        for name in self._terms:
            table.add_column(name.replace("_", " "), justify="right")
        if self._terms:
            table.add_row(*(f"{v:.3f}" if math.isfinite(v) else "-" for v in self._terms.values()))
        return Group(self._bar, table, *self._news)


def tell(sentence: str) -> None:
    """Something to know before or after a run."""
    talk.print(sentence, markup=False)


def print_forecast(forecast: "Forecast", pictures: int, as_json: bool) -> None:
    """What a run would take, on stdout; `pictures` is how many go into a step."""
    values: dict[str, object] = {
        "pictures": forecast.counts, "steps": forecast.steps, "pictures per step": pictures,
        "seconds per step": round(forecast.seconds_per_step, 3),
        "seconds to read the works": round(forecast.seconds_to_open, 1),
        "judgings": forecast.judgings, "seconds per judging": round(forecast.seconds_per_judging, 1),
        "minutes in all": round(forecast.seconds / 60, 1),
        "memory in MiB": forecast.memory and forecast.memory >> 20,
    }  # fmt: skip
    if as_json:
        write_json(values)
        return
    for key, value in values.items():
        shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
        write_line(printable(f"{key}: {shown}"))
