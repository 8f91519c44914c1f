"""Animated GIF, WebP, PNG and AVIF: every frame as it is seen, its time, and how often all is shown.

Pillow joins neighbouring frames that are the same into one that stays as long as both.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image

from stylize.picture import Motion, Picture

ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}
"""Formats that hold animations. (The pages of a TIFF are no animation.)"""

_CLEAR = 255
"""The palette's index that means transparent in the GIFs that we write."""

_SAMPLES = 16
_GRAIN = 8
"""How many levels of 255 the dither adds or takes at most, less than the distance of colours in a palette."""


def frame_count(image: Image.Image) -> int:
    """How many frames an opened file shows; 1 unless it is an animation."""
    if image.format not in ANIMATED or not getattr(image, "is_animated", False):
        return 1
    return getattr(image, "n_frames", 1) - _hidden(image)


def read_motion(image: Image.Image, read: Callable[[Image.Image], Picture]) -> Motion:
    """All frames of an animation; `read` turns one, in whatever mode, into a picture.

    Raises almost anything for damaged files, before much memory is taken.
    """
    frames, durations = [], []
    plays, size = _plays(image), image.size
    for index in range(_hidden(image), getattr(image, "n_frames", 1)):
        image.seek(index)
        if image.size != size:  # Pillow would enlarge everything to hold such a frame
            raise ValueError("a frame reaches beyond the picture")
        image.load()
        frames.append(read(image))
        durations.append(float(image.info.get("duration") or 0))
    if all(f.alpha is None or bool((f.alpha == 255).all()) for f in frames):
        frames = [Picture(f.rgb) for f in frames]
    return Motion(tuple(frames), tuple(durations), plays)


def _hidden(image: Image.Image) -> int:
    """A PNG may start with a picture for programs that know no animations; it is not part of one."""
    return int(bool(image.info.get("default_image")))


def _plays(image: Image.Image) -> int:
    """How often the animation is shown. A GIF counts repetitions, and without a count is shown once."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and loop + 1
    return int(loop or 0)


def write_motion(
    frames: Sequence[Image.Image],
    motion: Motion,
    file: BinaryIO,
    format_name: str,
    options: dict[str, object],
) -> None:
    """Write pictures, RGB or RGBA, as an animation with the times of `motion`."""
    options = dict(options, save_all=True, duration=_durations(motion, format_name))
    if format_name == "GIF":
        frames = in_palette(frames)
        if motion.plays != 1:
            options["loop"] = max(0, motion.plays - 1)
        clear = "transparency" in frames[0].info
        options |= {"transparency": _CLEAR, "disposal": 2} if clear else {}
    else:
        options["loop"] = motion.plays
    frames[0].save(file, format=format_name, append_images=frames[1:], **options)  # pyright: ignore


def _durations(motion: Motion, format_name: str) -> list[int]:
    """Whole milliseconds, in a GIF whole hundredths of a second; what is rounded off is made good later."""
    unit = 10 if format_name == "GIF" else 1
    result, wanted, given = [], 0.0, 0
    for duration in motion.durations:
        wanted += duration
        result.append(max(0, round((wanted - given) / unit) * unit))
        given += result[-1]
    return result


# -- GIF ------------------------------------------------------------------------------------------


def in_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """RGB or RGBA pictures in one palette for all of them, so that no colour jumps.

    The dither is a grain that stands still (Bayer's matrix): error diffusion, which is usual, would
    crawl over everything as soon as one pixel changes.
    """
    palette = _common_palette(frames)
    result = []
    for frame in frames:
        image = _grained(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        if frame.mode == "RGBA":
            clear = frame.getchannel("A").point([255] * 128 + [0] * 128)
            image.paste(_CLEAR, mask=clear)
            image.info["transparency"] = _CLEAR
        result.append(image)
    return result


def _common_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """255 colours that serve all frames; the last place is left for what is clear."""
    step = -(-len(frames) // _SAMPLES)
    samples = [frame.convert("RGB") for frame in frames[::step]]
    for sample in samples:
        sample.thumbnail((256, 256), Image.Resampling.NEAREST)
    width, height = samples[0].size
    sheet = Image.new("RGB", (width, height * len(samples)))
    for row, sample in enumerate(samples):
        sheet.paste(sample, (0, row * height))
    return sheet.quantize(_CLEAR, Image.Quantize.MEDIANCUT)


def _grained(frame: Image.Image) -> Image.Image:
    pixels = np.asarray(frame.convert("RGB")).astype(np.int16)
    height, width = pixels.shape[:2]
    grain = np.tile(_bayer(), (-(-height // 8), -(-width // 8)))[:height, :width, None]
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


@cache
def _bayer() -> np.ndarray:
    """Bayer's 8 x 8 matrix of thresholds, from -GRAIN to GRAIN."""
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / 32 - 1) * _GRAIN
