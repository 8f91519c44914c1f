"""From the wishes of `stylize cycle` to networks and data that are ready; and the check of what came out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylize import bundled, parallel
from stylize.cards import StyleCard, read_cards
from stylize.config import CycleConfig, GeneratorConfig
from stylize.cycle import CycleTrainer
from stylize.dataset import PictureSet
from stylize.devices import choose_device, choose_dtype, training_dtype
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import UsageError
from stylize.generator import Generator
from stylize.images import read_rgb
from stylize.library import StyleLibrary
from stylize.model import Base, Style, load_base, load_perceptual, new_base, save_style
from stylize.paths import find_pictures
from stylize.perceptual import LossNetwork
from stylize.selection import read_all, select_works
from stylize.sheets import save_sheet
from stylize.studio import load_vgg, smaller_works
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_float, to_uint8
from stylize.translation import Eyes, OneWay, judge_way
from stylize.translator import BACK, THERE, Translator
from stylize.validation import Validation
from stylize.workshop import Errand, Note, Workshop, some_of

_LOOKED_AT = 150
"""So many pictures of each pile describe it."""

_FEW = 10


@dataclass(frozen=True)
class CyclePlan(Errand):
    """What `stylize cycle` was asked for."""

    folders: tuple[Path, Path] = (Path("a"), Path("b"))
    config: CycleConfig = field(default_factory=CycleConfig)
    from_scratch: bool = False
    perceptual: str = "bundled"
    hold_out: int = 10
    cards: Path | None = None


class CycleStudio(Workshop):
    """Where translations are learnt."""

    def __init__(self, plan: CyclePlan, cache: Path, on_note: Note) -> None:
        self.plan = plan
        self.card = (read_cards(plan.cards) if plan.cards else {}).get(plan.name, StyleCard(plan.name))
        device = parallel.local_device(choose_device(plan.device))
        names = names_of(plan.folders)
        piles, unseen = zip(*(read_pile(f, plan.hold_out, on_note) for f in plan.folders), strict=True)
        self.piles: dict[str, PictureSet] = dict(zip(names, piles, strict=True))
        self.notes = [n for name, p in self.piles.items() for n in _doubts(name, p, plan.config.size)]
        compact = load_perceptual(bundled.perceptual_path()).to(device).to(memory_format=torch.channels_last)
        losses_from = LossNetwork(compact, load_vgg(plan.perceptual)).requires_grad_(False).to(device)
        with parallel.first_alone():
            library = StyleLibrary({n: _some(p) for n, p in self.piles.items()}, compact, losses_from, cache)
        self.base = load_base(bundled.base_path())
        translator = self._translator(library)
        dtype = training_dtype(plan.dtype, device)
        eyes = Eyes(compact, self.base.encoder)
        self.trainer = CycleTrainer(
            plan.config, translator, piles, library, compact, losses_from, eyes, unseen, device, dtype
        )

    def _translator(self, library: StyleLibrary) -> Translator:
        """Random weights, or those of the bundled base, which knows both piles as styles already."""
        torch.manual_seed(self.plan.config.seed)
        count = range(self.plan.config.generators)
        if self.plan.from_scratch:
            size = GeneratorConfig().code_size
            return Translator([Generator() for _ in count], torch.randn(2, size))
        generators = [Generator(self.base.generator.config) for _ in count]
        for generator in generators:
            generator.load_state_dict(self.base.generator.state_dict())
        a, b = (library.mean_vector(members) for members in library.members.values())
        with torch.no_grad():
            return Translator(generators, self.base.encoder(torch.cat([b, a])))

    @property
    def game(self) -> CycleTrainer:
        return self.trainer

    def counts(self) -> dict[str, int]:
        return {name: len(pile) for name, pile in self.piles.items()}

    def data(self) -> list[str]:
        return [*(f"{name}: {count} pictures." for name, count in self.counts().items()), *self.notes]

    def shown(self) -> list[tuple[str, Tensor]]:
        return some_of(self.piles)

    def settings(self) -> dict[str, Any]:
        plan = self.plan
        run = {
            "folders": [str(folder) for folder in plan.folders], "from_scratch": plan.from_scratch,
            "perceptual": plan.perceptual, "hold_out": plan.hold_out,
        }  # fmt: skip
        return {"run": run, "cycle": plan.config}

    def write(self, validation: Validation | None) -> list[Path]:
        """One style file for both ways."""
        ema, device = self.trainer.ema, self.trainer.device
        encoder = self.base.encoder if not self.plan.from_scratch else new_base(GeneratorConfig()).encoder
        there, back = (Base(ema.generator(way), encoder, "") for way in (THERE, BACK))
        members = list(self.trainer.library.members.values())
        moments = self.trainer.library.mean_vector(members[1])
        card = self._card(validation)
        reverse = Style(ema.codes[BACK : BACK + 1], card, "", back)
        style = Style(ema.codes[THERE : THERE + 1], card, "", there, moments, reverse)
        path = self.plan.folder / "styles" / f"{self.plan.name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_style(path, style)
        ema.to(device)
        return [path]

    def _card(self, validation: Validation | None) -> StyleCard:
        """The card that was given, with what the run knows of itself where it is silent."""
        a, b = self.piles
        config = self.plan.config
        weights = ", ".join(f"{name} {value:g}" for name, value in asdict(config.weights).items() if value)
        training = (
            f"Cycle-consistent, {self.trainer.steps_done} steps of {config.batch} crops of {config.size} "
            f"pixels from each pile, {config.generators} generator(s), "
            f"{'from random weights' if self.plan.from_scratch else 'from the bundled base'}; "
            f"weights of the losses: {weights}."
        )
        table = validation.table if validation else {}
        rows = (f"{way}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()) for way, row in table.items())
        known = {
            "description": f"From {a} to {b}; with --reverse from {b} to {a}.",
            "works": ", ".join(f"{name}: {len(pile)} pictures" for name, pile in self.piles.items()),
            "training": training,
            "metrics": "; ".join(rows),
        }
        return replace(self.card, **{k: text for k, text in known.items() if not getattr(self.card, k)})

    def to_install(self, written: Sequence[Path]) -> list[Path]:
        return list(written)


def names_of(folders: tuple[Path, Path]) -> list[str]:
    """What the two piles are called. UsageError if they are the same pile."""
    if folders[0].resolve() == folders[1].resolve():
        raise UsageError("Both folders are the same, so there is nothing to translate; give two.")
    names = [folder.resolve().name for folder in folders]
    return names if names[0] != names[1] else ["A", "B"]


def read_pile(folder: Path, hold_out: int, on_note: Note) -> tuple[PictureSet, PictureSet]:
    """The pictures of a pile to train on, and every `hold_out`-th to judge on, if there are enough."""
    kept, left_out = select_works(find_pictures([folder]))
    for sentence in left_out:
        on_note(sentence)
    if not kept:
        raise UsageError(f"No picture in {folder} can be learnt from; give at least one that can be read.")
    if not hold_out or len(kept) < 2 * hold_out:
        return PictureSet(kept), PictureSet(kept)
    seen = [path for i, path in enumerate(kept) if i % hold_out]
    return PictureSet(seen), PictureSet(kept[::hold_out])


def _some(pile: PictureSet) -> PictureSet:
    """Evenly chosen ones, to describe the pile by."""
    return PictureSet(pile.paths[:: -(-len(pile) // _LOOKED_AT)], REFERENCE_SIDE)


def _doubts(name: str, pile: PictureSet, size: int) -> list[str]:
    """What may spoil the run: sentences."""
    doubts = smaller_works(name, _some(pile), size)
    if len(pile) < _FEW:
        doubts.append(
            f"There are only {len(pile)} pictures in {name}: what is learnt will repeat what they show; "
            "more of them help most."
        )
    return doubts


@dataclass(frozen=True)
class Check:
    """What `stylize cycle check` found, for both ways."""

    there: OneWay
    back: OneWay


def check(
    reference: str, folders: tuple[Path, Path], most: int, sheet: Path | None, on_picture: Callable[[], None]
) -> Check:
    """Judge a translation on two folders, at most `most` pictures of each, seen as `apply` would.

    Raises UsageError for a style that goes one way only.
    """
    ways = [_way(reference, reverse, on_picture) for reverse in (False, True)]
    piles = [_pictures(folder, most) for folder in folders]
    eyes = Eyes(perceptual_network(), load_base(bundled.base_path()).encoder)
    there = judge_way(ways[0], ways[1], piles[0], piles[1], eyes)
    back = judge_way(ways[1], ways[0], piles[1], piles[0], eyes)
    if sheet is not None:
        _save_check_sheet(ways, piles, sheet)
    return Check(there, back)


def _way(reference: str, reverse: bool, on_picture: Callable[[], None]) -> Callable[[Tensor], Tensor]:
    """One way of a style, through the very path that paints files: 8 bits in and out."""
    style, device = resolve_style(reference, reverse), choose_device("auto")
    stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))

    def translate(picture: Tensor) -> Tensor:
        on_picture()
        return to_float(stylizer.paint(to_uint8(picture[0]), style.code, style.stroke))[None]

    return translate


def _pictures(folder: Path, most: int) -> list[Tensor]:
    paths = find_pictures([folder])
    chosen = paths[:: max(1, -(-len(paths) // most))]
    return read_all(chosen, lambda path: to_float(read_rgb(path, shorter_side=REFERENCE_SIDE))[None])


def _save_check_sheet(
    ways: Sequence[Callable[[Tensor], Tensor]], piles: Sequence[Sequence[Tensor]], target: Path
) -> None:
    """Picture, translation, and the way back, four of each pile."""
    named: list[tuple[str, Tensor]] = []
    for there, back, pile in ((ways[0], ways[1], piles[0]), (ways[1], ways[0], piles[1])):
        for picture in pile[:4]:
            result = there(picture)
            cells = zip(("picture", "translated", "and back"), (picture, result, back(result)), strict=True)
            named += [(name, to_uint8(_square(x))) for name, x in cells]
    save_sheet(named, target, columns=6)


def _square(picture: Tensor) -> Tensor:
    """The middle square (3, S, S), 256 pixels or less a side."""
    side = min(256, *picture.shape[-2:])
    top, left = ((length - side) // 2 for length in picture.shape[-2:])
    return picture[0, :, top : top + side, left : left + side]
