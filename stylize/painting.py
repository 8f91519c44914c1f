"""Working through the jobs of `stylize apply`: read, paint, write; a bad file never stops the rest."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stylize.devices import choose_device, choose_dtype
from stylize.errors import PictureError
from stylize.images import Picture, read_picture, resize_picture, write_picture
from stylize.jobs import Job
from stylize.styles import ResolvedStyle, perceptual_network
from stylize.stylizer import Stylizer

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class PaintSettings:
    """How pictures are painted and written."""

    strength: float = 1.0
    longer_side: int | None = None
    quality: int = 92
    force: bool = False
    skip_existing: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    job: Job
    status: Status
    seconds: float
    error: str = ""

    def record(self) -> dict[str, object]:
        """The outcome for JSON."""
        return {
            "source": str(self.job.source),
            "target": str(self.job.target),
            "status": self.status,
            "seconds": self.seconds,
            "error": self.error,
        }


class Painter:
    """A style on a device, that paints whole pictures."""

    def __init__(self, style: ResolvedStyle, device: str, dtype: str, settings: PaintSettings) -> None:
        place = choose_device(device)
        self.stylizer = Stylizer(style.base, perceptual_network, place, choose_dtype(dtype, place))
        self.code = style.code
        self.settings = settings

    def paint(self, picture: Picture) -> Picture:
        """Paint a picture, resized first if the settings say so; alpha and EXIF are kept."""
        if self.settings.longer_side:
            picture = resize_picture(picture, self.settings.longer_side)
        painted = self.stylizer.paint(picture.rgb, self.code, self.settings.strength)
        return Picture(painted, picture.alpha, picture.exif)

    def work(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do the jobs in order, yielding each outcome as it comes."""
        for job in jobs:
            start = time.monotonic()
            status: Status = "done"
            error = ""
            try:
                if self.is_done(job):
                    status = "skipped"
                else:
                    self._do(job)
            except PictureError as fault:
                status, error = "failed", str(fault)
            yield Outcome(job, status, round(time.monotonic() - start, 3), error)

    def is_done(self, job: Job) -> bool:
        """Is there a result that shall stay? Raises PictureError if it is in the way."""
        if not job.target.exists() or self.settings.force:
            return False
        if self.settings.skip_existing:
            return True
        raise PictureError(f"{job.target} exists; use --force to replace it or --skip-existing to keep it.")

    def _do(self, job: Job) -> None:
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PictureError(
                f"Cannot make the folder {job.target.parent}: {error.strerror}; choose another -o."
            ) from error
        picture = read_picture(job.source)
        try:
            painted = self.paint(picture)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                raise
            raise PictureError(
                f"{job.source} is too large for this device's memory; paint it smaller with --size."
            ) from error
        write_picture(painted, job.target, job.format_name, self.settings.quality)
