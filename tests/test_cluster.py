"""A job on a real Ray cluster of two workers on this machine, from a real object store and back."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import Run, scene
from object_store import Store

psutil = pytest.importorskip("psutil", reason="psutil is not installed")
pytest.importorskip("ray.data", reason="ray[data] is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")


DRIVER = """
    import os, sys
    from stylize import cluster
    from stylize.cli import main

    class Mortal(cluster.Worker):
        def __call__(self, rows):
            if any(b"poison" in source for source in rows["source"]):
                os._exit(1)
            return super().__call__(rows)

    cluster.Cluster.worker = Mortal
    cluster._TRIES = 1
    sys.exit(main())
"""
"""The command line, with workers that one picture kills."""


def workers_of(driver: int) -> list[int]:
    """The processes that hold a network, of the cluster that a process has started."""
    named = {p.pid: " ".join(p.cmdline()) for p in psutil.Process(driver).children(recursive=True)}
    return sorted(pid for pid, name in named.items() if name.startswith("ray::MapWorker"))


@pytest.mark.long
def test_workers_that_die_lose_nothing(store: Store, tmp_path: Path) -> None:
    """One is killed amid the job; one picture kills whoever takes it; one is no picture; one is there."""
    names = [f"{i:03}.png" for i in range(96)]
    for i, name in enumerate([*names, "poison.png"]):
        store.put(f"in/{name}", scene(96, 64, seed=i))
    store.put("in/bad.png", b"no picture")
    store.put("out/000.png", b"old")
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    paint = [
        "apply",
        "s3://bucket/in",
        "-s",
        "ink-wash",
        "-o",
        "s3://bucket/out",
        "--json",
        "--skip-existing",
    ]
    local = {"RAY_ADDRESS": "local", "RAY_worker_niceness": "0"}
    options = ["--engine", "ray", "--workers", "2", "--json", "--skip-existing"]
    process = subprocess.Popen(
        [sys.executable, "driver.py", *paint, *options], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, **store.env, **local},
    )  # fmt: skip
    while len(store.names("out")) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    at_that_time = len(store.names("out"))
    output, errors = process.communicate(timeout=300)
    assert at_that_time < len(names)
    assert process.returncode == 1, errors.decode()
    records = {r["source"].rpartition("/")[2]: r for r in map(json.loads, output.splitlines())}
    assert len(records) == len(output.splitlines()) == len(names) + 2
    statuses = {name: record["status"] for name, record in records.items()}
    assert statuses.pop("000.png") == "skipped"
    assert (statuses.pop("bad.png"), statuses.pop("poison.png")) == ("failed", "failed")
    assert set(statuses.values()) == {"done"}
    assert "is not a picture" in records["bad.png"]["error"]
    assert "its worker died" in records["poison.png"]["error"]
    assert b"95 done, 1 skipped, 2 failed" in errors
    assert b"Traceback" not in errors
    assert store.names("out") == names  # each whole, and nothing beside them
    assert store.fs.cat_file("bucket/out/000.png") == b"old"
    for name in names[1:]:
        assert store.picture(f"out/{name}").convert("RGB").size == (96, 64)


def test_where_there_is_no_cluster_a_sentence_says_so(run: Run, tmp_path: Path) -> None:
    scene(40, 30).save(tmp_path / "a.png")
    paint = ["apply", "a.png", "-s", "ink-wash", "-o", "out", "--engine", "ray"]
    result = run(*paint, RAY_ADDRESS="127.0.0.1:9")
    assert result.returncode == 1
    assert b"There is no Ray cluster at 127.0.0.1:9" in result.stderr
    assert b"Traceback" not in result.stderr
    result = run("apply", "memory://in/a.png", *paint[2:], RAY_ADDRESS="127.0.0.1:9")
    assert result.returncode == 2
    assert b"in one process's memory" in result.stderr
