"""Mutate weights files and load them: one sentence each, no crash, no hang, no memory to speak of.

    python benchmarks/fuzz_weights.py --count 150000

Every mutant must load or be refused with a WeightsError of one line. A watchdog fails what takes over
five seconds; the address space is limited, so that a mutant that asks for memory fails as well.
"""

import argparse
import json
import random
import resource
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save

from stylize import model
from stylize.cards import StyleCard, read_card
from stylize.config import GeneratorConfig
from stylize.errors import WeightsError
from stylize.generator import Generator
from stylize.perceptual import VGG19

TINY = GeneratorConfig(4, 8, 16, 1, 1, 8, 4)
"""Small, so that many mutants can be tried."""

ALLOWANCE = 64 << 20
"""Bytes of memory that a load may take."""

_NUMBERS = [0, -1, 1, 2, 3, 127, 128, 1024, 1025, 4096, 65536, 2**31, 2**32, 2**63, 2**64, 10**30, 1.5, 1e308]
_THINGS: list[Any] = [*_NUMBERS, None, True, "", "F16", "F32", "I64", "BF16", "F8_E4M3", "\ud800", "x" * 5000]
_THINGS += [[], {}, [[]], [0, 1], [1, 0], {"a": 1}, [2**40, 2**40], [-1, 1], [1] * 100, "\x1b[2J", "../../x"]
_TOKENS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"NaN", b"-", b"1e999", b"\\ud800", b"\x00", b"\xff"]
_TOKENS += [b"9" * 5000, b"[" * 50_000, b'{"a":' * 30_000, b"null", b"-Infinity"]

Loader = Callable[[Path], object]
Seed = tuple[str, bytes, Loader]


def seeds(folder: Path) -> list[Seed]:
    """Good files of each kind, with what loads them."""
    torch.manual_seed(0)
    base = model.new_base(TINY)
    code, card = torch.randn(1, 8), StyleCard("x", title="水墨", description="a 'text'")
    back = model.Base(Generator(TINY), base.encoder, "")
    paths = [folder / f"{name}.safetensors" for name in ("base", "code", "both ways")]
    model.save_base(paths[0], base)
    model.save_style(paths[1], model.Style(code, card, base.identity, moments=None))
    reverse = model.Style(code + 1, card, "", back)
    model.save_style(paths[2], model.Style(code, card, "", base, reverse=reverse))
    loaders: list[Loader] = [model.load_base, model.load_style, model.load_style]
    found = [(path.stem, path.read_bytes(), load) for path, load in zip(paths, loaders, strict=True)]
    vgg = {name: torch.randn(shape).half() for name, shape in VGG19().torchvision_shapes().items()}
    large = ("vgg19", save(vgg), model.load_vgg19)
    return [*found, ("card", paths[1].read_bytes(), read_card), large]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Another file: bytes, header or values changed in one to four ways."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        content = chance.choice(_MUTATIONS)(content, chance)
    return content


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """Header and data, as far as the length in the file can be trusted."""
    length = int.from_bytes(content[:8], "little")
    return content[8 : 8 + length], content[8 + length :]


def _joined(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 64))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _flip_header(content: bytes, chance: random.Random) -> bytes:
    header, data = _parts(content)
    return _joined(_flip(header, chance), data)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _grow(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.choice((1, 2, 8, 1000)))


def _splice(content: bytes, chance: random.Random) -> bytes:
    a, b, c = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    return chance.choice((content[:a] + content[b:], content[:b] + content[a:c] + content[c:]))


def _length(content: bytes, chance: random.Random) -> bytes:
    true = int.from_bytes(content[:8], "little")
    lengths = [
        0,
        1,
        true - 1,
        true + 1,
        len(content),
        1 << 20,
        (1 << 20) + 1,
        1 << 31,
        1 << 62,
        (1 << 64) - 1,
    ]
    return struct.pack("<Q", max(0, chance.choice(lengths)) % (1 << 64)) + content[8:]


def _token(content: bytes, chance: random.Random) -> bytes:
    header, data = _parts(content)
    at = chance.randrange(len(header) + 1)
    return _joined(header[:at] + chance.choice(_TOKENS) + header[at + chance.choice((0, 1, 5)) :], data)


def _values(content: bytes, chance: random.Random) -> bytes:
    """Keep it JSON, but let the header claim something else."""
    header, data = _parts(content)
    try:
        tree = json.loads(header)
    except (ValueError, RecursionError):
        return content
    if not isinstance(tree, dict):
        return content
    places = list(_places(tree))
    if not places:
        return content
    described = [place for place in places if place[0] is tree.get("__metadata__")]
    holder, key = chance.choice(described if described and chance.random() < 0.4 else places)
    if key == "generator" and isinstance(holder[key], str) and chance.random() < 0.8:
        holder[key] = _other_configuration(holder[key], chance)
    elif chance.random() < 0.2 and isinstance(holder, dict):
        holder[chance.choice(("x", "code", "generator.head.weight", "\u202e", "__metadata__"))] = holder.pop(
            key
        )
    elif chance.random() < 0.5 and type(holder[key]) is int:
        holder[key] += chance.choice((-1, 1, 2, 1024, -holder[key]))
    else:
        holder[key] = chance.choice(_THINGS)
    return _joined(json.dumps(tree).encode(), data)


def _other_configuration(text: str, chance: random.Random) -> str:
    try:
        settings = json.loads(text)
        name = chance.choice(list(settings))
        settings[name] = chance.choice([*_THINGS, 16, 512, 1000])
        return json.dumps(settings)
    except (ValueError, RecursionError, TypeError, IndexError):
        return chance.choice(("", "{}", "[]", "[" * 5000, '{"half_width": 99999999}'))


def _places(tree: Any, depth: int = 0) -> Any:
    """(container, key) of everything in a tree of JSON."""
    if depth < 6 and isinstance(tree, (dict, list)):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key], depth + 1)


def _not_a_number(content: bytes, chance: random.Random) -> bytes:
    header, data = _parts(content)
    if len(data) < 8:
        return content
    at = chance.randrange(len(data) // 4) * 4
    return _joined(header, data[:at] + chance.choice((b"\x00\x7e" * 2, b"\x00\x00\xc0\x7f")) + data[at + 4 :])


_MUTATIONS = (
    _flip, _flip_header, _flip_header, _cut, _grow, _splice, _length, _token, _values, _values, _values,
    _values, _not_a_number,
)  # fmt: skip


@dataclass
class Findings:
    """What a run found."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest: float = 0
    memory: int = 0
    faults: list[str] = field(default_factory=list)


def peak() -> int:
    """The most memory that this process has ever taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(count: int, seed: int = 0) -> Findings:
    """Load so many mutants. `memory` is by how much the process's peak grew, all loads together."""
    chance, findings = random.Random(seed), Findings()
    signal.signal(signal.SIGALRM, _out_of_time)
    with TemporaryDirectory() as place:
        good = seeds(Path(place))
        path = Path(place) / "mutant.safetensors"
        for _, content, load in good:
            path.write_bytes(content)
            load(path)  # seeds are good, and what loads once is loaded before memory is counted
        before = peak()
        for number in range(count):
            # The last seed is large: writing its mutants would take most of the time.
            name, content, load = good[-1 if number % 250 == 249 else number % (len(good) - 1)]
            path.write_bytes(mutate(content, chance))
            _try(name, path, load, findings, f"seed {seed}, number {number}")
        findings.memory = peak() - before
    return findings


def _try(name: str, path: Path, load: Loader, findings: Findings, label: str) -> None:
    begin = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        load(path)
        findings.counts[f"{name} loaded"] += 1
    except WeightsError as error:
        text = str(error)
        findings.counts[f"{name} refused"] += 1
        findings.reasons[text.replace(str(path), "FILE").split("(")[-1].split(";")[0][:70]] += 1
        if len(text.splitlines()) != 1 or len(text) > 1000 or not text.isprintable():
            findings.faults.append(f"{label} ({name}): no sentence: {text[:300]!r}")
    except BaseException as error:
        findings.faults.append(f"{label} ({name}): {type(error).__name__}: {str(error)[:300]}")
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        findings.slowest = max(findings.slowest, time.perf_counter() - begin)


def _out_of_time(number: int, frame: object) -> None:
    raise TimeoutError("over five seconds")


def main() -> None:
    """Fuzz, and report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=150_000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + (1 << 29), -1))
    begin = time.perf_counter()
    found = fuzz(chosen.count, chosen.seed)
    print(f"{chosen.count:,} mutants in {time.perf_counter() - begin:.0f} s: {dict(found.counts)}")
    print(f"slowest {found.slowest:.2f} s, memory's peak grew by {found.memory / 2**20:.1f} MiB")
    for reason, times in found.reasons.most_common(40):
        print(f"{times:8,}  {reason}")
    print(f"{len(found.faults)} faults", *found.faults[:20], sep="\n")
    sys.exit(bool(found.faults) or found.memory > ALLOWANCE)


if __name__ == "__main__":
    main()
