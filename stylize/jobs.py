"""What `stylize apply` is going to do: which picture goes where, decided before any work starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylize.errors import UsageError
from stylize.paths import FORMATS, find_pictures


@dataclass(frozen=True)
class Job:
    """One picture to paint, and the file that the painting becomes."""

    source: Path
    target: Path

    @property
    def suffix(self) -> str:
        """The target's suffix, lower case and without the dot."""
        return self.target.suffix.lower().lstrip(".")

    @property
    def format_name(self) -> str:
        """Pillow's name of the target's format."""
        return FORMATS[self.suffix]


def plan_jobs(
    inputs: Sequence[Path], output: Path | None, style: str, suffix: str | None, recursive: bool
) -> tuple[list[Job], list[str]]:
    """A job for every picture among the inputs, and a sentence for every folder without any.

    Without `output` a painting lands beside its picture, as photo.STYLE.jpg. `output` is a file for
    a single picture, else a folder that mirrors the inputs. Raises UsageError if two pictures
    would become one file, or a painting would replace an input.
    """
    jobs: list[Job] = []
    problems: list[str] = []
    single = len(inputs) == 1
    for place in inputs:
        if not place.is_dir():
            jobs.append(Job(place, _target_of_file(place, output, style, suffix, single)))
            continue
        try:
            jobs += _jobs_in_folder(place, output, style, suffix, recursive)
        except UsageError as error:
            problems.append(str(error))
    _check_collisions(jobs)
    return jobs, problems


def _jobs_in_folder(
    place: Path, output: Path | None, style: str, suffix: str | None, recursive: bool
) -> list[Job]:
    pictures = find_pictures([place], recursive)
    if output is not None:
        return [Job(p, _inside(output, p.relative_to(place), suffix)) for p in pictures]
    # Earlier paintings that lie beside their photographs are not photographs.
    photos = [p for p in pictures if not p.stem.endswith((f".{style}", f".{style}.explained"))]
    return [Job(p, _beside(p, style, suffix)) for p in photos]


def _target_of_file(place: Path, output: Path | None, style: str, suffix: str | None, single: bool) -> Path:
    if output is None:
        return _beside(place, style, suffix)
    if single and not output.is_dir() and output.suffix:
        if output.suffix.lower().lstrip(".") not in FORMATS:
            raise UsageError(f"Cannot write {output.suffix} files; use one of {', '.join(FORMATS)}.")
        if suffix and FORMATS[suffix] != FORMATS[output.suffix.lower().lstrip(".")]:
            raise UsageError(f"--format {suffix} and the name {output} disagree; leave one out.")
        return output
    return _inside(output, Path(place.name), suffix)


def _suffix(source: Path, suffix: str | None) -> str:
    """The format asked for, else the source's own if it can be written, else PNG."""
    if suffix:
        return f".{suffix}"
    return source.suffix if source.suffix.lower().lstrip(".") in FORMATS else ".png"


def _beside(source: Path, style: str, suffix: str | None) -> Path:
    return source.with_name(f"{source.stem}.{style}{_suffix(source, suffix)}")


def _inside(folder: Path, name: Path, suffix: str | None) -> Path:
    return folder / name.with_suffix(_suffix(name, suffix))


def _check_collisions(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise UsageError(f"{job.target} is an input and would be replaced; choose another -o.")
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {job.source} would both become {job.target}; paint them apart."
            )
        taken[target] = job.source
