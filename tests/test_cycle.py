"""Translation between two piles: the parts, a toy pair with a known answer, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, scene
from PIL import Image

from stylize import bundled, losses
from stylize.comparing import kernel_distance, with_interval
from stylize.config import CycleConfig, CycleWeights, GeneratorConfig
from stylize.cycle import CycleTrainer
from stylize.dataset import PictureSet
from stylize.generator import Generator
from stylize.images import read_rgb
from stylize.judging import perceptual_distance
from stylize.library import StyleLibrary
from stylize.model import load_base, load_perceptual, load_style
from stylize.perceptual import CompactVGG, LossNetwork
from stylize.pool import HistoryPool
from stylize.styles import resolve_style
from stylize.tensors import to_float
from stylize.translation import Eyes, judge_way
from stylize.translator import BACK, THERE, Translator

TINY = GeneratorConfig(8, 16, 32, 1, 1, 16, attention_width=8)


def shapes(folder: Path, swapped: bool, count: int = 12) -> list[Path]:
    """Pictures of discs on a ground; in the other pile red and blue have changed places."""
    folder.mkdir()
    y, x = np.mgrid[0:96, 0:96]
    for index in range(count):
        random = np.random.default_rng(index + 100 * swapped)
        picture = np.empty((96, 96, 3))
        picture[:] = (0.75, 0.35, 0.15)
        for _ in range(5):
            centre, radius = random.uniform(0, 96, 2), random.uniform(8, 26)
            inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
            picture[inside] = (0.95, 0.8, 0.3) if random.random() < 0.5 else (0.35, 0.12, 0.1)
        if swapped:
            picture = picture[..., ::-1]
        Image.fromarray((picture * 255).astype(np.uint8)).save(folder / f"{index:02d}.png")
    return sorted(folder.iterdir())


def trainer(a: list[Path], b: list[Path], config: CycleConfig) -> CycleTrainer:
    torch.manual_seed(0)
    compact = load_perceptual(bundled.perceptual_path())
    piles = [PictureSet(a), PictureSet(b)]
    network = LossNetwork(compact)
    library = StyleLibrary(dict(zip("ab", piles, strict=True)), compact, network)
    eyes = Eyes(compact, load_base(bundled.base_path()).encoder)
    generators = [Generator(TINY) for _ in range(config.generators)]
    translator = Translator(generators, torch.randn(2, TINY.code_size))
    return CycleTrainer(
        config, translator, piles, library, compact, network, eyes, piles, dtype=torch.float32
    )


TOY = CycleConfig(steps=160, batch=2, size=64, zoom=(1.0, 1.0), generator_rate=4e-3, ema=0.9)


def errors(run: CycleTrainer, a: list[Path], b: list[Path]) -> list[tuple[float, float]]:
    """Per way: how far translations are from the known answer, and from their pictures after a cycle."""
    found = []
    for way, paths in ((THERE, a), (BACK, b)):
        pictures = torch.stack([to_float(PictureSet(paths)[i]) for i in range(4)])
        with torch.no_grad():
            there = run.ema(pictures, way)
            back = run.ema(there, 1 - way)
        found.append(((there - pictures.flip(1)).abs().mean().item(), (back - pictures).abs().mean().item()))
    return found


@pytest.mark.long
def test_a_pair_with_a_known_answer_is_learnt_both_ways(tmp_path: Path) -> None:
    a, b = shapes(tmp_path / "a", False), shapes(tmp_path / "b", True)
    run = trainer(a, b, TOY)
    for _ in range(TOY.steps):
        run.step()
    for wrong, cycle in errors(run, a, b):
        # Unchanged pictures are 0.38 from the answer, a flat ground 0.10, no cycle term 0.07 to 0.15.
        assert wrong < 0.05
        assert cycle < 0.05


def test_every_option_of_the_objective_takes_part(tmp_path: Path) -> None:
    a, b = shapes(tmp_path / "a", False, 3), shapes(tmp_path / "b", True, 5)
    weights = CycleWeights(perceptual_cycle=1, contrastive=1, style=1)
    config = replace(
        TOY, steps=4, generators=2, weights=weights, r1=0.1, accumulate=2, adversarial_form="bce"
    )
    run = trainer(a, b, config)
    before = [head.layers[0].weight.clone() for head in run.translator.heads]
    terms = run.step()
    assert set(terms) == {
        "adversarial", "cycle", "identity", "perceptual_cycle", "contrastive", "style", "gradient",
        "discriminator", "discriminator_gradient", "accuracy_real", "accuracy_fake",
    }  # fmt: skip
    assert all(
        not torch.equal(w, h.layers[0].weight) for w, h in zip(before, run.translator.heads, strict=True)
    )
    assert run.translator.generator(THERE) is not run.translator.generator(BACK)


def test_resuming_is_exact_with_the_pool(tmp_path: Path) -> None:
    a, b = shapes(tmp_path / "a", False, 4), shapes(tmp_path / "b", True, 4)
    config = replace(TOY, steps=6, pool=3)
    whole, first, second = (trainer(a, b, config) for _ in range(3))
    for _ in range(6):
        whole.step()
    for _ in range(4):
        first.step()
    first.save(tmp_path / "c.safetensors")
    second.load(tmp_path / "c.safetensors")
    for _ in range(2):
        second.step()
    for name, tensor in whole.translator.state_dict().items():
        assert torch.equal(tensor, second.translator.state_dict()[name]), name


def test_rates_stay_and_then_fall_along_a_line(tmp_path: Path) -> None:
    a = shapes(tmp_path / "a", False, 2)
    run = trainer(a, shapes(tmp_path / "b", True, 2), replace(TOY, steps=1000))
    shares = []
    for step in (400, 500, 750, 1000):
        run.steps_done = step
        shares.append(round(run.rate_share(), 3))
    assert shares == [1.0, 1.0, 0.5, 0.0]


def test_the_pool_gives_older_pictures_half_of_the_time() -> None:
    pool, random = HistoryPool(50), torch.Generator().manual_seed(0)
    filling = torch.rand(50, 3, 4, 4)
    assert torch.equal(pool.exchange(filling, random), filling)
    new = torch.rand(200, 3, 4, 4)
    older = sum(not torch.equal(x, y) for x, y in zip(pool.exchange(new, random), new, strict=True))
    assert 70 < older < 130
    assert HistoryPool(0).exchange(new, random).equal(new)


def test_patch_contrast_knows_its_answer() -> None:
    unit = torch.eye(4)[None]
    assert losses.patch_contrast(unit, unit).item() < 1e-4
    assert losses.patch_contrast(torch.ones(1, 4, 8), torch.ones(1, 4, 8)).item() == pytest.approx(np.log(4))


def test_kernel_distance_is_nothing_for_one_kind_and_much_for_two() -> None:
    torch.manual_seed(0)
    a, b, c = torch.randn(40, 20), torch.randn(40, 20), torch.randn(40, 20) + 1
    assert abs(kernel_distance(a, b)) < 0.1
    assert kernel_distance(a, c) > 1
    found = with_interval(kernel_distance, a, c)
    assert 0.5 * found.value < found.low < found.value < found.high < 1.5 * found.value


def test_perceptual_distance_of_a_copy_is_nothing() -> None:
    features = {"x": torch.rand(1, 8, 4, 4)}
    assert perceptual_distance(features, features) == 0
    assert perceptual_distance(features, {"x": torch.rand(1, 8, 4, 4)}) > 0.05


def test_copies_and_hidden_messages_are_noticed() -> None:
    eyes = Eyes(CompactVGG().requires_grad_(False), load_base(bundled.base_path()).encoder)
    pictures = [torch.rand(1, 3, 64, 64) * 0.5 for _ in range(3)]
    targets = [torch.rand(1, 3, 64, 64) * 0.2 + 0.8 for _ in range(3)]
    copies = judge_way(lambda x: x, lambda x: x, pictures, targets, eyes)
    assert any("identity" in sentence for sentence in copies.warnings())
    assert copies.cycle_l1 == 0
    by_heart = {}

    def hide(picture: torch.Tensor) -> torch.Tensor:
        result = torch.full_like(picture, 0.9)
        by_heart[result.sum().item()] = picture
        return result

    def reveal(picture: torch.Tensor) -> torch.Tensor:
        return by_heart.get(picture.sum().item(), torch.zeros_like(picture))

    hidden = judge_way(hide, reveal, pictures, targets, eyes)
    assert any("hides" in sentence for sentence in hidden.warnings())


def test_the_command_makes_a_file_for_both_ways(run: Run, tmp_path: Path) -> None:
    for kind in ("day", "night"):
        (tmp_path / kind).mkdir()
        for i in range(3):
            picture = scene(96, 80, seed=i)
            (picture if kind == "day" else picture.point(lambda v: v // 3)).save(tmp_path / kind / f"{i}.png")
    options = ["--steps", 2, "-b", 1, "--size", 64, "--generators", 2]
    made = run("cycle", "day", "night", "--name", "dusk", *options)
    assert made.returncode == 0, made.stderr.decode()
    assert b"only 3 pictures" in made.stderr
    style = load_style(tmp_path / "runs/dusk/styles/dusk.safetensors")
    assert style.reverse is not None
    assert style.reverse.base is not None
    assert style.base is not None
    assert style.base.generator is not style.reverse.base.generator
    for extra in ([], ["--reverse"]):
        painted = run("apply", "day/0.png", "--style", "dusk", "-o", "x.png", "-f", *extra)
        assert painted.returncode == 0, painted.stderr.decode()
        assert Image.open(tmp_path / "x.png").size == (96, 80)
    checked = run("cycle", "check", "dusk", "day", "night", "--json", "-o", "sheet.png")
    assert checked.returncode == 0, checked.stderr.decode()
    found = json.loads(checked.stdout)
    assert set(found) == {"there", "back"}
    assert found["there"]["cycle_l1"] > 0
    assert (tmp_path / "sheet.png").exists()
    assert json.loads(run("styles", "show", "dusk", "--json").stdout)["works"].startswith("day")


def test_both_ways_of_one_generator_share_it(tmp_path: Path) -> None:
    from stylize.cards import StyleCard
    from stylize.model import Base, Style, new_base, save_style

    base = new_base(TINY)
    codes = torch.randn(2, TINY.code_size)
    reverse = Style(codes[1:], StyleCard("x"), "", Base(base.generator, base.encoder, ""))
    path = tmp_path / "x.safetensors"
    save_style(path, Style(codes[:1], StyleCard("x"), "", base, reverse=reverse))
    there, back = (resolve_style(str(path), reverse) for reverse in (False, True))
    assert torch.equal(there.code, codes[:1])
    assert torch.equal(back.code, codes[1:])
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cycle", "a", "a", "--name", "x"], b"are the same"),
        (["cycle", "a", "empty", "--name", "x"], b"no pictures in empty"),
        (["cycle", "a", "b", "--name", "x", "--set", "generators=3"], b"one or two"),
        (["cycle", "a", "b", "--name", "x", "--set", "batch=0"], b"at least 64 pixels"),
        (["cycle", "a", "b", "--name", "photograph"], b"cannot be called"),
        (["apply", "a/00.png", "--style", "ink-wash", "--reverse"], b"one way only"),
        (["apply", "a/00.png", "--style", "a", "--reverse"], b"one way only"),
        (["cycle", "check", "ink-wash", "a", "b"], b"one way only"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    run: Run, tmp_path: Path, arguments: list[str], sentence: bytes
) -> None:
    shapes(tmp_path / "a", False, 2)
    shapes(tmp_path / "b", True, 2)
    (tmp_path / "empty").mkdir()
    result = run(*arguments)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr
    assert b"Traceback" not in result.stderr


def test_the_bundled_translation_goes_both_ways(run: Run, photo: Path) -> None:
    for way, name in ((), "there"), (("--reverse",), "back"):
        result = run("apply", photo.name, "-s", "photo-van-gogh", *way, "-o", f"{name}.png")
        assert result.returncode == 0, result.stderr.decode()
    there, back = (read_rgb(photo.parent / f"{name}.png").float() for name in ("there", "back"))
    seen = read_rgb(photo).float()
    assert there.shape == back.shape == seen.shape
    for one, other in ((there, back), (there, seen), (back, seen)):
        assert (one - other).abs().mean() > 8
