"""Pictures of one megapixel a second on a GPU: `benchmarks/speed.py --gpu`.

Each part is told as soon as it is measured, most wanted first. On a CPU, which is how this is rehearsed,
pictures are tiny and the numbers say nothing.
"""

import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_report import Report
from peers import Johnson
from PIL import Image
from torch import Tensor, nn

from stylize.devices import out_of_memory
from stylize.folding import FoldedGenerator
from stylize.images import read_picture, write_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.styles import ResolvedStyle, perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_uint8

STYLE = "van-gogh"

_LARGEST_FILE = 15 << 20
"""Bytes of a trace that is brought home."""


@dataclass(frozen=True)
class Bench:
    """Where results go, on what is measured, and until when (seconds since the epoch)."""

    report: Report
    device: torch.device
    side: int
    batches: tuple[int, ...]
    until: float

    @property
    def fast(self) -> torch.dtype:
        """What is painted in by default."""
        return torch.float16 if self.device.type == "cuda" else torch.bfloat16

    def wait(self) -> None:
        """Until all that was asked for is computed."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def in_time(self) -> bool:
        """Is there time left?"""
        return time.time() < self.until

    def rate(self, work: Callable[[], object], pictures: int) -> float:
        """Pictures a second: the median of several runs, after two that warm up."""
        least, most = (0.4, 30) if self.device.type == "cuda" else (0.0, 1)
        for _ in range(2 if self.device.type == "cuda" else 1):
            work()
        self.wait()
        times: list[float] = []
        while not times or (sum(times) < least and len(times) < most):
            begin = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - begin)
        return pictures / statistics.median(times)

    def tell(self, name: str, rate: float) -> None:
        """A line of the table."""
        self.report.say(f"{name:48} {rate:9.1f} / s")
        self.report.note("speed", {name: round(rate, 2)})


def measure(bench: Bench) -> None:
    """Everything, in the order of how much one wants to know it."""
    report = bench.report
    report.title(f"Pictures of {bench.side} x {bench.side} a second")
    style = resolve_style(STYLE)
    parts: dict[str, Callable[[], None]] = {
        "networks by batch size": lambda: networks(bench, style),
        "coarse to fine": lambda: painting(bench, style),
        "JPEG to JPEG": lambda: files(bench, style),
        "the profile": lambda: profile(bench, style),
        "cuDNN's choice": lambda: chosen(bench, style),
        "a CUDA graph": lambda: captured(bench, style),
        "decoding on the GPU": lambda: decoding(bench),
        "torch.compile": lambda: compiled(bench, style),
    }
    for name, part in parts.items():
        if bench.in_time():
            with report.part(name), torch.inference_mode():
                part()
        else:
            report.say(f"{name}: the time was up")


def noise(count: int, bench: Bench) -> Tensor:
    """Pictures as uint8 (N, 3, side, side) on the device."""
    size = (count, 3, bench.side, bench.side)
    return torch.randint(256, size, dtype=torch.uint8, device=bench.device)


def one_pass(network: FoldedGenerator, pixels: Tensor) -> Tensor:
    """Pictures on the device through the network, uint8 (N, 3, H, W) in and out."""
    raw = network.run_head(network.run_body([network.run_stem(pixels)]))
    return to_uint8(torch.sigmoid(raw.float()))


def networks(bench: Bench, style: ResolvedStyle) -> None:
    """The network alone in one pass, and Johnson's, both on pictures that lie on the device."""
    kinds: dict[str, Callable[[Tensor], Tensor]] = {}
    for dtype in (bench.fast, torch.bfloat16) if bench.device.type == "cuda" else (bench.fast,):
        network = FoldedGenerator(style.base.generator, style.code, bench.device, dtype)
        kinds[f"stylize {_short(dtype)}"] = lambda pixels, network=network: one_pass(network, pixels)
    for form in (torch.channels_last, torch.contiguous_format):
        peer = Johnson().eval().requires_grad_(False).to(bench.device, bench.fast).to(memory_format=form)
        last = ", channels last" if form == torch.channels_last else ""
        kinds[f"Johnson 2016 {_short(bench.fast)}{last}"] = lambda pixels, peer=peer, form=form: to_uint8(
            peer(pixels.to(bench.fast).div_(255).contiguous(memory_format=form))
        )
    for batch in bench.batches:
        pixels = noise(batch, bench)
        for name, kind in kinds.items():
            if bench.in_time():
                _one(bench, f"{name}, batch {batch}", lambda kind=kind, pixels=pixels: kind(pixels), batch)


def _one(bench: Bench, name: str, work: Callable[[], object], pictures: int) -> None:
    """Measure, unless memory does not suffice."""
    try:
        bench.tell(name, bench.rate(work, pictures))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        bench.report.say(f"{name:48} does not fit into memory")
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()


def _short(dtype: torch.dtype) -> str:
    return {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]


def painting(bench: Bench, style: ResolvedStyle) -> None:
    """All that `apply` does between a decoded picture and a painted one, from coarse to fine."""
    stylizer = Stylizer(style.base, perceptual_network, bench.device, bench.fast)
    for batch in bench.batches[-2:]:
        pictures = list(noise(batch, bench).cpu())
        work = lambda pictures=pictures: stylizer.paint_batch(pictures, style.code, style.stroke)  # noqa: E731
        _one(bench, f"coarse to fine, batch {batch}, from RAM to RAM", work, batch)


def photographs(folder: Path, count: int, side: int) -> list[Path]:
    """JPEGs that compress about as photographs do."""
    random = np.random.default_rng(0)
    paths = [folder / f"{i:04}.jpg" for i in range(count)]
    for path in paths[: min(8, count)]:
        small = random.uniform(0, 255, (side // 64 + 2, side // 64 + 2, 3)).astype(np.uint8)
        image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        grain = Image.effect_noise((side, side), 24).convert("RGB")
        Image.blend(image, grain, 0.15).save(path, quality=92)
    for i, path in enumerate(paths[8:], start=8):
        os.link(paths[i % 8], path)
    return paths


def files(bench: Bench, style: ResolvedStyle) -> None:
    """From JPEG to JPEG as `stylize apply` does, with as many threads as there are cores."""
    threads, batch = os.cpu_count() or 1, bench.batches[-2:][0]
    count = 384 if bench.device.type == "cuda" else 4
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(threads) as pool:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        paths = photographs(folder / "in", count, bench.side)
        pictures: list[Any] = []
        bench.tell(
            f"decoding, {threads} threads",
            _timed(lambda: pictures.extend(pool.map(read_picture, paths[:96]))),
        )
        pairs = [(picture, folder / "out" / f"e{i}.jpg") for i, picture in enumerate(pictures)]
        encode = lambda: list(pool.map(lambda pair: write_picture(*pair, "JPEG", 92), pairs))  # noqa: E731
        bench.tell(f"encoding, {threads} threads", _timed(encode))
        settings = PaintSettings(force=True, batch=batch, workers=threads)
        painter = Painter(Look(style), str(bench.device), "auto", settings)
        jobs = [Job(path, folder / "out" / path.name) for path in paths]
        _drain(painter.work(jobs[: 2 * batch]))  # warms up
        bench.tell(f"JPEG to JPEG, batch {batch}", _timed(lambda: _drain(painter.work(jobs))))


def _drain(items: Iterable[Any]) -> list[Any]:
    done = list(items)
    for outcome in done:
        if outcome.status != "done":
            raise RuntimeError(outcome.note)
    return done


def _timed(work: Callable[[], Sequence[object] | None]) -> float:
    """Items a second; of a work that returns nothing, see `files`."""
    begin = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - begin
    return (len(done) if done is not None else 96) / seconds


def profile(bench: Bench, style: ResolvedStyle) -> None:
    """Where the time of a batch goes: the longest to the log, everything to trace.json.gz."""
    stylizer = Stylizer(style.base, perceptual_network, bench.device, bench.fast)
    pictures = list(noise(min(16, bench.batches[-1]), bench).cpu())
    stylizer.paint_batch(pictures, style.code, style.stroke)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if bench.device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as found:
        stylizer.paint_batch(pictures, style.code, style.stroke)
        bench.wait()
    order = "self_device_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=50), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        found.export_chrome_trace(str(trace))
        packed = gzip.compress(trace.read_bytes(), 6)
    if len(packed) <= _LARGEST_FILE:
        (bench.report.folder / "trace.json.gz").write_bytes(packed)


def chosen(bench: Bench, style: ResolvedStyle) -> None:
    """What it gains to let cuDNN look for the fastest way, which it does anew for each size."""
    if bench.device.type != "cuda":
        bench.report.say("cuDNN: not on this device")
        return
    batch = bench.batches[-2:][0]
    network = FoldedGenerator(style.base.generator, style.code, bench.device, bench.fast)
    pixels = noise(batch, bench)
    torch.backends.cudnn.benchmark = True
    try:
        begin = time.perf_counter()
        one_pass(network, pixels)
        bench.wait()
        bench.report.say(f"cuDNN looked for the fastest way for {time.perf_counter() - begin:.1f} s")
        _one(
            bench,
            f"stylize {_short(bench.fast)}, cuDNN's choice, batch {batch}",
            lambda: one_pass(network, pixels),
            batch,
        )
    finally:
        torch.backends.cudnn.benchmark = False


def captured(bench: Bench, style: ResolvedStyle) -> None:
    """What a CUDA graph gains, by batch size, and whether it paints the same."""
    if bench.device.type != "cuda":
        bench.report.say("CUDA graphs: not on this device")
        return
    network = FoldedGenerator(style.base.generator, style.code, bench.device, bench.fast)
    for batch in bench.batches:
        pixels = noise(batch, bench)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            right = one_pass(network, pixels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            painted = one_pass(network, pixels)
        graph.replay()
        bench.wait()
        far = int((painted.int() - right.int()).abs().max())
        _one(bench, f"stylize {_short(bench.fast)}, CUDA graph, batch {batch}", graph.replay, batch)
        bench.report.note("speed", {f"CUDA graph, batch {batch}, off by": far})
        del graph, painted


def decoding(bench: Bench) -> None:
    """JPEGs decoded and encoded on the GPU, where torchvision is there and can."""
    if bench.device.type != "cuda":
        bench.report.say("decoding on the GPU: not on this device")
        return
    from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg, read_file

    with tempfile.TemporaryDirectory() as name:
        data = [read_file(str(path)) for path in photographs(Path(name), 64, bench.side)]
        decode = lambda: decode_jpeg(data, mode=ImageReadMode.RGB, device=bench.device)  # noqa: E731
        bench.tell("torchvision decodes on the GPU", bench.rate(decode, len(data)))
        pictures = decode()
        encode = lambda: encode_jpeg(pictures, quality=92)  # noqa: E731
        bench.tell("torchvision encodes on the GPU", bench.rate(encode, len(data)))


class _Whole(nn.Module):
    """`one_pass` as a module."""

    def __init__(self, network: FoldedGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return one_pass(self.network, pixels)


def compiled(bench: Bench, style: ResolvedStyle) -> None:
    """What torch.compile gains, and what it costs."""
    if bench.device.type != "cuda":
        bench.report.say("torch.compile: not on this device")
        return
    batch = bench.batches[-2:][0]
    whole = _Whole(FoldedGenerator(style.base.generator, style.code, bench.device, bench.fast))
    pixels, fast = noise(batch, bench), torch.compile(whole)
    begin = time.perf_counter()
    fast(pixels)
    bench.wait()
    bench.report.say(f"torch.compile took {time.perf_counter() - begin:.0f} s")
    _one(bench, f"stylize {_short(bench.fast)}, compiled, batch {batch}", lambda: fast(pixels), batch)
