"""Learn bundled styles on top of the base: scales and shifts, and low-rank changes of all kernels.

    python weights/train_styles.py --works $DATA/style --photos $DATA/content --vgg vgg19.safetensors \
        --out runs/styles [--styles van-gogh ...]

First everything is free to change; then the changes are cut to a low rank (SVD) and learn on at that rank. A
third of the samples is painted twice, as large pictures are: at half size, enlarged, again. The run goes on
where it stopped: a style whose file is in --out is done, and one under way goes on from its checkpoint.
With --from FOLDER, styles begin as the files of their names there, and not as the bundled ones.
"""

import argparse
import math
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from stylize import bundled
from stylize.adapters import Adapters
from stylize.batches import chance
from stylize.dataset import PictureSet
from stylize.devices import choose_device, comparing_autocast
from stylize.files import write_tensors
from stylize.generator import Generator
from stylize.images import read_rgb
from stylize.model import Base, Style, load_base, load_style, save_style
from stylize.multiscale import noise_of
from stylize.painting_loss import PaintingLoss, PaintingRecipe
from stylize.paths import find_pictures
from stylize.settings import changed
from stylize.studio import load_vgg
from stylize.tensors import to_float

_TRIM = 6
"""Pixels cut from a work's edges, where scans show frames."""

_KEPT_EVERY = 100


@dataclass(frozen=True)
class Schedule:
    """How long, and in which portions."""

    steps: int = 400
    finish: int = 100
    """Steps at the final rank."""
    batch: int = 2
    size: int = 224
    zoom: tuple[float, float] = (1.0, 1.7)
    twice: float = 0.3
    """Share of the batches that are painted twice."""
    rate: float = 1e-3
    rank: int = 16
    seed: int = 0


class FreeStyle(nn.Module):
    """Scales, shifts and kernels of a generator, all free to change."""

    def __init__(self, generator: Generator, code: Tensor) -> None:
        super().__init__()
        size = generator.config.code_size + generator.offsets_size
        changes = generator.changed_kernels(code)
        with torch.no_grad():
            flat = [part for pair in generator.expand(code[:, :size]) for part in pair]
            kernels = [changes.get(n, k) - k for n, k in generator.kernels.items()]
        self.modulation = nn.ParameterList(part.clone() for part in flat)
        self.changes = nn.ParameterList(kernels)

    def kernel_changes(self) -> list[Tensor]:
        """What is added to each kernel."""
        return list(self.changes)


class LowRankStyle(nn.Module):
    """The same with changes of a low rank: those of a `FreeStyle`, cut by singular value decomposition."""

    def __init__(self, free: FreeStyle, rank: int) -> None:
        super().__init__()
        self.shapes = [change.shape for change in free.changes]
        self.modulation = nn.ParameterList(part.detach().clone() for part in free.modulation)
        factors = [_factors(change.detach(), rank) for change in free.changes]
        self.up = nn.ParameterList(up for up, _ in factors)
        self.down = nn.ParameterList(down for _, down in factors)

    def kernel_changes(self) -> list[Tensor]:
        """What is added to each kernel."""
        products = zip(self.up, self.down, self.shapes, strict=True)
        return [(up @ down).view(shape) for up, down, shape in products]


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    left, sizes, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
    root = sizes[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


class StyleRun:
    """One style under way."""

    def __init__(
        self,
        base: Base,
        recipe: PaintingRecipe,
        loss: PaintingLoss,
        photos: PictureSet | None,
        schedule: Schedule,
    ) -> None:
        """`photos` are what `fit` learns on."""
        self.generator = base.generator.to(memory_format=torch.channels_last)
        self.recipe, self.loss, self.photos, self.schedule = recipe, loss, photos, schedule
        self.device = next(self.generator.parameters()).device

    def paint(self, style: FreeStyle | LowRankStyle, picture: Tensor) -> Tensor:
        """Paint (N, 3, H, W) in [0, 1]."""
        pairs = zip(self.generator.kernels.items(), style.kernel_changes(), strict=True)
        kernels = {name: kernel + change for (name, kernel), change in pairs}
        flat = [part.expand(len(picture), -1) for part in style.modulation]
        modulation = list(zip(flat[::2], flat[1::2], strict=True))
        with comparing_autocast(self.device):
            return functional_call(self.generator, kernels, (picture, modulation)).float()

    def fit(self, style: FreeStyle | LowRankStyle, steps: int, rate: float, state: Path) -> None:
        """Learn; what is kept in the end is the moving average of the weights."""
        average = {k: v.detach().clone() for k, v in style.state_dict().items()}
        optimizer = torch.optim.Adam(style.parameters(), rate, betas=(0.9, 0.99))
        first = _restore(state, style, average, optimizer)
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_share(step, step / steps)
            terms = self._terms(style, step)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            nn.utils.clip_grad_norm_(style.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for name, value in style.state_dict().items():
                    average[name].lerp_(value, new_share(step))
            if step % 50 == 0:
                print(step, {name: round(term.item(), 3) for name, term in terms.items()}, flush=True)
            if (step + 1) % _KEPT_EVERY == 0:
                _keep(state, style, average, optimizer, step + 1)
        style.load_state_dict(average)

    def _terms(self, style: FreeStyle | LowRankStyle, step: int) -> dict[str, Tensor]:
        """The objective on one batch, which depends on the step alone."""
        assert self.photos is not None
        schedule = self.schedule
        rngs = [chance(schedule.seed, step, sample) for sample in range(schedule.batch)]
        chosen = [int(torch.randint(len(self.photos), (), generator=rng)) for rng in rngs]
        crops = [
            self.photos.crop(i, schedule.size, rng, zoom=schedule.zoom)
            for i, rng in zip(chosen, rngs, strict=True)
        ]
        photo = torch.stack(crops).to(self.device)
        seeds = [int(torch.randint(1 << 31, (), generator=rng)) for rng in rngs]
        twice = float(torch.rand((), generator=rngs[0])) < schedule.twice
        side = schedule.size // 2 if twice else schedule.size
        noise = torch.stack([noise_of(side, side, seed)[None] for seed in seeds]).to(self.device)
        return self.objective(style, photo, noise, twice)

    def objective(
        self, style: FreeStyle | LowRankStyle, photo: Tensor, noise: Tensor, twice: bool
    ) -> dict[str, Tensor]:
        """The terms for photographs (N, 3, H, W) in [0, 1], and noise as `noise_of` draws it, (N, 1, H, W);
        half as large where they are painted twice."""
        noise = self.recipe.noise * noise
        if not twice:
            return self.loss(self.paint(style, (photo + noise).clamp(0, 1)), self.loss.held(photo))
        with torch.no_grad():
            coarse = self.paint(style, (F.avg_pool2d(photo, 2) + noise).clamp(0, 1))
            seen = F.interpolate(coarse, scale_factor=2, mode="bicubic").clamp(0, 1)
        return self.loss(self.paint(style, seen), self.loss.held(photo, seen))


def rate_share(step: int, progress: float) -> float:
    """The learning rate as a share of the highest: it rises for thirty steps and falls along a cosine."""
    return min(1, (step + 1) / 30) * (0.05 + 0.95 * (0.5 + 0.5 * math.cos(math.pi * progress)))


def new_share(step: int) -> float:
    """What the weights after a step count in their moving average."""
    return 1 - min(0.99, step / (step + 10))


def _keep(
    state: Path, style: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write a checkpoint, atomically."""
    tensors = {f"style.{k}": v for k, v in style.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    write_tensors(state, {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"step": str(step)})


def _restore(state: Path, style: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Adam) -> int:
    """Go on from a checkpoint, if there is one; the number of steps that are done."""
    if not state.exists():
        return 0
    tensors = load_file(state)

    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}

    style.load_state_dict(part("style."))
    for name, value in part("average.").items():
        average[name].copy_(value)
    groups = optimizer.state_dict()
    groups["state"] = {
        n: part(f"adam.{n}.") for n in range(len(list(style.parameters()))) if part(f"adam.{n}.")
    }
    optimizer.load_state_dict(groups)
    return int(next(iter(groups["state"].values()))["step"])


def style_file(style: LowRankStyle, before: Style, base: Base, noise: float) -> Style:
    """What was learnt, as a style to be saved."""
    generator = base.generator
    code = before.code[:, : generator.config.code_size].float()
    with torch.no_grad():
        plain = [part for pair in generator.expand(code) for part in pair]
        offsets = [ours.cpu() - theirs.cpu() for ours, theirs in zip(style.modulation, plain, strict=True)]
        changes = torch.cat([change.flatten() for change in style.kernel_changes()])[None].cpu()
        adapters = Adapters.of_changes(generator, changes)
    code = torch.cat([code, *offsets[::2], *offsets[1::2]], dim=1)
    return replace(before, code=code, adapters=adapters, noise=noise)


def read_recipes(path: Path) -> dict[str, PaintingRecipe]:
    """The recipes in a TOML file. UsageError for a setting that there is not."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: changed(PaintingRecipe(), table, f"{path}, {name}") for name, table in tables.items()}


def read_works(folder: Path, recipe: PaintingRecipe, device: torch.device) -> list[Tensor]:
    """The works of a recipe, each (1, 3, H, W) in [0, 1]."""
    pictures = [read_rgb(folder / work, recipe.side) for work in recipe.works]
    return [to_float(p[:, _TRIM:-_TRIM, _TRIM:-_TRIM])[None].to(device) for p in pictures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--works", type=Path, required=True, help="folder with a folder of works per style")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--vgg", required=True, help="a VGG19 in torchvision's names, or bundled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", type=Path, default=Path(__file__).with_name("recipes.toml"))
    parser.add_argument("--styles", nargs="+", help="default: all that have a recipe")
    parser.add_argument("--from", dest="start", type=Path, help="folder of style files to begin with")
    parser.add_argument("--steps", type=int, default=Schedule.steps)
    parser.add_argument("--finish", type=int, default=Schedule.finish)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(options.steps, options.finish)
    recipes, device = read_recipes(options.recipes), choose_device("auto")
    paths = [p for i, p in enumerate(find_pictures([options.photos])) if i % 20]  # the rest is to judge on
    photos = PictureSet(paths, side=384)
    network = (load_vgg(options.vgg) or bundled_network()).requires_grad_(False).to(device)
    for name in options.styles or recipes:
        if (options.out / f"{name}.safetensors").exists():
            continue
        recipe, base = recipes[name], load_base(bundled.base_path())
        base.generator.to(device)
        works = read_works(options.works, recipe, device)
        loss = PaintingLoss(recipe, works, network, lambda: comparing_autocast(device))
        run = StyleRun(base, recipe, loss, photos, schedule)
        before = load_style(beginning(name, options.start))
        print(name, asdict(recipe), flush=True)
        free = FreeStyle(base.generator, before.code_for(base.generator).to(device)).to(device)
        run.fit(free, schedule.steps, schedule.rate, options.out / f"{name}.free.safetensors")
        low = LowRankStyle(free, schedule.rank).to(device)
        run.fit(low, schedule.finish, schedule.rate / 2, options.out / f"{name}.low.safetensors")
        base.generator.cpu()
        save_style(options.out / f"{name}.safetensors", style_file(low, before, base, recipe.noise))
        for state in options.out.glob(f"{name}.*.safetensors"):
            state.unlink()


def beginning(name: str, folder: Path | None) -> Path:
    """The file with which a style begins: the one of its name in a folder, or else the bundled one."""
    own = folder / f"{name}.safetensors" if folder else None
    return own if own and own.exists() else bundled.style_file(name)


def bundled_network() -> nn.Module:
    """The compact perceptual network that the package ships."""
    from stylize.styles import perceptual_network

    return perceptual_network()


if __name__ == "__main__":
    main()
