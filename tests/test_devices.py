"""What bounds the memory: the machine, a container, the shell."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylize import devices
from stylize.devices import free_memory, memory_limits

CPU, MIB = torch.device("cpu"), 1 << 20


def cgroup(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of cgroups that stands in for the machine's."""
    monkeypatch.setattr(devices, "_CGROUPS", tmp_path)
    monkeypatch.setattr(devices, "_OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def test_a_cgroup_bounds_the_memory_and_what_is_cached_is_free(root: Path) -> None:
    (root / "own").write_text("0::/user/app\n")
    stat = f"anon 7\ninactive_file {40 * MIB}"
    cgroup(root / "user/app", {"memory.max": "max", "memory.current": "5", "memory.stat": stat})
    cgroup(
        root / "user", {"memory.max": str(100 * MIB), "memory.current": str(70 * MIB), "memory.stat": stat}
    )
    assert memory_limits() == [("cgroup", 100 * MIB, 30 * MIB)]
    assert free_memory(CPU) == 70 * MIB


def test_a_container_sees_its_limit_at_the_root(root: Path) -> None:
    (root / "own").write_text("0::/\n")
    cgroup(root, {"memory.max": str(64 * MIB), "memory.current": str(80 * MIB), "memory.stat": ""})
    assert free_memory(CPU) == 0


def test_old_cgroups(root: Path) -> None:
    (root / "own").write_text("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    files = {"memory.limit_in_bytes": str(90 * MIB), "memory.usage_in_bytes": str(50 * MIB)}
    cgroup(root / "memory", files | {"memory.stat": f"total_inactive_file {10 * MIB}"})
    none = {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "1", "memory.stat": ""}
    cgroup(root / "memory/docker", none)
    assert memory_limits() == [("cgroup", 90 * MIB, 40 * MIB)]


@pytest.mark.parametrize("text", ["", "nonsense", "0::/../../..\n"])
def test_cgroups_that_say_nothing(root: Path, text: str) -> None:
    (root / "own").write_text(text)
    assert memory_limits() == []
    assert free_memory(CPU) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_shell_bounds_the_memory() -> None:
    code = (
        "import torch; from stylize.devices import free_memory, memory_limits;"
        "print(free_memory(torch.device('cpu')), *memory_limits()[-1])"
    )
    command = f"ulimit -v 8000000; exec {sys.executable} -c {code!r}"
    result = subprocess.run(["bash", "-c", command.replace(repr(code), f'"{code}"')], capture_output=True)
    free, *_, limit, used = result.stdout.decode().split()
    assert int(limit) == 8_000_000 << 10
    assert 0 < int(free) <= int(limit) - int(used) + 100 * MIB
