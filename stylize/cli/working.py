"""Doing the jobs of `stylize apply`, and telling how it goes: progress, JSON lines, summary, proof sheet."""

import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from stylize.console import printable, progress, say, write_json, write_line
from stylize.errors import PictureError
from stylize.jobs import Job, Naming, Refused, plan_jobs, record
from stylize.paths import is_folder
from stylize.places import Place, written_at
from stylize.traces import OURS, is_ours, of_existing
from stylize.watching import arrivals

if TYPE_CHECKING:
    from stylize.painting import Engine, Outcome, Painter
    from stylize.proofs import ProofSheet


_OFTEN = {
    "exists": (
        "1 exists already; --skip-existing goes on, --force paints it again.",
        "{} exist already; --skip-existing goes on, --force paints them again.",
    ),
    "other": (
        "1 is there in another style; choose another -o, or --force paints over it.",
        "{} are there in another style; choose another -o, or --force paints over them.",
    ),
    "ours": (
        "1 input was painted by stylize and is left out; name it outright to paint it once more.",
        "{} inputs were painted by stylize and are left out; name them outright to paint them once more.",
    ),
}
"""What is said once of all jobs of a status: of one, of several."""

_LABELS = {"failed": "Error:", "exists": "Error:", "other": "Error:"}
"""How sentences begin that say why something was not painted."""


@dataclass
class Telling:
    """How the user wants to be told, and what has been told so far: the last status of every input, and of
    every result of it."""

    as_json: bool = False
    quiet: bool = False
    sheet: "ProofSheet | None" = None
    statuses: dict[tuple[Place, str], str] = field(default_factory=dict)
    _often: dict[str, list[Place]] = field(default_factory=dict)
    """The inputs of which the same is to be said, by what that is."""

    @property
    def failed(self) -> list[Place]:
        """The inputs that failed, one for each of their results that did."""
        return [source for (source, _), status in self.statuses.items() if status == "failed"]

    @property
    def undone(self) -> int:
        """How many results were asked for and not painted: some failed, some were there."""
        return sum(status in {"failed", "exists"} for status in self.statuses.values())

    def outcome(self, outcome: "Outcome", with_success: bool, alone: bool = True) -> None:
        """Tell what became of a job; of one without any trouble only if wanted. Unless it is told `alone`,
        what becomes of many is said once, at the end."""
        self._tell(outcome.job.source, outcome.record(), outcome.before, outcome.after)
        self.note(outcome.job.source, outcome.status, outcome.note, alone)
        if not outcome.note and with_success and not self.quiet and not self.as_json:
            say(f"{'Kept' if outcome.status == 'skipped' else 'Painted'} {outcome.job.target}")

    def note(self, source: Place, status: str, note: str, alone: bool) -> None:
        """Say what there is to say of an input, or keep it for the end."""
        if status in _OFTEN and not alone:
            self._often.setdefault(status, []).append(source)
        elif note:
            say(note, _LABELS.get(status, ""))

    def foreseen(self, job: Job, status: str, note: str, alone: bool) -> None:
        """Tell what would become of a job."""
        told = {"other": "failed", "ours": "skipped"}.get(status, status)
        self.statuses[job.source, str(job.target)] = told
        error, warning = (note, "") if told == "failed" else ("", note)
        if self.as_json:
            write_json(record(job.source, job.target, told, job.style, 0, error, warning))
        elif status == "planned":
            write_line(f"{printable(str(job.source))} -> {printable(str(job.target))}")
        elif status == "skipped" and not self.quiet:
            say(f"Kept {job.target}")
        self.note(job.source, status, note, alone)

    def has_told(self, outcome: "Outcome") -> bool:
        """Was this outcome told already?"""
        return (outcome.job.source, str(outcome.job.target)) in self.statuses

    def refusal(self, refused: Refused, style: str) -> None:
        """Tell that an input gives no job."""
        self._tell(refused.source, refused.record(style))
        say(refused.why, "Error:")

    def _tell(self, source: Place, facts: dict[str, object], before: bytes = b"", after: bytes = b"") -> None:
        self.statuses[source, str(facts["target"])] = str(facts["status"])
        if self.as_json:
            write_json(facts)
        if self.sheet is not None:
            self.sheet.add(facts, before, after)

    def summarise(self) -> None:
        """Say how many are done, skipped and failed, and which failed."""
        if not self.quiet:
            counts = Counter(self.statuses.values())
            say(", ".join(f"{counts[status]} {status}" for status in ("done", "skipped", "failed")) + ".")
        self.say_once()
        if not self.quiet:
            counted = set(self._often.get("other", ()))
            for source in self.failed:
                if source not in counted:
                    say(f"failed: {source}")

    def close(self, single: bool) -> None:
        """Sum up, unless all is said of a single input."""
        if self.as_json or not single:
            self.summarise()

    def say_once(self) -> None:
        """Say, once for each, what is true of many inputs."""
        for status, sources in self._often.items():
            if status != "ours" or not self.quiet:
                one, many = _OFTEN[status]
                say((one if len(sources) == 1 else many).format(len(sources)), _LABELS.get(status, ""))


@contextmanager
def telling(as_json: bool, quiet: bool, report: Path | None) -> Iterator[Telling]:
    """How the user is told of one run; the proof sheet, if there is one, is written at the end of it."""
    if report is None:
        yield Telling(as_json, quiet)
        return
    from stylize.proofs import ProofSheet  # torch comes with it

    with ProofSheet(report, shlex.join(["stylize", *sys.argv[1:]])) as sheet:
        yield Telling(as_json, quiet, sheet)
    if not quiet:
        say(f"Wrote {report}")


def show_plan(
    jobs: Sequence[Job], refused: Sequence[Refused], style: str, tell: Telling,
    foresee: Callable[[Job], tuple[str, str]],
) -> int:  # fmt: skip
    """Say what would be done, of each job what is foreseen; how many inputs would not be painted."""
    single = len(jobs) + len(refused) < 2
    for one in refused:
        tell.refusal(one, style)
    for job in jobs:
        status, note = foresee(job)
        tell.foreseen(job, status, note, single)
    tell.say_once()
    return tell.undone


def foreseen(job: Job, styles: str | None, force: bool, keep: bool) -> tuple[str, str]:
    """What would become of a job and why, as far as that can be seen without painting; `styles` as in
    `traces.of_existing`. A place that cannot be asked is left to the real run."""
    try:
        there = None if written_at(job.target) is None else of_existing(job.target, styles, force, keep)
    except PictureError:
        there = None
    if there is not None:
        return there
    if job.found and is_ours(job.source):
        return "ours", OURS.format(job.source)
    return "planned", ""


def do(
    jobs: Sequence[Job], refused: Sequence[Refused], style: str, tell: Telling, make: Callable[[], "Engine"]
) -> int:
    """Do the jobs with the engine that is made for them; the number of inputs that failed."""
    single = len(jobs) + len(refused) < 2
    for one in refused:
        tell.refusal(one, style)
    if not jobs:  # there is nothing to load a network for
        tell.close(single)
        return tell.undone
    engine, clips = make(), any(job.is_clip for job in jobs)
    told = partial(tell.outcome, with_success=single, alone=single)
    try:
        with (
            progress(tell.quiet or not (clips or len(jobs) > 1)) as bar,
            closing(engine.work(jobs, _Frames(bar))) as outcomes,
        ):
            task = bar.add_task("Painting", total=len(jobs), note="", visible=len(jobs) > 1)
            for outcome in outcomes:
                told(outcome)
                bar.advance(task)
    except KeyboardInterrupt:
        for outcome in engine.untold:
            if not tell.has_told(outcome):
                told(outcome)
        if clips or not single:
            here = any(job.is_clip and isinstance(job.target, Path) for job in jobs)
            done, way = len(tell.statuses) - len(refused), "--resume" if here else "--skip-existing"
            say(f"Stopped after {done} of {len(jobs)} pictures; add {way} to go on.")
        raise
    tell.close(single)
    return tell.undone


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
                    tell.outcome(outcome, with_success=True, alone=outcome.status != "ours")
            if jobs and tell.sheet is not None:
                tell.sheet.write()
    except KeyboardInterrupt:
        for outcome in painter.untold:
            tell.outcome(outcome, with_success=True)
        tell.summarise()
    return tell.undone
