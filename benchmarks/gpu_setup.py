"""Is this the Python to run on, and what does it lack? Unpacks what is missing from wheels, without network.

    python benchmarks/gpu_setup.py --probe --device cuda        exit code 0: its torch sees the device
    python benchmarks/gpu_setup.py --out OUT --site FOLDER [--wheels FOLDER] [--device cuda]

Only the standard library and torch are needed. Packages go to --site, which belongs on PYTHONPATH.
"""

import argparse
import importlib
import os
import platform
import shutil
import sys
import tomllib
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from gpu_report import Report

ROOT = Path(__file__).parent.parent

MODULES = {
    "torch": "torch", "numpy": "numpy", "pillow": "PIL", "safetensors": "safetensors", "typer": "typer",
    "rich": "rich", "filelock": "filelock", "tomli-w": "tomli_w", "huggingface-hub": "huggingface_hub",
    "torchvision": "torchvision", "pytest": "pytest",
}  # fmt: skip
"""What is used, by the names of distributions."""

OPTIONAL = {"torchvision", "pytest", "huggingface-hub"}


def sees(device: str) -> bool:
    """Does this Python's torch see the device?"""
    try:
        import torch
    except Exception:
        return False
    return device == "cpu" or torch.cuda.is_available()


def numbers(version: str) -> tuple[int, ...]:
    """The beginning of a version, as numbers."""
    found: list[int] = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def wanted() -> dict[str, tuple[int, ...]]:
    """The least version of each dependency that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pairs = (line.split(",")[0].partition(">=") for line in project["dependencies"])
    return {name.strip(): numbers(version) for name, _, version in pairs}


def version_of(name: str) -> str:
    """The installed version of a distribution; "" for none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def fits(wheel: Path) -> bool:
    """Is a wheel for this Python, by its name?"""
    python, abi, place = wheel.stem.split("-")[-3:]
    ours = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if place != "any" and platform.machine() not in place:
        return False
    return "py3" in python.split(".") or abi == "abi3" or python == ours


def brought(folder: Path) -> list[Path]:
    """The wheels of what is missing here, or older: those in a folder belong together. Never of torch."""
    chosen = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        here = version_of(name)
        if name.lower() != "torch" and fits(wheel) and (not here or numbers(here) < numbers(version)):
            chosen.append(wheel)
    return chosen


def unpack(wheels: list[Path], site: Path) -> None:
    """A wheel is an archive of what belongs on the path."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        for part in ("purelib", "platlib"):
            for folder in site.glob(f"*.data/{part}"):
                shutil.copytree(folder, site, dirs_exist_ok=True)


def hardware(device: str) -> list[tuple[str, str]]:
    """What the machine is."""
    import torch

    rows = [("Python", f"{platform.python_version()}, {sys.executable}"), ("cores", str(os.cpu_count()))]
    rows.append(("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {_cudnn()}"))
    if device != "cpu":
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            rows.append((f"GPU {index}", f"{found.name}, {found.total_memory / 2**30:.0f} GiB"))
    return rows


def _cudnn() -> object:
    import torch

    return torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else "none"


def packages(least: dict[str, tuple[int, ...]]) -> tuple[list[tuple[str, str]], list[str]]:
    """A row for each package, and the names of those that cannot be done without."""
    rows, lacking = [], []
    for name, module in MODULES.items():
        here = version_of(name)
        if find_spec(module) is None:
            rows.append((name, "missing" if name not in OPTIONAL else "missing; done without"))
            lacking += [] if name in OPTIONAL else [name]
        elif here and numbers(here) < least.get(name, ()):
            rows.append((name, f"{here}, older than {'.'.join(map(str, least[name]))}; tried all the same"))
        else:
            rows.append((name, here))
    return rows, lacking


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--site", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.probe:
        return 0 if sees(options.device) else 1
    report, least = Report(options.out), wanted()
    report.title("Set up")
    chosen = brought(options.wheels) if options.wheels and options.wheels.is_dir() else []
    with report.part("wheels"):
        unpack(chosen, options.site)
        sys.path.insert(0, str(options.site))
        importlib.invalidate_caches()
    rows, lacking = packages(least)
    machine = hardware(options.device)
    report.table([*machine, *rows, ("unpacked", ", ".join(w.name.split("-")[0] for w in chosen) or "none")])
    report.note("setup", dict([*rows, *machine, ("unpacked", [w.name for w in chosen])]))
    if lacking:
        report.say(f"Missing: {', '.join(lacking)}. Bring their wheels in the folder wheels of the pack.")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
