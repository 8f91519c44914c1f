"""How long painting takes on this machine, and how much memory: what `stylize bench` shows."""

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from stylize.checkup import describe_device
from stylize.devices import choose_device, choose_dtype, peak_memory
from stylize.errors import StylizeError
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer


@dataclass(frozen=True)
class Measurement:
    """One pass over a picture: median seconds, and the most memory that it took beyond `import torch`."""

    device: str
    dtype: str
    width: int
    height: int
    seconds: float
    memory: int | None
    """Bytes; on a GPU its own memory, on a CPU the process's. None where the system does not tell."""
    machine: str = ""
    """The device in words: numbers of others mean nothing without."""

    @property
    def seconds_per_megapixel(self) -> float:
        """What a million pixels take."""
        return self.seconds * 1e6 / (self.width * self.height)


def devices_present() -> list[str]:
    """The names of all devices that can paint here."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def measure_all(
    devices: Sequence[str], dtype: str, sizes: Sequence[tuple[int, int]], tile: int | None, rounds: int
) -> Iterator[Measurement]:
    """Measure every size on every device, each in a process of its own: peaks of memory never fall."""
    for device in devices:
        for width, height in sizes:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                try:
                    yield pool.submit(_measure, device, dtype, width, height, tile, rounds).result()
                except MemoryError:
                    size = f"{width} x {height}"
                    raise StylizeError(
                        f"{size} does not fit into the memory of {device}; try less."
                    ) from None


def _measure(device: str, dtype: str, width: int, height: int, tile: int | None, rounds: int) -> Measurement:
    """Paint noise `rounds` times, after once to warm up."""
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    before = peak_memory(place)
    style = resolve_style("ink-wash")
    stylizer = Stylizer(style.base, perceptual_network, place, precision, tile)
    picture = torch.randint(256, (height, width, 3), dtype=torch.uint8).permute(2, 0, 1)
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        stylizer.paint(picture, style.code, style.stroke)  # the result is on the CPU: nothing is under way
        seconds.append(time.perf_counter() - started)
    after = peak_memory(place)
    memory = None if before is None or after is None else after - before
    name = str(precision).removeprefix("torch.")
    return Measurement(
        device, name, width, height, statistics.median(seconds[1:]), memory, describe_device(place)
    )
