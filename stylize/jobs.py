"""What `stylize apply` is going to do: which picture goes where, decided before any work starts."""

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from stylize.errors import UsageError
from stylize.paths import CLIP_FORMATS, FORMATS, READABLE, READABLE_CLIPS, is_clip
from stylize.places import Place, files_in, is_folder
from stylize.remote import Url, check_store


@dataclass(frozen=True)
class Job:
    """One picture to paint, the file that the painting becomes, and the name of the style."""

    source: Place
    target: Place
    style: str = ""
    variant: int = 0
    """Which of several results of one picture, from 1; 0 where there is one."""
    found: bool = False
    """Was it found in a folder, not named? Then it is left out if it was painted by stylize."""
    again: bool = False
    """Is the picture another one since its result was painted? Then that is painted again."""

    def variants(self, count: int) -> "list[Job]":
        """One job for each of `count` results, photo.STYLE-1.jpg and so on; with 0 this one alone."""
        if not count:
            return [self]
        names = [f"{self.target.stem}-{number}{self.target.suffix}" for number in range(1, count + 1)]
        return [
            replace(self, target=self.target.with_name(name), variant=number)
            for number, name in enumerate(names, start=1)
        ]

    @property
    def suffix(self) -> str:
        """The target's suffix, lower case and without the dot."""
        return self.target.suffix.lower().lstrip(".")

    @property
    def format_name(self) -> str:
        """Pillow's name of the target's format."""
        return FORMATS[self.suffix]

    @property
    def is_clip(self) -> bool:
        """Is it a film and not a picture?"""
        return is_clip(self.source)

    @property
    def explanation(self) -> Place:
        """Where the sheet that explains the result goes: photo.ink-wash.explained.png."""
        return self.target.with_name(f"{self.target.stem}.explained.png")


@dataclass(frozen=True)
class Refused:
    """An input that gives no job, and the sentence that says why and what to do."""

    source: Place
    why: str
    missing: bool = False
    """Is there nothing of that name?"""

    def record(self, style: str) -> dict[str, object]:
        """What became of it for JSON, as of a job."""
        return record(self.source, "", "failed", style, error=self.why)


def record(
    source: Place, target: Place | str, status: str, style: str, seconds: float = 0,
    error: str = "", warning: str = "", stroke: float | None = None,
) -> dict[str, object]:  # fmt: skip
    """What became of one input, for JSON: the keys that `--json` promises."""
    return {
        "source": str(source), "target": str(target), "status": status, "seconds": round(seconds, 3),
        "style": style, "error": error, "warning": warning, "stroke": stroke,
    }  # fmt: skip


@dataclass(frozen=True)
class Naming:
    """Where results go.

    Without `output` a painting lands beside its picture, as photo.STYLE.jpg. `output` is a file for
    a single picture, else a folder that mirrors the inputs. `suffix` is the format asked for.
    """

    output: Place | None
    style: str
    suffix: str | None = None
    recursive: bool = False
    explain: bool = False
    keep: tuple[Path, ...] = ()
    """Files that no result may replace, beside the inputs: masks, works that give a style."""
    variants: int = 0
    """So many varied results of each picture; 0: one, as it is."""


def plan_jobs(
    inputs: Sequence[Place], naming: Naming, listed: Sequence[Place] = (), strict: bool = True
) -> tuple[list[Job], list[Refused]]:
    """A job for every picture among the inputs, and what was refused.

    `listed` are further inputs; where they are relative, the output folder mirrors their folders.
    If two pictures would become one file, a painting would replace an input, or would land outside the
    output folder, UsageError is raised, or without `strict` the picture refused. Pictures of one folder
    that differ in their suffix only (a.jpg, a.png) keep apart.
    """
    jobs: list[Job] = []
    refused: list[Refused] = []
    single = len(inputs) + len(listed) == 1
    _check_output_is_a_folder(inputs, listed, naming.output)
    for place in inputs:
        if is_folder(place):
            _add_folder(place, naming, jobs, refused)
        else:
            jobs.append(Job(place, _target_of_file(place, naming, single), naming.style))
    for place in listed:
        if is_folder(place):
            _add_folder(place, naming, jobs, refused)
        else:
            jobs.append(Job(place, _target_of_listed(place, naming), naming.style))
    jobs = [variant for job in _kept_apart(jobs, naming) for variant in job.variants(naming.variants)]
    impossible = dict(_impossible(jobs, naming))
    if strict and impossible:
        raise UsageError(next(iter(impossible.values())))
    refused += [Refused(job.source, why) for job, why in impossible.items()]
    return [job for job in jobs if job not in impossible], refused


def _check_output_is_a_folder(inputs: Sequence[Place], listed: Sequence[Place], output: Place | None) -> None:
    """Raises UsageError where several results would go into one that is called like a picture."""
    if output is None or output.suffix.lower() not in READABLE | READABLE_CLIPS or is_folder(output):
        return
    if listed or len(inputs) > 1:
        raise UsageError(
            f"{output} is the name of one file, and there are several inputs; name a folder with -o."
        )
    if inputs and is_folder(inputs[0]):
        raise UsageError(f"{inputs[0]} is a folder and {output} the name of one file; name a folder with -o.")


def without_missing(jobs: Sequence[Job], named: Sequence[Place]) -> tuple[list[Job], list[Refused]]:
    """The jobs whose pictures are there, and the others refused. Only places on this disk that are among
    those `named` are looked at."""
    asked = {place for place in named if isinstance(place, Path)}
    gone = {job.source for job in jobs if job.source in asked and not os.path.lexists(job.source)}
    refused = [
        Refused(source, f"There is no file or folder {source}; check the path.", missing=True)
        for source in dict.fromkeys(job.source for job in jobs if job.source in gone)
    ]
    return [job for job in jobs if job.source not in gone], refused


def check_stores(places: Sequence[Place | None]) -> None:
    """Ask each store once whether it is there: a missing bucket shall not be noticed after the painting.

    Raises PictureError where a store cannot be reached, or its bucket is not there.
    """
    buckets = {place.parts[:2]: place for place in places if isinstance(place, Url)}
    for place in buckets.values():
        check_store(place)


def _add_folder(place: Place, naming: Naming, jobs: list[Job], refused: list[Refused]) -> None:
    """Add the jobs of a folder, and what was refused in it."""
    kinds = READABLE | READABLE_CLIPS
    pictures, left = files_in(place, naming.recursive, naming.output, kinds)
    refused += [Refused(path, why) for path, why in left]
    if naming.output is None:
        # Earlier paintings that lie beside their photographs are not photographs.
        result = re.compile(rf"\.{re.escape(naming.style)}(-\d+)?$|\.[^.]+\.explained$")
        photos = [p for p in pictures if not result.search(p.stem)]
        targets = [_beside(p, naming) for p in photos]
    else:
        photos = pictures
        targets = [_inside(naming.output, p.relative_to(place), naming) for p in pictures]
    jobs += [Job(p, target, naming.style, found=True) for p, target in zip(photos, targets, strict=True)]
    if not pictures and not left:
        hint = "" if naming.recursive else ", or add --recursive for the folders in it"
        refused.append(Refused(place, f"There are no pictures in {place}; name another folder{hint}."))


def _target_of_file(place: Place, naming: Naming, single: bool) -> Place:
    output, suffix = naming.output, naming.suffix
    if output is None:
        return _beside(place, naming)
    if single and not is_folder(output) and output.suffix:
        if is_clip(place) or output.suffix.lower().lstrip(".") in CLIP_FORMATS:
            return _target_of_clip(place, output)
        if output.suffix.lower().lstrip(".") not in FORMATS:
            raise UsageError(f"Cannot write {output.suffix} files; use one of {', '.join(FORMATS)}.")
        if suffix and FORMATS[suffix] != FORMATS[output.suffix.lower().lstrip(".")]:
            raise UsageError(f"--format {suffix} and the name {output} disagree; leave one out.")
        return output
    return _inside(output, Path(place.name), naming)


def _target_of_clip(place: Place, output: Place) -> Place:
    """Raises UsageError where a clip would become a picture, or a picture a clip."""
    if not is_clip(place):
        raise UsageError(f"{place} is a picture and {output} would be a clip; name a picture with -o.")
    if output.suffix.lower().lstrip(".") not in CLIP_FORMATS:
        kinds = ", ".join(CLIP_FORMATS)
        raise UsageError(f"{place} is a clip, which {output.suffix} files cannot be; use one of {kinds}.")
    return output


def _target_of_listed(place: Place, naming: Naming) -> Place:
    """As of a file, but a/b.jpg stays in a folder a; what lies elsewhere (../b.jpg, /b.jpg) gives a name."""
    if naming.output is None:
        return _beside(place, naming)
    if isinstance(place, Url):
        return _inside(naming.output, Path(place.name), naming)
    name = Path(os.path.normpath(place))
    elsewhere = name.is_absolute() or name.parts[0] == ".."
    return _inside(naming.output, Path(name.name) if elsewhere else name, naming)


def _suffix(source: PurePath, suffix: str | None) -> str:
    """The format asked for, else the source's own if it can be written, else PNG. A clip stays one."""
    if is_clip(source):
        return source.suffix if source.suffix.lower().lstrip(".") in CLIP_FORMATS else ".mp4"
    if suffix:
        return f".{suffix}"
    return source.suffix if source.suffix.lower().lstrip(".") in FORMATS else ".png"


def _beside(source: Place, naming: Naming) -> Place:
    return source.with_name(f"{source.stem}.{naming.style}{_suffix(source, naming.suffix)}")


def _inside(folder: Place, name: PurePath, naming: Naming) -> Place:
    return folder / name.with_suffix(_suffix(name, naming.suffix))


def _kept_apart(jobs: Sequence[Job], naming: Naming) -> list[Job]:
    """The jobs, but of pictures of one folder and name that differ in the suffix, all but one become
    a.png.jpg, or a.png.STYLE.jpg beside them. The one that has the suffix asked for keeps its name."""
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        group = _cased(str(job.target)), str(job.source.parent), job.source.stem
        groups.setdefault(group, []).append(job)
    longer: dict[Job, Job] = {}
    for group in groups.values():
        if len({job.source for job in group}) < len(group):
            continue  # the same picture twice
        first = min(group, key=_unlike)
        for job in group:
            if job is not first:
                style = "" if naming.output is not None else f".{naming.style}"
                name = f"{job.source.name}{style}{job.target.suffix}"
                longer[job] = replace(job, target=job.target.with_name(name))
    return [longer.get(job, job) for job in jobs]


def _unlike(job: Job) -> tuple[bool, bool]:
    """How much the result's name differs from the picture's: in its suffix, even in its format?"""
    suffix = job.source.suffix.lower().lstrip(".")
    return FORMATS.get(suffix) != FORMATS.get(job.suffix), suffix != job.suffix


def _impossible(jobs: Sequence[Job], naming: Naming) -> Iterator[tuple[Job, str]]:
    """The jobs whose result cannot be written where it should go, each with a sentence."""
    sources = {_real(path) for path in (*(job.source for job in jobs), *naming.keep)}
    output = naming.output
    folder = os.path.realpath(output) if isinstance(output, Path) and not output.is_file() else None
    taken: dict[str, Place] = {}
    for job in jobs:
        for target in (job.target, job.explanation) if naming.explain else (job.target,):
            place = _real(target)
            if place in sources:
                yield job, f"{target} is an input and would be replaced; choose another -o."
            elif place in taken:
                both = f"{taken[place]} and {job.source} would both become {target}"
                yield job, f"{both}; paint them apart."
            taken.setdefault(place, job.source)
        if folder and job.target != output and not _is_inside(job.target, folder):
            where = f"A link would take {job.target} out of {output}"
            yield job, f"{where}; remove the link or choose another -o."


def check_output(output: Path, read: Iterable[str | Path | None]) -> None:
    """Raises UsageError where a result would replace a file that it is made from; None is no file."""
    if _real(output) in {_real(Path(file)) for file in read if file}:
        raise UsageError(f"{output} is an input and would be replaced; choose another -o.")


def _is_inside(target: Place, folder: str) -> bool:
    return Path(_real(target.parent)).is_relative_to(folder)


def _real(path: Place) -> str:
    """The one name of a file: without links, and where the system does not tell a from A, without case."""
    if isinstance(path, Url):
        return str(path)
    return _cased(os.path.realpath(path))


def _cased(name: str) -> str:
    if sys.platform in {"darwin", "win32"}:
        return unicodedata.normalize("NFC", name).casefold()
    return name
