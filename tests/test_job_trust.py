"""Folder jobs that can be trusted: kills, two processes at once, strange names, links, lists and watching."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run, scene
from PIL import Image

from stylize.files import Claims, atomic_path, companion
from stylize.paths import read_list

APPLY = [sys.executable, "-m", "stylize", "apply"]
ENV = {**os.environ, "NO_COLOR": "1"}


def pictures(folder: Path, count: int, side: int = 24) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene(side, side, seed=index).save(folder / f"{index:03}.png")


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def test_a_full_disk_is_one_sentence_and_leaves_no_part(tmp_path: Path) -> None:
    scene(400, 300).save(tmp_path / "large.png")
    scene(20, 16).save(tmp_path / "small.png")
    limited = (  # a limit on the size of files is as near as a test may come to a full disk
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from stylize.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["apply", "large.png", "small.png", "-s", "ink-wash", "-o", "out/"]
    result = subprocess.run(
        [sys.executable, "-c", limited, *arguments], cwd=tmp_path, capture_output=True, env=ENV
    )
    assert result.returncode == 1, result.stderr.decode()
    assert b"Cannot write out/large.png" in result.stderr
    assert b"Traceback" not in result.stderr
    assert files(tmp_path / "out") == ["small.png"]


# -- atomic writes and claims ---------------------------------------------------------------------


@pytest.mark.long
def test_a_killed_job_is_whole_and_goes_on() -> None:
    """A short form; benchmarks/README.md has the numbers of the long one."""
    trial = Path(__file__).parent.parent / "benchmarks/kills.py"
    kills = os.environ.get("STYLIZE_KILLS", "12")
    options = ["--kills", kills, "--pictures", "12", "--side", "48"]
    result = subprocess.run([sys.executable, trial, *options], capture_output=True, env=ENV)
    assert result.returncode == 0, result.stderr.decode()
    assert f"killed: {kills}".encode() in result.stdout


def test_what_a_killed_process_left_is_used_again(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    for kind in ("part", "claim"):
        companion(target, kind).write_bytes(b"x" * 1000)
    with Claims() as claims:
        assert claims.take(target)
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"new")
        assert claims.take(tmp_path / "b.png")  # never done: given back at the end
        claims.release(target)
    assert files(tmp_path) == ["a.png"]
    assert target.read_bytes() == b"new"


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the n")
            raise ValueError("spilt")

    with pytest.raises(ValueError, match="spilt"):
        write()
    assert files(tmp_path) == ["a.png"]
    assert target.read_bytes() == b"old"


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    companion(tmp_path / "a.png", "part").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"), atomic_path(tmp_path / "a.png") as temporary:
        temporary.write_bytes(b"new")
    assert victim.read_bytes() == b"mine"


def test_a_claim_is_for_one_process_and_ends_with_it(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    code = (
        "import sys, time; from pathlib import Path; from stylize.files import Claims;"
        "print(Claims().take(Path(sys.argv[1])), flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"True\n"
    with Claims() as claims:
        assert not claims.take(target)
        other.kill()
        other.wait()
        other.stdout.close()
        assert claims.take(target)
    assert files(tmp_path) == []


@pytest.mark.parametrize("option", ["--force", None])
def test_two_processes_share_the_work(tmp_path: Path, option: str | None) -> None:
    pictures(tmp_path / "in", 30, side=96)
    options = ["-s", "ink-wash", "-o", "out", "--json", "--workers", "2", *([option] if option else [])]
    both = [
        subprocess.Popen(
            [*APPLY, "in", *options], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    done = [json.loads(line) for out, _ in told for line in out.splitlines()]
    painted = [record["source"] for record in done if record["status"] == "done"]
    assert len(painted) == len(set(painted)) == 30
    assert len(done) == 60
    assert files(tmp_path / "out") == files(tmp_path / "in")
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            image.load()


# -- names and links ------------------------------------------------------------------------------

STRANGE = [
    b"caf\xe9 latin-1.png", "🖼️ 浮世絵.png".encode(), b"new\nline.png", b"-rf.png", b"CON.png", b"a..b.png",
    b"[red]x[bold].png", b"esc\x1b[31m.png", b"x" * 240 + b".png", b" .png", b"a:b.png", b"100%.png",
]  # fmt: skip


def test_strange_names_stay_what_they_are_inside_the_output(run: Run, tmp_path: Path) -> None:
    inside = os.fsencode(tmp_path / "in")
    os.mkdir(inside)
    content = tmp_path / "x.png"
    scene(20, 20).save(content)
    for name in STRANGE:
        Path(os.fsdecode(os.path.join(inside, name))).write_bytes(content.read_bytes())
    content.unlink()
    assert run("apply", "in", "-s", "ink-wash", "-o", "out", "--dry-run").stdout.count(b"\n") == len(STRANGE)
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "--json", "--report", "page/sheet.html")
    assert result.returncode == 0, result.stderr.decode()
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == sorted(STRANGE)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(os.fsencode(Path(r["source"]).name) for r in records) == sorted(STRANGE)
    assert b"\x1b" not in result.stderr + result.stdout
    assert b"\x1b" not in (tmp_path / "page/sheet.html").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "page"]


def test_names_that_cannot_be_written_fail_alone(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path, 1)
    (tmp_path / "000.png").rename(tmp_path / ("y" * 249 + ".png"))
    pictures(tmp_path, 1)
    result = run("apply", ".", "x" * 300 + ".png", "nul\n.png", "-s", "ink-wash")
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"too long" in result.stderr
    assert b"1 done, 0 skipped, 3 failed" in result.stderr
    assert len(result.stderr.splitlines()) == 7, result.stderr.decode()
    assert (tmp_path / "000.ink-wash.png").exists()


def test_paths_that_lead_out_give_only_a_name(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "a/b", 1)
    pictures(tmp_path / "away", 2)
    (tmp_path / "away/001.png").rename(tmp_path / "away/other.png")
    work = tmp_path / "a/work"
    work.mkdir()
    result = subprocess.run(
        [*APPLY, "../b/000.png", str(tmp_path / "away/other.png"), "-s", "ink-wash", "-o", "out"],
        cwd=work, capture_output=True, env=ENV,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    assert files(work) == ["out/000.png", "out/other.png"]


def test_links_are_not_followed_out_of_the_input(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in/sub", 1)
    pictures(tmp_path / "secret", 1)
    (tmp_path / "in/out.png").symlink_to(tmp_path / "secret/000.png")
    (tmp_path / "in/inside.png").symlink_to("sub/000.png")
    (tmp_path / "in/folder").symlink_to(tmp_path / "secret")
    (tmp_path / "in/round").symlink_to(".")
    (tmp_path / "in/dead.png").symlink_to("nothing")
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "-r")
    assert files(tmp_path / "out") == ["inside.png", "sub/000.png"]
    assert result.returncode == 1
    assert b"out.png is a link that leads out" in result.stderr
    named = run("apply", "in/out.png", "-s", "ink-wash", "-o", "named.png", "--dry-run")
    assert named.stdout == b"in/out.png -> named.png\n"


def test_links_do_not_take_results_out_of_the_output(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in/sub", 1)
    (tmp_path / "away").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / "away")
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "-r")
    assert result.returncode == 2
    assert b"link" in result.stderr
    assert files(tmp_path / "away") == []
    (tmp_path / "out/sub").unlink()
    (tmp_path / "out/sub").mkdir()
    (tmp_path / "victim.png").write_bytes(b"mine")
    (tmp_path / "out/sub/000.png").symlink_to(tmp_path / "victim.png")
    assert run("apply", "in", "-s", "ink-wash", "-o", "out", "-r", "--force").returncode == 0
    assert (tmp_path / "victim.png").read_bytes() == b"mine"
    assert not (tmp_path / "out/sub/000.png").is_symlink()


def test_nothing_that_is_read_is_replaced(run: Run, photo: Path) -> None:
    scene(157, 101, seed=4).save(photo.with_name("work.png"))
    for options in (["-s", "work.png"], ["-s", "ink-wash", "--mask", "work.png"]):
        before = photo.with_name("work.png").read_bytes()
        result = run("apply", photo, *options, "-o", "work.png", "--force")
        assert result.returncode == 2
        assert b"input" in result.stderr
        assert photo.with_name("work.png").read_bytes() == before


def test_results_in_the_input_folder_are_not_inputs(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    scene(9, 9).save(tmp_path / "in/._hidden.png")
    pictures(tmp_path / "in/out", 1)
    result = run("apply", "in", "-s", "ink-wash", "-o", "in/out", "-r", "--dry-run", "--force")
    assert result.stdout == b"in/000.png -> in/out/000.png\n"


# -- lists, summary, report -----------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_what_ends_a_line(end: bytes) -> None:
    names = [b"a.png", b"sub/b c.png", b"\xff.png", b" d.png"]
    expected = [os.fsdecode(name) for name in names]
    assert read_list(end.join([*names, b""])) == expected
    assert read_list(end + end.join(names)) == expected


def test_a_list_of_files(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "a", 1)
    pictures(tmp_path / "b", 1)
    pictures(tmp_path / "c", 2)
    names = [b"a/000.png", b"./b/000.png", b"", b"c", str(tmp_path / "c/none.png").encode()]
    content = b"\n".join(names)
    result = run("apply", "--files-from", "-", "-s", "ink-wash", "-o", "out", stdin=content)
    assert result.returncode == 1
    assert b"none.png" in result.stderr
    assert b"4 done, 0 skipped, 1 failed" in result.stderr
    assert files(tmp_path / "out") == ["000.png", "001.png", "a/000.png", "b/000.png"]
    (tmp_path / "list").write_bytes(content)
    again = run("apply", "--files-from", "list", "-s", "ink-wash", "-o", "out", "--skip-existing", "--json")
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()].count("skipped") == 4


def test_lists_that_are_none(run: Run, tmp_path: Path) -> None:
    result = run("apply", "--files-from", "none.txt", "-s", "ink-wash")
    assert result.returncode == 1
    assert b"none.txt" in result.stderr
    assert run("apply", "-s", "ink-wash").returncode == 2
    assert run("apply", "-", "--files-from", "-", "-s", "ink-wash", stdin=b"").returncode == 2
    assert run("apply", "--files-from", "-", "-s", "ink-wash", stdin=b"").returncode == 0


def test_json_has_a_line_for_every_input_and_the_summary_is_on_stderr(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3)
    (tmp_path / "in/001.png").write_bytes(b"none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/002.png").write_bytes(b"mine")
    options = ["-s", "ink-wash:0.5", "-s", "van-gogh:0.5", "-o", "out", "--json", "--skip-existing"]
    result = run("apply", "in", "empty", *options)
    records = {r["source"]: r for r in map(json.loads, result.stdout.splitlines())}
    statuses = {source: record["status"] for source, record in records.items()}
    assert statuses == {
        "in/000.png": "done", "in/001.png": "failed", "in/002.png": "skipped", "empty": "failed",
    }  # fmt: skip
    for record in records.values():
        keys = {"source", "target", "status", "seconds", "style", "error", "warning", "stroke"}
        assert set(record) == keys
        assert record["style"] == "ink-wash+van-gogh"
        assert bool(record["error"]) == (record["status"] == "failed")
    summary = result.stderr.decode().splitlines()[-3:]
    assert summary == ["1 done, 1 skipped, 2 failed.", "failed: empty", "failed: in/001.png"]
    planned = run("apply", "in", "-s", "ink-wash", "-o", "new", "--dry-run", "--json").stdout.splitlines()
    assert {json.loads(line)["status"] for line in planned} == {"planned"}


def test_the_proof_sheet_holds_all_it_shows(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3, side=500)
    (tmp_path / "in/<b>&.png").write_bytes(b"none")
    (tmp_path / "out").mkdir()
    scene(500, 500).save(tmp_path / "out/000.png")
    result = run(
        "apply", "in", "-s", "ink-wash", "-o", "out", "--skip-existing", "--report", "out/sheet.html"
    )
    assert result.returncode == 1
    page = (tmp_path / "out/sheet.html").read_text()
    assert page.count('class="pair"') == page.count('type="range"') == 3
    assert page.count("data:image/webp;base64,") == 6
    assert len(page) < 6 * 60_000 + 5000
    assert "2 done, 1 failed, 1 skipped" in page
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;.png" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    links = re.findall(r'href="([^"]+)"', page)
    assert sorted(links) == ["000.png", "001.png", "002.png"]
    result = run("apply", "in", "-s", "ink-wash", "-o", "new", "--report", "in/000.png/sheet.html")
    assert result.returncode == 1
    assert b"--report" in result.stderr
    assert not (tmp_path / "new").exists()


# -- watching -------------------------------------------------------------------------------------


def until(condition: object, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():  # pyright: ignore
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


@pytest.mark.long
def test_watching(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1, side=60)
    whole = tmp_path / "whole.png"
    Image.effect_noise((300, 300), 80).save(whole)
    data, out = whole.read_bytes(), tmp_path / "in/out"
    options = ["in", "-s", "ink-wash", "-o", "in/out", "--watch", "--json", "--report", "sheet.html"]
    process = subprocess.Popen(
        [*APPLY, *options], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until(lambda: (out / "000.png").exists())
        with (tmp_path / "in/slow.png").open("wb") as slow:
            for start in range(0, len(data), len(data) // 3):  # a copy that takes its time
                slow.write(data[start : start + len(data) // 3])
                slow.flush()
                time.sleep(1)
        assert not (out / "slow.png").exists()
        until(lambda: (out / "slow.png").exists())
        (tmp_path / "in/half.png").write_bytes(data[: len(data) // 2])
        time.sleep(3.2)
        (tmp_path / "in/half.png").write_bytes(data)
        until(lambda: (out / "half.png").exists())
        first = (out / "000.png").read_bytes()
        scene(90, 60, seed=7).save(tmp_path / "in/000.png")
        until(lambda: (out / "000.png").read_bytes() != first)
        with Image.open(out / "000.png") as again:
            assert again.size == (90, 60)
        until(lambda: (tmp_path / "sheet.html").read_text().count('class="pair"') == 4)
    finally:
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    records = [json.loads(line) for line in told.splitlines()]
    statuses = [(Path(r["source"]).name, r["status"]) for r in records]
    assert statuses == [
        ("000.png", "done"),
        ("slow.png", "done"),
        ("half.png", "done"),
        ("000.png", "done"),
    ]
    assert b"3 done, 0 skipped, 0 failed." in said
    assert b"Traceback" not in said
    assert files(out) == ["000.png", "half.png", "slow.png"]


def test_watching_what_is_no_folder(run: Run, photo: Path) -> None:
    assert run("apply", photo, "-s", "ink-wash", "--watch").returncode == 2
    assert b"leave out --engine ray" in run("apply", ".", "-s", "x", "--watch", "--engine", "ray").stderr


def test_a_page_is_not_replaced_by_an_empty_one(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("yesterday's")
    (tmp_path / "bad.safetensors").write_bytes(b"no style")
    assert run("apply", photo, "-s", "bad.safetensors", "--report", "page.html").returncode == 1
    assert (tmp_path / "page.html").read_text() == "yesterday's"


def test_metadata_that_cannot_be_kept_does_not_stop_the_rest(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        scene(40, 30).save(tmp_path / name)
    deep = "<x>" * 3000 + "</x>" * 3000
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{deep}</x:xmpmeta>'
    scene(40, 30).save(tmp_path / "b.webp", xmp=packet.encode())
    result = run("apply", ".", "-s", "ink-wash", "-o", "out", "--json")
    assert b"mistake in stylize" not in result.stderr
    records = {Path(r["source"]).name: r["status"] for r in map(json.loads, result.stdout.splitlines())}
    assert (records["a.png"], records["c.png"]) == ("done", "done")
    assert result.returncode == (1 if records["b.webp"] == "failed" else 0)
