"""Fusing: known answers of its parts, and the command on real files."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from stylize.bundled import base_path
from stylize.cli import main
from stylize.fuse_job import FusedStylizer, is_bracket
from stylize.fusing import fusion_weights, saliency_of, smoothed
from stylize.generator import mix_codes
from stylize.images import read_picture
from stylize.model import load_base
from stylize.picture import Picture
from stylize.pixels import rgb_tensor
from stylize.pyramid import doubled, fuse_pyramids, halved, quality
from stylize.sharpening import as_sharp_as, sharpness
from stylize.sources import Source, as_source, fitted, overall_shares, shares_at
from stylize.strokes import Stroke
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_float, to_pixels

ONE_PASS = Stroke(width=None)

CPU = torch.device("cpu")
BENCHMARK = Path(__file__).parent.parent / "benchmarks/fusing.py"


def picture(width: int, height: int, seed: int = 0) -> Tensor:
    return rgb_tensor(scene(width, height, seed))


def stylizer(tile: int | None = 0) -> Stylizer:
    return Stylizer(load_base(base_path()), perceptual_network, CPU, torch.float32, tile)


def differ(a: Tensor, b: Tensor) -> int:
    """The largest difference of two pictures, in levels."""
    return int((a.int() - b.int()).abs().max())


@pytest.mark.parametrize(("width", "height"), [(157, 101), (1, 1), (200, 3), (64, 64)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_pyramids_of_one_picture_give_it_back(width: int, height: int, dtype: torch.dtype) -> None:
    one, other = (to_pixels(to_float(picture(width, height, seed)), dtype) for seed in (0, 1))
    assert torch.equal(fuse_pyramids([Source(one, 1), Source(one, 2), Source(one, 3)]), one)
    assert torch.equal(fuse_pyramids([Source(one, 1), Source(other, 0)], 64), one)
    assert torch.equal(fuse_pyramids([Source(one, 0), Source(other, 0.1)]), other)


def test_halving_and_doubling_keep_what_is_flat_and_what_rises_evenly() -> None:
    flat = torch.full((1, 2, 9, 13), 0.3)
    assert torch.allclose(halved(flat), torch.full((1, 2, 5, 7), 0.3))
    assert torch.allclose(doubled(halved(flat), (9, 13)), flat)
    ramp = torch.arange(40.0).expand(1, 1, 40, 40)
    assert torch.allclose(halved(ramp)[..., 2:-2], ramp[..., ::2, 4:-4:2])
    assert torch.allclose(doubled(halved(ramp), (40, 40))[..., 8:-8], ramp[..., 8:-8], atol=1e-5)


def test_quality_prefers_what_is_sharp_coloured_and_well_exposed() -> None:
    stripes = (torch.arange(32) % 2).expand(3, 32, 32) * 0.4 + 0.3
    flat, dark = torch.full((3, 32, 32), 0.5), stripes * 0.1
    coloured = stripes.clone()
    coloured[0] += 0.2
    sharp, dull, low, rich = quality(torch.stack([stripes, flat, dark, coloured])).mean(dim=(1, 2, 3))
    assert sharp > 10 * dull
    assert sharp > 10 * low
    assert rich > sharp


def test_the_pyramid_takes_what_is_in_focus() -> None:
    sharp = rgb_tensor(Image.effect_noise((128, 96), 80).convert("RGB"))
    blurred = rgb_tensor(Image.fromarray(sharp.permute(1, 2, 0).numpy()).reduce(8).resize((128, 96)))
    left = torch.cat([sharp[..., :64], blurred[..., 64:]], dim=2)
    right = torch.cat([blurred[..., :64], sharp[..., 64:]], dim=2)
    error = (fuse_pyramids([Source(left, 1), Source(right, 1)]).float() - sharp.float()).abs().mean()
    assert error < 0.1 * (left.float() - sharp.float()).abs().mean()


def test_tiles_of_pyramids_show_no_seams() -> None:
    one, other = picture(300, 211), picture(300, 211, 1)
    mask = torch.randint(256, (211, 300), dtype=torch.uint8)
    sources = [Source(one, 1), Source(other, 2, mask)]
    assert differ(fuse_pyramids(sources, 64), fuse_pyramids(sources, 1024)) <= 1


def test_weights_follow_saliency_and_shares() -> None:
    saliency = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])[:, None, None]
    even = fusion_weights(saliency, torch.full((2, 1, 1, 3), 0.5))
    assert torch.allclose(even.sum(0), torch.ones(1, 1, 3))
    assert even[0, 0, 0, 0] > 0.999  # twice the saliency is a choice
    assert torch.allclose(even[0, 0, 0, 1:], torch.full((2,), 0.5))  # alike, or both flat: an average
    alone = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    first = fusion_weights(saliency.flip(0), alone)
    assert torch.equal(first[1], torch.zeros(1, 1, 3))  # without a share, no weight, whatever is to be seen
    quarter = fusion_weights(saliency, torch.tensor([0.75, 0.25]).view(2, 1, 1, 1))
    assert 0.5 < quarter[0, 0, 0, 1] < 1


def test_a_flat_picture_has_no_saliency() -> None:
    busy = torch.rand(1, 1, 30, 40)
    saliency = saliency_of(*(torch.cat([busy, torch.zeros_like(busy)]) for _ in range(2)))
    assert saliency[0].mean() > 0.5
    assert torch.equal(saliency[1], torch.zeros(1, 30, 40))
    assert torch.allclose(smoothed(torch.ones(1, 3, 5, 6), 9), torch.ones(1, 3, 5, 6))


def test_shares_sum_to_one_and_fall_back_on_the_first() -> None:
    white = torch.zeros(8, 8, dtype=torch.uint8)
    white[:, 4:] = 255
    black = torch.zeros_like(white)
    rgb = picture(8, 8)
    shares = shares_at([Source(rgb, 1, black), Source(rgb, 3, white)], lambda planes: planes, cell=4)
    assert torch.equal(shares[:, 0, 0], torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert overall_shares([Source(rgb, 1), Source(rgb, 3)]) == [0.25, 0.75]
    assert overall_shares([Source(rgb, 1, black), Source(rgb, 1, black)]) == [1.0, 0.0]


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
def test_pictures_of_any_size_fit(fit: str) -> None:
    for width, height in ((10, 90), (90, 10), (1, 1), (33, 47), (300, 200)):
        assert fitted(picture(width, height), (33, 47), fit).shape == (3, 47, 33)  # pyright: ignore


def test_what_does_not_cover_takes_no_part_beside_itself() -> None:
    first = Picture(picture(40, 40))
    wide = as_source(Picture(picture(80, 40, 1)), first, 1, "contain")
    assert wide.where is not None
    assert (wide.where[10:30] == 255).all()
    assert (wide.where[:10] == 0).all()
    clear = Picture(picture(40, 40, 1), alpha=torch.zeros(40, 40, dtype=torch.uint8))
    source = as_source(clear, first, 1)
    assert torch.equal(fuse_pyramids([Source(first.rgb, 1), source]), first.rgb)
    deep = as_source(Picture(to_pixels(to_float(picture(9, 9)), torch.uint16)), first, 1)
    assert deep.rgb.dtype == torch.uint8


def test_one_picture_alone_is_painted_as_by_apply() -> None:
    one, other, code = picture(157, 101), picture(157, 101, 1), resolve_style("van-gogh").code
    paint = stylizer()
    assert (
        differ(
            paint.paint_fused([Source(one, 1), Source(other, 0)], code, ONE_PASS),
            paint.paint(one, code, ONE_PASS),
        )
        <= 1
    )
    assert (
        differ(
            paint.paint_fused([Source(one, 0), Source(other, 2)], code, ONE_PASS),
            paint.paint(other, code, ONE_PASS),
        )
        <= 1
    )
    assert (
        differ(paint.paint_fused([Source(one, 1)] * 3, code, ONE_PASS), paint.paint(one, code, ONE_PASS)) <= 1
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_soft_result_becomes_as_sharp_as_the_softest_picture(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = to_pixels(to_float(picture(157, 101)), dtype)
    soft = to_pixels(gaussian_blur(to_float(sharp), [3, 3], [0.35, 0.35]), dtype)
    assert as_sharp_as(sharp, [sharp, soft]) is sharp
    result = as_sharp_as(soft, [sharp, sharp])
    assert result.dtype == dtype
    assert sharpness(soft) < 0.97 * sharpness(sharp)
    assert 0.99 < sharpness(result) / sharpness(sharp) < 1.05
    monkeypatch.setattr("stylize.tensors._BAND", 16)
    assert differ(as_sharp_as(soft, [sharp, sharp]), result) <= 1
    assert torch.equal(as_sharp_as(soft[:, :2, :1], [sharp]), soft[:, :2, :1])


def test_fused_pictures_are_no_softer_than_their_softest() -> None:
    blurred = [gaussian_blur(picture(157, 101, seed), [9, 9], [2.0, 2.0]) for seed in (0, 1)]
    pair, code = [Source(rgb, 1) for rgb in blurred], resolve_style("photograph").code
    plain, fused = (
        stylizer().paint_fused(pair, code, ONE_PASS),
        FusedStylizer(stylizer(), pair).paint(pair[0].rgb, code, ONE_PASS),
    )
    least = min(sharpness(rgb) for rgb in blurred)
    assert sharpness(fused) >= min(least, 1.2 * sharpness(plain))
    alone = [pair[0], Source(pair[1].rgb, 0)]
    assert torch.equal(
        FusedStylizer(stylizer(), alone).paint(pair[0].rgb, code, ONE_PASS),
        stylizer().paint_fused(alone, code, ONE_PASS),
    )


def test_tiles_of_features_show_no_seams() -> None:
    sources = [Source(picture(301, 211, seed), 1) for seed in range(3)]
    code = resolve_style("ink-wash").code
    assert (
        differ(
            stylizer(128).paint_fused(sources, code, ONE_PASS),
            stylizer().paint_fused(sources, code, ONE_PASS),
        )
        <= 2
    )


def test_a_picture_beyond_the_limit_is_fused_by_its_thumbnail(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [Source(picture(400, 300, seed), 1) for seed in range(2)]
    code = resolve_style("ink-wash").code
    whole = stylizer().paint_fused(sources, code, ONE_PASS).float()
    monkeypatch.setattr("stylize.tiling.WHOLE_BODY_LIMIT", 1000)
    monkeypatch.setattr("stylize.tiling.THUMBNAIL_SIDE", 256)
    parts = stylizer(256).paint_fused(sources, code, ONE_PASS).float()
    assert (parts - whole).abs().mean() < 0.5 * whole.std()


def test_a_mask_says_where_which_picture_is() -> None:
    one, other, code = picture(256, 128), picture(256, 128, 1).flip(1), resolve_style("engraving").code
    mask = torch.zeros(128, 256, dtype=torch.uint8)
    mask[:, 128:] = 255
    fused = (
        stylizer().paint_fused([Source(one, 1, 255 - mask), Source(other, 1, mask)], code, ONE_PASS).float()
    )
    first, second = (stylizer().paint(p, code, ONE_PASS).float() for p in (one, other))
    far = {"left": slice(0, 96), "right": slice(160, 256)}
    for side, near, off in (("left", first, second), ("right", second, first)):
        columns = far[side]
        assert (fused - near)[..., columns].abs().mean() < 0.5 * (fused - off)[..., columns].abs().mean()


def test_the_distance_to_the_first_grows_with_the_balance() -> None:
    one, other, paint = picture(160, 128), picture(160, 128, 1).flip(2), stylizer()
    codes = [paint.encode(p) for p in (one, other)]
    results = [
        paint.paint_fused(
            [Source(one, 1 - b), Source(other, b)], mix_codes(codes, [1 - b, b]), ONE_PASS
        ).float()
        for b in (0, 0.25, 0.5, 0.75, 1)
    ]
    distances = [(result - results[0]).abs().mean().item() for result in results]
    assert distances == sorted(distances)
    assert distances[1] > 0


def test_exposures_of_one_scene_are_known() -> None:
    light = picture(80, 60)
    dark = (light.float() / 2).to(torch.uint8)
    assert is_bracket([Source(light, 1), Source(dark, 1)])
    assert not is_bracket([Source(light, 1), Source(light, 1)])
    assert not is_bracket([Source(light, 1), Source(dark.flip(1), 1)])


def test_the_measures_of_the_benchmark_know_a_copy() -> None:
    spec = importlib.util.spec_from_file_location("fusing_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    copy, noise = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    assert benchmark.edge_transfer(copy, copy, copy) > 0.97
    assert benchmark.edge_transfer(copy, copy, torch.full_like(copy, 0.5)) < 0.01
    assert benchmark.information(copy, copy) == pytest.approx(1)
    assert benchmark.information(copy, torch.full_like(copy, 0.5)) == 0
    assert benchmark.information(copy, noise) < 0.5


# -- the command ------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """a.jpg with EXIF, b.png of another size, mask.png of a's."""
    exif = Image.Exif()
    exif[0x010E] = "the first"
    scene(157, 101).save(tmp_path / "a.jpg", quality=95, exif=exif)
    scene(90, 140, seed=4).save(tmp_path / "b.png")
    mask = Image.new("L", (157, 101))
    mask.paste(255, (80, 0, 157, 101))
    mask.save(tmp_path / "mask.png")
    return tmp_path


def test_two_pictures_of_different_sizes_become_one(run: Run, pair: Path) -> None:
    result = run("fuse", "a.jpg", "b.png", "-o", "out.jpg")
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b""
    with Image.open(pair / "out.jpg") as image:
        assert image.size == (157, 101)
        assert image.getexif()[0x010E] == "the first"
        assert b"compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]
        assert b"in the style of a and b" in image.info["xmp"]
    again = run("fuse", "a.jpg", "b.png", "-o", "out.jpg")
    assert again.returncode == 2
    assert b"--force" in again.stderr
    kept = run("fuse", "a.jpg", "b.png", "-o", "out.jpg", "--skip-existing", "--json", "-s", "ukiyo-e")
    assert kept.returncode == 0
    facts = json.loads(kept.stdout)
    assert (facts["status"], facts["target"], facts["style"]) == ("skipped", "out.jpg", "ukiyo-e")


def test_balance_zero_is_the_painting_of_the_first(run: Run, pair: Path) -> None:
    style = ["--style", "ink-wash:2", "--style", "van-gogh:1", "--dtype", "fp32"]
    assert run("fuse", "a.jpg", "b.png", "-o", "fused.png", "--balance", 0, *style).returncode == 0
    assert run("apply", "a.jpg", "-o", "applied.png", *style).returncode == 0
    fused, applied = (read_picture(pair / name).rgb for name in ("fused.png", "applied.png"))
    assert differ(fused, applied) <= 1


def test_the_pyramid_leaves_a_photograph_and_says_so(run: Run, pair: Path) -> None:
    arguments = ["fuse", "a.jpg", "b.png", "a.jpg", "--mode", "pyramid", "--fit", "contain"]
    plain, painted = run(*arguments, "-o", "plain.png"), run(*arguments, "-o", "p.png", "-s", "b.png")
    assert plain.returncode == painted.returncode == 0, plain.stderr + painted.stderr
    with Image.open(pair / "plain.png") as image:
        mark = image.info["xmp"]
        assert b"digitalsourcetype/composite<" in mark
        assert b"AISystem" not in mark
        assert b"Fused by stylize from a and b and a" in mark
    assert (pair / "p.png").read_bytes() != (pair / "plain.png").read_bytes()
    smaller = ["--style", "van-gogh", "--strength", 0, "--size", 64, "--tile", 64]
    zero = run(*arguments, "-o", "zero.png", *smaller, "--json")
    assert zero.returncode == 0
    assert json.loads(zero.stdout)["status"] == "done"
    with Image.open(pair / "zero.png") as image:
        assert image.size == (64, 41)


def test_a_mask_is_obeyed_by_the_command(run: Run, pair: Path) -> None:
    options = ["--mode", "pyramid", "--mask", "mask.png", "--feather", 0, "--fit", "stretch", "--size", "157"]
    result = run("fuse", "a.jpg", "b.png", "-o", "out.png", *options, "--no-metadata")
    assert result.returncode == 0, result.stderr.decode()
    fused, first = (read_picture(pair / name) for name in ("out.png", "a.jpg"))
    second = fitted(read_picture(pair / "b.png").rgb, (157, 101), "stretch")
    assert fused.xmp == b""
    assert (fused.rgb[..., :30].float() - first.rgb[..., :30].float()).abs().mean() < 6
    assert (fused.rgb[..., -30:].float() - second[..., -30:].float()).abs().mean() < 6


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a.jpg"], 2, "one picture only"),
        (["a.jpg", "none.jpg"], 2, "no file or folder none.jpg"),
        (["a.jpg:0", "b.png:0"], 2, "sum to nothing"),
        (["a.jpg:-1", "b.png"], 2, "from 0 up"),
        (["a.jpg", "b.png", "--balance", "1.5"], 2, "--balance"),
        (["a.jpg:2", "b.png", "--balance", "0.5"], 2, "say the same thing"),
        (["a.jpg", "b.png", "a.jpg", "--balance", "0.5"], 2, "two pictures"),
        (["a.jpg", "b.png", "--mask", "mask.png", "--balance", "0.5"], 2, "say the same thing"),
        (["a.jpg", "b.png", "a.jpg", "--mask", "mask.png"], 2, "two pictures"),
        (["a.jpg", "b.png", "--mask", "b.png"], 1, "first picture's size"),
        (["a.jpg", "b.png", "--style", "ink-wosh"], 2, "did you mean"),
        (["a.jpg", "broken.jpg"], 1, "broken.jpg"),
        (["a.jpg", "b.png", "-o", "b.png", "-f"], 2, "is an input"),
        (["a.jpg", "b.png", "-o", "out.xyz"], 2, "Cannot write .xyz"),
        (["a.jpg", "b.png", "-f", "--skip-existing"], 2, "contradict"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    pair: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    (pair / "broken.jpg").write_bytes((pair / "a.jpg").read_bytes()[:400])
    before = {path: path.read_bytes() for path in pair.iterdir()}
    monkeypatch.chdir(pair)
    assert main(["fuse", *arguments, *([] if "-o" in arguments else ["-o", "out.png"])]) == code
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert {path: path.read_bytes() for path in pair.iterdir()} == before


def test_a_lack_of_memory_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stylize.stylizer.paint_fused", fail)
    monkeypatch.chdir(pair)
    assert main(["fuse", "a.jpg", "b.png", "-o", "out.png"]) == 1
    assert "not enough memory" in capsys.readouterr().err
    assert not (pair / "out.png").exists()
