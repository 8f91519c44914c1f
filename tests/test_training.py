"""Training on tiny networks: it learns, it resumes exactly, it writes what it should."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from torch import Tensor

from stylize import bundled
from stylize.augment import compressed
from stylize.batches import Batch
from stylize.budget import Budget
from stylize.config import QUICK, GeneratorConfig, LossWeights, TrainConfig
from stylize.dataset import PictureSet
from stylize.devices import training_dtype
from stylize.errors import StylizeError
from stylize.fitting import Run as TrainingRun
from stylize.fitting import RunFolder
from stylize.invented import InventedPictures
from stylize.library import PHOTOGRAPH, StyleLibrary
from stylize.model import load_base, load_perceptual, load_style
from stylize.painters import Painter, StylePainter
from stylize.perceptual import CompactVGG, LossNetwork
from stylize.run_report import write_run_report
from stylize.selection import select_works
from stylize.training import Trainer

TINY = GeneratorConfig(8, 16, 32, 1, 1, 16, attention_width=8)
CONFIG = TrainConfig(steps=8, batch=2, size=64, adversarial_start=0.3, cycle_every=2)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StyleLibrary:
    folder = tmp_path_factory.mktemp("works")
    torch.manual_seed(0)
    paths: dict[str, list[Path]] = {"a": [], "b": [], PHOTOGRAPH: []}
    for name, found in paths.items():
        for i in range(3):
            path = folder / f"{name}{i}.png"
            scene(96, 80, seed=i).rotate(90 * (name == "b"), expand=True).save(path)
            found.append(path)
    compact = CompactVGG().requires_grad_(False)
    return StyleLibrary({n: PictureSet(p) for n, p in paths.items()}, compact, LossNetwork(compact))


def trainer(
    library: StyleLibrary,
    config: TrainConfig = CONFIG,
    shape: GeneratorConfig = TINY,
    dtype: torch.dtype = torch.float32,
) -> Trainer:
    torch.manual_seed(1)
    compact = CompactVGG().requires_grad_(False)
    painter = Painter.from_scratch(shape, library.vectors)
    photos = library.groups[PHOTOGRAPH]
    return Trainer(config, painter, photos, library, compact, LossNetwork(compact), dtype=dtype)


def test_every_term_takes_part(library: StyleLibrary) -> None:
    run = trainer(library)
    terms: dict[str, float] = {}
    for _ in range(6):
        terms |= run.step()
    assert set(terms) == {
        "content", "style", "tone", "colour", "edge", "tv", "identity", "warp", "adversarial", "cycle",
        "gradient", "discriminator", "discriminator_gradient", "accuracy_real", "accuracy_fake",
    }  # fmt: skip


def test_compressed_pictures_look_the_same_in_their_place() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 48), indexing="ij")
    picture = torch.stack([x, y, (x > 0.5).float()])
    random = torch.Generator().manual_seed(3)
    results = [compressed(picture, random) for _ in range(8)]
    assert all(result.shape == picture.shape for result in results)
    errors = [(result - picture).abs().mean().item() for result in results]
    assert 0 < min(errors) < max(errors) < 0.05


def test_training_lowers_the_style_loss(library: StyleLibrary) -> None:
    weights = LossWeights(adversarial=0, style=3, content=0.1, cycle=0, edge=0)
    run = trainer(library, TrainConfig(steps=60, batch=2, size=64, generator_rate=3e-3, weights=weights))
    style = [run.step()["style"] for _ in range(60)]
    assert sum(style[-15:]) < 0.92 * sum(style[:15])


def test_resuming_is_exact(library: StyleLibrary, tmp_path: Path) -> None:
    config = replace(CONFIG, content_budget=0.9)
    whole = trainer(library, config)
    for _ in range(8):
        whole.step()
    first = trainer(library, config)
    for _ in range(5):
        first.step()
    first.save(tmp_path / "c.safetensors")
    second = trainer(library, config)
    second.load(tmp_path / "c.safetensors")
    for _ in range(3):
        second.step()
    for part in ("painter", "ema", "discriminator"):
        for name, tensor in getattr(whole, part).state_dict().items():
            assert torch.equal(tensor, getattr(second, part).state_dict()[name]), f"{part}.{name}"


def test_a_budget_takes_the_place_of_a_weight(library: StyleLibrary) -> None:
    budget = Budget(1.1)
    budget.watch(5.0)
    assert budget.factor == 1.0, "nothing to compare with yet"
    budget.start = 2.0
    for loss, grows in ((2.3, True), (2.1, False), (math.nan, None)):
        before = budget.factor
        budget.watch(loss)
        assert (budget.factor > before, budget.factor < before) == (grows is True, grows is False)
    for _ in range(1000):
        budget.watch(9.0)
    assert budget.factor == 4.0


def test_the_weight_of_the_content_follows_its_budget(library: StyleLibrary) -> None:
    run, same = trainer(library, replace(CONFIG, content_budget=0.5)), Budget(0.5)
    assert run.step()["content_factor"] > 1
    assert 0.8 < run.step()["content"] / (run.budget.start or 0) < 1.25
    same.factor, same.start = run.budget.factor, run.budget.start
    terms = run.step()
    same.watch(terms["content"])
    assert terms["content_factor"] == same.factor == run.budget.factor
    assert run._generator_terms(*shown(run))["content"][0] == CONFIG.weights.content * same.factor


def shown(run: Trainer) -> tuple[Batch, Tensor, Tensor]:
    batch = run._draw(0, 0)
    return batch, *run.painter(batch.inputs, batch.vectors)


def test_a_checkpoint_of_other_networks_is_refused(library: StyleLibrary, tmp_path: Path) -> None:
    trainer(library).save(tmp_path / "c.safetensors")
    other = trainer(library, shape=GeneratorConfig(4, 8, 16, 1, 1, 16, attention_width=8))
    with pytest.raises(StylizeError, match="another run folder"):
        other.load(tmp_path / "c.safetensors")


def test_going_on_with_other_settings_must_be_meant(library: StyleLibrary, tmp_path: Path) -> None:
    trainer(library).save(tmp_path / "c.safetensors")
    other = trainer(library, replace(CONFIG, weights=LossWeights(style=3)))
    with pytest.raises(StylizeError, match=r"style 6\.0 -> 3.*--changed"):
        other.load(tmp_path / "c.safetensors")
    other.load(tmp_path / "c.safetensors", changed=True)


def test_accumulated_batches_make_the_step_of_one_large_batch(library: StyleLibrary) -> None:
    config = TrainConfig(steps=2, batch=16, size=64, weights=LossWeights(adversarial=0))
    states = []
    for settings in (config, replace(config, batch=8, accumulate=2)):
        run = trainer(library, settings, dtype=torch.float32)
        run.step()
        run.step()
        states.append(run.painter.state_dict())
    for name, tensor in states[0].items():
        assert (tensor - states[1][name]).abs().max() < 2e-4, name


def test_the_discriminator_may_take_more_turns(library: StyleLibrary) -> None:
    weights = []
    for turns in (1, 2):
        run = trainer(library, replace(CONFIG, discriminator_steps=turns, adversarial_start=0.0, r1=1.0))
        run.step()
        adam = run.players["discriminator"].adam
        assert next(iter(adam.state_dict()["state"].values()))["step"].item() == turns
        weights.append(run.discriminator.fine.realism.weight.clone())
    assert not torch.equal(*weights)


def test_a_step_that_is_not_finite_is_left_out(library: StyleLibrary) -> None:
    run = trainer(library)
    before = {k: v.clone() for k, v in run.painter.named_parameters()}
    player = run.players["painter"]
    player.begin(1.0)
    player.add(torch.stack([p.sum() for p in run.painter.parameters()]).sum() * torch.nan)
    assert not math.isfinite(player.end())
    assert all(torch.equal(before[k], v) for k, v in run.painter.named_parameters())


@pytest.mark.parametrize(
    ("wanted", "capable", "found"),
    [("auto", True, torch.bfloat16), ("auto", False, torch.float16), ("fp16", True, torch.float16)],
)
def test_training_takes_bf16_where_a_gpu_has_it(
    wanted: str, capable: bool, found: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: capable)
    assert training_dtype(wanted, torch.device("cuda")) == found
    assert training_dtype("fp32", torch.device("cpu")) == torch.float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_training_moves_weights_on_a_gpu(library: StyleLibrary, dtype: torch.dtype) -> None:
    compact = load_perceptual(bundled.perceptual_path())
    networks = (compact, LossNetwork(compact))
    works = StyleLibrary({"b": library.groups["b"], PHOTOGRAPH: library.groups[PHOTOGRAPH]}, *networks)
    config = TrainConfig(steps=12, batch=2, adversarial_start=0.0, cycle_every=1, warp_start=0.0)
    painter = Painter.from_scratch(TINY, works.vectors)
    run = Trainer(
        config, painter, library.groups[PHOTOGRAPH], works, *networks, torch.device("cuda"), dtype=dtype
    )
    before = [parameter.detach().clone() for parameter in run.players["painter"].parameters]
    terms = [run.step() for _ in range(12)]
    assert all(math.isfinite(term) for name, term in terms[-1].items() if "gradient" not in name)
    assert math.isfinite(terms[-1]["gradient"]), "in fp16 the scale of the loss has to fall first"
    moved = zip(before, run.players["painter"].parameters, strict=True)
    assert sum(not torch.equal(old, new) for old, new in moved) > len(before) / 2


def test_a_run_explains_itself(library: StyleLibrary, tmp_path: Path) -> None:
    run = trainer(library, TrainConfig(steps=20, batch=1, size=64))
    folder = RunFolder(tmp_path)
    assert TrainingRun(run, folder).go()
    records = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert records[0]["step"] == 20
    validation = next(record for record in records if "table" in record)
    assert set(validation["table"]) == {"a", "b", PHOTOGRAPH}
    assert set(validation["vitals"]) == {"variety", "style_variety", "change"}
    assert (tmp_path / "samples/000020.png").exists()
    assert folder.checkpoints()[-1].name == "0000020.safetensors"
    assert folder.best.exists()
    page = write_run_report(tmp_path, "a run", ["Three works."]).read_text()
    assert "polyline" in page
    assert "data:image/jpeg" in page
    assert "Three works." in page
    assert "http" not in page


def test_draws_are_even_over_styles(library: StyleLibrary) -> None:
    random = torch.Generator().manual_seed(0)
    groups = [library.draw(random).group for _ in range(600)]
    assert all(150 < groups.count(name) < 250 for name in library.groups)


def pictures(tmp_path: Path, *folders: str) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
        for i in range(3):
            scene(90, 90, seed=i).save(tmp_path / folder / f"{i}.png")


def paints(run: Run, tmp_path: Path, style: Path) -> bool:
    result = run("apply", "works/0.png", "--style", style, "-o", "out.png", "-f")
    assert result.returncode == 0, result.stderr.decode()
    return (tmp_path / "out.png").exists()


def test_full_training_makes_a_style_with_networks(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path, "works", "photos")
    options = ["--full", "--steps", 2, "-b", 1, "--size", 64]
    result = run("train", "works", "--content", "photos", "--name", "mine", *options)
    assert result.returncode == 0, result.stderr.decode()
    style = tmp_path / "runs/mine/styles/mine.safetensors"
    assert load_style(style).base is not None
    assert paints(run, tmp_path, style)


def test_quick_training_makes_a_small_style_on_the_bundled_base(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path, "works")
    result = run("train", "works/0.png", "--name", "mine", "--steps", 2, "-b", 1, "--size", 64)
    assert result.returncode == 0, result.stderr.decode()
    assert b"--content" in result.stderr
    style = tmp_path / "runs/mine/styles/mine.safetensors"
    assert load_style(style).base is None
    assert style.stat().st_size < 110_000
    assert paints(run, tmp_path, style)
    assert run("train", "works", "works", "--quick", "--name", "two").returncode == 2
    assert run("train", "works", "--quick", "--from-scratch", "--name", "x").returncode == 2


def test_a_style_painter_learns_its_style_and_leaves_the_base_alone(library: StyleLibrary) -> None:
    base, compact = load_base(bundled.base_path()), load_perceptual(bundled.perceptual_path())
    networks = (compact, LossNetwork(compact))
    works = StyleLibrary({"b": library.groups["b"]}, *networks, together=True)
    painter = StylePainter(base, works.mean_vector(works.members["b"]), rank=4)
    config = replace(QUICK, steps=40, batch=2, size=96)
    run = Trainer(config, painter, InventedPictures(8, 96), works, *networks)
    before = {k: v.clone() for k, v in painter.generator.state_dict().items()}
    style = [run.step()["style"] for _ in range(40)]
    assert sum(style[-10:]) < 0.97 * sum(style[:10])
    assert all(torch.equal(before[k], v) for k, v in painter.generator.state_dict().items())
    assert painter.offsets.abs().max() > 0
    assert painter.adapters is not None
    assert painter.adapters.changes().abs().max() > 0


def test_invented_pictures_differ_and_stay_the_same() -> None:
    first, again = InventedPictures(3, 64), InventedPictures(3, 64)
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    assert first[2].shape == (3, 64, 64)
    assert first[2].float().std() > 20


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "none", "--content", ".", "--name", "x"], 2),
        (["train", "empty", "--content", "empty", "--name", "x"], 2),
        (["train", "empty", "--content", "empty", "--name", "x", "--width", 16], 2),
    ],
)
def test_bad_training_input_is_one_sentence(
    run: Run, tmp_path: Path, arguments: list[object], code: int
) -> None:
    (tmp_path / "empty").mkdir()
    result = run(*arguments)
    assert result.returncode == code
    assert b"Traceback" not in result.stderr


def test_works_are_looked_at_once(tmp_path: Path, library: StyleLibrary) -> None:
    compact = CompactVGG().requires_grad_(False)
    cache = tmp_path / "works.safetensors"
    first = StyleLibrary(library.groups, compact, LossNetwork(compact), cache)
    written = cache.stat().st_mtime_ns
    second = StyleLibrary(library.groups, compact, LossNetwork(compact), cache)
    assert cache.stat().st_mtime_ns == written
    assert torch.equal(first.vectors, second.vectors)
    assert list(first.statistics.grams) == list(second.statistics.grams)
    assert torch.equal(first.statistics.vector(), second.statistics.vector())
    other = CompactVGG().requires_grad_(False)
    third = StyleLibrary(library.groups, other, LossNetwork(other), cache)
    assert not torch.equal(first.vectors, third.vectors)


def test_what_cannot_be_learnt_from_is_listed_and_left_out(tmp_path: Path) -> None:
    scene(200, 160).save(tmp_path / "a.png")
    scene(200, 160).resize((150, 120)).save(tmp_path / "b.jpg", quality=70)
    scene(200, 160, seed=5).rotate(90, expand=True).save(tmp_path / "c.png")
    scene(40, 30).save(tmp_path / "d.png")
    (tmp_path / "e.jpg").write_bytes(b"no picture")
    kept, left_out = select_works(sorted(tmp_path.iterdir()))
    assert [path.name for path in kept] == ["a.png", "c.png"]
    assert ["same" in left_out[0], "smaller" in left_out[1], "not a picture" in left_out[2]] == [True] * 3


def test_one_bad_photograph_does_not_end_the_run(tmp_path: Path) -> None:
    scene(80, 80).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    photos = PictureSet(sorted(tmp_path.iterdir()))
    assert torch.equal(photos[1], photos[0])
    (tmp_path / "a.png").unlink()
    with pytest.raises(StylizeError):
        PictureSet([tmp_path / "b.png"])[0]


def test_no_work_is_fit(run: Run, tmp_path: Path) -> None:
    (tmp_path / "works").mkdir()
    (tmp_path / "works/a.png").write_bytes(b"no picture")
    result = run("train", "works", "--name", "x", "-q")
    assert result.returncode == 2
    assert b"No work of x" in result.stderr
