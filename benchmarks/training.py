"""What training costs and what each part of it is worth.

    python benchmarks/training.py pace --works works/ --content photos/ --vgg vgg19.safetensors
    python benchmarks/training.py ablation --works a/ b/ --content photos/ --vgg vgg19.safetensors \\
        --steps 150 --out benchmarks/ablation

`pace` compares pictures per second, side by side in one run: ours (compact perceptual network, bf16, decoded
pictures in memory, statistics of the works looked up) with the plain recipe (full VGG19 to relu5_1, whose
layers beyond the given weights are random: they cost the same; fp32, files decoded and works looked at in
every step). `ablation` trains the same networks from the same start for equally many
steps with one thing left out each time, and judges them on photographs that training did not see by the
real VGG19.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from stylize import bundled
from stylize.config import LossWeights, TrainConfig
from stylize.dataset import PictureSet
from stylize.encoder import REFERENCE_SIDE
from stylize.images import to_image
from stylize.library import PHOTOGRAPH, StyleLibrary, look_at
from stylize.model import load_base, load_perceptual
from stylize.painters import Painter
from stylize.paths import find_pictures
from stylize.perceptual import DEEP_LAYERS, SHALLOW_LAYERS, VGG19, Features, LossNetwork, fit_to_network
from stylize.studio import content_photos, load_vgg
from stylize.tensors import to_uint8
from stylize.training import Trainer

PHOTOGRAPHS = 60


def make_trainer(
    options: argparse.Namespace,
    config: TrainConfig,
    vgg: bool,
    dtype: torch.dtype,
    attention: bool = True,
    full: bool = False,
) -> Trainer:
    """A run on the works, starting from the bundled base, with or without its attention."""
    compact = load_perceptual(bundled.perceptual_path()).to(memory_format=torch.channels_last)
    losses_from = LossNetwork(compact, load_vgg(str(options.vgg)) if vgg else None).requires_grad_(False)
    losses_from = FullVGG19(losses_from) if full else losses_from
    photos, unseen = content_photos(options.content, 20)
    groups = {folder.name: PictureSet(find_pictures([folder]), REFERENCE_SIDE) for folder in options.works}
    groups[PHOTOGRAPH] = PictureSet(photos.paths[:: max(1, len(photos) // PHOTOGRAPHS)])
    cache = options.cache / f"works-{'full' if full else 'vgg' if vgg else 'compact'}.safetensors"
    library = StyleLibrary(groups, compact, losses_from, cache)
    painter = Painter.from_base(load_base(bundled.base_path()))
    if not attention:
        without = Painter(replace(painter.generator.config, attention_grid=0))
        without.load_state_dict(painter.state_dict(), strict=False)
        painter = without
    return Trainer(config, painter, photos, library, compact, losses_from, dtype=dtype, unseen=unseen)


class FullVGG19(LossNetwork):
    """All layers from a VGG19, as plain recipes have it."""

    def __init__(self, real: LossNetwork) -> None:
        super().__init__(real.compact)
        assert real.vgg is not None
        self.full = VGG19("relu5_1").to(memory_format=torch.channels_last)
        self.full.load_state_dict(real.vgg.state_dict(), strict=False)
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> Features:
        """Features of (N, 3, H, W) in [0, 1]."""
        return self.full(fit_to_network(picture), SHALLOW_LAYERS + DEEP_LAYERS)


class PlainTrainer(Trainer):
    """The same step without what is kept: files are decoded, and works looked at, whenever they are used."""

    def _batch(self, part: int):
        for pictures in (self.photos, *self.library.groups.values()):
            pictures._decoded.clear()
            pictures._kept = 0
        batch = self._draw(self.steps_done, part).to(self.device)
        for work in batch.works:
            look_at(to_uint8(work), self.encoder_network, self.loss_network)
        return batch


def pace(options: argparse.Namespace) -> None:
    """Medians of steps by turns."""
    config = TrainConfig(steps=10_000, adversarial_start=0.0)
    ours = make_trainer(options, config, vgg=False, dtype=torch.bfloat16)
    real = make_trainer(options, config, vgg=True, dtype=torch.bfloat16)
    plain = make_trainer(options, config, vgg=True, dtype=torch.float32, full=True)
    plain.__class__ = PlainTrainer
    contenders = {"ours": ours, "ours, real VGG19": real, "plain recipe": plain}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    loading: list[float] = []
    for turn in track(range(options.steps + 1), "Measuring"):
        for name, trainer in contenders.items():
            begin = time.perf_counter()
            trainer.step()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        ours._draw(50_000 + turn, 0)
        loading.append(time.perf_counter() - begin)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    table = Table("", "s / step", "pictures / s", "against the plain recipe")
    for name, value in median.items():
        ratio = median["plain recipe"] / value
        table.add_row(name, f"{value:.2f}", f"{config.batch / value:.1f}", f"{ratio:.1f} x")
    Console().print(table)
    share = statistics.median(loading) / median["ours"]
    print(f"Drawing a batch takes {share:.0%} of a step of ours, in a thread beside it.")


def variants() -> dict[str, Callable[[LossWeights], LossWeights]]:
    """What is left out, by way of the weights."""
    return {
        "all terms": lambda w: w,
        "no adversarial": lambda w: replace(w, adversarial=0.0),
        "no cycle": lambda w: replace(w, cycle=0.0),
        "no attention": lambda w: w,
        "no Gram and moments": lambda w: replace(w, style=0.0),
        "bundled perceptual": lambda w: w,
    }


def ablation(options: argparse.Namespace) -> None:
    """Train every variant, judge it by the real VGG19, and write table and sheet."""
    config = TrainConfig(steps=options.steps, batch=4, adversarial_start=0.0, style_ramp=0.0, cycle_every=2)
    judge = make_trainer(options, config, vgg=True, dtype=torch.bfloat16)
    rows, sheets = {}, []
    for name, change in variants().items():
        trainer = make_trainer(
            options, replace(config, weights=change(config.weights)), vgg=name != "bundled perceptual",
            dtype=torch.bfloat16, attention=name != "no attention",
        )  # fmt: skip
        begin = time.monotonic()
        for _ in track(range(options.steps), name):
            trainer.step()
        seconds = (time.monotonic() - begin) / options.steps
        judge.ema = trainer.ema
        validation = judge.validate()
        rows[name] = {**validation.table, "seconds per step": round(seconds, 3)}
        sheets.append(validation.sheet[:, :-256])
        print(json.dumps({name: rows[name]}), flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    to_image(to_uint8(torch.cat(sheets, dim=2))).save(options.out.with_suffix(".jpg"), quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["pace", "ablation"])
    parser.add_argument("--works", type=Path, nargs="+", required=True)
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--vgg", type=Path, required=True, help="the real VGG19 in safetensors")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/ablation"))
    options = parser.parse_args()
    {"pace": pace, "ablation": ablation}[options.what](options)


if __name__ == "__main__":
    main()
