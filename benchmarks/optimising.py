"""What a start from our own painting is worth to the slow method, and how long it takes.

    python benchmarks/optimising.py --pair photo.jpg painting.jpg --pair ... --vgg vgg19.safetensors

Every pair is optimised from the photograph in `--steps` steps, with one scale, as Gatys et al. had it, and
from coarse to fine; then, in a fifth of them, from what `apply` would paint. Compared is the loss at full
size, by the same objective; *as photo after*: the step at which the start from the photograph, on one scale,
had what the start from our painting has in the end. `--clock` times one picture of 1024 pixels in the
default setting.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from stylize import bundled
from stylize.images import read_rgb, save_grid
from stylize.model import load_perceptual
from stylize.optimising import Objective, OptimiseSettings, optimise
from stylize.perceptual import LossNetwork
from stylize.studio import load_vgg
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_float

CPU = torch.device("cpu")


def no_autocast() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)


def final_loss(result: Tensor, photo: Tensor, work: Tensor, network: LossNetwork) -> float:
    """Loss of a finished picture, by the objective at full size."""
    objective = Objective(
        to_float(photo)[None], [(to_float(work)[None], 1.0)], OptimiseSettings(), network, no_autocast
    )
    with torch.no_grad():
        return sum(term.item() for term in objective(to_float(result)[None]).values())


def curve_of(
    photo: Tensor, start: Tensor, work: Tensor, network: LossNetwork, settings: OptimiseSettings
) -> tuple[list[float], Tensor]:
    """The loss before each step, and the result."""
    losses: list[float] = []
    result = optimise(
        photo, start, [(work, 1.0)], settings, network, CPU, torch.float32,
        on_step=lambda progress: losses.append(progress.loss),
    )  # fmt: skip
    return losses, result


def compare(options: argparse.Namespace) -> None:
    compact = load_perceptual(bundled.perceptual_path())
    network = LossNetwork(compact, load_vgg(str(options.vgg)) if options.vgg else None).requires_grad_(False)
    few = options.steps // 5
    steps = f"photo, {options.steps}"
    table = Table(
        "pair", "photo", "apply", steps, f"{steps}, coarse to fine", f"apply, {few}", "as photo after"
    )
    rows = []
    for photo_path, work_path in options.pair:
        photo, work = read_rgb(Path(photo_path), options.side), read_rgb(Path(work_path), options.side)
        style = resolve_style(work_path)
        ours = Stylizer(style.base, perceptual_network, CPU, torch.float32).paint(
            photo, style.code, style.stroke
        )
        settings = OptimiseSettings(steps=options.steps, scales=1)
        losses, slow = curve_of(photo, photo, work, network, settings)
        _, coarse = curve_of(photo, photo, work, network, replace(settings, scales=3))
        _, fast = curve_of(photo, ours, work, network, replace(settings, steps=few))
        pictures = [photo, ours, slow, coarse, fast]
        ends = [final_loss(result, photo, work, network) for result in pictures]
        same = next((str(step) for step, loss in enumerate(losses) if loss <= ends[-1]), "never")
        table.add_row(Path(work_path).stem, *(f"{end:.3f}" for end in ends), same)
        print(work_path, *(f"{end:.3f}" for end in ends), same, flush=True)
        rows.append(pictures)
    Console().print(table)
    save_grid([[square(picture, options.side) for picture in row] for row in rows], options.out)


def clock(options: argparse.Namespace) -> None:
    """A process of its own, in the default setting, at 1024 pixels."""
    photo, work = options.pair[0]
    with tempfile.TemporaryDirectory() as folder:
        command = ["optimize", photo, work, "-o", f"{folder}/x.png", "--size", "1024", "--quiet"]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "stylize", *command], check=True)
        print(f"1024 pixels in the default setting: {time.perf_counter() - begin:.0f} s")


def square(picture: Tensor, side: int) -> Tensor:
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", required=True, metavar=("PHOTO", "PAINTING"))
    parser.add_argument(
        "--vgg", type=Path, help="the real VGG19 in safetensors; otherwise the bundled network"
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--clock", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/optimising.png"))
    options = parser.parse_args()
    clock(options) if options.clock else compare(options)


if __name__ == "__main__":
    main()
