"""From the wishes of `stylize train` to networks and data that are ready to learn styles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylize import bundled, hub, parallel
from stylize.cards import StyleCard, read_cards
from stylize.config import GeneratorConfig, TrainConfig
from stylize.dataset import PictureSet
from stylize.devices import choose_device, training_dtype
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import UsageError
from stylize.exporting import export, export_style
from stylize.invented import InventedPictures
from stylize.library import PHOTOGRAPH, StyleLibrary
from stylize.model import LARGEST_VGG19, Base, load_base, load_perceptual, load_vgg19
from stylize.painters import Painter, StylePainter
from stylize.paths import find_pictures
from stylize.perceptual import VGG19, LossNetwork
from stylize.selection import select_works
from stylize.training import Trainer
from stylize.validation import Validation
from stylize.workshop import Errand, Note, Workshop, some_of

_PHOTOGRAPHS_AS_STYLE = 200
"""So many photographs describe the style *photograph*."""


VGG19_ON_THE_HUB = "timm/vgg19.tv_in1k/model.safetensors"
"""Torchvision's weights in torchvision's layer names (575 MB, of which the first 9 are used)."""


@dataclass(frozen=True)
class Plan(Errand):
    """What `stylize train` was asked for. Without `content`, invented pictures take its place."""

    works: Sequence[Path] = ()
    content: Path | None = None
    config: TrainConfig = field(default_factory=TrainConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    quick: bool = False
    """Learn one style on top of the bundled base, which stays as it is."""
    from_scratch: bool = False
    perceptual: str = "bundled"
    hold_out: int = 20
    cards: Path | None = None


class Studio(Workshop):
    """Where styles are learnt from works."""

    def __init__(self, plan: Plan, cache: Path, on_note: Note) -> None:
        """`cache` keeps what was seen in the works; `on_note` hears of works that are left out."""
        self.plan = plan
        device = parallel.local_device(choose_device(plan.device))
        groups = works_by_style(plan.works, plan.name, on_note)
        if len(groups) > 1 and plan.quick:
            raise UsageError("Several folders make several styles, which --quick cannot learn; use --full.")
        self.alone = None if len(groups) > 1 else plan.name
        self.photos, unseen = content_photos(plan.content, plan.hold_out)
        self.notes = warnings(groups, self.photos, plan.config.size)
        self.cards = read_cards(plan.cards) if plan.cards else {}
        compact = load_perceptual(bundled.perceptual_path()).to(device).to(memory_format=torch.channels_last)
        losses_from = LossNetwork(compact, load_vgg(plan.perceptual)).requires_grad_(False).to(device)
        if not plan.quick:
            some = self.photos.paths[:: max(1, len(self.photos) // _PHOTOGRAPHS_AS_STYLE)]
            groups |= {PHOTOGRAPH: PictureSet(some, side=self.photos.side)} if some else {}
        with parallel.first_alone():
            library = StyleLibrary(groups, compact, losses_from, cache=cache, together=plan.quick)
        self.start = None if plan.from_scratch else load_base(bundled.base_path())
        painter = _painter(plan, self.start, library)
        dtype = training_dtype(plan.dtype, device)
        self.trainer = Trainer(
            plan.config, painter, self.photos, library, compact, losses_from, device, dtype, unseen
        )

    @property
    def game(self) -> Trainer:
        return self.trainer

    def counts(self) -> dict[str, int]:
        works = {name: len(members) for name, members in self.trainer.library.members.items()}
        return {**works, "photographs": len(self.photos)}

    def data(self) -> list[str]:
        styles = ", ".join(f"{name} ({len(w)} works)" for name, w in self.trainer.library.members.items())
        return [f"Styles: {styles}.", f"Photographs: {len(self.photos)}.", *self.notes]

    def shown(self) -> list[tuple[str, Tensor]]:
        return some_of(self.trainer.library.groups)

    def settings(self) -> dict[str, Any]:
        plan = self.plan
        run = {
            "works": [str(path) for path in plan.works], "content": str(plan.content or "invented pictures"),
            "quick": plan.quick, "from_scratch": plan.from_scratch, "perceptual": plan.perceptual,
            "hold_out": plan.hold_out,
        }  # fmt: skip
        return {"run": run, "train": plan.config, "generator": plan.generator}

    def write(self, validation: Validation | None) -> list[Path]:
        table = validation.table if validation else {}
        plan = self.plan
        if plan.quick and self.start is not None:
            card = self.cards.get(plan.name, StyleCard(plan.name))
            return export_style(self.trainer, plan.folder, card, self.start, table)
        return export(self.trainer, plan.folder, self.cards, table, self.alone)

    def to_install(self, written: Sequence[Path]) -> list[Path]:
        return [path for path in written if self.alone and path.parent.name == "styles"]


def warnings(groups: dict[str, PictureSet], photos: PictureSet, size: int) -> list[str]:
    """What may spoil the run and can be known before it: sentences."""
    for name, works in groups.items():
        if set(works.paths) & set(photos.paths):
            raise UsageError(
                f"Some works of {name} are among the photographs of --content: a style cannot be learnt from "
                "its own photographs; give different folders."
            )
    return [sentence for name, works in groups.items() for sentence in smaller_works(name, works, size)]


def smaller_works(name: str, works: PictureSet, size: int) -> list[str]:
    """A sentence about works that are smaller than the training crop, if there are any."""
    small = [path.name for i, path in enumerate(works.paths) if min(works[i].shape[1:]) < size]
    if not small:
        return []
    return [
        f"{len(small)} of {len(works)} pictures of {name} are smaller than the crop of {size} pixels and are "
        f"enlarged ({small[0]}{', ...' if len(small) > 1 else ''}); larger scans teach finer strokes."
    ]


def _painter(plan: Plan, start: Base | None, library: StyleLibrary) -> Painter | StylePainter:
    """What learns."""
    torch.manual_seed(plan.config.seed)
    if start is None:
        return Painter.from_scratch(plan.generator, library.vectors)
    if plan.quick:
        (members,) = library.members.values()
        return StylePainter(start, library.mean_vector(members), plan.config.rank)
    return Painter.from_base(start)


def works_by_style(works: Sequence[Path], name: str, on_note: Note) -> dict[str, PictureSet]:
    """One style per folder if there are several, called NAME for NAME=FOLDER, else after the folder.

    A single folder, or pictures, make one style called `name`.
    """
    if len(works) == 1 or not all(_folder_of(path).is_dir() for path in works):
        return {name: _fit_works(name, works, on_note)}
    names = [_style_of(path) for path in works]
    if len(set(names)) < len(names) or PHOTOGRAPH in names:
        raise UsageError(f"Each folder names a style: give them different names, none {PHOTOGRAPH!r}.")
    return {n: _fit_works(n, [_folder_of(p)], on_note) for n, p in zip(names, works, strict=True)}


def _fit_works(name: str, places: Sequence[Path], on_note: Note) -> PictureSet:
    """The works in these places that are fit to learn from. UsageError if there are none."""
    kept, left_out = select_works(find_pictures(places))
    for sentence in left_out:
        on_note(sentence)
    if not kept:
        raise UsageError(f"No work of {name} can be learnt from; give at least one readable picture.")
    return PictureSet(kept, REFERENCE_SIDE)


def _folder_of(work: Path) -> Path:
    """The folder in NAME=FOLDER, or the path itself."""
    text = str(work)
    return Path(text.split("=", 1)[1]) if "=" in text and not work.exists() else work


def _style_of(work: Path) -> str:
    folder = _folder_of(work)
    return folder.resolve().name if folder == work else str(work).split("=", 1)[0]


def content_photos(folder: Path | None, hold_out: int) -> tuple[PictureSet, PictureSet | None]:
    """The photographs to train on, and every `hold_out`-th, left out; invented ones without a folder."""
    if folder is None:
        return InventedPictures(), InventedPictures(8, first=10_000)
    paths = find_pictures([folder])
    seen = [path for i, path in enumerate(paths) if not hold_out or i % hold_out]
    unseen = [path for i, path in enumerate(paths) if hold_out and i % hold_out == 0]
    if not seen:
        seen = unseen
    return PictureSet(seen, side=384), PictureSet(unseen, side=384) if unseen else None


def load_vgg(choice: str) -> VGG19 | None:
    """A VGG19 for the shallow layers of the losses; None for "bundled".

    "vgg19" is fetched from the Hub, as is org/name/file.safetensors; else it is a file on this disk.
    """
    if choice == "bundled":
        return None
    reference = hub.parse(VGG19_ON_THE_HUB) if choice == "vgg19" else hub.reference_of(choice)
    path = hub.fetch(reference, largest=LARGEST_VGG19) if reference else Path(choice)
    return load_vgg19(path).to(memory_format=torch.channels_last)
