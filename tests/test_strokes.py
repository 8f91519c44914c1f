"""Painting from coarse to fine: the look depends on the stroke's width, and not on the picture's size."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import Run, scene
from PIL import Image
from stored_paintings import FOLDER, STYLES, painted
from torch import Tensor

from stylize.errors import UsageError
from stylize.images import read_rgb, resize_planes
from stylize.judging import ssim
from stylize.looks import Look
from stylize.multiscale import keep_low_frequencies, noise_of, resized, with_noise
from stylize.painting import Painter, PaintSettings
from stylize.picture import Picture
from stylize.pixels import rgb_tensor
from stylize.strokes import MEDIUM, STROKES, Stroke, mean_stroke, parse_stroke, stroke_of_card
from stylize.styles import resolve_style
from stylize.tensors import luminance, to_float

EXAMPLES = Path(__file__).parent.parent / "examples"
BOLD = STROKES["bold"]


def painter(style: str = "ukiyo-e", dtype: str = "fp32", **settings: object) -> Painter:
    return Painter(Look(resolve_style(style)), "cpu", dtype, PaintSettings(**settings))  # pyright: ignore


def photograph(width: int, height: int) -> Tensor:
    return resize_planes(read_rgb(EXAMPLES / "temple.jpg"), (width, height))


def light(rgb: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Luminance (1, 1, H, W) in [0, 1], in a size (height, width) if given."""
    return luminance(to_float(rgb if size is None else resized(rgb, size))[None])


def correlation(a: Tensor, b: Tensor) -> float:
    """Of the detail that is finer than about 16 pixels."""
    fine = [x - F.avg_pool2d(x, 15, 1, 7, count_include_pad=False) for x in (a, b)]
    return torch.corrcoef(torch.stack([x.flatten() for x in fine]))[0, 1].item()


# -- sizes ------------------------------------------------------------------------------------------------


def test_passes_grow_from_the_first_side_to_the_pictures_own_size() -> None:
    sizes = Stroke(MEDIUM).sizes(3024, 4032)
    assert sizes == [(400, 528), (896, 1200), (3024, 4032)]
    sizes = Stroke(BOLD).sizes(9000, 12000)
    ratios = [after[0] / before[0] for before, after in pairwise(sizes)]
    assert all(1.25 < ratio <= 4 for ratio in ratios)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (400, 900), (405, 405), (1, 5000)])
def test_what_is_smaller_than_the_first_side_is_painted_once(size: tuple[int, int]) -> None:
    assert Stroke(MEDIUM).sizes(*size) == [size]


def test_what_is_smaller_than_a_screen_is_reduced_from_it() -> None:
    assert Stroke(MEDIUM).sizes(500, 800) == [(400, 640), (896, 1440)]
    assert Stroke(MEDIUM).sizes(1000, 1000) == [(400, 400), (896, 896), (1000, 1000)]
    assert Stroke(MEDIUM).sizes(900, 900) == [(400, 400), (896, 896)]


def test_without_a_width_there_is_one_pass() -> None:
    assert Stroke(None).sizes(3000, 4000) == [(3000, 4000)]


def test_names_and_numbers_are_widths() -> None:
    assert parse_stroke("Bold") == STROKES["bold"]
    assert parse_stroke("0.8") == 0.8
    assert Stroke(parse_stroke("2.5")).first_side == 160  # four pixels are 2.5 percent of 160


@pytest.mark.parametrize("text", ["0", "-1", "huge", "", "nan", "inf", "5", "0.01"])
def test_other_widths_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"fine, medium or bold.*from 0\.1 to 4"):
        parse_stroke(text)


def test_a_card_may_ask_for_a_width_or_for_none() -> None:
    assert stroke_of_card("none", MEDIUM) is None
    assert stroke_of_card("fine", MEDIUM) == STROKES["fine"]
    assert stroke_of_card("1.3", MEDIUM) == 1.3
    assert stroke_of_card("", MEDIUM) == MEDIUM
    assert stroke_of_card("what others wrote", None) is None


def test_a_blend_paints_with_the_mean() -> None:
    mean = mean_stroke([Stroke(0.5, 0.1), Stroke(2.0, 0.3)], [0.5, 0.5])
    assert mean.width == pytest.approx(1.0)
    assert mean.noise == pytest.approx(0.2)
    assert mean_stroke([Stroke(None), Stroke(None)], [0.5, 0.5]).width is None
    assert mean_stroke([Stroke(None), Stroke(1.5)], [0.5, 0.5]).width == pytest.approx(1.5)


# -- between the passes -----------------------------------------------------------------------------------


def test_noise_depends_on_the_seed_and_the_size_alone() -> None:
    assert torch.equal(noise_of(90, 130, 1), noise_of(90, 130, 1))
    assert not torch.equal(noise_of(90, 130, 1), noise_of(90, 130, 2))
    assert torch.equal(noise_of(91, 129, 1)[:90], noise_of(90, 130, 1)[:, :129])
    grey = torch.full((3, 90, 130), 128, dtype=torch.uint8)
    assert torch.equal(with_noise(grey, 0.0, 1), grey)
    noisy = with_noise(grey, 0.05, 1)
    assert torch.equal(noisy[0], noisy[2])
    assert 10 < noisy.float().std() < 30


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_colours_of_the_pass_before_are_kept_and_detail_is_not(depth: torch.dtype) -> None:
    top = 255 if depth == torch.uint8 else 65535
    coarse = torch.rand(3, 64, 96).mul(0.2).add(0.3).mul(top).to(depth)
    detail = torch.zeros(3, 640, 960)
    detail[:, :, ::2] = 0.2
    fine = (torch.full((3, 640, 960), 0.6) + detail).mul(top).to(depth)
    result = keep_low_frequencies(fine.clone(), coarse)
    assert result.dtype == depth
    means = F.avg_pool2d(to_float(result), 20), F.avg_pool2d(to_float(coarse), 2)
    assert (means[0] - means[1]).abs().mean() < 0.02
    columns = to_float(result).mean(dim=(0, 1))
    assert (columns[::2] - columns[1::2]).mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_pictures_are_reduced_and_enlarged_in_their_depth(depth: torch.dtype) -> None:
    picture = (photograph(120, 80).int() * (1 if depth == torch.uint8 else 257)).to(depth)
    large = resized(picture, (240, 360))
    assert large.dtype == depth
    assert (to_float(resized(large, (80, 120))) - to_float(picture)).abs().mean() < 0.02


# -- the look ---------------------------------------------------------------------------------------------


def test_a_large_result_shrunk_is_a_small_result() -> None:
    paint = painter("ukiyo-e", "auto")
    small = paint.paint(Picture(photograph(768, 576))).rgb
    large = paint.paint(Picture(photograph(1536, 1152))).rgb
    assert ssim(light(large, (576, 768)), light(small), 1.0) > 0.9


def test_a_result_smaller_than_the_first_pass_looks_like_a_large_one() -> None:
    photo = Picture(photograph(1024, 768))
    large = painter("ukiyo-e", "auto").paint(photo).rgb
    small = painter("ukiyo-e", "auto", longer_side=256).paint(photo).rgb
    assert small.shape == (3, 192, 256)
    assert ssim(light(large, (192, 256)), light(small), 1.0) > 0.9


def test_wider_strokes_keep_less_of_the_photographs_detail() -> None:
    photo = photograph(1024, 768)
    widths = (None, 0.5, 1.0, 2.0)
    kept = []
    for width in widths:
        paint = painter("van-gogh", "auto", stroke=width)
        stroke = paint.stroke if width else Stroke(None)
        kept.append(correlation(light(photo), light(paint.stylizer.paint(photo, paint.code, stroke))))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] - kept[-1] > 0.2


def test_strength_goes_steadily_from_the_photograph_itself() -> None:
    photo = photograph(800, 600)
    results = [painter("ukiyo-e", "auto", strength=s / 10).paint(Picture(photo)).rgb for s in range(0, 11, 2)]
    assert torch.equal(results[0], photo)
    far = [(result.float() - photo.float()).abs().mean().item() for result in results]
    assert far == sorted(far)
    assert far[-1] > 2 * far[1]


def test_a_moderate_strength_shows_no_contour_twice() -> None:
    # A ghost is an edge of the painting beside one of the photograph: more edges than either has.
    photo = photograph(800, 600)

    def edges(rgb: Tensor) -> float:
        x = light(rgb)
        return (x[..., 1:] - x[..., :-1]).abs().mean().item()

    half, full = (painter("ukiyo-e", "auto", strength=s).paint(Picture(photo)).rgb for s in (0.5, 1.0))
    assert edges(half) < 1.1 * max(edges(photo), edges(full))


def test_tiles_give_the_picture_of_one_piece_in_all_passes() -> None:
    photo = photograph(1100, 820)
    whole, tiled = (painter("ukiyo-e", tile=tile).paint(Picture(photo)).rgb for tile in (0, 256))
    assert (whole.int() - tiled.int()).abs().max() <= 1


def test_a_batch_is_what_its_pictures_are_alone() -> None:
    paint = painter("van-gogh")
    photos = [photograph(700, 600), photograph(700, 600).flip(2)]
    together = paint.stylizer.paint_batch(photos, paint.code, paint.stroke)
    for photo, result in zip(photos, together, strict=True):
        alone = paint.stylizer.paint_batch([photo], paint.code, paint.stroke)[0]
        assert (alone.rgb.int() - result.rgb.int()).abs().max() <= 2  # a pass of its own rounds once more


def test_16_bits_are_painted_like_8() -> None:
    photo = photograph(700, 560)
    paint = painter("van-gogh")
    deep = paint.paint(Picture((photo.int() * 257).to(torch.uint16))).rgb
    assert deep.dtype == torch.uint16
    plain = paint.paint(Picture(photo)).rgb
    assert (deep.float() / 257 - plain.float()).abs().mean() < 2


def test_a_style_that_translates_keeps_all_detail() -> None:
    style = resolve_style("photograph")
    assert style.stroke.width is None


# -- the command line -------------------------------------------------------------------------------------


def test_the_stroke_is_in_the_record_and_in_the_mark(run: Run, tmp_path: Path) -> None:
    scene(700, 600).save(tmp_path / "photo.png")
    result = run("apply", "photo.png", "-s", "van-gogh", "--stroke", "bold", "--json", "-o", "out.png")
    assert result.returncode == 0, result.stderr.decode()
    assert json.loads(result.stdout)["stroke"] == BOLD
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (700, 600)
        assert f"stroke {BOLD:g} %" in str(image.info["XML:com.adobe.xmp"])


def test_a_wrong_stroke_is_one_sentence(run: Run, photo: Path) -> None:
    result = run("apply", photo, "-s", "van-gogh", "--stroke", "huge")
    assert result.returncode == 2
    assert b"fine, medium or bold" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_strength_0_gives_the_same_pixels(run: Run, tmp_path: Path) -> None:
    scene(300, 200).save(tmp_path / "photo.png")
    result = run("apply", "photo.png", "-s", "ink-wash", "--strength", "0", "-o", "same.png")
    assert result.returncode == 0, result.stderr.decode()
    with Image.open(tmp_path / "photo.png") as before, Image.open(tmp_path / "same.png") as after:
        assert torch.equal(rgb_tensor(before.convert("RGB")), rgb_tensor(after.convert("RGB")))


def test_seeds_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    scene(640, 560).save(tmp_path / "photo.png")
    for name in ("a", "b"):
        assert run("apply", "photo.png", "-s", "ukiyo-e", "--seed", "3", "-o", f"{name}.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_painting_loads_no_compiler(tmp_path: Path) -> None:
    # Arithmetic on the meta device loads torch's compiler and sympy, which take longer than painting.
    code = """
import sys
from stylize.cli import main
assert main(["apply", "photo.png", "-s", "ink-wash"]) == 0
print(*{"torch._dynamo", "sympy", "torchvision", "scipy"} & set(sys.modules))
"""
    scene(500, 420).save(tmp_path / "photo.png")
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("style", STYLES)
def test_the_look_is_that_of_the_stored_painting(style: str, dtype: str) -> None:
    # If a change of the look is wanted: python tests/stored_paintings.py
    stored = read_rgb(FOLDER / f"{style}.png")
    assert ssim(light(painted(style, dtype).rgb), light(stored), 1.0) > 0.95
