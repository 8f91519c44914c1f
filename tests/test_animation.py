"""Animations: every frame, its time, how often all is shown, and a look that does not flicker."""

import io
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from conftest import Run, scene
from PIL import Image
from torch import Tensor

from stylize.animation import in_palette, write_motion
from stylize.errors import PictureError
from stylize.images import encode_picture, read_picture, read_rgb
from stylize.jobs import Job
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.paths import FORMATS
from stylize.picture import Motion
from stylize.pixels import rgb_tensor
from stylize.steady import SteadyStylizer, samples_of
from stylize.strokes import Stroke
from stylize.styles import resolve_style

ONE_PASS = Stroke(width=None)

TIMES = [40, 80, 120, 50, 40, 90]
SIZE = (151, 61)


def frames(transparent: bool = False) -> list[Image.Image]:
    """A disc of changing brightness on the left of a still scene."""
    result = []
    for i in range(len(TIMES)):
        frame = scene(*SIZE)
        frame.paste((40 * i, 250 - 40 * i, 30), (4 + 3 * i, 10, 24 + 3 * i, 40))
        if transparent:
            frame.putalpha(Image.new("L", SIZE, 255))
            frame.paste((0, 0, 0, 0), (100 + i, 5, 120 + i, 25))
        result.append(frame)
    return result


def film(suffix: str, transparent: bool = False, **options: object) -> bytes:
    buffer = io.BytesIO()
    first, *others = frames(transparent)
    clears = transparent and suffix == "gif"  # as PNG, Pillow writes such frames wrong
    options = {"lossless": True, "disposal": 2 if clears else 1 if suffix == "gif" else 0} | options
    first.save(buffer, FORMATS[suffix], save_all=True, append_images=others, duration=TIMES, **options)
    return buffer.getvalue()


def timeline(path: Path) -> tuple[list[float], int | None, tuple[int, int]]:
    with Image.open(path) as image:
        times = []
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            times.append(image.info["duration"])
        return times, image.info.get("loop"), image.size


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_frames_times_and_repetitions_survive(run: Run, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"film.{suffix}").write_bytes(film(suffix, loop=3))
    result = run("apply", f"film.{suffix}", "-s", "ukiyo-e")
    assert result.returncode == 0, result.stderr.decode()
    times, loop, size = timeline(tmp_path / f"film.ukiyo-e.{suffix}")
    assert times == TIMES
    assert loop == (None if suffix == "avif" else 3)
    assert size == SIZE
    if suffix in {"gif", "webp", "png"}:  # other libraries see the frames too
        decode = {
            "gif": imagecodecs.gif_decode,
            "webp": imagecodecs.webp_decode,
            "png": imagecodecs.apng_decode,
        }[suffix]
        content = (tmp_path / f"film.ukiyo-e.{suffix}").read_bytes()
        shown = [decode(content, index=i)[..., :3].astype(int) for i in range(len(TIMES))]
        assert {frame.shape for frame in shown} == {(SIZE[1], SIZE[0], 3)}
        assert all((a != b).any() for a, b in pairwise(shown))


@pytest.mark.parametrize(("suffix", "target"), [("gif", "webp"), ("png", "gif"), ("webp", "png")])
def test_from_one_format_to_another(tmp_path: Path, suffix: str, target: str) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(film(suffix, loop=3))
    picture = read_picture(tmp_path / f"x.{suffix}")
    assert picture.motion is not None
    assert picture.motion.plays == (4 if suffix == "gif" else 3)  # a GIF counts repetitions
    with (tmp_path / f"y.{target}").open("wb") as file:
        encode_picture(picture, file, FORMATS[target], 90)
    times, loop, _ = timeline(tmp_path / f"y.{target}")
    assert times == TIMES
    assert loop == {"webp": 4, "gif": 2, "png": 3}[target]


def test_a_gif_that_is_shown_once_stays_so(tmp_path: Path) -> None:
    (tmp_path / "x.gif").write_bytes(film("gif"))
    picture = read_picture(tmp_path / "x.gif")
    assert picture.motion is not None
    assert picture.motion.plays == 1
    with (tmp_path / "y.gif").open("wb") as file:
        encode_picture(picture, file, "GIF", 90)
    assert timeline(tmp_path / "y.gif")[1] is None


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_what_is_clear_stays_clear_in_every_frame(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(film(suffix, transparent=True))
    picture = read_picture(tmp_path / f"x.{suffix}")
    with (tmp_path / f"y.{suffix}").open("wb") as file:
        encode_picture(picture, file, FORMATS[suffix], 90)
    again = read_picture(tmp_path / f"y.{suffix}")
    assert picture.motion is not None
    assert again.motion is not None
    for i, frame in enumerate(again.motion.frames):
        assert frame.alpha is not None
        expected = np.array(frames(transparent=True)[i].getchannel("A"))
        assert np.array_equal(frame.alpha.numpy(), expected)


def test_a_format_without_motion_gets_the_first_frame(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gif").write_bytes(film("gif"))
    assert run("apply", "x.gif", "-s", "ukiyo-e", "-o", "y.jpg").returncode == 0
    with Image.open(tmp_path / "y.jpg") as image:
        assert image.size == SIZE
    assert read_rgb(tmp_path / "x.gif").shape == (3, SIZE[1], SIZE[0])


def test_frames_are_resized_together() -> None:
    picture = Painter(Look(resolve_style("ink-wash")), "cpu", "auto", PaintSettings(longer_side=50)).paint(
        read_picture(film("webp"))
    )
    assert picture.motion is not None
    assert {frame.size for frame in picture.motion.frames} == {(50, 20)}


def test_rounded_times_do_not_add_up_to_an_error(tmp_path: Path) -> None:
    images = frames()
    motion = Motion((), (33.4,) * len(images), 0)
    with (tmp_path / "x.gif").open("wb") as file:
        write_motion(images, motion, file, "GIF", {})
    times, loop, _ = timeline(tmp_path / "x.gif")
    assert sum(times) == 200
    assert loop == 0


def test_too_many_frames_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_MAX_MEGAPIXELS", "0.05")  # the film has six frames of 9,211 pixels
    with pytest.raises(PictureError, match=r"151 x 61 pixels in 6 frames.*STYLIZE_MAX_MEGAPIXELS=1 "):
        read_picture(film("webp"))


# -- the look over frames -------------------------------------------------------------------------


def still_change(paintings: list[Tensor]) -> float:
    """Mean change from frame to frame where the scene stands still and no convolution sees the disc."""
    still = [painting[..., -8:].float() for painting in paintings]
    return max(float((a - b).abs().mean()) for a, b in pairwise(still))


def wide_film() -> list[Tensor]:
    """Frames so wide that the right end is beyond what a pixel of the left can reach."""
    result = []
    for i in range(5):
        frame = scene(700, 64)
        frame.paste((50 * i, 50 * i, 50 * i), (0, 0, 120, 64))
        result.append(rgb_tensor(frame))
    return result


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_what_stands_still_is_painted_the_same(strength: float) -> None:
    painter = Painter(Look(resolve_style("van-gogh")), "cpu", "fp32", PaintSettings())
    photos = wide_film()
    steady = SteadyStylizer(painter.stylizer, photos)
    alone = [painter.stylizer.paint(photo, painter.code, ONE_PASS, strength) for photo in photos]
    together = [steady.paint(photo, painter.code, ONE_PASS, strength) for photo in photos]
    assert still_change(alone) > 1
    assert still_change(together) == 0
    # It is still the same style: not far from what each frame would be by itself.
    assert (torch.stack(together).float() - torch.stack(alone).float()).abs().mean() < 25


def test_one_frame_alone_is_painted_as_ever() -> None:
    painter = Painter(Look(resolve_style("van-gogh")), "cpu", "fp32", PaintSettings())
    (photo, *_) = wide_film()
    steady = SteadyStylizer(painter.stylizer, [photo]).paint(photo, painter.code, ONE_PASS)
    assert (steady.int() - painter.stylizer.paint(photo, painter.code, ONE_PASS).int()).abs().max() <= 1


def test_samples_are_spread_and_few() -> None:
    small = [torch.full((3, 2, 2), i) for i in range(100)]
    assert [int(frame[0, 0, 0]) for frame in samples_of(small)] == [6, 18, 31, 43, 56, 68, 81, 93]
    large = [torch.empty(3, 3000, 3000, dtype=torch.uint8)] * 3
    assert len(samples_of(large)) == 1


def test_the_dither_of_a_gif_stands_still() -> None:
    images = [Image.fromarray(photo.permute(1, 2, 0).numpy()) for photo in wide_film()]
    ours = [rgb_tensor(image) for image in in_palette(images)]
    assert still_change(ours) == 0
    error = (ours[0].float() - wide_film()[0].float()).abs().mean()
    assert error < 12


def test_an_animation_goes_through_a_folder_with_the_stills(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(film("gif"))
    scene(*SIZE).save(tmp_path / "b.png")
    jobs = [Job(tmp_path / name, tmp_path / f"out/{name}") for name in ("a.gif", "b.png")]
    outcomes = list(
        Painter(Look(resolve_style("ink-wash")), "cpu", "auto", PaintSettings(batch=4)).work(jobs)
    )
    assert [outcome.status for outcome in outcomes] == ["done", "done"], outcomes[0].note
    assert len(timeline(tmp_path / "out/a.gif")[0]) == len(TIMES)
