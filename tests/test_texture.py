"""Textures: noise and canvas, painting of any size, edges that meet, the command, and learning one."""

import json
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from PIL import Image
from torch import Tensor

from stylize import bundled, texturing
from stylize.canvas import Canvas, Noise, draw_noise
from stylize.config import CanvasConfig, GeneratorConfig, TextureConfig, TextureWeights
from stylize.dataset import PictureSet
from stylize.errors import StylizeError, UsageError, WeightsError
from stylize.library import StyleLibrary
from stylize.marking import ALL_BY_MODEL
from stylize.model import Base, load_base, load_canvas, load_perceptual, load_style, new_base, save_canvas
from stylize.perceptual import LossNetwork
from stylize.styles import resolve_style
from stylize.texture import TexturePainter, TextureTrainer, mean_distance
from stylize.texturing import TextureStylizer, column_weights
from stylize.translation import Eyes

CPU = torch.device("cpu")
TINY = GeneratorConfig(8, 16, 32, 1, 1, 16, attention_width=8)
SMALL = CanvasConfig(width=16, outputs=16, code_size=16)


def tiny(tile: int | None = None, seed: int = 0) -> TextureStylizer:
    torch.manual_seed(seed)
    base, canvas = new_base(TINY), Canvas(SMALL)
    torch.nn.init.constant_(base.generator.attention.gate, 1.0)  # pyright: ignore
    return TextureStylizer(base, canvas, CPU, torch.float32, tile)


def codes(count: int = 1) -> list[Tensor]:
    torch.manual_seed(5)
    return [torch.randn(1, TINY.code_size) for _ in range(count)]


def noise(height: int, width: int, margin: int = 0, wrap: bool = False) -> Noise:
    return draw_noise(SMALL, height, width, torch.Generator().manual_seed(1), margin, wrap)


# -- the canvas -----------------------------------------------------------------------------------


def test_a_canvas_has_a_quarter_of_the_size_and_no_edges() -> None:
    canvas = Canvas(SMALL)
    plain = canvas(noise(64, 96), codes()[0])
    assert plain.shape == (1, 16, 16, 24)
    assert canvas(noise(64, 96, margin=32), codes()[0]).shape == (1, 16, 32, 40)


def test_the_shipped_canvas_is_small() -> None:
    canvas, identity = load_canvas(bundled.canvas_path())
    assert sum(p.numel() for p in canvas.parameters()) <= 400_000
    assert bundled.canvas_path().stat().st_size <= 2_000_000
    assert identity == load_base(bundled.base_path()).identity


def test_a_canvas_that_repeats_itself_does() -> None:
    """Waves included: what lies in the margin is what lies on the other side."""
    features = Canvas(SMALL)(noise(64, 96, margin=32, wrap=True), codes()[0])
    torch.testing.assert_close(features[..., :16, :], features[..., 16:32, :], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features[..., :, :16], features[..., :, 24:40], atol=1e-4, rtol=1e-4)
    assert (features[..., :8] - features[..., 8:16]).abs().max() > 0.01


def test_a_new_canvas_starts_as_loud_as_the_stem() -> None:
    canvas = Canvas()
    mean, deviation = torch.linspace(0.5, 1, 64), torch.linspace(0.1, 0.3, 64)
    torch.manual_seed(0)
    styles = torch.randn(8, 128)
    canvas.calibrate(mean, deviation, styles)
    random = torch.Generator().manual_seed(1)
    drawn = Noise.together([draw_noise(canvas.config, 128, 128, random) for _ in styles])
    features = canvas(drawn, styles).detach()
    assert (features.mean(dim=(0, 2, 3)) - mean).abs().max() < 0.2
    assert ((features.std(dim=(0, 2, 3)) / deviation) - 1).abs().max() < 0.5


def test_a_canvas_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "canvas.safetensors"
    canvas = Canvas(SMALL)
    save_canvas(path, canvas, "abc")
    again, identity = load_canvas(path)
    assert identity == "abc"
    assert torch.equal(again.out.weight, canvas.out.weight.half().float())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'\\"width\\": 16', b'\\"width\\": 17'))
    with pytest.raises(WeightsError, match=r"shape .* instead of"):
        load_canvas(path)
    path.write_bytes(whole.replace(b'\\"width\\": 16', b'\\"width\\": -1'))
    with pytest.raises(WeightsError, match="not in 1"):
        load_canvas(path)
    with pytest.raises(WeightsError, match="no canvas file"):
        load_canvas(bundled.base_path())


# -- painting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(16, 16), (131, 77), (64, 301), (256, 160)])
def test_any_size(height: int, width: int) -> None:
    picture = tiny().paint(codes(), height, width, seed=1)
    assert picture.shape == (3, height, width)
    assert picture.dtype == torch.uint8
    assert picture.float().std() > 1


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    first, again, other = (tiny().paint(codes(), 128, 160, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert (first.float() - other.float()).abs().mean() > 1


@pytest.mark.parametrize("tileable", [False, True])
def test_tiles_give_what_one_pass_gives(tileable: bool) -> None:
    whole = tiny(tile=0).paint(codes(), 208, 320, 1, tileable).int()
    tiled = tiny(tile=64).paint(codes(), 208, 320, 1, tileable).int()
    assert (whole - tiled).abs().max() <= 1


def seam(picture: Tensor, dim: int) -> tuple[float, float]:
    """Mean step across the edge where a picture meets itself, and the largest mean step inside."""
    picture = picture.float()
    steps = (picture.roll(-1, dim) - picture).abs().transpose(0, dim).flatten(1).mean(1)
    return steps[-1].item(), steps[:-1].max().item()


def test_what_is_tileable_has_no_seam() -> None:
    painter, code = tiny(), codes()
    one = painter.paint(code, 128, 192, 2, tileable=True)
    for dim in (1, 2):
        across, inside = seam(one, dim)
        assert across <= inside


def test_the_shipped_canvas_repeats_itself_only_where_it_is_told_to() -> None:
    style = resolve_style("van-gogh")
    painter = TextureStylizer(style.base, load_canvas(bundled.canvas_path())[0], CPU, torch.float32)
    closed, torn = (painter.paint([style.code], 128, 128, 3, wrap) for wrap in (True, False))
    for dim in (1, 2):
        across, inside = seam(closed, dim)
        assert across <= inside
        assert seam(torn, dim)[0] > 1.5 * across


def test_a_passage_begins_in_one_style_and_ends_in_the_other() -> None:
    painter, (a, b) = tiny(), codes(2)
    passage = painter.paint([a, b], 128, 256, 1).float()
    left, right = (painter.paint([code], 128, 256, 1).float() for code in (a, b))
    assert (passage - left)[..., :4].abs().mean() < 0.2 * (right - left)[..., :4].abs().mean()
    assert (passage - right)[..., -4:].abs().mean() < 0.2 * (right - left)[..., -4:].abs().mean()


def test_a_tileable_passage_comes_back() -> None:
    across, inside = seam(tiny().paint(codes(2), 128, 256, 1, tileable=True), 2)
    assert across <= inside


def test_columns_of_a_passage_sum_to_one() -> None:
    weights = torch.stack([column_weights(number, 5, 101) for number in range(5)])
    torch.testing.assert_close(weights.sum(0), torch.ones(101))


def test_a_size_beyond_the_memory_names_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texturing, "free_memory", lambda device: 100_000_000)
    with pytest.raises(StylizeError, match=r"--size (\d+)x(\d+) would fit") as caught:
        tiny().paint(codes(), 4096, 8192, 1)
    width, height = map(int, str(caught.value).split("--size ")[1].split(" ")[0].split("x"))
    texturing.check_size(height, width, True, False, CPU)
    assert 1.9 < width / height < 2.1


def test_tileable_sides_are_whole_cells() -> None:
    with pytest.raises(UsageError, match="try --size 96x112"):
        tiny().paint(codes(), 110, 100, 1, tileable=True)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_paints_and_marks(run: Run, tmp_path: Path) -> None:
    ask = ("texture", "--style", "ink-wash", "--size", "160x96", "--seed", 7, "--dtype", "fp32", "-q")
    assert run(*ask, "-o", "a.png").returncode == 0
    assert run(*ask, "-o", "b.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (160, 96)
        assert ALL_BY_MODEL in str(image.info)
    refused = run(*ask, "-o", "a.png")
    assert refused.returncode == 2
    assert b"--force" in refused.stderr


def test_several_are_numbered_and_their_seeds_follow(run: Run, tmp_path: Path) -> None:
    ask = ("texture", "-s", "van-gogh", "--size", "64", "-q", "--tileable")
    assert run(*ask, "--count", 2, "--seed", 5, "-o", "t.png").returncode == 0
    assert run(*ask, "--seed", 6, "-o", "six.png").returncode == 0
    assert (tmp_path / "t-2.png").read_bytes() == (tmp_path / "six.png").read_bytes()
    assert (tmp_path / "t-1.png").read_bytes() != (tmp_path / "t-2.png").read_bytes()


def test_blends_paintings_and_passages(run: Run, tmp_path: Path) -> None:
    scene(200, 150).save(tmp_path / "work.png")
    size = ("--size", "96x80", "-q")
    assert (
        run("texture", "-s", "ink-wash:0.5", "-s", "van-gogh:0.5", *size, "-o", "blend.png").returncode == 0
    )
    assert run("texture", "-s", "work.png", *size, "-o", "own.jpg").returncode == 0
    assert (
        run("texture", "-s", "ink-wash", "-s", "work.png", "--morph", *size, "-o", "m.webp").returncode == 0
    )
    names = ("blend.png", "own.jpg", "m.webp")
    pictures = [Image.open(tmp_path / name).convert("RGB").tobytes() for name in names]
    assert len(set(pictures)) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "big"], "--size takes"),
        (["--size", "8x8"], "from 16 to"),
        (["--size", "100", "--tileable"], "try --size 96x96"),
        (["--size", "60000x60000"], "would fit"),
        (["--morph"], "give --style twice"),
        (["-s", "photo-van-gogh", "--morph"], "different bases"),
        (["-o", "out.txt"], "no format"),
        (["-o", "nowhere/out.png"], "no folder"),
        (["-s", "vangoh"], "did you mean"),
    ],
)
def test_wrong_wishes_get_one_sentence(run: Run, tmp_path: Path, options: list[str], sentence: str) -> None:
    result = run("texture", "-s", "van-gogh", "-o", "out.png", "-q", *options)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr.decode().replace("\n", " ")
    assert result.stderr.count(b"Error:") == 1
    assert not list(tmp_path.glob("*.png"))


def test_networks_of_its_own_know_no_canvas(run: Run) -> None:
    result = run("texture", "-s", "photo-van-gogh", "-o", "out.png")
    assert result.returncode == 2
    assert b"--texture" in result.stderr


# -- learning -------------------------------------------------------------------------------------


def works(folder: Path, count: int = 3, first: int = 0) -> Path:
    folder.mkdir()
    for index in range(first, first + count):
        scene(120, 110, seed=index).save(folder / f"{index}.png")
    return folder


def test_a_run_goes_on_as_if_it_had_not_stopped(run: Run, tmp_path: Path) -> None:
    works(tmp_path / "papers")
    ask = ("train", "--texture", "papers", "--name", "papers", "--size", 64, "-b", 2, "--dtype", "fp32", "-q")
    whole = run(*ask, "--steps", 2, "-o", "whole")
    assert whole.returncode == 0, whole.stderr
    taken = run(*ask, "--steps", 1, "-o", "parts")
    assert b"You have a style 'papers'" in taken.stderr
    (tmp_path / "home/styles/papers.safetensors").unlink()
    assert run(*ask, "--steps", 1, "-o", "parts").returncode == 0
    refused = run(*ask, "--steps", 2, "-o", "parts")
    assert refused.returncode == 2
    assert b"--changed" in refused.stderr
    assert run(*ask, "--steps", 2, "-o", "parts", "--changed").returncode == 0
    for folder in ("whole", "parts"):
        lines = [json.loads(x) for x in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 2
        assert {"distance", "diversity"} <= set(lines[-1]["table"]["papers"])
        assert (tmp_path / folder / "sheet.png").is_file()
    style = load_style(tmp_path / "whole" / "styles" / "papers.safetensors")
    assert style.canvas is not None
    assert style.card.training.startswith("Textures: canvas and code, 2 steps")
    assert run("texture", "-s", "papers", "--size", 64, "-q", "-o", "own.png").returncode == 0
    save = scene(64, 64)
    save.save(tmp_path / "photo.png")
    assert run("apply", "photo.png", "-s", "papers", "-q", "-o", "painted.png").returncode == 0


def test_several_folders_give_a_style_each_on_one_canvas(run: Run, tmp_path: Path) -> None:
    for first, name in enumerate("ab"):
        works(tmp_path / name, 2, 2 * first)
    ask = ("train", "--texture", "a", "b", "--name", "both", "--size", 64, "-b", 2, "--steps", 1, "-q")
    result = run(*ask, "-o", "r")
    assert result.returncode == 0, result.stderr
    canvas, _ = load_canvas(tmp_path / "r" / "canvas.safetensors")
    styles = [load_style(tmp_path / "r" / "styles" / f"{name}.safetensors") for name in "ab"]
    for style in styles:
        assert style.canvas is not None
        assert torch.equal(style.canvas.out.weight, canvas.out.weight)
    assert not torch.equal(styles[0].code, styles[1].code)
    assert run("texture", "-s", "r/styles/b.safetensors", "--size", 64, "-q", "-o", "b.png").returncode == 0


def test_a_checkpoint_holds_all_that_the_next_step_needs(tmp_path: Path) -> None:
    config = TextureConfig(steps=4, batch=2, size=64)

    def fresh() -> TextureTrainer:
        return trainer(folder, config)

    folder = works(tmp_path / "w")
    straight = fresh()
    for _ in range(2):
        straight.step()
    stopped = fresh()
    stopped.step()
    stopped.save(tmp_path / "step.safetensors")
    resumed = fresh()
    resumed.load(tmp_path / "step.safetensors")
    resumed.step()
    for a, b in zip(straight.ema.parameters(), resumed.ema.parameters(), strict=True):
        assert torch.equal(a, b)


def trainer(folder: Path, config: TextureConfig, base: Base | None = None) -> TextureTrainer:
    torch.manual_seed(0)
    compact = load_perceptual(bundled.perceptual_path())
    network = LossNetwork(compact)
    library = StyleLibrary({"w": PictureSet(sorted(folder.iterdir()))}, compact, network, together=True)
    shape = SMALL if base is None else CanvasConfig()
    base = base or new_base(TINY)
    painter = TexturePainter(Canvas(shape), torch.zeros(1, shape.code_size))
    return TextureTrainer(config, painter, base, library, network, CPU, torch.float32)


def test_the_style_loss_falls(tmp_path: Path) -> None:
    config = TextureConfig(steps=40, batch=2, size=64, weights=TextureWeights(adversarial=0.0))
    run = trainer(works(tmp_path / "w"), config, load_base(bundled.base_path()))
    losses = [run.step()["style"] for _ in range(35)]
    assert sum(losses[-10:]) < 0.92 * sum(losses[:10])


def test_diversity_sees_a_collapse() -> None:
    eyes = Eyes(load_perceptual(bundled.perceptual_path()), load_base(bundled.base_path()).encoder)
    painter, code = tiny(), codes()
    pictures = [painter.paint(code, 128, 128, seed).float()[None] / 255 for seed in (1, 2, 3)]
    assert mean_distance([eyes.features(p) for p in pictures]) > 0.05
    assert mean_distance([eyes.features(pictures[0])] * 2) < 1e-6


@pytest.mark.parametrize(
    "option", [("--content", "papers"), ("--quick",), ("--preset", "ink"), ("--cycle", 1)]
)
def test_options_of_other_trainings_are_refused(run: Run, tmp_path: Path, option: tuple[str, ...]) -> None:
    works(tmp_path / "papers", 1)
    result = run("train", "--texture", "papers", "--name", "p", *option)
    assert result.returncode == 2
    assert b"--texture" in result.stderr or b"no setting" in result.stderr


# -- varied results -------------------------------------------------------------------------------


def test_augment_makes_varied_results_that_a_seed_brings_back(run: Run, photo: Path, tmp_path: Path) -> None:
    ask = ("apply", photo.name, "-s", "ink-wash", "--augment", 2, "--dtype", "fp32", "--format", "png", "-q")
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        assert run(*ask, "--seed", seed, "-o", folder).returncode == 0
    names = ["photo-1.png", "photo-2.png"]
    first, again, other = ([(tmp_path / f / name).read_bytes() for name in names] for f in "abc")
    assert first == again
    assert len({*first, *other}) == 4
    assert run(*ask).returncode == 0
    assert (tmp_path / "photo.ink-wash-2.png").is_file()
    shown = run("apply", ".", "-s", "ink-wash", "--augment", 2, "--format", "png", "--dry-run").stdout
    assert b"ink-wash-1.ink-wash" not in shown


def test_each_of_several_results_counts(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.ink-wash-1.jpg").write_bytes(b"there")
    result = run("apply", photo.name, "-s", "ink-wash", "--augment", 2, "--json")
    assert result.returncode == 1
    assert b"1 done, 0 skipped, 0 failed" in result.stderr
    assert b"1 exists already" in result.stderr
    assert (tmp_path / "photo.ink-wash-1.jpg").read_bytes() == b"there"


def test_every_result_of_a_picture_that_arrives_is_due(photo: Path) -> None:
    from stylize.jobs import Job
    from stylize.watching import arrivals

    jobs = Job(photo, photo.with_name("out.jpg")).variants(3)
    found = arrivals(lambda: jobs, poll=0.0, still=0.0)
    assert next(found) == jobs
    assert next(found) == []
