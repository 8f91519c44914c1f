"""Damaged and hostile picture files, by the ten thousand: what happens when they are painted.

Real files of every format are cut, flipped and spliced (tests/damaging.py), and others are made to cost much
(tests/hostile.py: tags, XMP, texts, scans, frames); all have at most 1 MB. Each must be read, and its result
written, or give one sentence: within five seconds of one processor, in at most 300 MB beyond twice the
decoded picture, and never with a traceback. Then some hundred go through the command as a folder. A worker
that crashes or hangs is found by the file that it was busy with.

    nice python benchmarks/fuzz_pictures.py --files 24000
"""

import argparse
import collections
import io
import json
import multiprocessing as mp
import os
import random
import subprocess
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from damaging import damaged, samples  # noqa: E402
from hostile import hostile  # noqa: E402

from stylize.cards import StyleCard  # noqa: E402
from stylize.errors import PictureError  # noqa: E402
from stylize.images import encode_picture, read_picture  # noqa: E402
from stylize.painting import for_format, marked  # noqa: E402
from stylize.picture import Picture  # noqa: E402

SECONDS, BYTES = 5, 300_000_000
HANG = 60
"""Seconds by the clock after which a worker is given up; other programs may slow it down."""

TARGETS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")


def case(number: int, seed: int, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """The name and content of a file, damaged or hostile by turns; the same number gives the same file."""
    if number % 2:
        return hostile(number // 2, seed)
    chance = random.Random(f"{seed}/{number}")
    names = sorted(whole)
    name = names[number // 2 % len(names)]
    return name, damaged(whole[name], whole[chance.choice(names)], chance)


def attempt(number: int, name: str, content: bytes) -> tuple[str, int]:
    """Read a file and write what would be its result, unpainted; what came of it, and bytes when decoded."""
    try:
        picture = read_picture(content, f"{number}.{name}")
        if (size := decoded_bytes(picture)) < 10_000_000:  # writing large ones is not what is tried
            format_name = TARGETS[number % len(TARGETS)]
            result = marked(for_format(picture, format_name), [StyleCard("x")], "all")
            encode_picture(result, io.BytesIO(), format_name, 90)
        return "read", size
    except PictureError as fault:
        sentence = str(fault)
        good = "\n" not in sentence and len(sentence) < 300
        return "refused" if good else f"odd: {sentence}", 0
    except BaseException as fault:
        return f"raised {fault!r}", 0


def decoded_bytes(picture: Picture) -> int:
    """What the pixels of a picture, and of all its frames, take."""
    frames = [picture] if picture.motion is None else picture.motion.frames
    return sum(
        plane.numel() * plane.element_size()
        for f in frames
        for plane in (f.rgb, f.alpha)
        if plane is not None
    )


def memory(field: str) -> int:
    """Bytes that this process takes (VmRSS), or has taken at most since `forget_peak` (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Count the most memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def work(numbers: range, seed: int, found: "Queue[tuple[int, str, str, float, int]]") -> None:
    """Try files; tell of each its number, name, result, seconds, and bytes beyond twice the picture."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what the C libraries say
    whole = samples()
    for number in numbers:
        name, content = case(number, seed, whole)
        found.put((number, name, "busy", 0, 0))
        forget_peak()
        before, started = memory("VmRSS"), time.process_time()
        result, decoded = attempt(number, name, content)
        seconds = time.process_time() - started
        found.put((number, name, result, seconds, memory("VmHWM") - before - 2 * decoded))
    found.put((-1, "", "end", 0, 0))


def through_reading(count: int, seed: int, start: int = 0) -> collections.Counter[str]:
    """All files, in a process that is replaced when it dies."""
    counts: collections.Counter[str] = collections.Counter()
    slowest = largest = (0.0, 0, "")
    done, started = start, time.monotonic()
    while done < count:
        found: Queue[tuple[int, str, str, float, int]] = mp.Queue()
        worker = mp.Process(target=work, args=(range(done, count), seed, found))
        worker.start()
        busy = (done, "")
        while True:
            try:
                number, name, result, seconds, more = found.get(timeout=HANG)
            except Exception:  # nothing was heard
                print(f"hung or died: {busy} exit {worker.exitcode}", flush=True)
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
            slowest, largest = max(slowest, (seconds, number, name)), max(largest, (more, number, name))
            done = number + 1
            counts[result.split(" ")[0]] += 1
            if result not in {"read", "refused"}:
                print(number, name, result, flush=True)
            for what, bad in (("too slow", seconds > SECONDS), ("too large", more > BYTES)):
                counts[what] += bad
                if bad:
                    print(f"{what}: {number} {name}, {seconds:.1f} s, {more >> 20} MiB more", flush=True)
            if done % 2000 == 0:
                print(f"{done} files, {time.monotonic() - started:.0f} s, {dict(counts)}", flush=True)
        worker.join()
    print(f"slowest {slowest[0]:.2f} s ({slowest[1:]}), most memory beyond twice the picture ", end="")
    print(f"{largest[0] / 2**20:.0f} MiB ({largest[1:]}), {time.monotonic() - started:.0f} s in all")
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
    parser.add_argument("--start", type=int, default=0, help="the first number")
    options = parser.parse_args()
    print(dict(through_reading(options.files, options.seed, options.start)))
    if options.painted:
        through_the_command(options.painted, options.seed)


if __name__ == "__main__":
    main()
