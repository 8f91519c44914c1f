"""Translations between two piles: one compact generator, two, or CycleGAN's own, for the same time.

    python benchmarks/cycle.py race --a photos/ --b paintings/ --minutes 20 --runs runs/race
    python benchmarks/cycle.py judge --a photos/ --b paintings/ --runs runs/race --data ../shared \\
        --style van-gogh
    python benchmarks/cycle.py judge ... --model monet          a finished style file instead of a race

`race` trains each contender for the same wall time on the same data with the same losses (`--only` picks
one). `judge` measures them on the pictures that were left out: cycle error, kernel distance to the other
pile, what is recognised by a SqueezeNet that training never saw, multiply-adds and time of a pass.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from judges import Judges
from peers import ResNet9, multiply_adds
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stylize import bundled
from stylize.config import CycleConfig, CycleWeights
from stylize.cycle import CycleTrainer
from stylize.cycle_studio import CyclePlan, CycleStudio
from stylize.encoder import REFERENCE_SIDE
from stylize.images import read_rgb, save_grid
from stylize.model import load_base
from stylize.styles import perceptual_network, resolve_style
from stylize.tensors import to_float, to_uint8
from stylize.translation import Eyes, judge_way
from stylize.translator import BACK, THERE

CONTENDERS = ("one generator", "two generators", "CycleGAN ResNet-9")
SIDE = REFERENCE_SIDE


class ResNetTranslator(nn.Module):
    """CycleGAN's two generators with the face of our translator."""

    def __init__(self) -> None:
        super().__init__()
        self.generators = nn.ModuleList([ResNet9(), ResNet9()])
        self.heads = nn.ModuleList()

    def forward(self, picture: Tensor, way: int) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] to the same."""
        return (self.generators[way](picture * 2 - 1).float() + 1) / 2


def contender(name: str, options: argparse.Namespace) -> CycleTrainer:
    """A fresh run of a contender. The ResNet starts from nothing, as its paper has it; so can ours."""
    count = 2 if name == "two generators" else 1
    weights = CycleWeights(style=0 if name.startswith("CycleGAN") else options.style_weight)
    config = CycleConfig(batch=options.batch, generators=count, weights=weights)
    if name.startswith("CycleGAN"):
        config = replace(config, batch=1, generator_rate=2e-4, discriminator_rate=2e-4)
    plan = CyclePlan("x", Path(), folders=(options.a, options.b), config=config, hold_out=options.hold_out)
    trainer = CycleStudio(plan, options.runs / f"works-{name}.safetensors", print).trainer
    if not name.startswith("CycleGAN"):
        return trainer
    return CycleTrainer(
        config, ResNetTranslator(), trainer.piles, trainer.library, perceptual_network(),  # pyright: ignore
        trainer.loss_network, trainer.eyes, trainer.unseen,
    )  # fmt: skip


def race(options: argparse.Namespace) -> None:
    """Train every contender for the same time; the learning rate falls over that time."""
    options.runs.mkdir(parents=True, exist_ok=True)
    for name in options.only or CONTENDERS:
        trainer = contender(name, options)
        begin = time.monotonic()
        for _ in range(3):
            trainer.step()
        pace = (time.monotonic() - begin) / 3
        limit = options.minutes * 60
        trainer.config = replace(trainer.config, steps=max(4, round(limit / pace)))
        while time.monotonic() - begin < limit:
            trainer.step()
            if trainer.steps_done % 20 == 0:
                # What is left of the time decides how many steps are left.
                pace = (time.monotonic() - begin) / trainer.steps_done
                trainer.config = replace(trainer.config, steps=round(limit / pace))
                print(name, trainer.steps_done, trainer.config.steps, flush=True)
        tensors = {k: v.contiguous() for k, v in trainer.ema.state_dict().items()}
        save_file(tensors, options.runs / f"{name}.safetensors", {"steps": str(trainer.steps_done)})
        print(name, trainer.steps_done, "steps", trainer.validate().table, flush=True)


class Recogniser:
    """Names the nearest of all groups of works by SqueezeNet, as the table of styles does."""

    def __init__(self, data: Path, cache: Path) -> None:
        self.judges = Judges(data / "perceptual")
        kept = load_file(cache)
        works = {k.removesuffix("/squeeze"): v for k, v in kept.items() if k.endswith("/squeeze")}
        together = torch.cat(list(works.values()))
        self._centre, self._spread = together.mean(0), together.std(0) + 1e-6
        self._means = {k: ((v - self._centre) / self._spread).mean(0) for k, v in works.items()}

    def nearest(self, picture: Tensor) -> str:
        """The group that (1, 3, H, W) in [0, 1] is taken for."""
        seen = (self.judges.squeeze_vector(picture) - self._centre) / self._spread
        return min(self._means, key=lambda name: (seen - self._means[name]).norm().item())


def translators(options: argparse.Namespace) -> dict[str, nn.Module]:
    """What there is to judge: name -> a network with the face of a translator."""
    if options.model:
        return {options.model: _Loaded(options.model)}
    found = {}
    for name in options.only or CONTENDERS:
        network = contender(name, options).ema
        network.load_state_dict(load_file(options.runs / f"{name}.safetensors"))
        found[name] = network
    return found


class _Loaded(nn.Module):
    """A style file that goes both ways."""

    def __init__(self, reference: str) -> None:
        super().__init__()
        self.ways = [resolve_style(reference, reverse) for reverse in (False, True)]
        self.generators = nn.ModuleList(way.base.generator for way in self.ways)

    def forward(self, picture: Tensor, way: int) -> Tensor:
        generator = self.ways[way].base.generator
        return generator(picture, generator.expand(self.ways[way].code))


def judge(options: argparse.Namespace) -> None:
    """The table, and a sheet: photograph, translation, and back."""
    photos = held_out(options.a, options.hold_out, options.most)
    works = [_picture(path) for path in sorted(options.b.glob("*.jpg"))]
    unseen_works = held_out(options.b, options.hold_out, options.most)
    recogniser = Recogniser(options.data, options.cache)
    eyes = Eyes(perceptual_network(), load_base(bundled.base_path()).encoder)
    table = Table(
        "", "cycle L1", "KD A to B", "KD of A", "recognised", "change", "disturbed", "cycle L1 of B",
        "KD B to A", "KD of B", "G multiply-adds", "s / pass",
    )  # fmt: skip
    rows = [photos[:6]]
    for name, network in track(translators(options).items(), "Judging"):

        def run(picture: Tensor, way: int, network: nn.Module = network) -> Tensor:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                return network(picture, way).float().clamp(0, 1)

        there = judge_way(lambda x: run(x, THERE), lambda x: run(x, BACK), photos, works, eyes)
        back = judge_way(lambda x: run(x, BACK), lambda x: run(x, THERE), unseen_works, photos, eyes)
        results = [run(photo, THERE) for photo in photos]
        hits = sum(recogniser.nearest(result) == options.style for result in results) / len(results)
        cost, seconds = _price(network)
        table.add_row(
            name, f"{there.cycle_l1:.3f}", _interval(there.distance), _interval(there.before), f"{hits:.2f}",
            f"{there.change:.3f}", f"{there.disturbed_l1:.3f}", f"{back.cycle_l1:.3f}",
            _interval(back.distance), _interval(back.before), f"{cost / 1e9:.1f}", f"{seconds:.2f}",
        )  # fmt: skip
        rows += [results[:6], [run(result, BACK) for result in results[:6]]]
    Console(width=200).print(table)
    save_grid([[to_uint8(p[0]) for p in row] for row in rows], options.out)


def held_out(folder: Path, every: int, most: int) -> list[Tensor]:
    """The pictures that training left out, evenly chosen, as (1, 3, SIDE, SIDE) floats."""
    paths = sorted(folder.glob("*.jpg"))[::every]
    return [_picture(path) for path in paths[:: max(1, -(-len(paths) // most))]]


def _picture(path: Path) -> Tensor:
    picture = to_float(read_rgb(path, SIDE))
    side = min(picture.shape[1:]) // 16 * 16
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    return picture[None, :, top : top + side, left : left + side]


def _price(network: nn.Module) -> tuple[int, float]:
    """Multiply-adds and median seconds of a pass at 1024 x 1024, fp32."""
    picture, seconds = torch.rand(1, 3, 1024, 1024), []
    with torch.inference_mode():
        for _ in range(3):
            begin = time.perf_counter()
            network(picture, THERE)
            seconds.append(time.perf_counter() - begin)
    return multiply_adds(network, picture, THERE), statistics.median(seconds)


def _interval(distance) -> str:
    return f"{distance.value:.2f} ({distance.low:.2f}-{distance.high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["race", "judge"])
    parser.add_argument("--a", type=Path, required=True)
    parser.add_argument("--b", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/race"))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--style-weight", type=float, default=0)
    parser.add_argument("--hold-out", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS)
    parser.add_argument("--model", help="judge a style file instead")
    parser.add_argument("--data", type=Path, help="folder with the judges")
    parser.add_argument("--cache", type=Path, help="what quality.py --cache has kept of the works")
    parser.add_argument("--style", help="the group that results should be taken for")
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/cycle.jpg"))
    options = parser.parse_args()
    {"race": race, "judge": judge}[options.what](options)


if __name__ == "__main__":
    main()
