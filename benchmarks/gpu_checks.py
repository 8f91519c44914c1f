"""Does a GPU paint what a CPU paints? Every bundled style on four pictures, in all the ways there are.

    python benchmarks/gpu_checks.py OUT [--pack FOLDER] [--device cuda] [--side 1024] [--styles van-gogh ...]

Half precision in a batch, one by one, and in fp32; in tiles and whole; 8 and 16 bits; a batch that does not
fit into memory; a device that is not there; and the tests that are marked `cuda`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from gpu_report import Report
from torch import Tensor

from stylize import bundled
from stylize.devices import choose_dtype
from stylize.images import read_rgb
from stylize.multiscale import resized
from stylize.paths import find_pictures
from stylize.styles import ResolvedStyle, perceptual_network, resolve_style
from stylize.stylizer import Stylizer

ROOT = Path(__file__).parent.parent

LIMITS = {"batch": 0.5, "singles": 1.5, "whole": 1.5, "tiles": 0.5, "16 bits": 0.75}
"""Mean differences, in levels of 255, that are still right: between ways to paint, and between precisions."""


def pictures(pack: Path | None, side: int) -> list[Tensor]:
    """Four pictures uint8 (3, H, W), of the pack or made of the example, one of them noise."""
    paths = find_pictures([pack / "unseen"])[:3] if pack and (pack / "unseen").is_dir() else []
    found = [read_rgb(path) for path in (paths or [ROOT / "examples/temple.jpg"])]
    found = [resized(picture, (side, side * 3 // 4)) for picture in found]
    while len(found) < 3:
        found.append(found[0].flip(len(found)))
    noise = torch.randint(256, found[0].shape, generator=torch.Generator().manual_seed(0))
    return [*found, noise.to(torch.uint8)]


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Mean difference in levels of 255; of 16 bits in the same unit."""
    parts = []
    for one, other in zip(ours, theirs, strict=True):
        scales = [257.0 if p.dtype == torch.uint16 else 1.0 for p in (one, other)]
        parts.append((one.float() / scales[0] - other.float() / scales[1]).abs().mean().item())
    return max(parts)


def check_style(
    style: ResolvedStyle, shown: Sequence[Tensor], device: torch.device, dtype: torch.dtype, tile: int
) -> tuple[dict[str, float], int]:
    """Differences by the names in `LIMITS`, and how many pictures overflowed in half precision."""
    fast = Stylizer(style.base, perceptual_network, device, dtype)
    exact = Stylizer(style.base, perceptual_network, device, torch.float32)
    tiled = Stylizer(style.base, perceptual_network, device, dtype, tile=tile)
    code, stroke = style.code, style.stroke
    batch = fast.paint_batch(shown, code, stroke)
    singles = [fast.paint(picture, code, stroke) for picture in shown]
    truth = [exact.paint(picture, code, stroke) for picture in shown]
    parts = [tiled.paint(picture, code, replace(stroke, width=None)) for picture in shown[:1]]
    whole = [fast.paint(picture, code, replace(stroke, width=None)) for picture in shown[:1]]
    deep = [fast.paint((p.int() * 257).to(torch.uint16), code, stroke) for p in shown[:1]]
    found = {
        "batch": difference([b.rgb for b in batch], singles),
        "singles": difference(singles, truth),
        "whole": difference([b.rgb for b in batch], truth),
        "tiles": difference(parts, whole),
        "16 bits": difference(deep, truth[:1]),
    }
    return found, sum(not b.finite for b in batch)


def check_styles(
    report: Report, names: Sequence[str], shown: Sequence[Tensor], plan: argparse.Namespace
) -> None:
    """A line for each style: mean differences in levels, and whether all are within the limits."""
    device = torch.device(plan.device)
    dtype = choose_dtype("auto", device)
    report.say(f"{dtype} against fp32: mean differences, in levels of 255")
    report.say("  ".join(["style".ljust(26), *(name.rjust(8) for name in LIMITS), "overflowed"]))
    for name in names:
        if time.time() > plan.until:
            report.say("The time is up; the styles after this one were not looked at.")
            return
        with report.part(name):
            found, bad = check_style(resolve_style(name), shown, device, dtype, plan.side // 4 // 8 * 8)
            right = all(found[key] <= limit for key, limit in LIMITS.items())
            cells = "  ".join(f"{value:8.3f}" for value in found.values())
            report.say(f"{name:26}  {cells}  {bad:10}{'' if right else '  NOT RIGHT'}")
            report.note("checks", {name: {**found, "overflowed": bad, "right": right}})


def check_halving(report: Report, picture: Tensor, device: torch.device) -> None:
    """A batch for which there is no memory comes out as its pictures do one by one."""
    style, count = resolve_style("ink-wash"), 32
    stylizer = Stylizer(style.base, perceptual_network, device, torch.float16, tile=0)
    alone = stylizer.paint(picture, style.code, style.stroke)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    stylizer.paint_batch([picture] * count, style.code, style.stroke)
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(needed / 3 / total)
        together = stylizer.paint_batch([picture] * count, style.code, style.stroke)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    far = max(difference([one.rgb], [alone]) for one in together)
    report.say(f"{count} pictures in a third of their {needed / 2**20:.0f} MiB: off by {far:.3f}")
    report.note(
        "checks", {"halved": {"MiB": needed / 2**20, "difference": far, "right": far <= LIMITS["batch"]}}
    )


def check_refusal(report: Report) -> None:
    """A GPU that is not there is refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "stylize",
            "apply",
            str(ROOT / "examples/temple.jpg"),
            "-s",
            "ink-wash",
        ]
        command += ["--device", "cuda:9", "-o", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    right = done.returncode == 2 and "cuda:9" in done.stderr + done.stdout and "Traceback" not in done.stderr
    said = " ".join((done.stderr + done.stdout).split())[:160]
    report.say(f"--device cuda:9: exit code {done.returncode}, {'right' if right else 'NOT RIGHT'}: {said}")
    report.note("checks", {"refusal": right})


def run_tests(report: Report) -> None:
    """The tests that need a GPU."""
    files = [str(p) for p in sorted((ROOT / "tests").glob("test_*.py")) if "mark.cuda" in p.read_text()]
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-m", "cuda", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=120, cwd=ROOT)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    last = (done.stdout.strip() or done.stderr.strip() or "nothing was said").splitlines()[-1]
    report.say(f"tests marked cuda: {last}")
    report.note("checks", {"tests": {"exit code": done.returncode, "said": last}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--styles", nargs="+", help="default: all that are bundled")
    parser.add_argument("--until", type=float, default=time.time() + 60, help="seconds since the epoch")
    options = parser.parse_args()
    report = Report(options.out)
    report.title("Does it paint right?")
    with report.part("the device that is not there"):
        check_refusal(report)
    with report.part("the pictures"):
        shown = pictures(options.pack, options.side)
        if options.device != "cpu":
            with report.part("a batch that does not fit"):
                check_halving(report, shown[0], torch.device(options.device))
        check_styles(report, options.styles or list(bundled.style_paths()), shown, options)
    with report.part("the tests"):
        run_tests(report)


if __name__ == "__main__":
    main()
