"""Damaged picture files, by the ten thousand: what happens when they are painted.

Real files of every format are cut, flipped, spliced and read. Each must either be read or give one sentence,
within ten seconds and 1 GiB (of which the program itself takes about a third), never a traceback. Then
some hundred go through the command as a folder. A worker that crashes or hangs is found by the file that it
was busy with.

    nice python benchmarks/fuzz_pictures.py --files 24000
"""

import argparse
import collections
import json
import multiprocessing as mp
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from damaging import damaged, samples  # noqa: E402

from stylize.errors import PictureError  # noqa: E402
from stylize.images import read_picture  # noqa: E402

SECONDS, BYTES = 10, 1 << 30


def case(number: int, seed: int, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """The name and content of a damaged file; the same number gives the same file."""
    chance = random.Random(f"{seed}/{number}")
    names = sorted(whole)
    name = names[number % len(names)]
    return name, damaged(whole[name], whole[chance.choice(names)], chance)


def work(numbers: range, seed: int, found: "Queue[tuple[int, str, str, float, int]]") -> None:
    """Read damaged files; tell what came of each: its number, name, result, seconds and peak bytes."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what the C libraries say
    whole = samples()
    for number in numbers:
        name, content = case(number, seed, whole)
        found.put((number, name, "busy", 0, 0))
        started = time.monotonic()
        try:
            read_picture(content, f"{number}.{name}")
            result = "read"
        except PictureError as fault:
            sentence = str(fault)
            result = "refused" if "\n" not in sentence and len(sentence) < 300 else f"odd: {sentence}"
        except BaseException as fault:
            result = f"raised {fault!r}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found.put((number, name, result, time.monotonic() - started, peak))
    found.put((-1, "", "end", 0, 0))


def through_reading(count: int, seed: int) -> collections.Counter[str]:
    """All files, in a process that is replaced when it dies."""
    counts: collections.Counter[str] = collections.Counter()
    slowest = largest = 0.0
    done, started = 0, time.monotonic()
    while done < count:
        found: Queue[tuple[int, str, str, float, int]] = mp.Queue()
        worker = mp.Process(target=work, args=(range(done, count), seed, found))
        worker.start()
        busy = (done, "")
        while True:
            try:
                number, name, result, seconds, peak = found.get(timeout=SECONDS + 20 * (not busy[1]))
            except Exception:  # nothing was heard
                print(f"hung or died: {busy} exit {worker.exitcode}")
                counts["hung or died"] += 1
                worker.kill()
                done = busy[0] + 1
                break
            if result == "busy":
                busy = (number, name)
                continue
            if number < 0:
                done = count
                break
            slowest, largest = max(slowest, seconds), max(largest, peak)
            done = number + 1
            if result not in {"read", "refused"}:
                print(number, name, result)
            if peak > BYTES:
                print(f"{number} {name}: {peak >> 20} MiB")
                counts["too much memory"] += 1
                worker.kill()
                break
            counts[result.split(" ")[0]] += 1
            if done % 4000 == 0:
                print(
                    f"{done} files, {time.monotonic() - started:.0f} s, slowest {slowest:.2f} s", flush=True
                )
        worker.join()
    print(
        f"slowest {slowest:.2f} s, peak {largest / 2**20:.0f} MiB, {time.monotonic() - started:.0f} s in all"
    )
    return counts


def through_the_command(count: int, seed: int) -> None:
    """A folder of damaged files, painted by the command."""
    whole = samples()
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "in")
        inside.mkdir()
        for number in range(count):
            name, content = case(number, seed + 1, whole)
            Path(inside, f"{number}.{name}").write_bytes(content)
        command = [sys.executable, "-m", "stylize", "apply", "in", "-s", "ink-wash", "-o", "out", "--json"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        records = [json.loads(line) for line in result.stdout.splitlines()]
        counts = collections.Counter(record["status"] for record in records)
        print(f"the command: exit {result.returncode}, {dict(counts)}, of {count}")
        assert result.returncode == 1, result.stderr[-2000:]
        assert "Traceback" not in result.stderr
        assert "mistake in stylize" not in result.stdout
        assert len(records) == count
        assert all(record["error"].count("\n") == 0 for record in records)


def main() -> None:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=24_000)
    parser.add_argument("--painted", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(dict(through_reading(options.files, options.seed)))
    through_the_command(options.painted, options.seed)


if __name__ == "__main__":
    main()
