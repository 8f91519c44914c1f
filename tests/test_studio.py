"""The training studio as its users meet it: real runs, killed, resumed, shared, and misused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from safetensors.torch import load_file

from stylize import parallel
from stylize.cli.train import _config
from stylize.config import QUICK, TrainConfig
from stylize.errors import StylizeError, UsageError
from stylize.fitting import Rhythm
from stylize.health import MOST_SKIPPED, Health
from stylize.settings import assignments, changed, preset, read_settings, write_settings
from stylize.workshop import Forecast

TINY: list[object] = [
    "--full", "--from-scratch", "--width", 8, "-b", 2, "--size", 64, "--hold-out", 0, "--dtype", "fp32",
    "--device", "cpu", "--set", "adversarial_start=0.2", "--set", "cycle_every=2",
]  # fmt: skip


def pictures(folder: Path, count: int = 3, side: int = 80, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        scene(side, side, seed=seed + i).save(folder / f"{i}.png")
    return folder


def tensors_of_last(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((run_folder / "checkpoints").glob("[0-9]*.safetensors"))[-1])


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def start(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stylize", *map(str, arguments)], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "STYLIZE_HOME": "home"},
    )  # fmt: skip


# -- settings -----------------------------------------------------------------------------------------


def test_settings_go_by_name_and_type(tmp_path: Path) -> None:
    config = changed(TrainConfig(), assignments(["λ_style=8", "ema=0.9", "adversarial_form=lsgan"]), "x")
    assert (config.weights.style, config.ema, config.adversarial_form) == (8.0, 0.9, "lsgan")
    assert preset("ink", QUICK).weights.tone > QUICK.weights.tone
    assert preset("ink", QUICK).weights.adversarial == QUICK.weights.adversarial
    write_settings(tmp_path / "c.toml", {"train": config})
    assert changed(TrainConfig(), read_settings(tmp_path / "c.toml", "train"), "c") == config
    for wrong in ("nothing=1", "ema=yes", "steps=1.5", "batch=true", "=1", "style"):
        with pytest.raises(UsageError):
            changed(TrainConfig(), assignments([wrong]), "--set")
    with pytest.raises(UsageError, match="paint"):
        preset("crayon", QUICK)


# -- health -------------------------------------------------------------------------------------------


def test_a_discriminator_that_always_wins_is_slowed_down_and_let_go_again() -> None:
    health = Health()
    for step in range(300):
        health.watch(step, {"accuracy_real": 1.0, "accuracy_fake": 1.0, "gradient": 1.0})
    assert health.share < 1
    assert "wins" in " ".join(health.take_news())
    for step in range(300):
        health.watch(step, {"accuracy_real": 0.7, "accuracy_fake": 0.7})
    assert health.share == 1
    again = Health()
    again.load_state(json.loads(json.dumps(health.state())))
    assert again.state() == health.state()


def test_trouble_is_said_in_words_and_once() -> None:
    health = Health()
    for step in (1, 2):
        health.judge(step, {"variety": 0.05, "style_variety": 0.001, "change": 0.001})
    news = health.take_news()
    assert len(news) == 3
    assert all(word in " ".join(news) for word in ("collapse", "alike", "copies"))
    health.judge(3, {"variety": 1, "style_variety": 0.2, "change": 0.2})
    health.judge(4, {"variety": 0.05, "style_variety": 0.2, "change": 0.2})
    assert len(health.take_news()) == 1


def test_a_run_that_only_skips_is_ended() -> None:
    health = Health()
    for step in range(MOST_SKIPPED - 1):
        health.watch(step, {"gradient": float("nan")})
    with pytest.raises(StylizeError, match="--rate"):
        health.watch(MOST_SKIPPED, {"gradient": float("inf")})


@pytest.mark.parametrize(
    ("options", "texts", "budget"),
    [
        ({}, [], QUICK.content_budget),
        ({"content": 8.0}, [], 0.0),
        ({}, ["content=8"], 0.0),
        ({}, ["content=8", "content_budget=1.3"], 1.3),
        ({"style": 8.0}, [], QUICK.content_budget),
    ],
)
def test_a_content_weight_of_ones_own_follows_no_budget(
    options: dict[str, float], texts: list[str], budget: float
) -> None:
    assert _config(True, False, None, None, options, texts).content_budget == budget


# -- runs ---------------------------------------------------------------------------------------------


def test_a_quick_style_works_by_name_and_its_run_explains_itself(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "works", 2)
    (tmp_path / "works/bad.png").write_bytes(b"no picture")
    options = ["--preset", "ink", "--steps", 3, "-b", 1, "--size", 64, "--json", "--set", "λ_tv=5"]
    result = run("train", "works", "--name", "grandma", *options)
    assert result.returncode == 0, result.stderr.decode()
    assert b"bad.png" in result.stderr
    assert b"smaller than the crop" not in result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert "grandma" in next(record for record in records if "table" in record)["table"]
    folder = tmp_path / "runs/grandma"
    config = tomllib.loads((folder / "config.toml").read_text())
    assert (config["train"]["weights"]["tone"], config["train"]["weights"]["tv"]) == (10.0, 5.0)
    assert "bad.png" in (folder / "report.html").read_text()
    assert (folder / "sheet.png").exists()
    scene(90, 70).save(tmp_path / "x.png")
    painted = run("apply", "x.png", "--style", "grandma", "-o", "y.png")
    assert painted.returncode == 0, painted.stderr.decode()
    shown = json.loads(run("styles", "show", "grandma", "--json").stdout)
    assert "0.png" in shown["works"]
    assert "3 steps" in shown["training"]
    assert "closed" in shown["metrics"]
    assert b"grandma" in run("styles").stdout


@pytest.mark.long
def test_killed_at_any_moment_a_run_ends_as_if_it_had_not_been(run: Run, tmp_path: Path) -> None:
    works, photos = pictures(tmp_path / "works"), pictures(tmp_path / "photos", seed=9)
    options = ["--content", photos, "--name", "x", "--steps", 14, "--every", 0, "-q", *TINY]
    whole = run("train", works, "-o", "whole", *options)
    assert whole.returncode == 0, whole.stderr.decode()
    (tmp_path / "home/styles/x.safetensors").unlink()  # its name is for the run that is killed
    chance = random.Random(3)
    kills = 0
    for _ in range(12):
        process = start(tmp_path, "train", works, "-o", "killed", *options)
        # Loading takes most of a process's life here; wait until it writes, then kill within a few steps.
        before = _written(tmp_path / "killed")
        while process.poll() is None and (kills >= 2 or _written(tmp_path / "killed") == before):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    assert kills >= 2
    assert same(tensors_of_last(tmp_path / "whole"), tensors_of_last(tmp_path / "killed"))
    lines = (tmp_path / "killed/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(steps)


def _written(folder: Path) -> list[str]:
    """The checkpoints that are there."""
    return sorted(path.name for path in (folder / "checkpoints").glob("*.safetensors"))


@dataclass(frozen=True)
class Pair:
    """What two processes have learnt together, undisturbed."""

    works: Path
    options: list[object]
    run: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    works, photos = pictures(folder / "works"), pictures(folder / "photos", seed=9)
    options = ["--content", photos, "--name", "x", "--steps", 3, "-q", *TINY]
    both = torchrun(folder, "train", works, "-o", "two", *options, "-b", 8)
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors.decode()[-2000:]
    return Pair(works, options, folder / "two")


def torchrun(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """`stylize ...` in two processes, which are started again if one of them dies."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "3", "--monitor-interval", "0.1", "-m", "stylize", *map(str, arguments)]
    env = {"STYLIZE_HOME": "home", "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    env = {**os.environ, **env}
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.long
def test_two_processes_learn_what_one_learns(run: Run, tmp_path: Path, pair: Pair) -> None:
    alone = run("train", pair.works, "-o", "one", *pair.options, "-b", 16)
    assert alone.returncode == 0, alone.stderr.decode()
    one, two = tensors_of_last(tmp_path / "one"), tensors_of_last(pair.run)
    start = _start(one)
    for name, tensor in one.items():
        if name.startswith(("painter.network", "ema.")) and tensor.is_floating_point() and name in start:
            moved = (tensor - start[name]).abs().max()
            assert (tensor - two[name]).abs().max() <= 0.05 * moved + 1e-6, name


@pytest.mark.long
def test_a_process_that_dies_is_started_again_and_changes_nothing(tmp_path: Path, pair: Pair) -> None:
    options = [*pair.options, "-b", 8, "--every", 0]
    both = torchrun(tmp_path, "train", pair.works, "-o", "killed", *options)
    earlier: set[int] = set()
    while not _written(tmp_path / "killed"):
        assert both.poll() is None, both.communicate()
        time.sleep(0.02)
    for rank in ("1", "0"):
        victim = _of_rank(both, rank, earlier)
        os.kill(victim, signal.SIGKILL)
        while victim in _children(both.pid):
            time.sleep(0.02)  # it is missed
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors.decode()[-2000:]
    assert len(earlier) == 4
    assert same(tensors_of_last(pair.run), tensors_of_last(tmp_path / "killed"))


def test_a_lost_process_is_one_sentence() -> None:
    with pytest.raises(StylizeError, match="goes on from its last checkpoint"), parallel._together():
        raise RuntimeError("Connection closed by peer")


def _of_rank(launcher: subprocess.Popen[bytes], rank: str, earlier: set[int]) -> int:
    """The process of this rank that torchrun has started, or starts now, after the earlier ones."""
    while True:
        assert launcher.poll() is None, launcher.communicate()
        new = {pid: its for pid, its in _children(launcher.pid).items() if pid not in earlier}
        if set(new.values()) == {"0", "1"}:
            earlier |= set(new)
            return next(pid for pid, its in new.items() if its == rank)
        time.sleep(0.02)


def _children(launcher: int) -> dict[int, str]:
    """The processes that torchrun has started, with their ranks."""
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(launcher).children()
        return {c.pid: c.environ().get("RANK", "") for c in children if c.status() != psutil.STATUS_ZOMBIE}
    return {}


def _start(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Zeros, where weights begin at zero: the movement is then the weight itself."""
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items() if name.endswith("bias")}


def test_the_price_is_told_before(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "works", 2)
    pictures(tmp_path / "photos", seed=9)
    result = run(
        "train", "works", "-c", "photos", "--name", "x", "--dry-run", "--json", "-b", 1, "--size", 64
    )
    assert result.returncode == 0, result.stderr.decode()
    told = json.loads(result.stdout)
    assert told["pictures"] == {"x": 2, "photographs": 2}
    assert told["steps"] == QUICK.steps
    assert told["seconds per step"] > 0
    assert not (tmp_path / "runs").exists()


def test_the_price_counts_judging_too(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "works", 2)
    pictures(tmp_path / "photos", seed=9)
    small = ("train", "works", "-c", "photos", "--name", "x", "-b", 1, "--size", 64, "--steps", 2)
    told = json.loads(run(*small, "--dry-run", "--json").stdout)
    parts = told["seconds to read the works"] + 2 * told["seconds per step"]
    parts += told["judgings"] * told["seconds per judging"]
    assert told["judgings"] == 1
    assert told["seconds per judging"] > 2 * told["seconds per step"]
    assert told["minutes in all"] * 60 >= parts - 4
    began = time.monotonic()
    assert run(*small, "-q").returncode == 0
    took = time.monotonic() - began
    assert took / 4 < told["minutes in all"] * 60 + 3 < took * 4


def test_judgings_and_checkpoints_come_from_time_to_time() -> None:
    forecast = Forecast({}, 1000, 1.2, None, 10, 60, 1, Rhythm(180, 300))
    assert (forecast.judgings, forecast.checkpoints) == (5, 10)
    assert forecast.seconds == 10 + 1200 + 5 * 60 + 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--content", "works"], b"are among the photographs"),
        (["--preset", "crayon"], b"paint"),
        (["--config", "none.toml"], b"Cannot read the settings"),
        (["--set", "hue=1"], b"There is no setting"),
        (["--cards", "none.toml"], b"style cards"),
        (["--name", "ukiyo-e"], b"cannot be called"),
        (["--name", "me/grandma"], b"cannot be called"),
        (["--set", "size=48"], b"at least 64 pixels"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, tmp_path: Path, options: list[str], sentence: bytes
) -> None:
    pictures(tmp_path / "works", 1)
    result = run("train", "works", "--name", "x", *options)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert not (tmp_path / "home").exists()


def test_another_style_is_not_replaced(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "works", 1)
    mine = tmp_path / "home/styles/mine.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"kept elsewhere")
    result = run("train", "works", "--name", "mine")
    assert result.returncode == 2
    assert b"You have a style 'mine'" in result.stderr
    assert mine.read_bytes() == b"kept elsewhere"


def test_one_process_at_a_time(run: Run, tmp_path: Path) -> None:
    from stylize.fitting import RunFolder

    pictures(tmp_path / "works", 1)
    with RunFolder(tmp_path / "r").locked():
        result = run("train", "works", "--name", "x", "-o", "r")
    assert result.returncode == 2
    assert b"Another process" in result.stderr


def test_ctrl_c_once_saves_and_twice_leaves(tmp_path: Path) -> None:
    works, photos = pictures(tmp_path / "works", 1), pictures(tmp_path / "photos", seed=9)
    arguments = ["train", works, "-c", photos, "--name", "x", "-o", "r", "-b", 1, "--size", 64, "--json"]
    for times in (1, 2):
        process = start(tmp_path, *arguments)
        assert process.stdout is not None
        process.stdout.readline()  # it is training
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors.decode()
        assert b"Traceback" not in errors
    assert _written(tmp_path / "r")
    assert not list((tmp_path / "r/checkpoints").glob("*.part"))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    works, photos = pictures(tmp_path / "works", 1), pictures(tmp_path / "photos", seed=9)
    options = ["-c", str(photos), "--full", "--steps", "2", "-b", "1", "--size", "64", "--every", "0"]
    arguments = ["train", str(works), "--name", "x", "-o", "r", *options]
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20));"
        "from stylize.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", limited, *arguments], cwd=tmp_path, capture_output=True, timeout=120,
        env={**os.environ, "STYLIZE_HOME": "home"},
    )  # fmt: skip
    assert result.returncode == 1, result.stderr.decode()
    assert b"checkpoint" in result.stderr
    assert b"Traceback" not in result.stderr
    assert not list((tmp_path / "r/checkpoints").iterdir())
