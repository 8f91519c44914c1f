"""What the window does, without the window: a person's photograph, the styles on it, and where they lead.

An `Atelier` is what all share: the styles, the device, the limits. A `Sitting` is one person's: a
photograph, the style that is chosen, and its variations. Pictures are painted, marked and written by the
`Painter` of `stylize apply`; what is shown is only smaller.
"""

import re
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeAlias

from torch import Tensor

from stylize import bundled, hub
from stylize.cards import StyleCard, derived_card
from stylize.easel import Easel, Manner
from stylize.errors import PictureError, StylizeError, UsageError, sentence_of
from stylize.generator import mix_codes
from stylize.images import resize_picture, write_picture
from stylize.jobs import Job, Naming, plan_jobs
from stylize.model import Base, Style, load_base, save_style
from stylize.painting import Outcome, varied
from stylize.paths import is_clip
from stylize.picture import Picture
from stylize.styles import ResolvedStyle, blend, resolve_style

THUMBNAIL = 256
"""Longer side of the thumbnails in pixels."""

VARIATION = 512
"""Longer side of the variations."""

VIEW = 1024
"""Longer side of what is shown large."""

VARIATIONS = 4

MOST_BLENDED = 6

_BROAD, _CALMER = 1.6, 0.6
"""The noise of the first variations, in deviations of the code's numbers: less is hardly seen. And the noise
around one that was picked, as a share of the noise that made it."""

_QUALITY = 88
_PASSING = 100
"""So many files of what is shown large are kept; older ones have been seen."""

_LONGEST_STYLE, _LONGEST_FILE = 60, 200
"""Bytes of a name; file systems allow 255, and some are added."""

_Tell = Callable[[int, int], None]
"""Hears how many are done, of how many."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A style as it was chosen, or as a variation has left it."""

    style: ResolvedStyle
    name: str
    """What results are named after."""
    origin: Tensor
    """The code (1, code_size or more) before any variation: noise is measured by it."""
    rounds: int = 0
    """How many variations led here."""


Thumbnails: TypeAlias = tuple[list[tuple[Path, str]], list[str]]
"""Pictures with the names of their styles, and a sentence for each style that is not good."""


@dataclass(frozen=True)
class Batch:
    """What became of several photographs."""

    archive: Path | None
    """A ZIP file of the paintings; None if there are none."""
    done: int
    notes: tuple[str, ...]
    """A sentence for each that failed."""


class Atelier:
    """Styles, device and limits that all sittings share; one picture is painted at a time.

    Only files in `folder` are ever read as pictures. `megapixels` is the most that one may have.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "auto",
        dtype: str = "auto",
        megapixels: int = 100,
        seconds: float | None = None,
    ) -> None:
        """`seconds` is how long one file may take to paint, in a process of its own; None: without limits."""
        self.folder = folder.resolve()
        self.megapixels = megapixels
        self._bases: dict[str, Base] = {}
        self._styles: dict[tuple[Path, int], ResolvedStyle] = {}
        # What is only looked at does not wait for files in full size.
        self._showing, self._painting = (Easel(device, dtype, seconds) for _ in range(2))

    def sitting(self) -> "Sitting":
        """A place for one person."""
        return Sitting(self, Path(mkdtemp(dir=self.folder)))

    def names(self) -> list[str]:
        """The styles that are known, the user's own first, and last the one that paints nothing."""
        names, bundle = list(bundled.known_styles()), bundled.style_paths() | bundled.translation_paths()
        return sorted(names, key=lambda name: (name == "photograph", name in bundle, name))

    def style(self, name: str) -> ResolvedStyle:
        """A style by a name that is known. Raises UsageError, or WeightsError if its file is not good."""
        path = bundled.known_styles().get(name)
        if path is None:
            raise UsageError(f"There is no style {name!r} any more; choose another.")
        key = path, path.stat().st_mtime_ns
        if key not in self._styles:
            self._styles[key] = self._sharing(resolve_style(name))
        return self._styles[key]

    def start(self) -> None:
        """Make ready for the first picture, and do not wait for it."""
        self._showing.start()

    def close(self) -> None:
        """End all that is under way, whatever it is."""
        self._showing.close()
        self._painting.close()

    def style_of(self, work: Path) -> ResolvedStyle:
        """The style of an uploaded painting. Raises PictureError if it shows none."""
        self._check_place(work)
        identity = hub.bundled_identity()
        if identity not in self._bases:
            self._bases[identity] = load_base(bundled.base_path())
        return self._showing.style_of(work, self.megapixels, self._bases[identity])

    def look(self, photo: Path) -> tuple[Picture, int]:
        """An uploaded photograph to look at, and how long its longer side is in its file.

        Raises PictureError for a file that was not uploaded, is too large, no picture, or takes too long.
        """
        self._check_place(photo)
        return self._showing.look(photo, self.megapixels, VIEW)

    def check(self, picture: Path) -> None:
        """Raises PictureError for a file that was not uploaded, or is too large or no picture."""
        self._check_place(picture)
        self._showing.check(picture, self.megapixels)

    def _check_place(self, picture: Path) -> None:
        if not picture.resolve().is_relative_to(self.folder):
            raise PictureError(f"{picture.name} was not uploaded here; choose it again.")

    def paint(self, picture: Picture, style: ResolvedStyle, manner: Manner) -> Picture:
        """Paint a picture to be looked at. Raises UsageError where the manner does not go with the style."""
        self._check_manner(style, manner)
        return self._showing.paint(picture, style, manner)

    def work(
        self, jobs: Sequence[Job], style: ResolvedStyle, manner: Manner
    ) -> Generator[Outcome, None, None]:
        """Do jobs as `stylize apply` would; between two of them others may have their turn."""
        self._check_manner(style, manner)
        for job in jobs:
            try:
                outcome = self._painting.paint_file(job, style, manner)
            except StylizeError as error:
                outcome = Outcome(job, "failed", 0.0, f"{job.source.name}: {error}")
            yield outcome

    def _check_manner(self, style: ResolvedStyle, manner: Manner) -> None:
        """Raises UsageError where colours or mask do not go with the style."""
        if manner.mask is not None:
            self.check(manner.mask)
        if manner.palette is not None and manner.keep_colour:
            raise UsageError("Keep the photograph's colours, or take those of a style; not both.")
        if manner.palette is not None and manner.palette.base.identity != style.base.identity:
            raise UsageError("These two styles were made for different bases and cannot be used together.")

    def plain(self, text: str) -> str:
        """A sentence with names of files in the place of paths into the folder."""
        return re.sub(rf"{re.escape(str(self.folder))}/(\S+/)?", "", text)

    def _sharing(self, style: ResolvedStyle) -> ResolvedStyle:
        """The style, with the networks that another style of its base has loaded."""
        return replace(style, base=self._bases.setdefault(style.base.identity, style.base))


class Sitting:
    """One person's photograph and style, and the files made for it in a folder of its own."""

    def __init__(self, atelier: Atelier, folder: Path) -> None:
        self.atelier = atelier
        self.photo: Path | None = None
        self.chosen: Chosen | None = None
        self.weights: dict[str, float] = {}
        """The styles that are blended, and how much of each."""
        self.shown: list[str] = []
        """The names of the styles in the order in which `thumbnails` showed them."""
        self.stopped = False
        """Set to end `paint_many` after the picture that is under way."""
        self._folder = folder
        self._seen: Picture | None = None
        self._works: dict[str, ResolvedStyle] = {}
        self._thumbnails: dict[str, Path] = {}
        self._passing: deque[Path] = deque()
        self._earlier: list[Chosen] = []
        self._four: list[Chosen] = []
        self._size = self._seed = self._files = 0

    def close(self) -> None:
        """Remove all that was made."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, photo: Path) -> None:
        """Take a photograph, instead of the one before. Raises PictureError, and keeps that one."""
        self._seen, self._size = self.atelier.look(photo)
        self.photo = photo
        self._thumbnails, self._four = {}, []

    def open_sample(self) -> Path:
        """Take the photograph that comes with the package, and a style for it. Its file."""
        sample = self._folder / "sample.jpg"
        shutil.copyfile(bundled.sample_picture(), sample)
        self.open(sample)
        return sample

    # -- styles ---------------------------------------------------------------------------------------

    @property
    def cards(self) -> tuple[StyleCard, ...]:
        """The cards of what is chosen."""
        return self.chosen.style.cards if self.chosen else ()

    def palette(self, name: str | None) -> ResolvedStyle | None:
        """The style that gives the colours, by its name. UsageError if there is none of it."""
        return None if name is None else self._style(name)

    def names(self) -> list[str]:
        """The styles to choose from, those of uploaded paintings first."""
        return [*self._works, *self.atelier.names()]

    def add_work(self, work: Path) -> str:
        """Take an uploaded painting as a style. Its name."""
        style, name = self.atelier.style_of(work), work.stem
        while name in self.names():
            name += " (yours)"
        self._works[name] = style
        return name

    def thumbnails(self, tell: _Tell = lambda done, total: None) -> Thumbnails:
        """The photograph in every style, small, with its name; and a sentence for each that is not good."""
        found = deque(self.growing_thumbnails(tell), maxlen=1)
        return found[0] if found else ([], [])

    def growing_thumbnails(self, tell: _Tell = lambda done, total: None) -> Generator[Thumbnails, None, None]:
        """The thumbnails after each that is painted; no more of them once another photograph is opened."""
        # Another photograph may be opened meanwhile: it gets a dictionary of its own.
        photograph, painted = self._photograph(), self._thumbnails
        manner = Manner(longer_side=min(THUMBNAIL, max(photograph.size)))
        names, notes = self.names(), []
        for done, name in enumerate(names):
            tell(done, len(names))
            if name not in painted:
                try:
                    picture = self.atelier.paint(photograph, self._style(name), manner)
                    painted[name] = self._shown(picture, lasting=True)
                except StylizeError as error:
                    notes.append(self.atelier.plain(sentence_of(error)))
            if painted is not self._thumbnails:
                return
            self.shown = [name for name in names if name in painted]
            yield [(painted[name], name) for name in self.shown], notes

    def style_at(self, index: object) -> str:
        """The style at a place among those shown. UsageError if there is none."""
        if type(index) is not int or not 0 <= index < len(self.shown):
            raise UsageError("Choose one of the styles that are shown.")
        return self.shown[index]

    def choose(self, weights: Mapping[str, float]) -> None:
        """Choose a style, or a blend. Raises UsageError where that is none."""
        style = blend([(name, self._style(name), weight) for name, weight in weights.items()])
        name = _short("+".join(weights), _LONGEST_STYLE)
        self.chosen, self.weights = Chosen(style, name, style.code), dict(weights)
        self._earlier, self._four = [], []

    def take(self, name: str) -> None:
        """Put a style into the blend, with the weight 1; or take it out, if it is in and not alone."""
        weights = dict(self.weights)
        if name not in weights:
            if len(weights) >= MOST_BLENDED:
                raise UsageError(f"{MOST_BLENDED} styles blend at most; take one out first.")
            weights[name] = 1.0
        elif len(weights) > 1:
            del weights[name]
        self.choose(weights)

    def view(self, manner: Manner) -> tuple[Path, Path]:
        """The photograph and its painting, to be shown large."""
        chosen = self._chosen()
        picture = self._photograph()
        side = min(VIEW, manner.longer_side or max(picture.size))
        painted = self.atelier.paint(picture, chosen.style, replace(manner, longer_side=side))
        return self._shown(resize_picture(picture, side)), self._shown(painted)

    def is_reduced(self, manner: Manner) -> bool:
        """Is what is shown smaller than the file will be?"""
        return (manner.longer_side or self._size) > VIEW

    # -- variations -----------------------------------------------------------------------------------

    def vary(self, manner: Manner) -> list[Path]:
        """Four others around what is chosen, each time with other noise; the nearer, the more led here."""
        centre, photograph = self._chosen(), self._photograph()
        self._seed += 1
        self._four = [self._varied(centre, number) for number in range(1, VARIATIONS + 1)]
        manner = replace(manner, longer_side=min(VARIATION, max(photograph.size)))
        return [self._shown(self.atelier.paint(photograph, one.style, manner)) for one in self._four]

    def pick(self, index: int) -> None:
        """Go on from one of the four. Raises UsageError if it is not there."""
        if type(index) is not int or not 0 <= index < len(self._four):
            raise UsageError("Make four variations first, then pick one.")
        if self.chosen not in self._four:
            self._earlier.append(self._chosen())
        self.chosen = self._four[index]

    def back(self) -> None:
        """Undo the last pick. Raises UsageError if there was none."""
        if not self._earlier:
            raise UsageError("This is where you began; pick a variation to go on.")
        self.chosen, self._four = self._earlier.pop(), []

    def keep(self, name: str) -> Path:
        """Make what is chosen a style of the user's own, with a card. Its file; UsageError for a bad name."""
        name, style = name.strip(), self._chosen().style
        if not name:
            raise UsageError("Give it a name first, like my-ink.")
        if not bundled.may_be_own_style(name):
            raise UsageError(f"A style cannot be called {name!r}; choose another name, like my-ink.")
        target = bundled.own_style_path(name)
        if target.exists():
            raise UsageError(f"You have a style {name!r}; choose another name.")
        own = None if style.base.identity == hub.bundled_identity() else style.base
        target.parent.mkdir(parents=True, exist_ok=True)
        card = derived_card(name, style.cards)
        kept = Style(style.code, card, style.base.identity, own, canvas=style.canvas)
        save_style(target, kept.with_code(style.code, style.base.generator))
        return target

    # -- files ----------------------------------------------------------------------------------------

    def paint_full(self, manner: Manner) -> Path:
        """The photograph painted as `stylize apply` would, in a file. Raises PictureError if that fails."""
        chosen = self._chosen()
        if self.photo is None:
            raise UsageError("Choose a photograph first.")
        ((job,), _) = plan_jobs([self.photo], Naming(None, chosen.name, manner.suffix))
        result = self._folder / "painted" / _short(job.target.name, _LONGEST_FILE)
        (outcome,) = self.atelier.work([replace(job, target=result)], chosen.style, manner)
        if outcome.status != "done":
            raise PictureError(self.atelier.plain(outcome.note))
        return result

    def paint_many(
        self, files: Sequence[Path], manner: Manner, tell: _Tell = lambda done, total: None
    ) -> Batch:
        """Paint many photographs into one archive; a bad one does not stop the rest."""
        chosen, self.stopped, done = self._chosen(), False, 0
        folder = Path(mkdtemp(dir=self._folder))
        jobs, notes = self._jobs(files, folder, chosen, manner)
        archive = folder / f"{chosen.name}.zip"
        with (
            zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack,
            closing(self.atelier.work(jobs, chosen.style, manner)) as outcomes,
        ):
            tell(0, len(jobs))
            for count, outcome in enumerate(outcomes, start=1):
                if outcome.status == "done":
                    result = folder / outcome.job.target.relative_to(folder)
                    pack.write(result, result.relative_to(folder))
                    result.unlink()
                    done += 1
                if outcome.note:
                    notes.append(self.atelier.plain(outcome.note))
                tell(count, len(jobs))
                if self.stopped:
                    notes.append(f"Stopped after {count} of {len(jobs)}.")
                    break
        return Batch(archive if done else None, done, tuple(notes))

    def _jobs(
        self, files: Sequence[Path], folder: Path, chosen: Chosen, manner: Manner
    ) -> tuple[list[Job], list[str]]:
        """A job for each file that is good, and a sentence for each other; equal names get folders."""
        jobs: list[Job] = []
        notes: list[str] = []
        taken: dict[str, int] = {}
        for file in files:
            try:
                if is_clip(file):
                    raise PictureError(f"{file.name} is a clip; paint it with: stylize apply")
                self.atelier.check(file)
            except (StylizeError, OSError) as error:
                notes.append(self.atelier.plain(sentence_of(error, file)))
                continue
            (job,), _ = plan_jobs([file], Naming(folder, chosen.name, manner.suffix))
            key = job.target.name.casefold()
            taken[key] = taken.get(key, 0) + 1
            if taken[key] > 1:
                job = replace(job, target=folder / str(taken[key]) / job.target.name)
            jobs.append(job)
        return jobs, notes

    # -- within ---------------------------------------------------------------------------------------

    def _photograph(self) -> Picture:
        if self._seen is None:
            raise UsageError("Choose a photograph first.")
        return self._seen

    def _chosen(self) -> Chosen:
        if self.chosen is None:
            raise UsageError("Choose a style first.")
        return self.chosen

    def _style(self, name: str) -> ResolvedStyle:
        return self._works[name] if name in self._works else self.atelier.style(name)

    def _varied(self, centre: Chosen, number: int) -> Chosen:
        """A variation of a style; which one depends on the seed, the photograph's name and the number."""
        assert self.photo is not None
        job, size = Job(self.photo, self.photo, variant=number), centre.style.base.generator.config.code_size
        noisy = varied(centre.origin, size, job, self._seed, _BROAD * _CALMER**centre.rounds)
        code = mix_codes([centre.style.code, noisy, centre.origin], [1, 1, -1])
        name = centre.name if centre.rounds else f"{centre.name}-varied"
        return replace(centre, style=replace(centre.style, code=code), name=name, rounds=centre.rounds + 1)

    def _shown(self, picture: Picture, lasting: bool = False) -> Path:
        """A file of the picture for the window, without any metadata; soon removed, unless it is lasting."""
        self._files += 1
        path = self._folder / f"{self._files}.jpg"
        write_picture(Picture(picture.rgb, picture.alpha), path, "JPEG", _QUALITY)
        if not lasting:
            self._passing.append(path)
        if len(self._passing) > _PASSING:
            self._passing.popleft().unlink(missing_ok=True)
        return path


def _short(name: str, most: int) -> str:
    """The end of a name that is too long, in so many bytes."""
    return name.encode()[-most:].decode(errors="ignore")
