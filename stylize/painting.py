"""Working through the jobs of `stylize apply`: read, paint, write; a bad file never stops the rest."""

import hashlib
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylize import __version__
from stylize.animation import ANIMATED
from stylize.cards import StyleCard
from stylize.console import debugging
from stylize.devices import choose_device, choose_dtype
from stylize.errors import DiskFullError, PictureError, is_full, sentence_of
from stylize.explaining import explain
from stylize.files import Claims
from stylize.generator import mix_codes
from stylize.images import (
    check_size,
    is_mask_for,
    read_picture,
    read_rgb,
    resize_picture_to,
    scaled_size,
    write_picture,
)
from stylize.jobs import Job, record
from stylize.looks import Look
from stylize.marking import SOURCE_TYPE, Metadata, clip_tags, without_private, xmp_packet
from stylize.mixing import keep_colour, masked, with_palette
from stylize.overlap import ahead, groups_of, usual_workers, workers
from stylize.picture import Picture
from stylize.places import Place, at_hand, make_folder, written_at
from stylize.proofs import thumbnail
from stylize.sheets import write_sheet
from stylize.steady import SteadyStylizer
from stylize.strokes import Stroke
from stylize.styles import ResolvedStyle, perceptual_network
from stylize.stylizer import Stylizer
from stylize.tiling import Frame
from stylize.traces import OURS, Existing, is_ours, of_existing, styles_of

if TYPE_CHECKING:
    from stylize.filming import Order

Status = Literal["done", "skipped", "failed", "exists", "other", "ours"]
"""What became of a job. The last three: a result is there, which nobody said what to do with; one in another
style is there; the input is itself a result, found in a folder."""

_TOLD: dict[Status, str] = {"other": "failed", "ours": "skipped"}
"""What is written of a status in JSON, where that is another word."""

_VARIED = 0.4
"""Noise in the code of varied results, in standard deviations of the code's numbers."""

_BATCH_ON_ACCELERATOR = 8
_BATCHES_SORTED = 4
"""So many batches' worth of pictures are looked at together to find ones of the same size."""
_MOST_SORTED = 256
"""But no more pictures than these, unless a single batch has more: each is an open file as well."""


@dataclass(frozen=True)
class PaintSettings:
    """How pictures are painted and written. None leaves the choice to the device."""

    strength: float = 1.0
    longer_side: int | None = None
    quality: int = 92
    force: bool = False
    skip_existing: bool = False
    resume: bool = False
    """Go on with clips that an earlier run began."""
    tile: int | None = None
    batch: int | None = None
    workers: int | None = None
    metadata: Metadata = "all"
    stroke: float | None = None
    """Width of the strokes in percent of the picture's shorter side; None: as the style's card says."""
    seed: int = 0
    """Of the noise in varied results, and of that in the first pass."""
    keep_grey: bool = False
    """Write the paintings of grey photographs in grey."""
    explain: bool = False
    """Write a sheet beside each result that says where and why it differs from the photograph."""
    proofs: bool = False
    """Make small pictures of photograph and result, for a proof sheet."""
    decided: bool = False
    """Whoever gives the jobs has looked which results are there, and each is to be written."""
    began: float | None = None
    """Seconds since the epoch: results that are newer were made by another process, and are kept. None: newer
    than the moment at which the work begins."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job. `note` is a sentence for the user: an error or a warning."""

    job: Job
    status: Status
    seconds: float
    note: str = ""
    before: bytes = b""
    after: bytes = b""
    """Small pictures for a proof sheet, where the settings ask for them."""
    stroke: float | None = None
    """Width of the strokes in percent of the picture's shorter side; None: painted in one pass."""

    def record(self) -> dict[str, object]:
        """The outcome for JSON."""
        status, job = _TOLD.get(self.status, self.status), self.job
        warning, error = ("", self.note) if status == "failed" else (self.note, "")
        return record(job.source, job.target, status, job.style, self.seconds, error, warning, self.stroke)


class Engine(Protocol):
    """What does jobs: a `Painter` on this machine, or a cluster of them."""

    def work(self, jobs: Sequence[Job], tell: "Tell" = ...) -> Generator[Outcome, None, None]:
        """Do the jobs, yielding what became of each."""
        ...

    @property
    def untold(self) -> Sequence[Outcome]:
        """What was finished, but not yielded, when the work was broken off."""
        ...


class Brush(Protocol):
    """What paints one picture, or one frame."""

    def paint(self, picture: Tensor, code: Tensor, stroke: Stroke, strength: float = 1.0) -> Tensor:
        """Paint uint8 or uint16 RGB (3, H, W) in the style of a code (1, code_size); same form and size."""
        ...


Tell: TypeAlias = Callable[[Job, int, int | None], None]
"""Hears how many frames of a clip are painted, of about how many."""


@dataclass(frozen=True)
class _Task:
    """A job on its way. Once `status` is set, what follows leaves it alone."""

    job: Job
    seconds: float = 0.0
    picture: Picture | None = None
    size: tuple[int, int] | None = None
    """Width and height of the result; the picture may be larger while it is painted."""
    sheet: Image.Image | None = None
    is_clip: bool = False
    """Is it a clip that is to be painted?"""
    status: Status | None = None
    note: str = ""
    before: bytes = b""
    after: bytes = b""

    def then(self, started: float, **changes: object) -> "_Task":
        """The task with changes, and the time since `started` added."""
        return replace(self, seconds=self.seconds + time.monotonic() - started, **changes)  # pyright: ignore

    def outcome(self, stroke: float | None) -> Outcome:
        """What became of the job, once that is clear."""
        assert self.status is not None
        return Outcome(self.job, self.status, self.seconds, self.note, self.before, self.after, stroke)


class Painter:
    """A look on a device, that paints whole pictures."""

    def __init__(self, look: Look, device: str, dtype: str, settings: PaintSettings) -> None:
        place = choose_device(device)
        precision = choose_dtype(dtype, place)
        self.stylizer = Stylizer(look.style.base, perceptual_network, place, precision, settings.tile)
        self.look = look
        self.code = look.style.code
        self.settings = settings
        self._written: dict[Job, Outcome] = {}
        self.stroke = self._stroke_of(look.style)
        self.batch = settings.batch or (1 if place.type == "cpu" else _BATCH_ON_ACCELERATOR)
        if settings.strength != 1 or not look.is_plain:
            self.batch = 1  # what is painted then depends on the picture

    def paint(self, picture: Picture, brush: Brush | None = None) -> Picture:
        """Paint a picture, resized first if the settings say so; alpha and EXIF are kept.

        A brush of one's own paints stills only.
        """
        picture, size = self._sized(picture)
        if brush is None:
            painted = self._composed(picture)
        else:
            painted = replace(picture, rgb=self._compose(picture.rgb, brush))
        return self._marked(resize_picture_to(painted, size))

    def _stroke_of(self, style: ResolvedStyle) -> Stroke:
        """The stroke of a style, as wide as the settings say if they say so."""
        width, seed = self.settings.stroke, self.settings.seed
        return replace(style.stroke, width=style.stroke.width if width is None else width, seed=seed)

    def _composed(self, picture: Picture) -> Picture:
        """The picture painted; of an animation, every frame in one steady manner."""
        if picture.motion is None:
            return replace(picture, rgb=self._compose(picture.rgb, self.stylizer))
        frames = picture.motion.frames
        brush = SteadyStylizer(self.stylizer, [frame.rgb for frame in frames])
        painted: list[Picture] = []
        for index, frame in enumerate(frames):
            same = index > 0 and torch.equal(frame.rgb, frames[index - 1].rgb)
            rgb = painted[-1].rgb if same else self._compose(frame.rgb, brush)
            painted.append(replace(frame, rgb=rgb))
        return replace(picture, rgb=painted[0].rgb, motion=replace(picture.motion, frames=tuple(painted)))

    def _compose(self, photo: Tensor, brush: Brush) -> Tensor:
        """All that the look asks for, for one photograph (3, H, W)."""
        look, strength = self.look, self.settings.strength
        painted = brush.paint(photo, self.code, self.stroke, strength)
        if look.palette is not None:
            colours = brush.paint(photo, look.palette.code, self._stroke_of(look.palette), strength)
            painted = with_palette(painted, colours)
        if look.keep_colour:
            painted = keep_colour(painted, photo)
        if look.mask is not None:
            outside = photo
            if look.outside is not None:
                stroke = self._stroke_of(look.outside)
                outside = brush.paint(photo, look.outside.code, stroke, strength)
            painted = masked(painted, outside, self._mask_for(photo, look.mask))
        return painted

    def _mask_for(self, photo: Tensor, mask: Tensor) -> Tensor:
        if mask.shape == photo.shape[1:]:
            return mask
        resized = F.interpolate(mask[None, None], photo.shape[1:], mode="bilinear", antialias=True)
        return resized[0, 0]

    def work(
        self, jobs: Sequence[Job], tell: Tell = lambda job, done, total: None
    ) -> Generator[Outcome, None, None]:
        """Do the jobs, yielding their outcomes in order as they come.

        Threads read what comes next and write what is painted while this one paints. However many
        jobs there are, only a few pictures are in memory. When the iterator is closed, or Ctrl-C
        comes, the files being written are finished. What another process is painting is skipped.
        """
        count = usual_workers() if self.settings.workers is None else self.settings.workers
        window = max(self.batch, min(self.batch * _BATCHES_SORTED, _MOST_SORTED)) if self.batch > 1 else 1
        threads, began = min(count, len(jobs)), self.settings.began or time.time()
        with Claims() as claims, workers(threads) as readers, workers(threads) as writers:
            read = ahead(
                readers, lambda job: self._read(job, claims, began), jobs, count + window if count else 0
            )
            painted = (task for tasks in groups_of(read, window) for task in self._paint_window(tasks, tell))
            for task in ahead(writers, lambda task: self._write(task, claims), painted, count):
                yield task.outcome(self.stroke.width)
                self._written.pop(task.job, None)

    @property
    def untold(self) -> Sequence[Outcome]:
        """What was written, but not yielded, when the work was broken off."""
        return list(self._written.values())

    def is_done(self, job: Job) -> bool:
        """Is there a result that shall stay? Raises PictureError if it is in the way."""
        there = None if written_at(job.target) is None else existing(job, self.settings, self.look.cards)
        if there is not None and there[0] != "skipped":
            raise PictureError(there[1])
        return there is not None

    # -- the three stations ---------------------------------------------------------------------------

    def _read(self, job: Job, claims: Claims, began: float) -> _Task:
        task, started = _Task(job), time.monotonic()
        try:
            make_folder(job.target.parent)
            if isinstance(job.target, Path) and not claims.take(job.target):
                return task.then(started, status="skipped", note=f"Another process is painting {job.target}.")
            there = None if self.settings.decided else written_at(job.target)
            if there is not None and there > began:
                note = f"{job.target} appeared while this ran, and was kept."
                return task.then(started, status="skipped", note=note)
            if there is not None and (told := existing(job, self.settings, self.look.cards)):
                status, note = told
                proofs = self._proofs_of_files(job) if status == "skipped" else {}
                return task.then(started, status=status, note=note, **proofs)
            if job.found and is_ours(job.source):
                return task.then(started, status="ours", note=OURS.format(job.source))
            if job.is_clip:
                _check_clip(job, self.settings)
                return task.then(started, is_clip=True)
            picture = for_format(read_picture(job.source), job.format_name)
            picture, size = self._sized(picture, str(job.source))
            check_size(size, job.format_name, str(job.target))
            before = thumbnail(picture.rgb) if self.settings.proofs else b""
            return task.then(started, picture=picture, size=size, before=before, note=picture.remark)
        except Exception as fault:  # whatever is wrong with one file must not stop the rest
            return _failed(task, started, fault, job.source)

    def _paint_window(self, tasks: Sequence[_Task], tell: Tell) -> Iterator[_Task]:
        """Paint tasks in batches of one size and depth, what moves alone; they come back in their order."""
        sizes: dict[tuple[tuple[Frame, ...], torch.dtype, int | None], list[int]] = {}
        for index, task in enumerate(tasks):
            if (picture := task.picture) is not None:
                alone = None if picture.motion is None and not task.job.variant else index
                kind = self.stylizer.frames(picture.rgb, self.stroke), picture.rgb.dtype, alone
                sizes.setdefault(kind, []).append(index)
        result = [self._paint_clip(task, tell) if task.is_clip else task for task in tasks]
        for same_size in sizes.values():
            for batch in groups_of(same_size, self.batch):
                for index, task in zip(batch, self._paint_batch([result[i] for i in batch]), strict=True):
                    result[index] = task
        yield from result

    def _paint_batch(self, tasks: Sequence[_Task]) -> list[_Task]:
        started = time.monotonic()
        if tasks[0].job.variant:
            size = self.look.style.base.generator.config.code_size
            self.code = varied(self.look.style.code, size, tasks[0].job, self.settings.seed)
        pictures = [task.picture for task in tasks if task.picture is not None]
        plain = self.settings.strength == 1 and self.look.is_plain and pictures[0].motion is None
        try:
            if plain:
                painted = self.stylizer.paint_batch([p.rgb for p in pictures], self.code, self.stroke)
                pairs = zip(pictures, painted, strict=True)
                results = [(replace(photo, rgb=result.rgb), result.finite) for photo, result in pairs]
            else:
                results = [(self._composed(picture), True) for picture in pictures]
        except MemoryError:
            why = "is too large for the free memory; paint it smaller with --size."
            fields = {"picture": None, "status": "failed"}
            return [task.then(started, **fields, note=f"{task.job.source} {why}") for task in tasks]
        except Exception as fault:
            if len(tasks) > 1:  # one of them may be to blame
                return [alone for task in tasks for alone in self._paint_batch([task])]
            return [_failed(tasks[0], started, fault, tasks[0].job.source)]
        return [self._finished(task, started, *r) for task, r in zip(tasks, results, strict=True)]

    def _finished(self, task: _Task, started: float, painted: Picture, finite: bool) -> _Task:
        """A task with its painting, unless something is wrong with what goes along with it."""
        try:
            return task.then(started, **self._result(task, painted, finite))
        except Exception as fault:
            return _failed(task, started, fault, task.job.source)

    def _paint_clip(self, task: _Task, tell: Tell) -> _Task:
        """Paint a clip, from reading to writing."""
        from stylize.film import FilmStylizer
        from stylize.filming import frame_size, paint_clip

        started, job = time.monotonic(), task.job
        try:
            with at_hand(job.source, job.target) as (source, target):
                self._check_mask(frame_size(source), str(job.source))
                order = self._order(source, target, job.source)
                brush = FilmStylizer(self.stylizer)
                notes = paint_clip(order, brush, self._compose, lambda done, total: tell(job, done, total))
                proofs = self._proofs_of_files(replace(job, source=source, target=target))
            return task.then(started, is_clip=False, status="done", note=" ".join(notes), **proofs)
        except Exception as fault:
            if _ends_all(fault):
                raise
            return _failed(task, started, fault, job.source)

    def _order(self, source: Path, target: Path, named: Place) -> "Order":
        """What is to be painted of a clip, which the user named so."""
        from stylize.filming import Order

        settings, marked = self.settings, self.settings.metadata != "none"
        xmp = xmp_packet(self.look.cards, settings=self._in_words()) if marked else b""
        return Order(
            source, target, self._identity(source, named), settings.longer_side, settings.quality,
            settings.resume, settings.workers != 0, settings.metadata,
            clip_tags(self.look.cards) if marked else {}, xmp,
        )  # fmt: skip

    def _identity(self, clip: Path, named: Place) -> str:
        """A digest of all that the painting of a clip depends on; what was fetched is as old as in its
        store."""
        look, settings, found = self.look, self.settings, clip.stat()
        written = found.st_mtime_ns if isinstance(named, Path) else written_at(named)
        facts = (found.st_size, written, settings.strength, settings.longer_side, settings.quality)
        facts += (look.keep_colour, look.style.base.identity, str(self.stylizer.dtype), __version__)
        parts = (look.style, look.palette, look.outside)
        facts += tuple(self._stroke_of(part) if part else None for part in parts)
        digest = hashlib.sha256(repr(facts).encode())
        for tensor in (*(part.code if part else None for part in parts), look.mask):
            digest.update(b"-" if tensor is None else tensor.numpy().tobytes())
        return digest.hexdigest()

    def _result(self, task: _Task, painted: Picture, finite: bool) -> dict[str, object]:
        """What painting changes in a task."""
        assert task.picture is not None
        again = "" if finite else f"{task.job.source} overflowed in fp16 and was painted again in fp32."
        note = " ".join(filter(None, (task.note, again)))
        assert task.size is not None
        changes = {"picture": self._marked(resize_picture_to(painted, task.size)), "note": note}
        if self.settings.explain:
            title = " + ".join(card.name for card in self.look.style.cards)
            changes["sheet"] = explain(self.stylizer, task.picture.rgb, self.code, self.stroke, title)
        return changes

    def _marked(self, painted: Picture) -> Picture:
        """The painting with as much of the photograph's metadata as is wanted."""
        painted = replace(painted, grey=painted.grey and self.settings.keep_grey)
        return marked(painted, self.look.cards, self.settings.metadata, settings=self._in_words())

    def _in_words(self) -> str:
        """The settings for the mark in a result."""
        width = self.stroke.width
        stroke = "one pass" if width is None else f"stroke {width:.3g} %"
        return f"{stroke}, strength {self.settings.strength:g}"

    def _write(self, task: _Task, claims: Claims) -> _Task:
        """Write what is painted; until it is yielded, that is remembered."""
        task = self._written_task(task, claims)
        if task.status == "done":
            self._written[task.job] = task.outcome(self.stroke.width)
        return task

    def _written_task(self, task: _Task, claims: Claims) -> _Task:
        started = time.monotonic()
        try:
            if task.picture is None:
                return task
            if task.sheet is not None:  # first, since a result that is there is left alone by the next run
                write_sheet(task.sheet, task.job.explanation)
            write_picture(task.picture, task.job.target, task.job.format_name, self.settings.quality)
            after = thumbnail(task.picture.rgb) if self.settings.proofs else b""
            return task.then(started, picture=None, status="done", after=after)
        except Exception as fault:
            if _ends_all(fault):
                raise
            return _failed(task, started, fault, task.job.target)
        finally:
            if isinstance(task.job.target, Path):
                claims.release(task.job.target)

    def _proofs_of_files(self, job: Job) -> dict[str, bytes]:
        """Small pictures of a job that was done earlier; none of what cannot be read."""
        if not self.settings.proofs:
            return {}
        if job.is_clip:
            if not (isinstance(job.source, Path) and isinstance(job.target, Path)):
                return {}
            from stylize.filming import opening

            with suppress(PictureError):
                return {"before": thumbnail(opening(job.source)), "after": thumbnail(opening(job.target))}
        with suppress(PictureError):
            return {"before": thumbnail(read_rgb(job.source)), "after": thumbnail(read_rgb(job.target))}
        return {}

    def _sized(self, picture: Picture, name: str = "the picture") -> tuple[Picture, tuple[int, int]]:
        """The picture in the size in which it is painted, and the width and height of the result.

        Results that are smaller than the first pass are painted a little larger than it, and reduced: they
        look like larger ones.
        """
        self._check_mask(picture.size, name)
        if not self.settings.longer_side:
            return picture, picture.size
        scale = self.settings.longer_side / max(picture.size)
        least = min(1.0, 1.05 * (self.stroke.first_side or 0) / min(picture.size))
        painted = resize_picture_to(picture, scaled_size(picture.size, max(scale, least)))
        return painted, scaled_size(picture.size, scale)

    def _check_mask(self, size: tuple[int, int], name: str) -> None:
        """Raises PictureError if there is a mask whose proportions are not those of this width and height."""
        mask = self.look.mask
        if mask is not None and not is_mask_for(mask, size):
            found = f"{mask.shape[1]} x {mask.shape[0]}"
            raise PictureError(
                f"The mask has {found} pixels and {name} {size[0]} x {size[1]}; "
                "give a mask of the picture's size or proportions."
            )


def varied(code: Tensor, size: int, job: Job, seed: int, noise: float = _VARIED) -> Tensor:
    """A style code (1, size or more) with noise, in its first `size` numbers, that depends on the seed, the
    picture's name and which of its results this is. `noise` is in deviations of the code's numbers."""
    name = hashlib.sha256(f"{seed} {job.variant} {job.source.name}".encode(errors="surrogateescape"))
    random = torch.Generator().manual_seed(int.from_bytes(name.digest()[:7]))
    step = noise * code[:, :size].std() * torch.randn(1, size, generator=random)
    return mix_codes([code, step], [1, 1])


def _failed(task: _Task, started: float, fault: Exception, file: Place) -> _Task:
    if debugging():
        traceback.print_exception(fault)
    note = sentence_of(fault, file)
    return task.then(started, picture=None, is_clip=False, status="failed", note=note)


def _ends_all(fault: Exception) -> bool:
    """Is the disk full? The next results would not find room either."""
    return isinstance(fault, DiskFullError) or (isinstance(fault, OSError) and is_full(fault))


def _check_clip(job: Job, settings: PaintSettings) -> None:
    """Raises PictureError if a clip cannot be painted here, or not like this."""
    if settings.explain:
        raise PictureError(f"{job.source} is a clip, and --explain is for pictures; leave it out.")
    if settings.resume and not isinstance(job.target, Path):
        raise PictureError(
            f"{job.target} is not on this machine, where clips are gone on with; leave out --resume, or "
            "choose an -o here."
        )
    if job.variant:
        raise PictureError(f"{job.source} is a clip, and --augment is for pictures; leave it out.")
    try:
        import stylize.filming  # noqa: F401 - needs libraries that only clips need
    except ImportError as error:
        if error.name not in {"av", "cv2"}:
            raise
        raise PictureError(
            f"{job.source} is a clip; to paint clips, run: pip install av opencv-python-headless"
        ) from error


def marked(
    result: Picture,
    cards: Sequence[StyleCard],
    wanted: Metadata,
    source_type: str = SOURCE_TYPE,
    settings: str = "",
) -> Picture:
    """A result with as much of its metadata as is wanted, and a mark that says how it was made."""
    if wanted == "none":
        return replace(result, exif=b"", xmp=b"", texts={})
    if wanted == "public":
        xmp = xmp_packet(cards, source_type=source_type, settings=settings)
        return replace(result, exif=without_private(result.exif), xmp=xmp, texts={})
    return replace(result, xmp=xmp_packet(cards, result.xmp, source_type, settings))


def for_format(picture: Picture, format_name: str) -> Picture:
    """What a file of this format can hold of a picture: without the frames, if it cannot move."""
    return picture if format_name in ANIMATED else picture.still()


def existing(job: Job, settings: PaintSettings, cards: Sequence[StyleCard]) -> tuple[Existing, str] | None:
    """What becomes of a job whose result is there, and why; None where that is to be replaced. `cards` are
    those of the styles that are asked for."""
    return of_existing(job.target, styles_of(cards), settings.force, settings.skip_existing, job.again)
