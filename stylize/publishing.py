"""What a style takes along to the Hub: a model card, a configuration, a preview, the base that it needs."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stylize import __version__, bundled, hub
from stylize.cards import StyleCard
from stylize.devices import choose_device, choose_dtype
from stylize.errors import UsageError
from stylize.exporting import install
from stylize.images import read_picture, resize_picture, to_image
from stylize.model import FORMAT_VERSION, Base, Style, load_style, save_base, save_style
from stylize.styles import base_of, perceptual_network
from stylize.stylizer import Stylizer

_PREVIEW = "preview.jpg"
_PREVIEW_SIDE = 640

_LICENCES = {
    "mit": "MIT", "apache-2.0": "Apache.2", "cc0-1.0": "CC0", "cc-by-nc-nd-4.0": "CC.BY.NC.ND",
    "cc-by-nc-sa-4.0": "CC.BY.NC.SA", "cc-by-nc-4.0": "CC.BY.NC", "cc-by-nd-4.0": "CC.BY.ND",
    "cc-by-sa-4.0": "CC.BY.SA", "cc-by-4.0": "CC.BY", "gpl-3.0": "GPL.?v?3", "bsd-3-clause": "BSD.3",
}  # fmt: skip
"""The Hub's name of a licence -> what a card may call it; the most special first."""


def package(
    path: Path, repo: str, cards: Mapping[str, StyleCard], photo: Path | None, base_model: str | None
) -> dict[str, bytes]:
    """Name -> content of all files to share for a style file.

    `cards` may complete the card in the file. Raises WeightsError for a style that is not good, and
    UsageError for a card that lacks what others need to know.
    """
    style = load_style(path)
    style = replace(style, card=cards.get(style.card.name, cards.get(path.stem, style.card)))
    if missing := style.card.missing():
        raise UsageError(
            f"The card of {path} lacks {', '.join(missing)}; write them into a TOML file, in a table "
            f"[{style.card.name}], and add --cards."
        )
    base = style.base or base_of(style, path)
    name = re.sub(r"[^\w.-]+", "-", path.stem, flags=re.ASCII).strip("-._") or repo.split("/")[1]
    files = {_PREVIEW: _preview(style, base, photo or bundled.sample_picture())}
    with TemporaryDirectory() as place:
        written = Path(place) / "style"
        save_style(written, style)
        files[f"{name}.safetensors"] = written.read_bytes()
        if style.base is None and not _is_bundled(base):
            save_base(written, base)
            files[hub.BASE_FILE] = written.read_bytes()
    files["config.json"] = _config(style, base, f"{name}.safetensors").encode()
    files["README.md"] = model_card(style, base, repo, base_model).encode()
    return dict(sorted(files.items()))


def install_fetched(path: Path, name: str) -> Path:
    """Copy a fetched style to the user's own styles; with a base that is not bundled in one file.

    Raises WeightsError for a style that is not good.
    """
    style = load_style(path)
    base = style.base or base_of(style, path)
    if style.base is not None or _is_bundled(base):
        return install(path, name)
    with TemporaryDirectory() as place:
        written = Path(place) / "style"
        save_style(written, replace(style, base=base))
        return install(written, name)


def model_card(style: Style, base: Base, repo: str, base_model: str | None = None) -> str:
    """The README.md of a style's repository, made from its card, with YAML at its head."""
    from huggingface_hub import ModelCardData

    card = style.card
    licence = licence_name(card.licence)
    data = ModelCardData(
        license=licence or "other",
        license_name=None if licence else re.sub(r"\W+", "-", card.licence.lower()).strip("-")[:60],
        library_name="stylize",
        pipeline_tag="image-to-image",
        tags=["stylize", "style-transfer", "art"],
        base_model=base_model,
        metrics=list(metrics_of(card)) or None,
    )
    if style.base is not None:
        needs = "The file carries its own networks."
    elif _is_bundled(base):
        needs = f"A style code for the base that comes with stylize {__version__} (`{base.identity}`)."
    else:
        needs = f"A style code for the base in `{hub.BASE_FILE}` (`{base.identity}`)."
    rows = "\n".join(
        f"| {field.name.replace('_', ' ')} | {_cell(getattr(card, field.name))} |"
        for field in fields(card)
        if field.name not in {"name", "title", "description"} and getattr(card, field.name)
    )
    return f"""---
{data.to_yaml()}
---

# {_cell(card.title or card.name)}

{_cell(card.description)}

![A photograph, painted]({_PREVIEW})

```sh
stylize apply photo.jpg --style {repo}
```

{needs}

| | |
|---|---|
{rows}
"""


def licence_name(text: str) -> str | None:
    """The Hub's name of the first licence that a card's text names; None if it is none of the known."""
    found = {
        match.start(): name
        for name, pattern in reversed(_LICENCES.items())
        if (match := re.search(rf"\b{pattern}", text, re.IGNORECASE))
    }
    return found[min(found)] if found else None


def metrics_of(card: StyleCard) -> dict[str, float]:
    """The metrics of a card by name: "closed 0.71, edges 0.42"."""
    pairs = re.findall(r"([A-Za-z][A-Za-z ]*?) (-?\d+(?:\.\d+)?)(?=[,;.]? |[,;.]?$)", card.metrics)
    return {name: float(value) for name, value in pairs}


def _is_bundled(base: Base) -> bool:
    return base.identity == hub.bundled_identity()


def _cell(text: str) -> str:
    """A text that stays within its line of a Markdown table, and is no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _config(style: Style, base: Base, file: str) -> str:
    """What a program may want to know without opening the weights."""
    values = {
        "library_name": "stylize",
        "format_version": FORMAT_VERSION,
        "style": file,
        "base_identity": base.identity,
        "carries_networks": style.base is not None,
        "generator": asdict(base.generator.config),
        "card": asdict(style.card),
    }
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def _preview(style: Style, base: Base, photo: Path) -> bytes:
    """The painted photograph as a JPEG."""
    picture = read_picture(photo)
    picture = resize_picture(picture, min(_PREVIEW_SIDE, max(picture.size)))
    device = choose_device("auto")
    stylizer = Stylizer(base, perceptual_network, device, choose_dtype("auto", device))
    buffer = io.BytesIO()
    to_image(stylizer.paint(picture.rgb, style.code_for(base.generator), style.stroke)).save(
        buffer, format="JPEG", quality=90
    )
    return buffer.getvalue()
