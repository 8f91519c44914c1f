"""Results are whole or absent: full disks, folders that may not be written, and names that are links."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import Run, scene
from PIL import Image

from stylize.files import Claims, atomic_file, atomic_path, companion
from stylize.images import read_picture

ENV = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def small_disk(tmp_path: Path, kilobytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a disk of this size at `disk`; what is on it is kept in `kept`."""
    script = (
        'mkdir disk && mount -t tmpfs -o size="$1k" none disk && shift || exit 77; '
        '"$@"; code=$?; cp -a disk kept; exit $code'
    )
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(kilobytes), sys.executable, "-m", "stylize"]
    try:
        result = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, env=ENV)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if result.returncode == 77 or "unshare failed" in result.stderr:
        pytest.skip("no disk can be mounted here")
    return result


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        scene(200, 150, seed=index).save(tmp_path / f"in/{index:02}.png")
    options = ("-s", "ink-wash", "-o", "disk", "--format", suffix, "--quality", "100", "--workers", "2")
    result = small_disk(tmp_path, 150, "apply", "in", *options, "--quiet")
    assert result.returncode == 1, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "There is no room" in lines[0]
    found = sorted((tmp_path / "kept").iterdir())
    assert 0 < len(found) < 12
    for path in found:
        assert path.suffix == f".{suffix}"
        assert read_picture(path).size == (200, 150)


def test_a_full_pipe_is_one_sentence(tmp_path: Path, photo: Path) -> None:
    command = [sys.executable, "-m", "stylize", "apply", photo.name, "-s", "ink-wash", "-o", "-"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, env=ENV)
    assert result.returncode == 1
    assert b"standard output" in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_a_folder_that_may_not_be_written_is_one_sentence(run: Run, tmp_path: Path, photo: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    result = run("apply", photo.name, "-s", "ink-wash", "-o", "locked/out.png")
    assert result.returncode == 1
    assert b"locked/out.png" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert not list((tmp_path / "locked").iterdir())


@pytest.mark.parametrize("kind", ["part", "claim"])
@pytest.mark.parametrize("link", ["hard", "symbolic", "pipe"])
def test_what_is_linked_is_not_emptied(run: Run, tmp_path: Path, photo: Path, kind: str, link: str) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("a year's work")
    name = companion(tmp_path / "out.png", kind)
    if link == "pipe":
        os.mkfifo(name)
    elif link == "hard":
        os.link(precious, name)
    else:
        name.symlink_to(precious)
    if kind == "part":
        with pytest.raises(OSError), atomic_path(tmp_path / "out.png"):  # noqa: PT011
            pass
    result = run("apply", photo.name, "-s", "ink-wash", "-o", "out.png")
    assert precious.read_text() == "a year's work"
    assert b"Traceback" not in result.stderr
    assert result.returncode == 0, result.stderr.decode()
    assert read_picture(tmp_path / "out.png").size == (157, 101)


def test_a_file_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    companion(tmp_path / "a.txt", "part").write_bytes(b"half of something long")
    with atomic_file(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_name_that_is_exchanged_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    precious, target = tmp_path / "precious.txt", tmp_path / "out.txt"
    precious.write_bytes(b"a year's work")
    part = companion(target, "part")
    with pytest.raises(OSError, match="exchanged"), atomic_file(target) as file:  # noqa: PT012
        part.unlink()
        part.symlink_to(precious)
        file.write(b"new")
    assert precious.read_bytes() == b"a year's work"
    assert not target.exists()


def test_exchanging_again_and_again_never_reaches_another_file(tmp_path: Path) -> None:
    precious, target = tmp_path / "precious.txt", tmp_path / "out.txt"
    precious.write_bytes(b"a year's work")
    part, ended = companion(target, "part"), threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            other = tmp_path / "other"
            try:
                other.symlink_to(precious)
                other.replace(part)
            except OSError:
                continue

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for _ in range(300):
            try:
                with atomic_file(target) as file:
                    file.write(b"new" * 1000)
            except OSError:
                continue
            assert precious.read_bytes() == b"a year's work"
    finally:
        ended.set()
        attacker.join()
    assert precious.read_bytes() == b"a year's work"


def test_two_who_claim_at_once_do_not_both_get_it(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    for _ in range(50):
        won, start = [], threading.Barrier(4)

        def claim(won: list[Claims] = won, start: threading.Barrier = start) -> None:
            claims = Claims()
            start.wait()
            if claims.take(target):
                won.append(claims)

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release(target)


def test_more_than_a_picture_on_standard_input_is_refused(tmp_path: Path) -> None:
    code = (
        "import stylize.images as i; i.most_bytes = lambda: 1 << 20;"
        "import sys; from stylize.cli import main;"
        "sys.exit(main(['apply', '-', '-s', 'ink-wash', '-o', 'o.png']))"
    )
    with Path("/dev/zero").open("rb") as endless:
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdin=endless,
            capture_output=True,
            env=ENV,
            timeout=60,
        )
    assert result.returncode == 1
    assert b"Standard input has more than 1 MiB" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_written_is_what_was_encoded(tmp_path: Path, photo: Path, run: Run) -> None:
    assert run("apply", photo.name, "-s", "ink-wash", "-o", "out.jpg").returncode == 0
    with Image.open(tmp_path / "out.jpg") as image:
        image.load()
    assert (tmp_path / "out.jpg").read_bytes()[-2:] == b"\xff\xd9"
