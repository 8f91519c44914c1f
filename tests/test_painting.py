"""The folder pipeline: order, bounded memory, interruptions, and what can break on the way."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from PIL import Image

from stylize import painting
from stylize.errors import PictureError
from stylize.images import read_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.picture import Picture
from stylize.styles import resolve_style
from stylize.tiling import Painted


def folder_of(tmp_path: Path, count: int, side: int = 24) -> list[Job]:
    (tmp_path / "in").mkdir()
    scene(side, side).save(tmp_path / "in/first.png")
    content = (tmp_path / "in/first.png").read_bytes()
    jobs = []
    for i in range(count):
        source = tmp_path / f"in/{i:03}.png"
        source.write_bytes(content)
        jobs.append(Job(source, tmp_path / f"out/{i:03}.png"))
    (tmp_path / "in/first.png").unlink()
    return jobs


def painter(**settings: object) -> Painter:
    return Painter(Look(resolve_style("ink-wash")), "cpu", "auto", PaintSettings(**settings))  # pyright: ignore


@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (1, 1), (4, 1), (3, 4)])
def test_order_and_names_are_kept(tmp_path: Path, workers: int, batch: int) -> None:
    jobs = folder_of(tmp_path, 10)
    scene(40, 24).save(jobs[3].source)
    outcomes = list(painter(workers=workers, batch=batch).work(jobs))
    assert [o.job for o in outcomes] == jobs
    assert {o.status for o in outcomes} == {"done"}
    for job in jobs:
        with Image.open(job.source) as before, Image.open(job.target) as after:
            assert before.size == after.size


def test_only_a_few_pictures_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    lock = threading.Lock()

    def counting(source: Path) -> Picture:
        nonlocal read
        with lock:
            read += 1
        return read_picture(source)

    monkeypatch.setattr(painting, "read_picture", counting)
    monkeypatch.setattr(painting.Stylizer, "paint_batch", _copy)
    most = 0
    for done, _ in enumerate(painter(workers=2).work(folder_of(tmp_path, 60))):
        time.sleep(0.002)
        most = max(most, read - done)
    assert most <= 10


def _copy(self: object, pictures: list[torch.Tensor], code: object) -> list[Painted]:
    return [Painted(picture, True) for picture in pictures]


def test_a_file_that_vanishes_and_one_that_comes_in_the_way(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path, 12)
    outcomes = []
    for outcome in painter(workers=1).work(jobs):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            jobs[8].source.unlink()
            jobs[10].target.write_bytes(b"mine")
    statuses = [o.status for o in outcomes]
    assert (statuses[8], statuses[10]) == ("failed", "skipped")
    assert statuses.count("done") == 10
    assert "no file" in outcomes[8].note
    assert "appeared" in outcomes[10].note
    assert jobs[10].target.read_bytes() == b"mine"


def test_a_warning_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflowing(self: object, pictures: list[torch.Tensor], *how: object) -> list[Painted]:
        return [Painted(picture, False) for picture in pictures]

    monkeypatch.setattr(painting.Stylizer, "paint_batch", overflowing)
    (outcome,) = painter().work(folder_of(tmp_path, 1))
    assert outcome.status == "done"
    assert "000.png" in outcome.note
    assert outcome.record()["warning"] == outcome.note


def test_a_picture_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylize.images.free_memory", lambda device: 1000)
    (job,) = folder_of(tmp_path, 1)
    with pytest.raises(PictureError, match="free memory"):
        read_picture(job.source)


def test_what_the_painter_cannot_hold_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, pictures: list[torch.Tensor], code: object, stroke: object) -> None:
        raise MemoryError

    monkeypatch.setattr(painting.Stylizer, "paint_batch", full)
    outcomes = list(painter().work(folder_of(tmp_path, 2)))
    assert [o.status for o in outcomes] == ["failed", "failed"]
    assert "--size" in outcomes[0].note


def test_ctrl_c_finishes_what_is_being_written_and_the_run_goes_on(run: Run, tmp_path: Path) -> None:
    jobs = folder_of(tmp_path, 200, side=120)
    command = [sys.executable, "-m", "stylize", "apply", "in", "-s", "ink-wash", "-o", "out", "--json"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(3):
        assert json.loads(process.stdout.readline())["status"] == "done"
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"--skip-existing" in talk
    assert b"Traceback" not in talk
    written = list((tmp_path / "out").iterdir())
    assert 3 <= len(written) < len(jobs)
    for path in written:
        assert path.suffix == ".png"
        with Image.open(path) as image:
            image.load()
    times = {path: path.stat().st_mtime_ns for path in written}
    for job in jobs[60:]:
        job.source.unlink(missing_ok=True)
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "--skip-existing")
    assert result.returncode == 0, result.stderr.decode()
    assert len(list((tmp_path / "out").iterdir())) >= 60
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    Image.effect_noise((300, 300), 90).save(tmp_path / "photo.png")
    command = f"ulimit -f 40; exec {sys.executable} -m stylize apply photo.png -s van-gogh -o out.png"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True)
    assert result.returncode == 1
    assert b"Cannot write out.png" in result.stderr
    assert b"Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_stdout_that_is_full(tmp_path: Path, photo: Path) -> None:
    command = f"{sys.executable} -m stylize apply {photo} -s ink-wash -o - > /dev/full"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"No space left" in result.stderr


def test_workers_and_tiles_on_the_command_line(run: Run, photo: Path) -> None:
    results = []
    for options in ([], ["--workers", 0], ["--tile", 0], ["-t", 64], ["-b", 3]):
        result = run("apply", photo, "-s", "ukiyo-e", "-o", "-", *options)
        assert result.returncode == 0, result.stderr.decode()
        results.append(
            torch.frombuffer(bytearray(Image.open(io.BytesIO(result.stdout)).tobytes()), dtype=torch.uint8)
        )
    assert all((other.int() - results[0].int()).abs().max() <= 1 for other in results[1:])
    for wrong in (["--workers", -1], ["--tile", -1], ["--batch-size", 0]):
        assert run("apply", photo, "-s", "ukiyo-e", *wrong).returncode == 2
