"""From the wishes of `stylize train` to a trained style: data, networks, run, files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from stylize import bundled
from stylize.cards import StyleCard, read_cards
from stylize.config import GeneratorConfig, TrainConfig
from stylize.dataset import PictureSet
from stylize.devices import choose_device, choose_dtype
from stylize.encoder import REFERENCE_SIDE
from stylize.errors import UsageError, WeightsError
from stylize.fitting import RunFolder, export, export_style, fit
from stylize.invented import InventedPictures
from stylize.library import PHOTOGRAPH, StyleLibrary
from stylize.model import Base, load_base, load_perceptual
from stylize.painters import Painter, StylePainter
from stylize.paths import find_pictures
from stylize.perceptual import VGG19, LossNetwork
from stylize.selection import select_works
from stylize.training import Terms, Trainer

_PHOTOGRAPHS_AS_STYLE = 200
"""So many photographs describe the style *photograph*."""


@dataclass(frozen=True)
class Plan:
    """What `stylize train` was asked for. Without `content`, invented pictures take its place."""

    works: Sequence[Path]
    content: Path | None
    name: str
    folder: Path
    config: TrainConfig
    generator: GeneratorConfig
    quick: bool = False
    """Learn one style on top of the bundled base, which stays as it is."""
    from_scratch: bool = False
    perceptual: str = "bundled"
    hold_out: int = 20
    cards: Path | None = None
    device: str = "auto"
    dtype: str = "auto"


def train(
    plan: Plan, on_step: Callable[[int, Terms, float], None], on_note: Callable[[str], None]
) -> tuple[bool, list[Path]]:
    """Run the plan. Returns whether it was finished, and the files that it wrote.

    `on_note` is told a sentence for every work that is left out.
    """
    device = choose_device(plan.device)
    groups = works_by_style(plan.works, plan.name, on_note)
    photos = content_photos(plan.content, plan.hold_out) if plan.content else InventedPictures()
    cards = read_cards(plan.cards) if plan.cards else {}
    compact = load_perceptual(bundled.perceptual_path()).to(device).to(memory_format=torch.channels_last)
    losses_from = LossNetwork(compact, load_vgg(plan.perceptual)).requires_grad_(False).to(device)
    run = RunFolder(plan.folder)
    if len(groups) > 1 and plan.quick:
        raise UsageError("Several folders make several styles, which --quick cannot learn; use --full.")
    alone = None if len(groups) > 1 else plan.name
    if not plan.quick:
        some = photos.paths[:: max(1, len(photos) // _PHOTOGRAPHS_AS_STYLE)]
        groups |= {PHOTOGRAPH: PictureSet(some, side=photos.side)} if some else {}
    library = StyleLibrary(
        groups, compact, losses_from, cache=run.path / "works.safetensors", together=plan.quick
    )
    start = None if plan.from_scratch else load_base(bundled.base_path())
    painter = _painter(plan, start, library)
    dtype = choose_dtype(plan.dtype, device)
    trainer = Trainer(plan.config, painter, photos, library, compact, losses_from, device, dtype)

    def write() -> list[Path]:
        """The styles as they are now: a run can be looked at while it goes on."""
        if plan.quick and start is not None:
            return export_style(trainer, plan.folder, cards.get(plan.name, StyleCard(plan.name)), start)
        return export(trainer, plan.folder, cards, alone)

    finished = fit(trainer, run, on_step=on_step, on_checkpoint=write)
    return finished, write()


def _painter(plan: Plan, start: Base | None, library: StyleLibrary) -> Painter | StylePainter:
    """What learns."""
    if start is None:
        torch.manual_seed(plan.config.seed)
        return Painter.from_scratch(plan.generator, library.vectors)
    if plan.quick:
        (members,) = library.members.values()
        return StylePainter(start, library.mean_vector(members))
    return Painter.from_base(start)


def works_by_style(works: Sequence[Path], name: str, on_note: Callable[[str], None]) -> dict[str, PictureSet]:
    """One style per folder if there are several, called NAME for NAME=FOLDER, else after the folder.

    A single folder, or pictures, make one style called `name`.
    """
    if len(works) == 1 or not all(_folder_of(path).is_dir() for path in works):
        return {name: _fit_works(name, works, on_note)}
    names = [_style_of(path) for path in works]
    if len(set(names)) < len(names) or PHOTOGRAPH in names:
        raise UsageError(f"Each folder names a style: give them different names, none {PHOTOGRAPH!r}.")
    return {n: _fit_works(n, [_folder_of(p)], on_note) for n, p in zip(names, works, strict=True)}


def _fit_works(name: str, places: Sequence[Path], on_note: Callable[[str], None]) -> PictureSet:
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


def content_photos(folder: Path, hold_out: int) -> PictureSet:
    """The photographs to train on, every `hold_out`-th left out."""
    paths = find_pictures([folder])
    return PictureSet([p for i, p in enumerate(paths) if not hold_out or i % hold_out], side=384)


def load_vgg(choice: str) -> VGG19 | None:
    """A VGG19 from a safetensors file; None for "bundled"."""
    if choice == "bundled":
        return None
    network = VGG19()
    try:
        network.load_torchvision({k: v.float() for k, v in load_file(choice).items()})
    except Exception as error:
        raise WeightsError(f"{choice} is no VGG19 in safetensors with torchvision's layer names.") from error
    return network.to(memory_format=torch.channels_last)
