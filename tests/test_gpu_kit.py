"""The kit for a few minutes on a GPU: its parts, and a rehearsal of the whole on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch
from conftest import scene
from PIL import Image

from stylize import bundled
from stylize.model import load_base, load_style
from stylize.multiscale import noise_of
from stylize.perceptual import VGG19

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import gpu_setup  # noqa: E402
import gpu_train  # noqa: E402
from gpu_pack import megabytes, thin  # noqa: E402
from gpu_report import Report  # noqa: E402
from train_styles import Schedule, beginning  # noqa: E402

CPU = torch.device("cpu")
RECIPES = """
[van-gogh]
works = ["stripes/0.png", "stripes/1.png"]
side = 128
[ink-wash]
works = ["stripes/1.png"]
side = 128
own_colour = 0.8
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pack, as the script makes it."""
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("photos", 6), ("works/stripes", 2)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            scene(150, 130, seed=i).save(folder / name / f"{i}.png")
    (folder / "recipes.toml").write_text(RECIPES)
    command = ["gpu_pack.py", folder / "pack", "--photos", folder / "photos", "--works", folder / "works"]
    done = script(*command, "--recipes", folder / "recipes.toml", "--side", 120)
    assert done.returncode == 0, done.stderr
    return folder / "pack"


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / name, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


# -- what is brought along ----------------------------------------------------------------------------


def test_a_pack_has_what_learning_needs_and_nothing_that_is_judged_on(pack: Path) -> None:
    photos = sorted(path.name for path in (pack / "photos").iterdir())
    assert len(photos) == 5
    assert "00000.jpg" not in photos
    assert len(list((pack / "unseen").iterdir())) == 1
    with Image.open(pack / "photos" / photos[0]) as image:
        assert min(image.size) == 120
    assert (pack / "recipes.toml").read_text() == RECIPES
    assert (pack / "works/stripes/1.png").exists()


def test_a_pack_is_thinned_evenly_until_it_fits(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(100):
        (tmp_path / f"photos/{i:03}.jpg").write_bytes(bytes(10_000))
    (tmp_path / "other").write_bytes(bytes(100_000))
    assert thin(tmp_path, 0.6) >= 50
    assert 0.4 < megabytes(tmp_path) <= 0.6
    left = [int(path.stem) for path in sorted((tmp_path / "photos").iterdir())]
    assert max(b - a for a, b in pairwise(left)) <= 4


def test_a_pack_with_a_missing_work_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = script("gpu_pack.py", tmp_path / "p", "--photos", tmp_path / "photos", "--works", tmp_path)
    assert done.returncode == 1
    assert "is missing, which" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_network_in_a_pack_is_the_one_that_was_given(tmp_path: Path) -> None:
    from gpu_pack import pack_network
    from safetensors.torch import save_file

    from stylize.model import load_vgg19

    network = VGG19()
    names = network._torchvision_names()
    state = network.state_dict()
    save_file(
        {theirs: state[ours].contiguous() for theirs, ours in names.items()}, tmp_path / "vgg.safetensors"
    )
    pack_network(tmp_path, tmp_path / "vgg.safetensors")
    packed = load_vgg19(tmp_path / "vgg19.safetensors").state_dict()
    assert all(torch.equal(packed[key], value.half().float()) for key, value in state.items())


def wheel(folder: Path, name: str, content: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return folder / name


def test_only_what_is_missing_or_too_old_is_unpacked(tmp_path: Path) -> None:
    missing = wheel(tmp_path, "not_there-1.0-py3-none-any.whl", {"not_there.py": "x = 1\n"})
    old = wheel(tmp_path, "pillow-99.0-py3-none-any.whl", {"PIL/__init__.py": ""})
    wheel(tmp_path, "rich-1.0-py3-none-any.whl", {"rich/__init__.py": ""})
    wheel(tmp_path, "torch-99.0-py3-none-any.whl", {"torch/__init__.py": ""})
    wheel(tmp_path, "other_there-1.0-cp27-cp27m-win32.whl", {"other_there.py": ""})
    chosen = gpu_setup.brought(tmp_path)
    assert chosen == [missing, old]
    gpu_setup.unpack(chosen, tmp_path / "site")
    assert (tmp_path / "site/not_there.py").read_text() == "x = 1\n"


def test_the_least_versions_are_those_of_the_project() -> None:
    least = gpu_setup.wanted()
    assert least["torch"] >= (2, 6)
    assert gpu_setup.numbers("2.11.0+cu130") == (2, 11, 0)
    assert gpu_setup.numbers("1.2rc1") == (1,)


def test_a_report_outlives_faults_and_damage(tmp_path: Path) -> None:
    report = Report(tmp_path)
    with report.part("the first"):
        raise RuntimeError("no luck\nat all")
    report.note("a", {"x": 1})
    Report(tmp_path).note("a", {"y": 2})
    assert "the first: FAILED, RuntimeError: no luck" in report.text.read_text()
    assert report.noted()["a"] == {"x": 1, "y": 2}
    report.values.write_text('{"a": ')
    report.note("b", {"z": 3})
    assert report.noted() == {"b": {"z": 3}}


# -- learning -----------------------------------------------------------------------------------------


def test_crops_lie_inside_their_photographs(tmp_path: Path) -> None:
    for i, (width, height) in enumerate([(90, 70), (70, 90), (200, 70)]):
        Image.new("RGB", (width, height), (200, 100 + i, 255)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    photos = gpu_train.Photographs(sorted(tmp_path.glob("*.png")), CPU)
    assert photos.sizes == [(70, 90), (90, 70), (70, 112)]
    for seed in range(10):
        crops = photos.crops(4, 64, (1.0, 1.7), torch.Generator().manual_seed(seed))
        assert crops.shape == (4, 3, 64, 64)
        assert (crops[:, 2] - 1).abs().max() < 1e-5, "what lies beyond a photograph is black"


def test_crops_are_cut_and_mirrored_at_random(tmp_path: Path) -> None:
    scene(150, 130).save(tmp_path / "a.png")
    photos = gpu_train.Photographs([tmp_path / "a.png"], CPU)
    crops = photos.crops(6, 64, (1.0, 1.0), torch.Generator().manual_seed(0))
    whole = photos.pixels[0].float() / 255
    windows = whole.unfold(1, 64, 1).unfold(2, 64, 1)

    def is_there(crop: torch.Tensor) -> bool:
        near = (windows - crop[:, None, None]).abs().amax(dim=(0, 3, 4))
        return bool((near < 1e-6).any())

    assert {(is_there(crop), is_there(crop.flip(-1))) for crop in crops} == {(True, False), (False, True)}


@pytest.fixture
def school(pack: Path, tmp_path: Path) -> Callable[..., gpu_train.School]:
    def make(**settings: object) -> gpu_train.School:
        plan = gpu_train.Plan(
            tmp_path, pack, CPU, time.time() + 3, ("van-gogh",), schedule=Schedule(size=64, rank=2), shown=1,
            **settings,  # pyright: ignore
        )  # fmt: skip
        return gpu_train.School(plan, Report(tmp_path))

    return make


def test_a_step_is_that_of_the_script_for_cpus(school: Callable[..., gpu_train.School]) -> None:
    pupil = school().pupils[0]
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = noise_of(64, 64, 0)[None, None]
    terms = pupil.run.objective(pupil.style, photo, noise, False)
    torch.stack(list(terms.values())).sum().backward()
    expected = [parameter.grad.clone() for parameter in pupil.parameters if parameter.grad is not None]
    pupil.gradients(photo, noise, False)
    assert all(torch.allclose(p.grad, e) for p, e in zip(pupil.parameters, expected, strict=True))
    assert pupil.names == list(terms)


def test_numbers_that_overflowed_do_not_reach_the_weights(
    school: Callable[..., gpu_train.School], monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = school()
    pupil = learning.pupils[0]
    objective = pupil.run.objective

    def broken(*arguments: object) -> dict[str, torch.Tensor]:
        return {name: term * float("nan") for name, term in objective(*arguments).items()}  # pyright: ignore

    monkeypatch.setattr(pupil.run, "objective", broken)
    learning.step(pupil, 0.5)
    assert all(torch.isfinite(value).all() for value in [*pupil.parameters, *pupil.average])


def test_where_memory_runs_out_graphs_go_first_and_then_half_the_batch(
    school: Callable[..., gpu_train.School], monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = school(batch=4)
    gradients = gpu_train.Pupil.gradients

    def scarce(self: gpu_train.Pupil, photo: torch.Tensor, *rest: object) -> torch.Tensor:
        if len(photo) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradients(self, photo, *rest)  # pyright: ignore

    monkeypatch.setattr(gpu_train.Pupil, "gradients", scarce)
    monkeypatch.setattr(gpu_train.Pupil, "replayed", lambda *inputs: scarce(inputs[0], inputs[1]))
    learning.room = object()  # pyright: ignore
    learning.step(learning.pupils[0], 0.5)
    assert (learning.batch, learning.room, learning.samples) == (1, None, 1)
    assert "Batches of 1" in learning.report.text.read_text()


def test_the_base_may_learn_along(school: Callable[..., gpu_train.School], tmp_path: Path) -> None:
    school(base_rate=1e-3).go()
    with zipfile.ZipFile(tmp_path / "styles.zip") as archive:
        archive.extractall(tmp_path)
    base = load_base(tmp_path / "base.safetensors")
    assert base.identity != load_base(bundled.base_path()).identity
    assert load_style(tmp_path / "van-gogh.safetensors").base_identity == base.identity


def test_a_cpu_goes_on_from_what_came_back(tmp_path: Path) -> None:
    (tmp_path / "van-gogh.safetensors").write_bytes(b"")
    assert beginning("van-gogh", tmp_path) == tmp_path / "van-gogh.safetensors"
    assert beginning("ink-wash", tmp_path) == bundled.style_file("ink-wash")
    assert beginning("van-gogh", None) == bundled.style_file("van-gogh")


# -- the whole ----------------------------------------------------------------------------------------


def kit(out: Path, pack: Path, seconds: int, *more: str) -> subprocess.Popen[str]:
    command = ["benchmarks/gpu.sh", out, "--device", "cpu", "--seconds", seconds, "--pack", pack, *more]
    return subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "PYTHON": sys.executable}, start_new_session=True,
    )  # fmt: skip


def check_styles(archive: Path, folder: Path) -> None:
    """Are both styles there, whole, and for the base that is bundled?"""
    with zipfile.ZipFile(archive) as found:
        assert found.namelist() == ["ink-wash.safetensors", "recipes.toml", "van-gogh.safetensors"]
        found.extractall(folder)
    base = load_base(bundled.base_path())
    for name in ("ink-wash", "van-gogh"):
        style = load_style(folder / f"{name}.safetensors")
        assert style.base_identity == base.identity
        assert style.code_for(base.generator).shape[1] > base.generator.config.code_size
        assert style.noise > 0


@pytest.mark.parametrize(
    "arguments", [[], ["--minutes", "7"], ["out", "--minutes", "x"], ["out", "--only", "1"]]
)
def test_wrong_usage_is_told(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "benchmarks/gpu.sh", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "gpu.sh OUT" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_rehearsal_on_the_cpu_does_everything(pack: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    with kit(tmp_path / "out", pack, 5) as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert time.monotonic() - begin < 300
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(files) == {
        "report.txt", "results.json", "log.txt", "trace.json.gz", "curves.csv", "styles.zip", "sheet.jpg",
    }  # fmt: skip
    assert max(files.values()) <= 16 << 20
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert "failed" not in results, results["failed"]
    assert set(results) == {"setup", "checks", "speed", "step", "train"}
    assert results["checks"]["van-gogh"]["right"]
    assert results["checks"]["refusal"]
    assert results["checks"]["tests"]["exit code"] == 0
    assert results["train"]["samples"] > 0
    check_styles(tmp_path / "out/styles.zip", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_rehearsal_leaves_what_it_learnt(pack: Path, tmp_path: Path, way: signal.Signals) -> None:
    out = tmp_path / "out"
    process = kit(out, pack, 600, "--only", "train")
    for _ in range(2400):
        if (out / "styles.zip").exists() or process.poll() is not None:
            break
        time.sleep(0.25)
    assert process.poll() is None, process.communicate()[0]
    if way == signal.SIGKILL:
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            one.kill()
    else:
        process.send_signal(way)
    process.communicate(timeout=120)
    check_styles(out / "styles.zip", tmp_path)
    assert {"setup", "step"} <= set(json.loads((out / "results.json").read_text()))
    assert len(list(out.iterdir())) <= 8
    if way == signal.SIGTERM:
        assert "Trained" in (out / "report.txt").read_text()
