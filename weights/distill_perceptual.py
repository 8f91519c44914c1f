"""Distil `perceptual.safetensors` from VGG19, and measure how well the student agrees with it.

    python weights/distill_perceptual.py --teacher vgg19.safetensors --deep-teacher se16x.safetensors \
        --photos photos/ --works works/ --out weights/perceptual.safetensors

The teacher for relu1_1 ... relu3_4 is the real VGG19. Where only those layers are at hand, relu4_1
and relu5_1 are learnt from a 16x distilled VGG19 (Wang et al., 2020), whose own 1x1 embeddings map
onto the real channels. Every 20th photograph is left out of training; agreement is the Pearson
correlation, over those, between the student's embedded activations and the teacher's.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stylize.dataset import PictureSet
from stylize.perceptual import VGG19, CompactVGG, Features

SHALLOW = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
DEEP = ("relu4_1", "relu5_1")


class SmallTeacher(nn.Module):
    """The 16x distilled VGG19 to relu5_1, read from its published tensors."""

    ORDER = ("0", "11", "12", "pool", "21", "22", "pool", "31", "32", "33", "34", "pool",
             "41", "42", "43", "44", "pool", "51")  # fmt: skip

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = {name: tensor.float() for name, tensor in weights.items()}

    def forward(self, picture: Tensor) -> Features:
        x, found = picture, {}
        for name in self.ORDER:
            if name == "pool":
                x = F.max_pool2d(x, 2)
                continue
            weight, bias = (self.weights[f"conv{name}.{part}"] for part in ("weight", "bias"))
            if name == "0":
                x = F.conv2d(x, weight, bias)
                continue
            x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias))
            if name in ("41", "51"):
                aux = (self.weights[f"conv{name}_aux.{part}"] for part in ("weight", "bias"))
                found[f"relu{name[0]}_{name[1]}"] = F.relu(F.conv2d(x, *aux))
        return found


def teach(photo: Tensor, shallow: VGG19, deep: SmallTeacher) -> Features:
    """The activations that the student shall reproduce, each layer scaled to unit spread.

    Converted weights have activations of hundreds; the student learns the pattern, not the unit.
    """
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        layers = {**shallow(photo, SHALLOW), **deep(photo)}
    return {name: x.float() / SCALE[name] for name, x in layers.items()}


SCALE: dict[str, float] = {}
"""Standard deviation of each teacher layer, measured on the first photographs."""


def measure_scale(photos: Tensor, shallow: VGG19, deep: SmallTeacher) -> None:
    """Fill `SCALE`."""
    with torch.no_grad():
        for name, x in {**shallow(photos, SHALLOW), **deep(photos)}.items():
            SCALE[name] = x.std().item()


def distillation_loss(student: Features, teacher: Features) -> Tensor:
    """Mean squared error, each channel scaled by its own and its layer's spread, summed over layers."""
    total = torch.zeros(())
    for name, target in teacher.items():
        spread = target.var(dim=(0, 2, 3), keepdim=True)
        error = (student[name].float() - target).square().mean(dim=(0, 2, 3), keepdim=True)
        total = total + (error / (spread + spread.mean() + 1e-6)).mean()
    return total


def correlations(
    student: CompactVGG, photos: PictureSet, shallow: VGG19, deep: SmallTeacher
) -> dict[str, float]:
    """Pearson correlation per layer over whole held-out photographs."""
    sums: dict[str, Tensor] = {}
    for index in range(len(photos)):
        photo = photos[index].float().div(255)[None, :, :320, :320]
        with torch.no_grad():
            ours = student.embed(student(photo, SHALLOW + DEEP))
            theirs = {**shallow(photo, SHALLOW), **deep(photo)}
        for name, y in theirs.items():
            x, y = ours[name].double(), y.double()
            moments = torch.stack([x.mean(), y.mean(), (x * x).mean(), (y * y).mean(), (x * y).mean()])
            sums[name] = sums.get(name, torch.zeros(5, dtype=torch.double)) + moments
    result = {}
    for name, total in sums.items():
        mx, my, xx, yy, xy = (total / len(photos)).tolist()
        result[name] = round((xy - mx * my) / ((xx - mx * mx) * (yy - my * my)) ** 0.5, 4)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--deep-teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--works", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=160)
    options = parser.parse_args()

    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    shallow, student = VGG19(), CompactVGG()
    shallow.load_torchvision({k: v.float() for k, v in load_file(options.teacher).items()})
    deep = SmallTeacher(load_file(options.deep_teacher))
    files = sorted(options.photos.glob("*.jpg"))
    held_out = PictureSet(files[::20], side=384)
    train = PictureSet([f for i, f in enumerate(files) if i % 20], side=384)
    works = PictureSet(sorted(options.works.rglob("*.jpg")), side=384)

    for network in (shallow, student):
        network.to(memory_format=torch.channels_last)
    measure_scale(torch.stack([train.crop(i, 256, random) for i in range(16)]), shallow, deep)
    adam = torch.optim.Adam(student.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, options.steps, pct_start=0.05)
    start = time.monotonic()
    for step in range(1, options.steps + 1):
        crops = []
        for i in range(options.batch):
            source = works if i % 4 == 3 else train
            index = int(torch.randint(len(source), (), generator=random))
            crops.append(source.crop(index, options.size, random, zoom=(1.0, 2.0)))
        batch = torch.stack(crops).contiguous(memory_format=torch.channels_last)
        target = teach(batch, shallow, deep)
        with torch.autocast("cpu", torch.bfloat16):
            ours = student.embed(student(batch, SHALLOW + DEEP))
        loss = distillation_loss(ours, target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 250 == 0 or step == options.steps or step == 10:
            print(f"{step:5d} loss {loss.item():.4f}  {time.monotonic() - start:.0f} s", flush=True)
            if step >= 250:
                tensors = {k: v.half().contiguous() for k, v in student.state_dict().items()}
                agreement = (
                    correlations(student, held_out, shallow, deep)
                    if step % 1000 == 0 or step == options.steps
                    else {}
                )
                info = {
                    "format_version": "1",
                    "kind": "perceptual",
                    "steps": str(step),
                    "agreement": json.dumps(agreement),
                }
                save_file(tensors, options.out, metadata=info)
                print(agreement, flush=True)


if __name__ == "__main__":
    main()
