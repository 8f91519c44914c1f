"""The exact slow method: it lowers its loss, stops and goes on, and says what is wrong."""

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from PIL import Image

from stylize import bundled
from stylize.errors import StylizeError
from stylize.images import read_rgb
from stylize.model import load_perceptual
from stylize.optimising import Objective, OptimiseSettings, Progress, optimise, sizes_of, steps_of
from stylize.perceptual import LossNetwork
from stylize.tensors import to_float, to_uint8

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def network() -> LossNetwork:
    return LossNetwork(load_perceptual(bundled.perceptual_path())).requires_grad_(False)


def picture(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6)
    return to_uint8(torch.nn.functional.interpolate(coarse, 80, mode="bicubic").clamp(0, 1)[0])


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_the_loss_falls(network: LossNetwork, optimiser: str) -> None:
    photo, works = picture(0), [(picture(1), 0.7), (picture(2), 0.3)]
    seen: list[Progress] = []
    settings = OptimiseSettings(steps=12, scales=1, optimiser=optimiser)  # pyright: ignore
    cpu = torch.device("cpu")
    result = optimise(photo, photo, works, settings, network, cpu, torch.float32, on_step=seen.append)
    assert result.shape == photo.shape
    assert seen[-1].loss < 0.7 * seen[0].loss
    assert set(seen[-1].terms) == {"content", "style", "tv", "range"}


def test_l_bfgs_never_climbs_does_not_stand_still_and_looks_once(network: LossNetwork) -> None:
    photo, work = (read_rgb(EXAMPLES / name, 96) for name in ("temple.jpg", "raccoon.jpg"))
    seen: list[float] = []
    looks: list[None] = []
    hook = network.register_forward_pre_hook(lambda *_: looks.append(None))
    settings, cpu = OptimiseSettings(steps=60, scales=1), torch.device("cpu")
    works = [(work, 1.0)]
    optimise(photo, photo, works, settings, network, cpu, torch.float32, None, lambda p: seen.append(p.loss))
    assert all(after <= before * 1.0001 for before, after in pairwise(seen))
    hook.remove()
    assert seen[-1] < 0.85 * seen[20]
    assert len(looks) < 1.6 * 60


def test_little_is_lost_when_the_result_is_cut_off_at_black_and_white(network: LossNetwork) -> None:
    photo, work = read_rgb(EXAMPLES / "coffee.jpg", 96), picture(3)
    work = (work.float() - 128).sign().clamp(0, 1).mul(255).byte()  # nothing but pure black and pure colours
    last: list[Progress] = []
    settings, cpu = OptimiseSettings(steps=60, scales=1), torch.device("cpu")
    optimise(photo, photo, [(work, 1.0)], settings, network, cpu, torch.float32, None, last.append)
    objective = Objective(
        to_float(photo)[None], [(to_float(work)[None], 1.0)], settings, network,
        lambda: torch.autocast("cpu", enabled=False),
    )  # fmt: skip
    found = last[-1].picture
    whole, cut = (sum(t.item() for t in objective(x).values()) for x in (found, found.clamp(0, 1)))
    assert cut < 1.05 * whole


def test_scales_go_from_coarse_to_fine() -> None:
    assert sizes_of(100, 150, 3) == [(100, 150)]
    sizes = sizes_of(1000, 1500, 3)
    assert sizes[-1] == (1000, 1500)
    assert sizes[0] == (192, 288)
    assert sizes == sorted(sizes)
    assert sum(steps_of(150, 3)) in (149, 150, 151)
    assert min(steps_of(1, 4)) == 1


def test_what_was_stopped_goes_on_where_it_was(network: LossNetwork, tmp_path: Path) -> None:
    photo, works = picture(0), [(picture(1), 1.0)]
    settings, cpu, state = (
        OptimiseSettings(steps=20, scales=1),
        torch.device("cpu"),
        tmp_path / "s.safetensors",
    )

    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 14:
            raise StopError

    with pytest.raises(StopError):
        optimise(photo, photo, works, settings, network, cpu, torch.float32, state, stop)
    steps: list[int] = []
    optimise(
        photo, photo, works, settings, network, cpu, torch.float32, state, lambda p: steps.append(p.step)
    )
    assert steps == list(range(11, 21))
    other = [(picture(2), 1.0)]
    with pytest.raises(StylizeError, match="other pictures"):
        optimise(photo, photo, other, settings, network, cpu, torch.float32, state)


def test_small_pictures_keep_their_size(network: LossNetwork) -> None:
    strip = picture(0)[:, :40]
    settings, cpu = OptimiseSettings(steps=2, scales=1), torch.device("cpu")
    assert optimise(strip, strip, [(picture(1), 1.0)], settings, network, cpu, torch.float32).shape == (
        3,
        40,
        80,
    )


def test_the_command_paints_and_takes_up_after_ctrl_c(run: Run, tmp_path: Path) -> None:
    scene(120, 90).save(tmp_path / "photo.png")
    scene(90, 100, seed=4).rotate(90).save(tmp_path / "work.png")
    arguments = ["optimize", "photo.png", "work.png:2", "-o", "out.png", "--steps", "4000", "--preview", "5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stylize", *arguments], cwd=tmp_path, stderr=subprocess.PIPE
    )
    while not (tmp_path / "out.png").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    assert Image.open(tmp_path / "out.png").size == (120, 90)  # the preview
    done = run(*arguments[:-4], "--steps", 12, "--keep-colour")
    assert done.returncode == 0, done.stderr.decode()
    assert not (tmp_path / ".out.png.unfinished.safetensors").exists()
    assert (
        b"trainedAlgorithmicMedia" in (tmp_path / "out.png").read_bytes()
        or b"TrainedAlgorithmic" in (tmp_path / "out.png").read_bytes()
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["photo.png", "none.png", "-o", "out.png"], b"none.png"),
        (["photo.png", "photo.png", "-o", "out.xyz"], b"no format"),
        (["photo.png", "photo.png:0", "-o", "out.png"], b"sum to nothing"),
        (["photo.png", "photo.png", "-o", "photo.png"], b"is an input"),
        (["photo.png", "photo.png", "-o", "photo.png", "--force"], b"is an input"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    run: Run, tmp_path: Path, arguments: list[str], sentence: bytes
) -> None:
    scene(80, 70).save(tmp_path / "photo.png")
    result = run("optimize", *arguments)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr
    assert b"Traceback" not in result.stderr
