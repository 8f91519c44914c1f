"""Doing the jobs of `stylize apply`, and telling how it goes: progress, JSON lines, summary, proof sheet."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from stylize.console import printable, progress, say, write_json, write_line
from stylize.errors import PictureError
from stylize.jobs import Job, Naming, Refused, plan_jobs, record
from stylize.paths import is_folder
from stylize.places import Place
from stylize.watching import arrivals

if TYPE_CHECKING:
    from stylize.painting import Engine, Outcome, Painter
    from stylize.proofs import ProofSheet


@dataclass
class Telling:
    """How the user wants to be told, and what has been told so far: the last status of every input, and of
    every result of it."""

    as_json: bool = False
    quiet: bool = False
    sheet: "ProofSheet | None" = None
    statuses: dict[tuple[Place, str], str] = field(default_factory=dict)

    @property
    def failed(self) -> list[Place]:
        """The inputs that failed, one for each of their results that did."""
        return [source for (source, _), status in self.statuses.items() if status == "failed"]

    def outcome(self, outcome: "Outcome", with_success: bool) -> None:
        """Tell what became of a job; of one without any trouble only if wanted."""
        self._tell(outcome.job.source, outcome.record(), outcome.before, outcome.after)
        if outcome.note:
            say(outcome.note)
        elif with_success and not self.quiet and not self.as_json:
            say(f"{'Kept' if outcome.status == 'skipped' else 'Painted'} {outcome.job.target}")

    def refusal(self, refused: Refused, style: str) -> None:
        """Tell that an input gives no job."""
        self._tell(refused.source, refused.record(style))
        say(refused.why)

    def _tell(self, source: Place, facts: dict[str, object], before: bytes = b"", after: bytes = b"") -> None:
        self.statuses[source, str(facts["target"])] = str(facts["status"])
        if self.as_json:
            write_json(facts)
        if self.sheet is not None:
            self.sheet.add(facts, before, after)

    def summarise(self) -> None:
        """Say how many are done, skipped and failed, and which failed."""
        if self.quiet:
            return
        counts = Counter(self.statuses.values())
        say(", ".join(f"{counts[status]} {status}" for status in ("done", "skipped", "failed")) + ".")
        for source in self.failed:
            say(f"failed: {source}")


@contextmanager
def telling(as_json: bool, quiet: bool, report: Path | None) -> Iterator[Telling]:
    """How the user is told of one run; the proof sheet, if there is one, is written at the end of it."""
    if report is None:
        yield Telling(as_json, quiet)
        return
    from stylize.proofs import ProofSheet  # torch comes with it

    with ProofSheet(report) as sheet:
        yield Telling(as_json, quiet, sheet)
    if not quiet:
        say(f"Wrote {report}")


def show_plan(jobs: Sequence[Job], refused: Sequence[Refused], style: str, as_json: bool) -> int:
    """Say what would be painted; the number of inputs that would not be."""
    for job in jobs:
        if as_json:
            write_json(record(job.source, job.target, "planned", job.style))
        else:
            write_line(f"{printable(str(job.source))} -> {printable(str(job.target))}")
    for one in refused:
        Telling(as_json).refusal(one, style)
    return len(refused)


def do(
    jobs: Sequence[Job], refused: Sequence[Refused], style: str, tell: Telling, make: Callable[[], "Engine"]
) -> int:
    """Do the jobs with the engine that is made for them; the number of inputs that failed."""
    single = len(jobs) + len(refused) < 2
    for one in refused:
        tell.refusal(one, style)
    engine, clips = make(), any(job.is_clip for job in jobs)
    try:
        with (
            progress(tell.quiet or not (clips or len(jobs) > 1)) as bar,
            closing(engine.work(jobs, _Frames(bar))) as outcomes,
        ):
            task = bar.add_task("Painting", total=len(jobs), note="", visible=len(jobs) > 1)
            for outcome in outcomes:
                tell.outcome(outcome, with_success=single)
                bar.advance(task)
    except KeyboardInterrupt:
        if clips or not single:
            here = any(job.is_clip and isinstance(job.target, Path) for job in jobs)
            done, way = len(tell.statuses) - len(refused), "--resume" if here else "--skip-existing"
            say(f"Stopped after {done} of {len(jobs)} pictures; add {way} to go on.")
        raise
    if tell.as_json or not single:
        tell.summarise()
    return len(tell.failed)


class _Frames:
    """A bar for the clip that is being painted, with its speed."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._job: Job | None = None
        self._began = (0.0, 0)

    def __call__(self, job: Job, done: int, total: int | None) -> None:
        """So many frames of a clip are painted, of about so many."""
        if self._task is None or job is not self._job:
            if self._task is not None:
                self._bar.remove_task(self._task)
            name = printable(job.source.name)
            self._task = self._bar.add_task(name, total=total, note="", completed=done)
            self._job, self._began = job, (time.monotonic(), done)
        since = time.monotonic() - self._began[0]
        speed = f"{(done - self._began[1]) / since:.1f} frames/s" if since > 0.5 else ""
        self._bar.update(self._task, completed=done, total=max(done, total or done), note=speed)


def follow(folders: Sequence[Path], naming: Naming, tell: Telling, make: Callable[[], "Painter"]) -> int:
    """Paint what is in the folders and what appears there, until Ctrl-C or SIGTERM; the number that failed.

    Raises PictureError when a folder is gone.
    """
    refused_before: set[Refused] = set()

    def look() -> Sequence[Job]:
        for folder in folders:
            if not is_folder(folder):
                raise PictureError(f"The folder {folder} is gone; start again when it is back.")
        jobs, refused = plan_jobs(folders, naming, strict=False)
        for one in refused:
            if one.source not in folders and one not in refused_before:  # an empty folder will fill
                refused_before.add(one)
                tell.refusal(one, naming.style)
        return jobs

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    painter = make()
    if not tell.quiet:
        say(f"Watching {', '.join(map(str, folders))}; Ctrl-C ends it.")
    try:
        for jobs in arrivals(look):
            with closing(painter.work(jobs)) as outcomes:
                for outcome in outcomes:
                    tell.outcome(outcome, with_success=True)
            if jobs and tell.sheet is not None:
                tell.sheet.write()
    except KeyboardInterrupt:
        tell.summarise()
    return len(tell.failed)
