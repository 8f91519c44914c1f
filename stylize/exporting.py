"""The files that a run makes: style files that work at once, a base, a contact sheet."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch

from stylize import bundled
from stylize.cards import StyleCard
from stylize.console import printable
from stylize.files import atomic_path
from stylize.library import PHOTOGRAPH
from stylize.model import Base, Style, save_base, save_style
from stylize.painters import StylePainter
from stylize.training import Trainer
from stylize.validation import Row

_NAMED_WORKS = 12


def export(
    trainer: Trainer,
    folder: Path,
    cards: Mapping[str, StyleCard],
    table: Mapping[str, Row],
    alone: str | None = None,
) -> list[Path]:
    """Write what the run learned: a base and a style file per group.

    With `alone`, only the style of that name is written, carrying its networks. Every named style's
    code is the code of the mean statistics of its works. `table` is that of the last validation.
    """
    base = Base(trainer.ema.generator, trainer.ema.encoder, "")
    written = []
    if alone is None:
        written.append(folder / "base.safetensors")
        save_base(written[0], base)
    for group, members in trainer.library.members.items():
        if alone is not None and group == PHOTOGRAPH:
            continue
        name = alone or group
        with torch.no_grad():
            moments = trainer.library.mean_vector(members)
            code = base.encoder(moments.to(trainer.device))
        card = described(cards.get(group, StyleCard(name)), trainer, group, table)
        style = Style(code, card, base.identity, base if alone else None, moments)
        written.append(_write(folder, style))
    return written


def export_style(
    trainer: Trainer, folder: Path, card: StyleCard, base: Base, table: Mapping[str, Row]
) -> list[Path]:
    """Write the one style that a `StylePainter` learned on top of a base."""
    assert isinstance(trainer.ema, StylePainter)
    ((group, members),) = trainer.library.members.items()
    moments = trainer.library.mean_vector(members)
    card = described(card, trainer, group, table)
    code, adapters = trainer.ema.style_code(), trainer.ema.adapters
    return [_write(folder, Style(code, card, base.identity, moments=moments, adapters=adapters))]


def _write(folder: Path, style: Style) -> Path:
    path = folder / "styles" / f"{style.card.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_style(path, style)
    return path


def described(card: StyleCard, trainer: Trainer, group: str, table: Mapping[str, Row]) -> StyleCard:
    """A card with what the run itself knows, where the card does not say it already."""
    names = [printable(path.name) for path in trainer.library.groups[group].paths]
    rest = len(names) - _NAMED_WORKS
    works = ", ".join(names[:_NAMED_WORKS]) + (f" and {rest} more" if rest > 0 else "")
    weights = ", ".join(
        f"{name} {value:g}" for name, value in asdict(trainer.config.weights).items() if value
    )
    kind = "Code, offsets and adapters" if isinstance(trainer.painter, StylePainter) else "All networks"
    training = (
        f"{kind}, {trainer.steps_done} steps of {trainer.config.batch} crops of "
        f"{trainer.config.size} pixels, {len(trainer.photos)} photographs; weights of the losses: {weights}."
    )
    row = table.get(group, {})
    metrics = ", ".join(f"{column} {value:.2f}" for column, value in row.items())
    known = {"works": works, "training": training, "metrics": metrics}
    return replace(card, **{field: text for field, text in known.items() if not getattr(card, field)})


def install(path: Path, name: str | None = None) -> Path:
    """Copy a style file to the user's own styles, so that its name (the file's) is enough. The copy."""
    target = bundled.own_style_path(name or path.stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.write_bytes(path.read_bytes())
    return target
