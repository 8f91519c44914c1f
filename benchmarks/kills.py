"""Kill `stylize apply` at random moments, again and again, and look at what it leaves.

    python benchmarks/kills.py --kills 200

A folder of small pictures is painted by processes that die by SIGKILL after a random time. They are forks
of this one, which has loaded everything: so kills hit the work and not the start. After each
kill every result must be whole; from time to time one process may end the job. At the end the results
must be those of a run that nobody disturbed, byte for byte, and nothing else may lie beside them.
Prints what was counted; exits with 1 at the first thing that is wrong.

    python benchmarks/kills.py --kills 200 --disk

The same on a disk that is too small for all results, and every few rounds may not be written at all; only in
the end it is large enough. Needs unshare and tmpfs (Linux).
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import stylize.looks
import stylize.painting  # noqa: F401 loaded here, so that the forks need not
from stylize.cli import main


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Pictures of noise, in three formats and two folders."""
    noise = np.random.default_rng(0)
    (folder / "deep").mkdir(parents=True)
    for index in range(count):
        name = f"{'deep/' if index % 2 else ''}{index:03}.{('png', 'jpg', 'tiff')[index % 3]}"
        pixels = noise.integers(0, 255, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def start(output: Path, *more: str) -> int:
    """Paint the folder `in` beside the output in a process of its own; its number."""
    arguments = ["apply", str(output.parent / "in"), "-s", "ink-wash", "-o", str(output), "--recursive"]
    sys.stdout.flush()
    if number := os.fork():
        return number
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os._exit(main([*arguments, "--quiet", "--workers", "2", *more]))


def finish(output: Path, *more: str) -> float:
    """Paint it all, undisturbed; the seconds that it took."""
    began = time.monotonic()
    _, status = os.waitpid(start(output, *more), 0)
    assert status == 0, "an undisturbed run failed"
    return time.monotonic() - began


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder and the folders in it, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def visible(folder: Path) -> dict[str, bytes]:
    """The results."""
    return {name: data for name, data in contents(folder).items() if not Path(name).name.startswith(".")}


def kill_once(output: Path, chance: random.Random, longest: float, *more: str) -> str:
    """Start the command, kill it after a random time; "killed", or "ended" where it was faster."""
    number = start(output, *more)
    time.sleep(chance.uniform(0, longest))
    os.kill(number, signal.SIGKILL)
    _, status = os.waitpid(number, 0)
    return "killed" if os.WIFSIGNALED(status) else "ended"


def mount(folder: Path, options: str) -> None:
    """Mount a disk in memory at a folder, or change one that is there (remount)."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


def run_on_small_disk(kills: int, pictures: int, side: int, seed: int = 0) -> Counter[str]:
    """As `run`, on a disk with room for about half of the results, which at times may not be written."""
    chance, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_pictures(root / "in", pictures, side)
        longest = finish(root / "whole")
        whole, output = contents(root / "whole"), root / "out"
        output.mkdir()
        size = sum(len(data) + 4096 for data in whole.values()) // 2 >> 10
        mount(output, f"size={size}k")
        try:
            while counts["killed"] < kills:
                locked = chance.random() < 0.2
                before = contents(output)
                if locked:
                    mount(output, "remount,ro")
                mode = chance.choice(["--skip-existing", "--force"])
                counts[kill_once(output, chance, 1.2 * longest, mode)] += 1
                found = visible(output)
                wrong = [name for name, data in found.items() if whole.get(name) != data]
                assert not wrong, f"not whole after a kill: {wrong}"
                if locked:
                    counts["rounds without write access"] += 1
                    assert contents(output) == before, "something was written"
                    mount(output, f"remount,rw,size={size}k")
                elif len(found) == counts["most results"]:
                    counts["rounds with a full disk"] += 1
                counts["most results"] = max(counts["most results"], len(found))
                if chance.random() < 0.2:
                    for path in output.iterdir():
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            mount(output, f"remount,rw,size={4 * size}k")
            finish(output, "--skip-existing")
            assert visible(output) == whole, "the end differs from an undisturbed run"
            finish(output, "--force")
            assert contents(output) == whole, "something is left"
        finally:
            subprocess.run(["umount", "-l", str(output)], check=False)
    return counts


def run(kills: int, pictures: int, side: int, seed: int = 0) -> Counter[str]:
    """The whole trial in a temporary folder; counts. AssertionError if anything is not as it should be."""
    chance, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_pictures(root / "in", pictures, side)
        before = contents(root / "in")
        longest = finish(root / "whole")
        whole, output = contents(root / "whole"), root / "out"
        while counts["killed"] < kills:
            # Half of the time results are there already and are replaced: then old equals new.
            mode = chance.choice(["--skip-existing", "--force"])
            counts[kill_once(output, chance, longest, mode)] += 1
            found = visible(output) if output.exists() else {}
            wrong = [name for name, data in found.items() if whole.get(name) != data]
            assert not wrong, f"not whole after a kill: {wrong}"
            hidden = len(contents(output)) - len(found) if output.exists() else 0
            counts["hidden files left by kills"] += hidden
            counts["kills amid work"] += hidden > 0
            if len(found) == pictures:
                shutil.rmtree(output)
                counts["jobs finished between kills"] += 1
        finish(output, "--skip-existing")
        assert visible(output) == whole, "the end differs from an undisturbed run"
        finish(output, "--force")
        assert contents(output) == whole, "something is left"
        assert contents(root / "in") == before, "an input has changed"
    counts["results compared"] = pictures
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--disk", action="store_true", help="on a small disk")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.disk and not options.inside:  # mounts of its own
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv, "--inside"])
    trial = run_on_small_disk if options.disk else run
    for what, count in trial(options.kills, options.pictures, options.side).items():
        print(f"{what}: {count}")
