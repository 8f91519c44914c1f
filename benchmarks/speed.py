"""How long painting takes, side by side with what one would use instead.

    python benchmarks/speed.py            one pass at 1024 x 1024, and the whole command

Rounds of A B C ... A B C ..., medians, and ratios: single times on a shared machine mean little.
The peers are written from their papers and have random weights, which does not change their speed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import Johnson, multiply_adds
from PIL import Image
from rich.console import Console
from rich.table import Table

from stylize.config import GeneratorConfig
from stylize.generator import Generator


def in_turns(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, work in candidates.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def passes(side: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """One pass of each network over a square picture, and its multiply-adds."""
    picture = torch.rand(1, 3, side, side)
    networks: dict[str, tuple[torch.nn.Module, tuple[object, ...]]] = {
        "Johnson 2016, fp32": (Johnson(), (picture,)),
        "Johnson, 8 channels, fp32": (Johnson(8), (picture,)),
    }
    for name, dtype in {"stylize, fp32": torch.float32, "stylize, bf16": torch.bfloat16}.items():
        generator = Generator(GeneratorConfig()).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            modulation = generator.expand(torch.randn(1, generator.config.code_size))
        laid_out = picture.to(dtype).contiguous(memory_format=torch.channels_last)
        networks[name] = (generator.to(dtype), (laid_out, modulation))
    work: dict[str, Callable[[], object]] = {}
    for name, (network, inputs) in networks.items():
        network.eval().requires_grad_(False)
        work[name] = lambda network=network, inputs=inputs: network(*inputs)
    return work, {name: multiply_adds(network, *inputs) for name, (network, inputs) in networks.items()}


def commands(folder: Path) -> dict[str, Callable[[], object]]:
    """Whole processes: importing torch, asking for help, painting one 1024-pixel photograph."""
    photo = folder / "photo.jpg"
    Image.effect_noise((1024, 768), 60).convert("RGB").resize((1024, 768)).save(photo)

    def process(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    apply = ("-m", "stylize", "apply", str(photo), "--style", "ink-wash", "-f")
    return {
        "import torch": process("-c", "import torch"),
        "stylize --help": process("-m", "stylize", "--help"),
        "stylize apply photo.jpg": process(*apply),
    }


def show(title: str, seconds: dict[str, float], unit: str, notes: dict[str, str], console: Console) -> None:
    table = Table("", "seconds", f"times {unit}", "", title=title)
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{value / seconds[unit]:.3f}", notes.get(name, ""))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args()
    console = Console()
    console.print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with torch.inference_mode():
        work, operations = passes(options.side)
        seconds = in_turns(work, options.rounds)
    notes = {name: f"{count / 1e9:.1f} G multiply-adds" for name, count in operations.items()}
    show(f"One pass, {options.side} x {options.side}", seconds, "Johnson 2016, fp32", notes, console)
    with tempfile.TemporaryDirectory() as folder:
        seconds = in_turns(commands(Path(folder)), options.rounds)
    show("Whole commands", seconds, "import torch", {}, console)


if __name__ == "__main__":
    main()
