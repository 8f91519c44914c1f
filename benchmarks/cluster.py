"""What a Ray cluster costs and what it loses, on this machine.

    python benchmarks/cluster.py overhead                     # pictures of one megapixel, on disk
    python benchmarks/cluster.py empty                        # what Ray itself takes
    python benchmarks/cluster.py losses --pictures 10000      # one worker and one driver are killed
    python benchmarks/cluster.py losses --store               # the same by way of a server of S3's protocol

`overhead` paints two folders of different length with the plain engine and with one and two workers of a
cluster that runs already; the differences give the time and the processor time of one picture, without the
start. `losses` prints what was counted, and exits with 1 if a result is missing, torn, or there twice.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from stylize.bundled import sample_picture
from stylize.cluster import Cluster, Order, Worker
from stylize.jobs import Job
from stylize.looks import resolve_look
from stylize.painting import PaintSettings
from stylize.places import files_in, make_folder, place_of, replacing
from stylize.remote import Url, objects_in

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
ENV["RAY_worker_niceness"] = "0"  # or anything else that runs here comes before the workers


@contextmanager
def cluster(cores: int) -> Iterator[psutil.Process]:
    """A cluster on this machine that outlives its drivers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={cores}",
        f"--port={port}", "--include-dashboard=false", "--object-store-memory=200000000",
    ]  # fmt: skip
    process = psutil.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ENV["RAY_ADDRESS"] = f"127.0.0.1:{port}"
    while True:
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    time.sleep(5)  # the other daemons
    try:
        yield process
    finally:
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.wait()


def start(source: object, target: object, *options: str) -> psutil.Popen:
    """The command as a process that writes JSON lines to a pipe."""
    arguments = ["apply", str(source), "-s", "ink-wash", "-o", str(target), "--json", "-q", *options]
    return psutil.Popen([sys.executable, "-m", "stylize", *arguments], env=ENV, stdout=subprocess.PIPE)


Seconds = dict[int, tuple[bool, float]]
"""Process -> is it one that paints, and the processor's seconds that it has taken."""


def look(roots: list[psutil.Process], seen: Seconds) -> None:
    """Note what these processes and all below them have taken; those that have ended stay noted."""
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    times, name = process.cpu_times(), " ".join(process.cmdline())
                    paints = "ray::MapWorker" in name or (len(roots) == 1 and "stylize" in name)
                    paints = paints or seen.get(process.pid, (False, 0.0))[0]  # the dead have no name
                    seen[process.pid] = paints, times.user + times.system


def timed(folder: Path, others: list[psutil.Process], *options: str) -> tuple[float, float, float]:
    """Paint a folder; seconds by the clock, of the processor in painting, and in all else."""
    output = folder.with_name("out")
    shutil.rmtree(output, ignore_errors=True)
    before: Seconds = {}
    look(others, before)
    seen = dict(before)
    began, process = time.monotonic(), start(folder, output, *options)
    while process.poll() is None:
        look([process, *others], seen)
        time.sleep(0.1)
    took = time.monotonic() - began
    assert process.returncode == 0
    assert len(list(output.iterdir())) == len(list(folder.iterdir()))
    painting = sum(seconds for paints, seconds in seen.values() if paints)
    around = sum(
        seconds - before.get(pid, (False, 0.0))[1] for pid, (paints, seconds) in seen.items() if not paints
    )
    return took, painting, around


def overhead(few: int, many: int, side: int) -> None:
    """Print the price of a picture in each engine."""
    with tempfile.TemporaryDirectory() as place, cluster(2) as daemons:
        folders = [Path(place, str(count)) for count in (few, many)]
        photo = Image.open(sample_picture()).convert("RGB").resize((side, side))
        for count, folder in zip((few, many), folders, strict=True):
            folder.mkdir()
            for index in range(count):
                photo.rotate(index).save(folder / f"{index:05}.jpg", quality=92)
        ways = {
            "plain": ["--workers", "2"],
            "one worker": ["--engine", "ray", "--workers", "1"],
            "two workers": ["--engine", "ray", "--workers", "2"],
        }
        print("| | s / picture | processor: painting | all else | start in s |\n|---|---|---|---|---|")
        for name, options in ways.items():
            others = [] if name == "plain" else [daemons]
            short, long = (timed(folder, others, *options) for folder in folders)
            clock, painting, rest = ((b - a) / (many - few) for a, b in zip(short, long, strict=True))
            begin = short[0] - few * clock
            print(f"| {name} | {clock:.3f} | {painting:.3f} | {rest:.3f} | {begin:.1f} |", flush=True)


class Idle(Worker):
    """Says that all is done, and does nothing."""

    def __init__(self, order: Order) -> None:
        pass

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        number = [int(number) for number in rows["number"]]
        texts = {"status": ["done"] * len(number), "note": [""] * len(number)}
        proofs = {name: [b""] * len(number) for name in ("before", "after")}
        return {"number": number, "seconds": [0.0] * len(number), **texts, **proofs}


def empty(few: int, many: int) -> None:
    """Print what giving out a picture and hearing of it takes, without the painting."""
    with cluster(2) as daemons:
        os.environ.update(ENV)
        engine = Cluster(resolve_look(["ink-wash"]), "cpu", "auto", PaintSettings(workers=2))
        engine.worker = Idle
        taken = []
        for count in (few, few, many):  # the first time, all is loaded
            jobs = [Job(Path(f"/none/{i}.png"), Path(f"/none/out/{i}.png"), "ink-wash") for i in range(count)]
            seen: Seconds = {}
            look([psutil.Process(), daemons], seen)
            before, began = sum(seconds for _, seconds in seen.values()), time.monotonic()
            assert sum(outcome.status == "done" for outcome in engine.work(jobs)) == count
            clock = time.monotonic() - began
            look([psutil.Process(), daemons], seen)
            taken.append((clock, sum(seconds for _, seconds in seen.values()) - before))
        clock, processor = ((b - a) / (many - few) * 1000 for a, b in zip(taken[1], taken[2], strict=True))
        print(f"{clock:.1f} ms a picture by the clock, {processor:.1f} ms of the processor")


def losses(pictures: int, side: int, root: str) -> None:
    """Kill a worker at a fifth of the way and the driver at half; start again; look at what there is."""
    source, target = place_of(f"{root}/in"), place_of(f"{root}/out")
    noise = np.random.default_rng(0)
    make_folder(source)
    for index in range(pictures):
        with replacing(source / f"{index:06}.png") as file:
            Image.fromarray(noise.integers(0, 255, (side, side, 3), np.uint8)).save(file, "PNG")
    print(f"{pictures} pictures of {side} x {side} at {root}", flush=True)

    def there() -> int:
        if isinstance(target, Url):
            return len(objects_in(target))
        return len(os.listdir(target)) if target.is_dir() else 0

    def wait_for(share: float) -> int:
        while (count := there()) < share * pictures:
            time.sleep(1)
        return count

    with cluster(2) as daemons:
        began = time.monotonic()
        options = ["--engine", "ray", "--workers", "2", "--skip-existing"]
        driver = start(source, target, *options)
        at_kill = wait_for(0.2)
        workers = [p for p in daemons.children(recursive=True) if "ray::MapWorker" in " ".join(p.cmdline())]
        workers[0].kill()
        at_restart = wait_for(0.5)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        print(f"worker killed at {at_kill} results, driver at {at_restart}", flush=True)
        driver = start(source, target, *options)
        records = [json.loads(line) for line in driver.communicate()[0].splitlines()]
        took = time.monotonic() - began
    assert driver.returncode == 0
    counts = Counter(record["status"] for record in records)
    print(f"second driver: {dict(counts)}; {took:.0f} s in all, {took / pictures * 1000:.0f} ms a picture")
    verify(target, pictures, side)
    print("every result is there once, whole, and nothing else")


def verify(target: object, pictures: int, side: int) -> None:
    """AssertionError unless each result is there, can be read to its end, and nothing lies beside them."""
    from stylize.images import read_rgb

    folder = place_of(str(target))
    everything = objects_in(folder) if not isinstance(folder, Path) else set(folder.rglob("*"))
    results, _ = files_in(folder, True, None, {".png"})
    assert len(everything) == len(results) == pictures, (len(everything), len(results))
    assert [place.name for place in results] == [f"{index:06}.png" for index in range(pictures)]
    assert all(read_rgb(place).shape == (3, side, side) for place in results)


@contextmanager
def store() -> Iterator[str]:
    """The URL of an empty bucket on a server of S3's protocol; this process and its children find it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5998"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    values = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(values | {"AWS_ENDPOINT_URL": "http://127.0.0.1:5998"})
    ENV.update(os.environ, RAY_AUTH_MODE="disabled", OMP_NUM_THREADS="1")
    import s3fs

    time.sleep(5)
    s3fs.S3FileSystem().mkdir("bucket")
    try:
        yield "s3://bucket"
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "empty", "losses"])
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--side", type=int, help="default: 1024 for overhead, 32 for losses")
    parser.add_argument("--few", type=int, default=16)
    parser.add_argument("--many", type=int, default=64)
    parser.add_argument("--store", action="store_true")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # the cluster shall not outlive this
    if wanted.what == "overhead":
        overhead(wanted.few, wanted.many, wanted.side or 1024)
    elif wanted.what == "empty":
        empty(1000, wanted.pictures)
    else:
        with store() if wanted.store else tempfile.TemporaryDirectory() as root:
            losses(wanted.pictures, wanted.side or 32, root)
