"""How long painting takes and how much memory, side by side with what one would use instead.

    python benchmarks/speed.py                 one pass at 1024 x 1024, and the whole command
    python benchmarks/speed.py --growth        seconds per megapixel and memory, from 1 to 33 megapixels
    python benchmarks/speed.py --folder 200    a folder of 12-megapixel JPEGs
    python benchmarks/speed.py --huge          one picture of 300 megapixels
    python benchmarks/speed.py --compile       what torch.compile gains in a folder
    python benchmarks/speed.py --gpu           passes, paintings and files on a GPU, in batches

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
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from gpu_report import Report
from gpu_speed import Bench, measure
from peers import Johnson, ResNet9, multiply_adds
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stylize.config import GeneratorConfig
from stylize.generator import Generator
from stylize.images import read_picture, write_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.measuring import measure_all
from stylize.overlap import ahead, usual_workers, workers
from stylize.painting import Painter, PaintSettings
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer

Work = Callable[[], object]


def in_turns(candidates: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in track(range(rounds + 1), "Measuring", transient=True):
        for name, work in candidates.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def passes(side: int, tile: int | None) -> tuple[dict[str, Work], dict[str, str]]:
    """One pass of each network over a square picture, and its multiply-adds.

    Ours is everything between a decoded picture and a painted one, margins and tiles included.
    """
    picture = torch.rand(1, 3, side, side)
    peers: dict[str, torch.nn.Module] = {
        "Johnson 2016, fp32": Johnson(),
        "Johnson, 8 channels, fp32": Johnson(8),
    }
    peers["CycleGAN ResNet-9, fp32"] = ResNet9()
    work: dict[str, Work] = {}
    notes: dict[str, str] = {}
    for name, network in peers.items():
        network.eval().requires_grad_(False)
        work[name] = lambda network=network: network(picture)
        notes[name] = _giga(multiply_adds(network, picture))
    pixels = (picture[0] * 255).byte()
    style = resolve_style("ink-wash")
    generator = Generator(GeneratorConfig()).requires_grad_(False)
    modulation = generator.expand(torch.randn(1, generator.config.code_size))
    for name, dtype in {"stylize, fp32": torch.float32, "stylize, bf16": torch.bfloat16}.items():
        stylizer = Stylizer(style.base, perceptual_network, torch.device("cpu"), dtype, tile)
        work[name] = lambda stylizer=stylizer: stylizer.paint(pixels, style.code, style.stroke)
        notes[name] = _giga(multiply_adds(generator, picture, modulation))
    return work, notes


def _giga(count: int) -> str:
    return f"{count / 1e9:.1f} G multiply-adds"


def commands(folder: Path) -> dict[str, Work]:
    """Whole processes: importing torch, asking for help, painting one 1024-pixel photograph."""
    photo = folder / "photo.jpg"
    Image.effect_noise((1024, 768), 60).convert("RGB").save(photo)

    def process(*arguments: str) -> Work:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    apply = ("-m", "stylize", "apply", str(photo), "--style", "ink-wash", "-f")
    return {
        "import torch": process("-c", "import torch"),
        "stylize --help": process("-m", "stylize", "--help"),
        "stylize apply photo.jpg": process(*apply),
    }


def compiled(console: Console) -> None:
    """The network as it is and compiled, over one picture of 1024 x 1024, and what compiling costs."""
    generator = Generator(GeneratorConfig()).requires_grad_(False).to(memory_format=torch.channels_last)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    generator.to(device)
    picture = torch.rand(1, 3, 1024, 1024, device=device).contiguous(memory_format=torch.channels_last)
    modulation = generator.expand(torch.randn(1, generator.config.code_size, device=device))
    fast = torch.compile(generator)

    def once(network: Callable[..., torch.Tensor]) -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype):
            network(picture, modulation).cpu()

    begin = time.perf_counter()
    once(fast)
    spent = time.perf_counter() - begin
    seconds = in_turns({"as it is": lambda: once(generator), "compiled": lambda: once(fast)}, 5)
    gain = seconds["as it is"] - seconds["compiled"]
    pays = f"pays after {spent / gain:.0f} pictures" if gain > 0 else "never pays"
    for name, value in seconds.items():
        console.print(f"{name}: {value:.3f} s")
    console.print(f"compiling took {spent:.0f} s: it {pays}")


def growth(console: Console) -> None:
    """Time and memory against the size of the picture."""
    table = Table("size", "seconds", "seconds / megapixel", "memory beyond torch", title="Growth")
    sizes = [(1024, 1024), (3840, 2160), (7680, 4320)]
    for m in measure_all(["cpu"], "auto", sizes, None, 3):
        per_megapixel = m.seconds / (m.width * m.height / 1e6)
        memory = f"{(m.memory or 0) / 2**20:.0f} MiB"
        table.add_row(f"{m.width} x {m.height}", f"{m.seconds:.2f}", f"{per_megapixel:.3f}", memory)
    console.print(table)


def landscape(width: int, height: int, seed: int = 0) -> Image.Image:
    """Hills and noise: compresses about as a photograph does."""
    random = np.random.default_rng(seed)
    small = random.uniform(0, 255, (height // 64 + 2, width // 64 + 2, 3)).astype(np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    noise = Image.effect_noise((width, height), 24).convert("RGB")
    return Image.blend(image, noise, 0.15)


def folder_job(folder: Path, count: int, console: Console) -> None:
    """Coding alone, the network alone, and both together, on the same JPEGs."""
    (folder / "in").mkdir()
    for i in range(8):
        landscape(4000, 3000, i).save(folder / f"in/{i:04}.jpg", quality=92)
    for i in range(8, count):
        os.link(folder / f"in/{i % 8:04}.jpg", folder / f"in/{i:04}.jpg")
    jobs = [Job(p, folder / "out" / p.name) for p in sorted((folder / "in").iterdir())]
    (folder / "out").mkdir()
    painter = Painter(Look(resolve_style("ink-wash")), "auto", "auto", PaintSettings(force=True))

    def copy(job: Job) -> None:
        write_picture(read_picture(job.source), job.target, "JPEG", 92)

    def coding() -> None:
        with workers(usual_workers()) as pool:
            _drain(ahead(pool, copy, jobs, 2 * usual_workers()))

    pictures = [read_picture(job.source).rgb for job in jobs[:8]]

    def network() -> None:
        for start in range(0, count, painter.batch):
            batch = [pictures[i % 8] for i in range(start, min(start + painter.batch, count))]
            painter.stylizer.paint_batch(batch, painter.code, painter.stroke)

    work = {"decode and encode": coding, "network": network, "folder": lambda: _drain(painter.work(jobs))}
    seconds = {name: _time(job) for name, job in work.items()}
    rates = {name: count / value for name, value in seconds.items()}
    table = Table("", "pictures / s", title=f"{count} JPEGs of 12 megapixels, {usual_workers()} workers")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.3f}")
    share = rates["folder"] / min(rates["decode and encode"], rates["network"])
    table.add_row("folder / slower of the two", f"{share:.3f}")
    console.print(table)


def _drain(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _time(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def huge(folder: Path, console: Console) -> None:
    """The whole command on 300 megapixels, and its peak of memory beyond that of `import torch`."""
    landscape(20_000, 15_000).save(folder / "huge.jpg", quality=90)
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True)"
    )
    program += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    peaks = []
    apply = ["-m", "stylize", "apply", str(folder / "huge.jpg"), "-s", "van-gogh", "-f"]
    for command in (["-c", "import torch"], apply):
        start = time.perf_counter()
        run = [sys.executable, "-c", program, sys.executable, *command]
        peaks.append(float(subprocess.run(run, check=True, capture_output=True, text=True).stdout))
        seconds = time.perf_counter() - start
    console.print(f"20,000 x 15,000: {seconds:.0f} s, {peaks[1] - peaks[0]:.0f} MiB beyond import torch")


def gpu(options: argparse.Namespace) -> None:
    """Passes in batches, whole paintings and files on a GPU, side by side with Johnson's network."""
    device = torch.device(options.device)
    side, batches = (options.side, (1, 4, 16, 32, 64)) if device.type == "cuda" else (128, (1, 2))
    with tempfile.TemporaryDirectory() as name:
        report = Report(options.out or Path(name))
        measure(Bench(report, device, side, batches, options.until or time.time() + 600))


def show(title: str, seconds: dict[str, float], unit: str, notes: dict[str, str], console: Console) -> None:
    table = Table("", "seconds", f"times {unit}", "", title=title)
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{value / seconds[unit]:.3f}", notes.get(name, ""))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--folder", type=int, metavar="N")
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--device", default="cuda", help="for --gpu; cpu rehearses with tiny pictures")
    parser.add_argument("--out", type=Path, help="folder to which --gpu adds its results")
    parser.add_argument("--until", type=float, help="seconds since the epoch at which --gpu is to end")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.growth or options.folder or options.huge:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command does
    console = Console()
    console.print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.growth:
            growth(console)
        if options.folder:
            folder_job(folder, options.folder, console)
        if options.huge:
            huge(folder, console)
        if options.gpu:
            gpu(options)
        if options.compile:
            compiled(console)
        if options.growth or options.folder or options.huge or options.gpu or options.compile:
            return
        with torch.inference_mode():
            work, notes = passes(options.side, options.tile)
            seconds = in_turns(work, options.rounds)
        title = f"One pass, {options.side} x {options.side}"
        show(title, seconds, "Johnson 2016, fp32", notes, console)
        seconds = in_turns(commands(folder), options.rounds)
        show("Whole commands", seconds, "import torch", {}, console)


if __name__ == "__main__":
    main()
