"""Learn all bundled styles in turns on a GPU, in a given time, by the recipe and the loss of train_styles.py.

    python benchmarks/gpu_train.py OUT --pack FOLDER --seconds 240      learn
    python benchmarks/gpu_train.py OUT --pack FOLDER --probe            which form of a step is fastest?

--pack is a folder made by gpu_pack.py. Photographs lie on the device as uint8, and are cut, resized and
mirrored there. Every minute styles.zip is written anew with the moving averages as finished style files, so
that an end at any moment leaves what was learnt so far. SIGTERM and Ctrl-C finish early. The time decides how
many steps there are: four fifths with everything free, then the rest at the final rank, as on a CPU.
"""

import argparse
import copy
import signal
import sys
import tempfile
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from gpu_report import Report
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent.parent / "weights"
sys.path.insert(0, str(WEIGHTS))

from train_styles import (  # noqa: E402
    FreeStyle,
    LowRankStyle,
    Schedule,
    StyleRun,
    bundled_network,
    new_share,
    rate_share,
    read_recipes,
    read_works,
    style_file,
)

from stylize import bundled  # noqa: E402
from stylize.batches import chance  # noqa: E402
from stylize.dataset import resized_square  # noqa: E402
from stylize.devices import choose_dtype, comparing_autocast, out_of_memory  # noqa: E402
from stylize.files import atomic_path  # noqa: E402
from stylize.images import read_rgb  # noqa: E402
from stylize.model import Base, Style, load_base, load_style, load_vgg19, save_base, save_style  # noqa: E402
from stylize.multiscale import noises  # noqa: E402
from stylize.painting_loss import PaintingLoss, PaintingRecipe  # noqa: E402
from stylize.paths import find_pictures  # noqa: E402
from stylize.sheets import save_sheet  # noqa: E402
from stylize.styles import perceptual_network  # noqa: E402
from stylize.stylizer import Stylizer  # noqa: E402

_FREE = 0.8
"""Share of the time in which everything is free to change."""

_STEPS = 500
"""Steps for each style that the size of the batch is chosen for, as many as on a CPU."""

_SMALLEST_BATCH, _LARGEST_BATCH = 8, 96

_LONGEST = 1.6
"""Photographs are cut to at most this many times their shorter side, which bounds the memory for all."""

_THREADS = 16


@dataclass(frozen=True)
class Plan:
    """What to learn, from what, and until when."""

    out: Path
    pack: Path
    device: torch.device
    until: float
    """Seconds since the epoch."""
    styles: tuple[str, ...] = ()
    batch: int | None = None
    schedule: Schedule = field(default_factory=lambda: Schedule(size=256))
    every: float = 60
    """Seconds between checkpoints."""
    captured: bool = False
    """Replay each step as a CUDA graph."""
    base_rate: float = 0.0
    """Rate at which the base learns along; 0: it stays as it is."""
    shown: int = 6
    """Photographs on the sheet."""


class Photographs:
    """All photographs on the device as uint8, in squares that are as large as the longest."""

    def __init__(self, paths: list[Path], device: torch.device) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            read = list(pool.map(_read, paths))
        pictures = [picture for picture in read if picture is not None]
        typical = sorted(min(p.shape[1:]) for p in pictures)[len(pictures) // 2]
        pictures = [p for p in pictures if min(p.shape[1:]) >= 0.75 * typical]
        self.sizes = [(p.shape[1], p.shape[2]) for p in pictures]
        side = max(max(size) for size in self.sizes)
        self.pixels = torch.zeros(len(pictures), 3, side, side, dtype=torch.uint8, device=device)
        for place, picture in zip(self.pixels, pictures, strict=True):
            place[:, : picture.shape[1], : picture.shape[2]] = picture.to(device)
        self.channels = torch.arange(3, device=device)[:, None, None]

    def crops(self, count: int, size: int, zoom: tuple[float, float], rng: torch.Generator) -> Tensor:
        """Random squares (count, 3, size, size) in [0, 1], cut as `PictureSet.crop` does, with one zoom for
        all of them; half of them mirrored."""
        chosen = torch.randint(len(self.sizes), (count,), generator=rng)
        sizes = [self.sizes[i] for i in chosen.tolist()]
        factor = zoom[0] * (zoom[1] / zoom[0]) ** float(torch.rand((), generator=rng))
        extent = min(round(size * factor), *(min(s) for s in sizes))
        spare = torch.tensor(sizes) - extent
        corners = (torch.rand(count, 2, generator=rng) * spare).round().long()
        flips = (torch.rand(count, 1, generator=rng) < 0.5).long()
        where = torch.cat([chosen[:, None], corners, flips], dim=1)  # sent together
        where = where.to(self.pixels.device, non_blocking=True)
        along = torch.arange(extent, device=self.pixels.device)
        rows = (where[:, 1, None] + along)[:, None, :, None]
        columns = (where[:, 2, None] + along)[:, None, None, :]
        cut = self.pixels[where[:, 0, None, None, None], self.channels, rows, columns]
        crops = resized_square(cut.float().div_(255), size)
        return torch.where(where[:, 3, None, None, None] > 0, crops.flip(-1), crops)


def _read(path: Path) -> Tensor | None:
    try:
        picture = read_rgb(path)
    except Exception:  # one bad file must not end a run that cannot be repeated
        return None
    height, width = (min(length, round(_LONGEST * min(picture.shape[1:]))) for length in picture.shape[1:])
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width].contiguous()


class Room:
    """The inputs of captured steps, which lie at one place, and the memory that their graphs share."""

    def __init__(self, batch: int, size: int, device: torch.device) -> None:
        self.photo = torch.zeros(batch, 3, size, size, device=device)
        self.noise = {
            twice: torch.zeros(batch, 1, size // (1 + twice), size // (1 + twice), device=device)
            for twice in (False, True)
        }
        self.pool = torch.cuda.graph_pool_handle()


class Pupil:
    """One style under way."""

    def __init__(self, name: str, recipe: PaintingRecipe, base: Base, loss: PaintingLoss, plan: Plan) -> None:
        self.name, self.recipe, self.plan = name, recipe, plan
        self.before: Style = load_style(bundled.style_file(name))
        self.run = StyleRun(base, recipe, loss, None, plan.schedule)
        self.shared = [p for p in base.generator.parameters() if p.requires_grad]
        code = self.before.code_for(base.generator).to(plan.device)
        self.begin(FreeStyle(base.generator, code).to(plan.device))

    def begin(self, style: FreeStyle | LowRankStyle) -> None:
        """Begin a phase."""
        self.style, self.steps = style, 0
        self.twin = copy.deepcopy(style).cpu()
        self.parameters = list(style.parameters())
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        fused = self.plan.device.type == "cuda"
        self.optimizer = torch.optim.Adam(self.parameters, betas=(0.9, 0.99), fused=fused)
        self.graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.names: list[str] = []

    def cut(self) -> None:
        """Go on at the final rank, from the moving average."""
        self.begin(self.low_rank(self.averages()).to(self.plan.device))

    def averages(self) -> list[Tensor]:
        """The moving averages, on the CPU."""
        return [value.to("cpu", copy=True) for value in self.average]

    def low_rank(self, averages: list[Tensor]) -> LowRankStyle:
        """What was learnt so far, on the CPU, at the final rank."""
        with torch.no_grad():
            for own, value in zip(self.twin.parameters(), averages, strict=True):
                own.copy_(value)
        if isinstance(self.twin, LowRankStyle):
            return self.twin
        return LowRankStyle(self.twin, self.plan.schedule.rank)

    def gradients(self, photo: Tensor, noise: Tensor, twice: bool) -> Tensor:
        """Compute them, into the parameters; returns the terms. Numbers that overflowed count as 0."""
        terms = self.run.objective(self.style, photo, noise, twice)
        self.names = list(terms)
        stacked = torch.stack(list(terms.values()))
        wanted = self.parameters + self.shared
        found = torch.autograd.grad(stacked.sum(), wanted, allow_unused=True)
        for index, (parameter, gradient) in enumerate(zip(wanted, found, strict=True)):
            assert parameter.grad is not None
            if gradient is None:
                continue
            gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
            if index < len(self.parameters):
                parameter.grad.copy_(gradient)
            else:
                parameter.grad.add_(gradient)
        return stacked.detach()

    def replayed(self, photo: Tensor, noise: Tensor, twice: bool, room: Room) -> Tensor:
        """The same by a CUDA graph, captured the first time."""
        room.photo.copy_(photo)
        room.noise[twice].copy_(noise)
        if twice not in self.graphs:
            self.graphs[twice] = self._capture(room, twice)
        graph, terms = self.graphs[twice]
        graph.replay()
        return terms.clone()

    def _capture(self, room: Room, twice: bool) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        inputs = room.photo, room.noise[twice], twice
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self.gradients(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=room.pool):
            terms = self.gradients(*inputs)
        return graph, terms

    def learn(self, progress: float) -> None:
        """One update by the gradients at hand; `progress` is that of the phase."""
        full = 1.0 if isinstance(self.style, FreeStyle) else 0.5
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.schedule.rate * full * rate_share(self.steps, progress)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for value, parameter in zip(self.average, self.parameters, strict=True):
                value.lerp_(parameter, new_share(self.steps))
        self.steps += 1


class School:
    """All styles, in turns."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self.plan, self.report, device = plan, report, plan.device
        self.base, self.kept_base = load_base(bundled.base_path()), load_base(bundled.base_path())
        self.base.generator.to(device).requires_grad_(plan.base_rate > 0)
        for parameter in self.base.generator.parameters():
            parameter.grad = torch.zeros_like(parameter) if plan.base_rate else None
        self.base_optimizer = torch.optim.Adam(self.base.generator.parameters(), plan.base_rate or 1e-3)
        network = _network(plan.pack).requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.photos = Photographs(find_pictures([plan.pack / "photos"]), device)
        recipes, self.pupils = read_recipes(_recipes(plan.pack)), []
        for name in plan.styles or recipes:
            with report.part(f"the works of {name}"):
                works = read_works(plan.pack / "works", recipes[name], device)
                loss = PaintingLoss(recipes[name], works, network, lambda: comparing_autocast(device))
                self.pupils.append(Pupil(name, recipes[name], self.base, loss, plan))
        _fast(device)  # not before: works have all sizes, and for each one cuDNN would look for the best way
        self.batch = plan.batch or 1
        self.noise_rng = torch.Generator(device).manual_seed(plan.schedule.seed)
        self.steps = self.samples = 0
        self.room: Room | None = None
        self.stopped = False
        self.writer, self.written = ThreadPoolExecutor(1), Future[None]()
        self.written.set_result(None)  # nothing is being written

    def inputs(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Photographs, noise, and whether they are painted twice."""
        schedule = self.plan.schedule
        rng = chance(schedule.seed, step, -1)
        photo = self.photos.crops(self.batch, schedule.size, schedule.zoom, rng)
        twice = float(torch.rand((), generator=rng)) < schedule.twice
        side = schedule.size // 2 if twice else schedule.size
        return photo, noises(self.batch, side, side, self.noise_rng), twice

    def step(self, pupil: Pupil, progress: float) -> Tensor:
        """One step of one style. If it fails, it is taken again, and all that follow, without a graph, and
        then with half as many photographs."""
        while True:
            photo, noise, twice = self.inputs(self.steps)
            try:
                if self.room is not None:
                    terms = pupil.replayed(photo, noise, twice, self.room)
                else:
                    terms = pupil.gradients(photo, noise, twice)
                break
            except (MemoryError, RuntimeError) as error:
                if self.room is None and (not out_of_memory(error) or self.batch == 1):
                    raise
                fault = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            self._take_back(fault)
        self.steps += 1
        self.samples += len(photo)
        pupil.learn(progress)
        return terms

    def _take_back(self, fault: str) -> None:
        """Go on without graphs, or else with smaller batches."""
        if self.room is not None:
            self.room = None
            for pupil in self.pupils:
                pupil.graphs = {}
            self.report.say(f"Steps are not captured any longer. {fault}")
        else:
            self.batch //= 2
            self.report.say(f"Batches of {self.batch} from now on. {fault}")
        if self.plan.device.type == "cuda":
            torch.cuda.empty_cache()

    def seconds_per_sample(self, steps: int) -> float:
        """Measured; the styles learn meanwhile."""
        for number in range(2 * steps):
            if number == steps:
                self._wait()
                begin, before = time.perf_counter(), self.samples
            self.step(self.pupils[number % len(self.pupils)], 0.0)
        self._wait()
        return (time.perf_counter() - begin) / (self.samples - before)

    def choose_batch(self, seconds: float) -> None:
        """So large that each style gets about `_STEPS` steps in the time, unless the plan says."""
        if self.plan.batch is None and self.plan.device.type == "cuda":
            self.batch = 32
            pace = self.seconds_per_sample(8)
            wanted = seconds / pace / len(self.pupils) / _STEPS
            self.batch = min(_LARGEST_BATCH, max(_SMALLEST_BATCH, round(wanted / 8) * 8))
            self.report.say(f"{1 / pace:.0f} samples a second to begin with: batches of {self.batch}")
        if self.plan.captured and not self.plan.base_rate:
            self.room = Room(self.batch, self.plan.schedule.size, self.plan.device)

    def go(self) -> None:
        """Learn until the time is up, and write what came of it."""
        reserve = min(20.0, 0.25 * max(0.0, self.plan.until - time.time()))
        self.choose_batch(self.plan.until - time.time() - reserve)
        begin, end = time.time(), self.plan.until - reserve
        turn, saved, told, samples = begin + _FREE * (end - begin), begin, 0.0, self.samples
        free = True
        while time.time() < end and not self.stopped:
            if free and time.time() > turn:
                self._cut()
                free, turn = False, time.time()
            phase = (begin, turn) if free else (turn, end)
            terms = self._round(phase)
            if time.time() - told > 5:
                self._curves(time.time() - begin, terms)
                told = time.time()
            if time.time() - saved > self.plan.every and self.written.done():
                self.save()
                saved = time.time()
        if free:
            self._cut()
        spent = time.time() - begin
        self._tell(self.samples - samples, spent)
        self.save(wait=True)
        with self.report.part("the sheet"):
            self.sheet()

    def _round(self, phase: tuple[float, float]) -> dict[str, Tensor]:
        """A step for each style; the terms of each."""
        found = {}
        for pupil in self.pupils:
            progress = (time.time() - phase[0]) / max(1e-3, phase[1] - phase[0])
            found[pupil.name] = self.step(pupil, min(1.0, progress))
            if self.stopped or (self.plan.device.type == "cpu" and time.time() > phase[1]):
                break
        if self.plan.base_rate:
            self._base_learns()
        self._wait()  # else the CPU would be minutes ahead
        return found

    def _base_learns(self) -> None:
        parameters = list(self.base.generator.parameters())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.base_optimizer.param_groups[0]["lr"] = self.plan.base_rate
        self.base_optimizer.step()
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()

    def _cut(self) -> None:
        self._settle()
        with ThreadPoolExecutor(_THREADS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(Pupil.cut, self.pupils))
        if self.room is not None:  # the graphs of the first phase are gone, and so may be their memory
            self.room = Room(self.batch, self.plan.schedule.size, self.plan.device)

    def _wait(self) -> None:
        if self.plan.device.type == "cuda":
            torch.cuda.synchronize()

    def _curves(self, seconds: float, terms: dict[str, Tensor]) -> None:
        path = self.plan.out / "curves.csv"
        names = next((p.names for p in self.pupils if p.names), [])
        if not path.exists():
            path.write_text(",".join(["seconds", "steps", "style", *(f"term {n}" for n in names)]) + "\n")
        with path.open("a", encoding="utf-8") as file:
            for name, values in terms.items():
                cells = [f"{value:.5g}" for value in values.tolist()]
                file.write(",".join([f"{seconds:.1f}", str(self.steps), name, *cells]) + "\n")

    def _tell(self, samples: int, seconds: float) -> None:
        rate = samples / max(seconds, 1e-6)
        self.report.title("Trained")
        self.report.say(
            f"{samples} samples of {self.plan.schedule.size} x {self.plan.schedule.size} in {seconds:.0f} s: "
            f"{rate:.1f} a second, in batches of {self.batch}, {len(self.pupils)} styles"
        )
        found = {"samples": samples, "seconds": seconds, "samples a second": rate, "batch": self.batch}
        self.report.note("train", {**found, "captured": self.room is not None})

    def save(self, wait: bool = False) -> None:
        """Write styles.zip, meanwhile or at once."""
        averages = [pupil.averages() for pupil in self.pupils]
        state = {k: v.to("cpu", copy=True) for k, v in self.base.generator.state_dict().items()}
        if not wait:
            self.written = self.writer.submit(self._write, averages, state)
            return
        self._settle()
        with self.report.part("the finished styles"):
            self._write(averages, state)

    def _settle(self) -> None:
        """Wait for the checkpoint that is being written."""
        with self.report.part("a checkpoint"):
            self.written.result()

    def _write(self, averages: list[list[Tensor]], state: dict[str, Tensor]) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.plan.base_rate:
                self.kept_base.generator.load_state_dict(state)
                save_base(folder / "base.safetensors", self.kept_base)
            for pupil, values in zip(self.pupils, averages, strict=True):
                low = pupil.low_rank(values)
                style = style_file(low, pupil.before, self.kept_base, pupil.recipe.noise)
                style = replace(style, base_identity=self.kept_base.identity)
                save_style(folder / f"{pupil.name}.safetensors", style)
            (folder / "recipes.toml").write_bytes(_recipes(self.plan.pack).read_bytes())
            with (
                atomic_path(self.plan.out / "styles.zip") as part,
                zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                for path in sorted(folder.iterdir()):
                    archive.write(path, path.name)

    def sheet(self) -> None:
        """Each style, as it is in styles.zip, on photographs that it has not seen."""
        paths = find_pictures([self.plan.pack / "unseen"])[: self.plan.shown]
        torch.backends.cudnn.benchmark = False
        photos, dtype = [read_rgb(path, 900) for path in paths], choose_dtype("auto", self.plan.device)
        named = [("photograph", photo) for photo in photos]
        with tempfile.TemporaryDirectory() as name:
            with zipfile.ZipFile(self.plan.out / "styles.zip") as archive:
                archive.extractall(name)
            stylizer = Stylizer(self.kept_base, perceptual_network, self.plan.device, dtype)
            for path in sorted(Path(name).glob("*.safetensors")):
                if path.stem == "base":
                    continue
                style = load_style(path)
                code = style.code_for(self.kept_base.generator)
                named += [(path.stem, stylizer.paint(photo, code, style.stroke)) for photo in photos]
        small = [(label, _small(picture)) for label, picture in named]
        save_sheet(small, self.plan.out / "sheet.jpg", len(photos))


def _small(picture: Tensor) -> Tensor:
    """A square in the middle, 320 pixels wide: all of a sheet have one size."""
    side = min(picture.shape[1:])
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    square = picture[None, :, top : top + side, left : left + side]
    return nn.functional.interpolate(square, (320, 320), mode="bicubic", antialias=True)[0]


def _fast(device: torch.device) -> None:
    """What may be a little less exact in training, and is much faster."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.benchmark_limit = 5
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True


def _network(pack: Path) -> nn.Module:
    """The pack's VGG19, or else the perceptual network that is bundled."""
    path = pack / "vgg19.safetensors"
    return load_vgg19(path) if path.exists() else bundled_network()


def _recipes(pack: Path) -> Path:
    """The pack's recipes, or else those beside train_styles.py."""
    own = pack / "recipes.toml"
    return own if own.exists() else WEIGHTS / "recipes.toml"


def probe(plan: Plan, report: Report) -> None:
    """Samples a second of the forms of a step, and where their time goes."""
    report.title("A training step")
    school = School(replace(plan, styles=plan.styles or ("van-gogh", "ink-wash")), report)
    rates: dict[str, float] = {}
    report.note("step", {"captured": False})
    for batch in (8, 32, 96) if plan.device.type == "cuda" else (1,):
        for captured in (False, True) if plan.device.type == "cuda" else (False,):
            name = f"batch {batch}{', captured' if captured else ''}"
            with report.part(name):
                school.batch = batch
                school.room = Room(batch, plan.schedule.size, plan.device) if captured else None
                for pupil in school.pupils:
                    pupil.graphs = {}
                rates[name] = 1 / school.seconds_per_sample(6 if plan.device.type == "cuda" else 1)
                report.say(f"{name}: {rates[name]:.1f} samples a second")
                pays = rates.get("batch 32, captured", 0.0) > 1.08 * rates.get("batch 32", float("inf"))
                report.note("step", {**rates, "captured": pays})
    school.room = None
    with report.part("the profile of a step"):
        _profile(school, report)


def _profile(school: School, report: Report) -> None:
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU]
    if school.plan.device.type == "cuda":
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds) as found:
        school.step(school.pupils[0], 0.0)
        school._wait()
    order = "self_device_time_total" if school.plan.device.type == "cuda" else "self_cpu_time_total"
    for line in (
        found.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=40).splitlines()
    ):
        print(line[:200], flush=True)  # to the log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--until", type=float, help="seconds since the epoch, in the place of --seconds")
    parser.add_argument("--styles", nargs="+", default=[], help="default: all that have a recipe")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rate", type=float, default=Schedule.rate)
    parser.add_argument("--base-rate", type=float, default=0.0, help="the base learns along at this rate")
    parser.add_argument("--every", type=float, default=60, help="seconds between checkpoints")
    parser.add_argument("--shown", type=int, default=6, help="photographs on the sheet")
    parser.add_argument(
        "--captured", action="store_true", help="CUDA graphs, even if the probe was against it"
    )
    parser.add_argument("--probe", action="store_true")
    options = parser.parse_args()
    report, device = Report(options.out), torch.device(options.device)
    pays = device.type == "cuda" and report.noted().get("step", {}).get("captured", False)
    plan = Plan(
        options.out, options.pack, device, options.until or time.time() + options.seconds,
        tuple(options.styles), options.batch, Schedule(size=options.size, rate=options.rate), options.every,
        options.captured or pays, options.base_rate, options.shown,
    )  # fmt: skip
    if options.probe:
        probe(plan, report)
        return
    with report.part("training"):
        school = School(plan, report)

        def stop(number: int, frame: object) -> None:
            if school.stopped:
                raise KeyboardInterrupt
            school.stopped = True

        with suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, stop)
        school.go()


if __name__ == "__main__":
    main()
