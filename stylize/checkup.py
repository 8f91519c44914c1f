"""What there is to paint with here: device, precision, memory, optional parts. `stylize doctor` shows it."""

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import torch

from stylize import __version__, bundled
from stylize.devices import choose_device, choose_dtype, free_memory, memory_limits

_CPUINFO = Path("/proc/cpuinfo")
_PARTS = {
    "heic": "HEIC pictures",
    "video": "clips",
    "ui": "the window",
    "cloud": "pictures on S3",
    "ray": "many machines",
}
"""The optional parts, as pyproject.toml calls them, and what they are for."""

_REQUIREMENT = re.compile(r"(?P<needed>(?P<name>[\w.-]+)[^;]*?)\s*;.*extra == ['\"](?P<part>[\w-]+)['\"]")


@dataclass(frozen=True)
class Part:
    """An optional part: what it is for, the versions of its libraries, and what is to be installed."""

    name: str
    purpose: str
    there: dict[str, str]
    missing: list[str]


@dataclass(frozen=True)
class Findings:
    """Facts by name, in the order in which they are read, and the optional parts."""

    facts: dict[str, str]
    parts: list[Part] = field(default_factory=list)


def look_around(device: str = "auto", dtype: str = "auto") -> Findings:
    """What there is. Raises UsageError for a device that is not there, WeightsError for missing weights."""
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    facts = {
        "stylize": f"{__version__}, {Path(__file__).parent}",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, {_build()}",
        "device": describe_device(place),
        "precision": f"{str(precision).removeprefix('torch.')}{_why_slow(place, precision)}",
        "memory": _memory(place),
        "styles": f"{len(bundled.known_styles())} known by name; yours lie in {bundled.own_styles_folder()}",
        "fetched styles": _cache(),
    }
    return Findings(facts, list(_optional_parts()))


def describe_device(place: torch.device) -> str:
    """A device in words: which GPU, or which processor, with what it multiplies and how many threads."""
    if place.type == "cuda":
        return f"{place}, {torch.cuda.get_device_name(place)}"
    if place.type == "mps":
        return f"{place}, {platform.machine()}"
    kind = torch.backends.cpu.get_cpu_capability()
    bf16 = ", bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() else ""
    return f"cpu, {_processor()}, {kind}{bf16}, {torch.get_num_threads()} threads"


def _processor() -> str:
    if _CPUINFO.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _build() -> str:
    """What the build of torch can use, which is most of what an installation weighs."""
    if torch.version.cuda:
        unused = "" if torch.cuda.is_available() else ", of no use here: the build for CPUs is much smaller"
        return f"built for CUDA {torch.version.cuda}{unused}"
    return "built for ROCm" if torch.version.hip else "built for CPUs"


def _why_slow(place: torch.device, precision: torch.dtype) -> str:
    if place.type == "cpu" and precision == torch.float32:
        return " (this processor does not multiply in bf16, with which newer ones are several times as fast)"
    return ""


def _memory(place: torch.device) -> str:
    free = f"{free_memory(place) / 2**30:.1f} GiB free"
    if place.type != "cpu":
        return free
    limits = [f"{name} allows {most / 2**30:.1f} GiB" for name, most, _ in memory_limits()]
    return ", ".join([free, *(limits or ["no limit but the machine's"])])


def _cache() -> str:
    """Where the Hub's cache is, and whether it can be written."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    folder = Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    ready = there.is_dir() and os.access(there, os.W_OK)
    return f"{folder}{'' if ready else ', which cannot be written; set HF_HOME to another folder'}"


def _optional_parts() -> Iterator[Part]:
    """The optional parts that this distribution, whatever it is called, says it has."""
    scripts = metadata.entry_points(group="console_scripts", name="stylize")
    ours = next((script.dist for script in scripts if script.value.startswith("stylize.")), None)
    needed: dict[str, list[tuple[str, str]]] = {}
    for text in (ours.requires or []) if ours is not None else []:
        if found := _REQUIREMENT.match(text):
            needed.setdefault(found["part"], []).append((found["name"], found["needed"]))
    for part, libraries in needed.items():
        there = {name: version for name, _ in libraries if (version := _version(name))}
        missing = [text for name, text in libraries if name not in there]
        yield Part(part, _PARTS.get(part, part), there, missing)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
