"""Folders as people have them: the same command again, other styles, lists, results among photographs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from conftest import Run, scene

from stylize.jobs import Job
from stylize.traces import is_ours, styles_told
from stylize.watching import arrivals


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photographs."""
    (tmp_path / "in").mkdir()
    for index in range(3):
        scene(48, 32, seed=index).save(tmp_path / f"in/{index}.png")
    return tmp_path / "in"


def statuses(stdout: bytes) -> dict[str, str]:
    records = [json.loads(line) for line in stdout.splitlines()]
    return {Path(record["source"]).name: record["status"] for record in records}


def said(stderr: bytes) -> list[str]:
    return stderr.decode().splitlines()


# -- results that exist -----------------------------------------------------------------------------


def test_the_same_command_again_says_once_that_all_is_there(run: Run, photos: Path, tmp_path: Path) -> None:
    paint = ("apply", "in", "-s", "ink-wash", "-o", "out")
    assert run(*paint).returncode == 0
    before = (tmp_path / "out/0.png").stat().st_mtime_ns
    again = run(*paint, "--json")
    assert again.returncode == 1
    assert set(statuses(again.stdout).values()) == {"exists"}
    assert said(again.stderr) == [
        "0 done, 0 skipped, 0 failed.",
        "Error: 3 exist already; --skip-existing goes on, --force paints them again.",
    ]
    assert said(run(*paint, "-n").stderr) == said(again.stderr)[1:]
    assert run(*paint, "-n").returncode == 1
    assert (tmp_path / "out/0.png").stat().st_mtime_ns == before
    assert run(*paint, "--skip-existing").returncode == run(*paint, "--force").returncode == 0


def test_what_is_there_in_another_style_is_not_taken_for_the_result(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    assert run("apply", "in", "-s", "ink-wash", "-o", "out").returncode == 0
    kept = (tmp_path / "out/0.png").read_bytes()
    (tmp_path / "out/2.png").unlink()
    other = ("apply", "in", "-s", "van-gogh", "-o", "out")
    for options in (["--skip-existing"], []):
        result = run(*other, *options, "--json", "-n")
        assert statuses(result.stdout) == {"0.png": "failed", "1.png": "failed", "2.png": "planned"}
        assert result.returncode == 1
    result = run(*other, "--skip-existing", "--json")
    assert result.returncode == 1
    assert statuses(result.stdout) == {"0.png": "failed", "1.png": "failed", "2.png": "done"}
    assert b"Ink wash" in result.stdout
    assert said(result.stderr) == [
        "1 done, 0 skipped, 2 failed.",
        "Error: 2 are there in another style; choose another -o, or --force paints over them.",
    ]
    assert (tmp_path / "out/0.png").read_bytes() == kept
    assert run(*other, "--force").returncode == 0
    assert styles_told(tmp_path / "out/0.png") != styles_told(tmp_path / "in/0.png")
    assert "Post-Impressionism" in str(styles_told(tmp_path / "out/0.png"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif", "heic"])
def test_the_mark_is_found_in_every_format_that_holds_it(run: Run, tmp_path: Path, suffix: str) -> None:
    scene(400, 300).save(tmp_path / "works & <co>.png")
    result = run("apply", "works & <co>.png", "-s", "works & <co>.png", "-o", f"out.{suffix}")
    assert result.returncode == 0, result.stderr.decode()
    assert is_ours(tmp_path / f"out.{suffix}")
    assert styles_told(tmp_path / f"out.{suffix}") == "works & <co>"
    assert not is_ours(tmp_path / "works & <co>.png")
    assert not is_ours(tmp_path / "none.png")


# -- results among photographs ----------------------------------------------------------------------


def test_results_in_a_folder_are_no_photographs_unless_named(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("apply", "in", "-s", "ink-wash").returncode == 0
    shutil.move(photos / "0.ink-wash.png", photos / "renamed.png")
    other = ("apply", "in", "-s", "van-gogh", "--json")
    planned = run(*other, "-n")
    result = run(*other)
    assert result.returncode == planned.returncode == 0
    ours = dict.fromkeys(("1.ink-wash.png", "2.ink-wash.png", "renamed.png"), "skipped")
    assert statuses(result.stdout) == dict.fromkeys(("0.png", "1.png", "2.png"), "done") | ours
    assert statuses(planned.stdout) == dict.fromkeys(("0.png", "1.png", "2.png"), "planned") | ours
    sentence = (
        "3 inputs were painted by stylize and are left out; name them outright to paint them once more."
    )
    assert said(result.stderr) == ["3 done, 3 skipped, 0 failed.", sentence]
    assert said(planned.stderr) == [sentence]
    assert not (photos / "1.ink-wash.van-gogh.png").exists()
    named = run("apply", "in/1.ink-wash.png", "-s", "van-gogh")
    assert named.returncode == 0
    assert (photos / "1.ink-wash.van-gogh.png").exists()


# -- names, lists and dry runs ----------------------------------------------------------------------


def test_two_pictures_of_one_name_both_have_a_result(run: Run, photos: Path, tmp_path: Path) -> None:
    scene(40, 30).save(photos / "1.jpg")
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "--format", "jpg")
    assert result.returncode == 0, result.stderr.decode()
    assert sorted(os.listdir(tmp_path / "out")) == ["0.jpg", "1.jpg", "1.png.jpg", "2.jpg"]


def test_a_dry_run_says_that_an_input_is_missing(run: Run, photos: Path, tmp_path: Path) -> None:
    result = run("apply", "none.png", "in/0.png", "-s", "ink-wash", "-o", "out", "-n")
    assert result.returncode == 2
    assert said(result.stderr) == ["Error: There is no file or folder none.png; check the path."]
    assert result.stdout == b"in/0.png -> out/0.png\n"
    real = run("apply", "none.png", "in/0.png", "-s", "ink-wash", "-o", "out")
    assert real.returncode == 1
    assert said(real.stderr)[0] == said(result.stderr)[0]


def test_lists_have_comments_and_home_folders(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "0.png", tmp_path / "#1.png")
    (tmp_path / "list.txt").write_text("# from the trip\n~/0.png\n  # more\n\nin/1.png\n#1.png\n")
    options = ("-s", "ink-wash", "-o", "out", "-n", "--json")
    result = run("apply", "--files-from", "list.txt", *options, HOME=str(photos))
    assert result.returncode == 0, result.stderr.decode()
    assert statuses(result.stdout) == dict.fromkeys(("0.png", "1.png", "#1.png"), "planned")


# -- one bad file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply", "photo.jpg", "-s", "in", "-o", "out.png"],
        ["eval", "in", "-s", "ink-wash"],
        ["eval", "photo.jpg", "-s", "in"],
        ["eval", "photo.jpg", "-s", "ink-wash", "--works", "ink-wash=in"],
        ["styles", "compare", "in", "ink-wash", "-o", "page.html"],
    ],
)
def test_one_bad_file_does_not_stop_the_rest(
    run: Run, photos: Path, photo: Path, arguments: list[str]
) -> None:
    for index in range(3):
        scene(120, 90, seed=index).save(photos / f"{index}.png")
    (photos / "bad.jpg").write_bytes(b"no picture")
    result = run(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    (line,) = [line for line in said(result.stderr) if "Left out" in line]
    assert "bad.jpg" in line
    for path in photos.glob("*.png"):
        path.unlink()
    result = run(*arguments)
    assert result.returncode == 1
    assert "bad.jpg" in result.stderr.decode()


# -- the report -------------------------------------------------------------------------------------


def test_a_report_shows_failures_first_with_command_and_date(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "9 <b>.png").write_bytes(b"no picture")
    run("apply", "in", "-s", "ink-wash", "-o", "out", "--report", "page & more.html")
    page = (tmp_path / "page & more.html").read_text()
    assert re.findall(r'<figure class="(\w+)"', page) == ["failed", "done", "done", "done"]
    assert (
        "<code>stylize apply in -s ink-wash -o out --report &#x27;page &amp; more.html&#x27;</code>" in page
    )
    assert f"{datetime.now():%Y-%m-%d}" in page
    run("apply", "in", "-s", "ink-wash", "-o", "out", "--report", "page & more.html")
    page = (tmp_path / "page & more.html").read_text()
    assert re.findall(r'<figure class="(\w+)"', page) == ["failed", "exists", "exists", "exists"]


# -- broken off -------------------------------------------------------------------------------------


def test_json_tells_of_all_that_was_finished_after_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(120):
        scene(160, 120, seed=index).save(tmp_path / f"in/{index:03}.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "stylize", "apply", "in", "-s", "ink-wash", "-o", "out", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    rest, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    told = statuses(b"".join(lines) + rest)
    assert set(told.values()) == {"done"}
    assert set(told) == {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}


# -- following a folder -----------------------------------------------------------------------------


def test_a_picture_without_its_end_is_waited_for(tmp_path: Path) -> None:
    scene(60, 40).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    job = Job(tmp_path / "a.jpg", tmp_path / "out.jpg")
    job.source.write_bytes(data[: len(data) // 2])
    found = arrivals(lambda: [job], poll=0.0, still=0.02)
    assert [next(found), time.sleep(0.1), next(found)] == [[], None, []]
    job.source.write_bytes(data)
    assert [next(found), time.sleep(0.1), next(found)] == [[], None, [job]]


def test_a_picture_that_is_replaced_is_painted_again(tmp_path: Path) -> None:
    job = Job(tmp_path / "a.jpg", tmp_path / "out.jpg")
    scene(60, 40).save(job.source)
    found = arrivals(lambda: [job], poll=0.0, still=0.0)
    assert next(found) == [job]
    assert next(found) == []
    scene(61, 40).save(job.source)
    (again,) = next(found)
    assert (again.again, again.target) == (True, job.target)
