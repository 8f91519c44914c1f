"""One picture for `stylize optimize`: read, begin, optimise, write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stylize import bundled
from stylize.cards import StyleCard
from stylize.devices import choose_device, choose_dtype, out_of_memory
from stylize.errors import StylizeError, UsageError
from stylize.images import read_picture, read_rgb, resize_picture, write_picture
from stylize.marking import xmp_packet
from stylize.mixing import keep_colour
from stylize.model import load_perceptual
from stylize.optimising import Init, OptimiseSettings, Progress, optimise
from stylize.paths import FORMATS
from stylize.perceptual import LossNetwork
from stylize.picture import Picture
from stylize.studio import load_vgg
from stylize.styles import perceptual_network, resolve_blend
from stylize.stylizer import Stylizer
from stylize.tensors import to_uint8

USUAL_SIDE = 1024
_LARGEST_WORK = 1024


@dataclass(frozen=True)
class OptimiseJob:
    """What `stylize optimize` was asked for."""

    photo: Path
    works: Sequence[tuple[Path, float]]
    output: Path
    unfinished: Path
    """What is kept of an optimisation that was stopped."""
    init: Init
    longer_side: int | None
    keep_colour: bool
    perceptual: str
    preview: int
    device: str
    dtype: str
    settings: OptimiseSettings


def carry_out(job: OptimiseJob, on_step: Callable[[int, float], None]) -> None:
    """Do it; `on_step` is told the scale and the loss. Raises StylizeError for what cannot be."""
    total = sum(weight for _, weight in job.works)
    if total <= 0:
        raise UsageError("The weights of the paintings sum to nothing; give at least one a weight above 0.")
    picture = read_picture(job.photo).simple()
    longest = max(picture.rgb.shape[1:])
    picture = resize_picture(picture, job.longer_side or min(longest, USUAL_SIDE))
    works = [(read_rgb(path, shorter_side=_LARGEST_WORK), weight / total) for path, weight in job.works]
    device = choose_device(job.device)
    dtype = choose_dtype(job.dtype, device)
    compact = load_perceptual(bundled.perceptual_path()).to(memory_format=torch.channels_last)
    network = LossNetwork(compact, load_vgg(job.perceptual)).requires_grad_(False).to(device)

    def step(progress: Progress) -> None:
        on_step(progress.scale, progress.loss)
        if job.preview and progress.step % job.preview == 0:
            _write(job, replace(picture, rgb=to_uint8(progress.picture[0].cpu())))

    try:
        result = optimise(
            picture.rgb, _start(job, picture, device, dtype), works, job.settings, network, device, dtype,
            job.unfinished, step,
        )  # fmt: skip
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        side = max(picture.rgb.shape[1:]) * 2 // 3
        raise StylizeError(
            f"There is not enough memory for this size; try --size {side} or --optimizer adam."
        ) from error
    result = keep_colour(result, picture.rgb) if job.keep_colour else result
    _write(job, replace(picture, rgb=result))
    job.unfinished.unlink(missing_ok=True)


def _start(job: OptimiseJob, picture: Picture, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The picture to begin with."""
    if job.init == "noise":
        random = torch.Generator().manual_seed(0)
        return torch.randint(256, picture.rgb.shape, generator=random, dtype=torch.uint8)
    if job.init == "content":
        return picture.rgb
    style = resolve_blend([f"{path}:{weight}" for path, weight in job.works])
    return Stylizer(style.base, perceptual_network, device, dtype).paint(
        picture.rgb, style.code, style.stroke
    )


def _write(job: OptimiseJob, picture: Picture) -> None:
    cards = [StyleCard(path.stem) for path, _ in job.works]
    marked = replace(picture, xmp=xmp_packet(cards, picture.xmp))
    write_picture(marked, job.output, FORMATS[job.output.suffix.lower().lstrip(".")], 92)
