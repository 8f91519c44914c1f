"""Where to compute, and in what precision."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

from stylize.errors import UsageError

try:
    import resource
except ImportError:  # Windows
    resource = None

_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
_OWN_CGROUPS, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""From so many bytes on, a limit is none: old cgroups write a number for that."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """`auto` (CUDA, then MPS, then CPU) or a device by name; UsageError if it is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"Unknown device {wanted!r}; use auto, cpu, cuda, cuda:N or mps.") from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or device.type not in {"cpu", "cuda", "mps"}:
        raise UsageError(f"The device {wanted} is not available here; use --device cpu or auto.")
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is fp16 on CUDA, bf16 on CPUs that multiply in it, fp32 elsewhere."""
    if wanted != "auto":
        if wanted == "fp16" and device.type == "cpu":
            raise UsageError("fp16 is slow on CPUs; use --dtype bf16 or fp32 with --device cpu.")
        return _DTYPES[wanted]
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)():
        return torch.bfloat16
    return torch.float32


def training_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """As `choose_dtype`, but `auto` is bf16 on CUDA where that multiplies in it: training has sums and
    gradients that fp16 cannot hold."""
    if wanted == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return choose_dtype(wanted, device)


def comparing_autocast(device: torch.device) -> torch.autocast:
    """bf16 for networks whose features are only compared, where the device multiplies in it; else fp32.

    Processors without bf16 instructions emulate it, seven times slower than fp32.
    """
    dtype = training_dtype("auto", device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def free_memory(device: torch.device) -> int:
    """Bytes that could be taken now, on the device or in RAM, within what this process may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([_free_in_machine(), *(max(0, limit - used) for _, limit, used in memory_limits())])


def memory_limits() -> list[tuple[str, int, int]]:
    """What bounds the memory of this process beside the machine: its name, the limit and what is taken of it
    now, in bytes. A container's limit is a cgroup's."""
    found: list[tuple[str, int, int]] = []
    for folder, limit, used, stale in _cgroups():
        try:
            most = (folder / limit).read_text().strip()
            if most.isdecimal() and int(most) < _NO_LIMIT:
                words = (folder / "memory.stat").read_text().split()
                back = int(words[words.index(stale) + 1]) if stale in words else 0
                taken = int((folder / used).read_text()) - back
                found.append(("cgroup", int(most), max(0, taken)))
        except (OSError, ValueError):  # not there, or nothing that we know
            continue
    if resource is not None and _STATM.exists():
        pages = [int(number) for number in _STATM.read_text().split()]
        for name, kind, taken in (
            ("ulimit -v", resource.RLIMIT_AS, pages[0]),
            ("ulimit -d", resource.RLIMIT_DATA, pages[5]),
        ):
            most = resource.getrlimit(kind)[0]
            if most != resource.RLIM_INFINITY:
                found.append((name, most, taken * resource.getpagesize()))
    return found


def _cgroups() -> Iterator[tuple[Path, str, str, str]]:
    """The folders of this process's cgroups and of those around them, with the names of the files that hold
    limit and use, and of the field that says what the system would give back."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if not kinds:
            root, limit, used, stale = _CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in kinds.split(","):
            root, stale = _CGROUPS / "memory", "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for part in (own, *own.parents):  # the last is the root, which in a container is its own
            if ".." not in part.parts:
                yield root / part, limit, used, stale


def _free_in_machine() -> int:
    if _MEMINFO.exists():  # Linux: what programs could get without swapping
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf"):  # macOS does not tell what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 4 << 30


def out_of_memory(error: BaseException) -> bool:
    """Did an allocation fail? On CPUs torch says so with a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that were ever in use, of the GPU or by this process; None if it is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None or device.type != "cpu":
        return None
    kibibytes_or_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes_or_bytes * (1 if _IN_BYTES else 1024)


_IN_BYTES = hasattr(torch.backends, "mps") and torch.backends.mps.is_built()
"""macOS counts the peak in bytes, Linux in kibibytes."""
