"""Weight files: safetensors that carry their configuration, checked before any memory is taken.

Four kinds, told apart by the `kind` in their metadata:

* base - a generator and its style encoder;
* style - a style code, perhaps with offsets and adapters, and its card; for a named base, or with
  networks of its own;
* canvas - what a named base paints textures on;
* perceptual - the compact perceptual network.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stylize import bundled
from stylize.adapters import Adapters, Shape
from stylize.canvas import Canvas
from stylize.cards import StyleCard
from stylize.config import CanvasConfig, GeneratorConfig, from_json, to_json
from stylize.encoder import StyleEncoder, moments_size
from stylize.errors import WeightsError
from stylize.files import write_tensors
from stylize.generator import Generator
from stylize.perceptual import VGG19, CompactVGG
from stylize.strokes import MEDIUM, Stroke, stroke_of_card
from stylize.trust import parse_json, read_header

FORMAT_VERSION = "1"

_WAY_BACK = "reverse.generator"
_CANVAS = "canvas"
_ADAPTERS = "adapters"

_MOST_CHANGES = 1 << 25
"""Numbers in all kernels that adapters may change."""

_LARGEST_VALUE, _LARGEST_WEIGHT = 64.0, 4096.0
"""What codes, offsets and adapters, and what weights of networks may amount to; ours stay below 8. Larger
ones overflow where they are multiplied, and paint nothing but black."""

LARGEST_VGG19 = 1 << 30
"""Bytes; all of VGG19 with its classifier takes 575 MB."""


@dataclass
class Base:
    """A generator and the encoder that makes codes for it. `identity` names these very weights."""

    generator: Generator
    encoder: StyleEncoder
    identity: str


@dataclass
class Style:
    """A style code (1, code_size), perhaps followed by offsets, with its card, and the base for it.

    `base` holds the networks if the style carries its own; `base_identity` names the one it needs.
    `moments` (1, D) is the mean moment vector of its works: what results are judged against.
    `adapters` are what it changes in kernels; a style that has them has offsets, too.
    """

    code: Tensor
    card: StyleCard
    base_identity: str
    base: Base | None = None
    moments: Tensor | None = None
    reverse: "Style | None" = None
    """The way back, for a style that translates both ways; it carries networks, perhaps the same."""
    canvas: Canvas | None = None
    """What its textures are painted on, if it learnt that."""
    adapters: Adapters | None = None
    noise: float = 0.0
    """Amplitude of the noise that it was trained with, see `Stroke`."""
    detail: float = 0.0
    """Share of the photograph's detail that later passes see, see `Stroke`."""

    @property
    def stroke(self) -> Stroke:
        """How its strokes are laid on. A style with networks of its own, as `stylize cycle` trains, keeps all
        detail unless its card asks for strokes."""
        usual = MEDIUM if self.base is None else None
        return Stroke(stroke_of_card(self.card.stroke, usual), self.noise, self.detail)

    def code_for(self, generator: Generator) -> Tensor:
        """All that a generator needs to paint in this style: code, offsets and changes of its kernels.

        Raises WeightsError if they are for another generator.
        """
        self.check(generator)
        if self.adapters is None:
            return self.code
        with torch.no_grad():
            return torch.cat([self.code, self.adapters.changes()], dim=1)

    def check(self, generator: Generator) -> None:
        """Raises WeightsError if the style is for another generator."""
        if not _fits(self.code, generator):
            raise WeightsError(f"The code of the style {self.card.name} does not fit its base.")
        with_offsets = self.code.shape[1] > generator.config.code_size
        if self.adapters is not None and not (with_offsets and self.adapters.fit(generator)):
            raise WeightsError(f"The adapters of the style {self.card.name} do not fit its base.")

    def with_code(self, code: Tensor, generator: Generator) -> "Style":
        """The style with another code, which may be followed by all that `code_for` puts behind one."""
        size = generator.config.code_size + generator.offsets_size
        changed = code.shape[1] > size
        adapters = Adapters.of_changes(generator, code[:, size:]) if changed else None
        return replace(self, code=code[:, :size], adapters=adapters)


def new_base(config: GeneratorConfig) -> Base:
    """A base with fresh weights."""
    return Base(Generator(config), StyleEncoder(moments_size(), config.code_size), "")


def save_base(path: Path, base: Base) -> None:
    """Write a base in fp16 and give it its identity."""
    tensors = _base_tensors(base)
    base.identity = _identity(tensors)
    _save(path, "base", tensors, {"generator": to_json(base.generator.config), "identity": base.identity})


def load_base(path: Path) -> Base:
    """Read a base. Raises WeightsError for anything that is not one."""
    with _Checked(path, "base") as file:
        return file.base()


def save_style(path: Path, style: Style) -> None:
    """Write a style, with its networks if it carries its own."""
    code = style.code.detach().cpu().reshape(1, -1)
    tensors = {"code": code.half() if style.adapters else code.float()}
    if style.moments is not None:
        tensors["moments"] = style.moments.detach().cpu().float().reshape(1, -1)
    metadata = {"card": style.card.to_json()}
    if style.noise or style.detail:
        metadata["painting"] = json.dumps({"noise": style.noise, "detail": style.detail})
    if style.base is not None:
        networks = _base_tensors(style.base)
        style.base_identity = _identity(networks)
        tensors |= networks
        metadata["generator"] = to_json(style.base.generator.config)
    if style.reverse is not None:
        tensors |= _reverse_tensors(style.reverse, style.base)
    if style.canvas is not None:
        tensors |= _halves(style.canvas, _CANVAS)
        metadata["canvas"] = to_json(style.canvas.config)
    if style.adapters is not None:
        tensors |= _halves(style.adapters, _ADAPTERS)
    _save(path, "style", tensors, {**metadata, "identity": style.base_identity})


def load_style(path: Path) -> Style:
    """Read a style. Raises WeightsError for anything that is not one."""
    with _Checked(path, "style") as file:
        own = {"code", "moments", "reverse.code"}
        of_canvas, of_adapters = file.names(_CANVAS), file.names(_ADAPTERS)
        extra = own | of_canvas | of_adapters
        has_networks = "generator" in file.metadata
        base, back = file.bases(extra) if has_networks else (None, None)
        if base is None:
            file.expect_networks({}, extra)
        code = file.code("code", base)
        has_moments = "moments" in file.claims
        moments = file.tensor("moments", (1, moments_size())).float() if has_moments else None
        style = Style(code, file.card(), file.metadata.get("identity", ""), base, moments)
        style.noise, style.detail = file.amplitude("noise"), file.amplitude("detail")
        if "reverse.code" in file.claims and back is not None:
            style.reverse = Style(file.code("reverse.code", back), style.card, back.identity, back)
        if of_canvas:
            style.canvas = file.canvas(_CANVAS, set(file.claims) - of_canvas)
        if of_adapters:
            style.adapters = file.adapters(_ADAPTERS, set(file.claims) - of_adapters)
        return style


def save_canvas(path: Path, canvas: Canvas, base_identity: str) -> None:
    """Write a canvas in fp16, with the name of the base that paints on it."""
    metadata = {"canvas": to_json(canvas.config), "identity": base_identity}
    _save(path, "canvas", _halves(canvas), metadata)


def load_canvas(path: Path) -> tuple[Canvas, str]:
    """Read a canvas, and the identity of its base. Raises WeightsError for anything that is not one."""
    with _Checked(path, "canvas") as file:
        return file.canvas("", set()), file.metadata.get("identity", "")


def load_perceptual(path: Path) -> CompactVGG:
    """Read the compact perceptual network, frozen."""
    network = CompactVGG()
    with _Checked(path, "perceptual") as file:
        file.expect_networks({"": network}, frozenset())
        file.fill({"": network})
    return network.requires_grad_(False).eval()


def load_vgg19(path: Path) -> VGG19:
    """Read the shallow layers of a VGG19 in torchvision's naming; what else the file holds is left alone.

    Raises WeightsError where one of them is missing, of another shape, or not finite.
    """
    claims = read_header(path, LARGEST_VGG19).tensors
    network = VGG19()
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(path, "pt") as file:
            for name, shape in network.torchvision_shapes().items():
                if name not in claims or claims[name].shape != shape:
                    raise WeightsError(f"{path} is no VGG19 in torchvision's layer names: it lacks {name}.")
                weights[name] = file.get_tensor(name).float()
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"Cannot use {path}: it is damaged; fetch it again.") from error
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise WeightsError(f"Cannot use {path}: it holds values that are not finite; fetch it again.")
    network.load_torchvision(weights)
    return network


def _fits(code: Tensor, generator: Generator) -> bool:
    """Is this a code for the generator, with or without offsets?"""
    size = generator.config.code_size
    return code.shape[1] in (size, size + generator.offsets_size)


def _networks(base: Base) -> dict[str, nn.Module]:
    return {"generator": base.generator, "encoder": base.encoder}


def _full_names(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every tensor of networks by the name it has in a file."""
    return {
        (f"{prefix}.{name}" if prefix else name): tensor
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


def _base_tensors(base: Base) -> dict[str, Tensor]:
    """Networks in fp16; the encoder's calibration stays fp32, its small spreads would underflow."""
    tensors: dict[str, Tensor] = {}
    for part, network in _networks(base).items():
        buffers = {name for name, _ in network.named_buffers()}
        for name, tensor in network.state_dict().items():
            kept = tensor.detach().cpu().float() if name in buffers else tensor.detach().cpu().half()
            tensors[f"{part}.{name}"] = kept.contiguous()
    return tensors


def _reverse_tensors(reverse: Style, base: Base | None) -> dict[str, Tensor]:
    """The code of the way back, and its generator if it has one of its own."""
    tensors = {"reverse.code": reverse.code.detach().cpu().float().reshape(1, -1)}
    if reverse.base is not None and (base is None or reverse.base.generator is not base.generator):
        tensors |= _halves(reverse.base.generator, _WAY_BACK)
    return tensors


def _halves(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A network's tensors in fp16, by their names in a file."""
    named = _full_names({prefix: network}).items()
    return {name: tensor.detach().cpu().half().contiguous() for name, tensor in named}


def _identity(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def _save(path: Path, kind: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    header = {"format": "pt", "format_version": FORMAT_VERSION, "kind": kind, **metadata}
    write_tensors(path, tensors, header)


def _check_shape_of_the_bundled(file: "_Checked", base: Base) -> None:
    """Raises WeightsError for the bundled base in another shape: some settings are in no weight.

    Two bases of one identity are taken for the same one, and their styles are mixed.
    """
    bundle = read_header(bundled.base_path()).metadata
    if base.identity == bundle["identity"] and base.generator.config != from_json(
        GeneratorConfig, bundle["generator"]
    ):
        raise file.fault("it has the weights of the bundled base and another configuration; fetch it again")


class _Checked:
    """An open weights file whose claims are verified against its header before tensors are read."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        header = read_header(path)
        self.metadata, self.claims = header.metadata, header.tensors
        if self.metadata.get("kind") != kind:
            raise self.fault(f"it is no {kind} file of stylize")
        if self.metadata.get("format_version") != FORMAT_VERSION:
            raise self.fault("it has another format version; update stylize or get a newer file")
        identity = self.metadata.get("identity", "")
        if len(identity) > 64 or not identity.isprintable():
            raise self.fault("the name of its base is damaged")
        self._stack = ExitStack()

    def __enter__(self) -> "_Checked":
        if any("\ud800" <= character <= "\udfff" for character in str(self.path)):
            raise self.fault("its name has bytes that are no text; rename it")
        try:
            self._file = self._stack.enter_context(safe_open(self.path, "pt"))
        except (SafetensorError, OSError) as error:
            raise self.fault("it is no safetensors file, or it is damaged") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def fault(self, reason: str) -> WeightsError:
        return WeightsError(f"Cannot use {self.path}: {reason}.")

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """One tensor, its shape checked first, its values checked to be finite."""
        self.expect(name, shape)
        tensor = self._file.get_tensor(name)
        if not torch.isfinite(tensor).all():
            raise self.fault(f"the tensor {name} holds values that are not finite")
        of_network = name.partition(".")[0] in {"generator", "encoder", "reverse"} and name != "reverse.code"
        most = (
            _LARGEST_WEIGHT
            if of_network or self.metadata["kind"] in {"base", "perceptual"}
            else _LARGEST_VALUE
        )
        if tensor.numel() and tensor.abs().max() > most:
            raise self.fault(f"the tensor {name} holds values beyond {most:g}, which cannot be painted with")
        return tensor

    def expect(self, name: str, shape: tuple[int, ...] | None) -> None:
        """Is the tensor there, with this shape, or where none is given, small? Raises WeightsError."""
        if name not in self.claims:
            raise self.fault(f"the tensor {name} is missing")
        found = self.claims[name].shape
        if shape is not None and found != shape:
            raise self.fault(f"the tensor {name} has shape {found} instead of {shape}")
        if sum(found) > 4096 and shape is None:
            raise self.fault(f"the tensor {name} is too large")

    def expect_networks(self, networks: Mapping[str, nn.Module], extra: Set[str]) -> None:
        """Are these networks in the file, and nothing else but `extra`? Raises WeightsError."""
        expected = _full_names(networks)
        if unknown := sorted(set(self.claims) - set(expected) - extra):
            raise self.fault(f"it holds an unexpected tensor, {unknown[0]}")
        for name, target in expected.items():
            self.expect(name, tuple(target.shape))

    def fill(self, networks: Mapping[str, nn.Module]) -> str:
        """Load networks, each under its prefix; returns the identity of their weights."""
        digest = hashlib.sha256()
        for name, target in sorted(_full_names(networks).items()):
            stored = self.tensor(name, tuple(target.shape))
            with torch.no_grad():
                target.copy_(stored)
            digest.update(name.encode() + stored.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def base(self) -> Base:
        """The generator and encoder that the file's configuration describes."""
        return self.bases(frozenset())[0]

    def bases(self, extra: Set[str]) -> tuple[Base, Base]:
        """Those of the way there and of the way back: the same, unless the file has two generators."""
        try:
            config = from_json(GeneratorConfig, self.metadata.get("generator", ""))
        except WeightsError as error:
            raise self.fault(str(error).rstrip(".")) from error
        two = any(name.startswith(f"{_WAY_BACK}.") for name in self.claims)
        # On the meta device a network takes no memory, however large a file pretends that it is.
        with torch.device("meta"):
            sketch = new_base(config)
        sketches = _networks(sketch) | ({_WAY_BACK: sketch.generator} if two else {})
        self.expect_networks(sketches, extra)
        base = back = new_base(config)
        base.identity = self.fill(_networks(base))
        if base.identity != self.metadata.get("identity"):
            raise self.fault("its weights are not those that it names; fetch it again")
        _check_shape_of_the_bundled(self, base)
        if two:
            back = Base(Generator(config), base.encoder, f"{base.identity} reverse")
            self.fill({_WAY_BACK: back.generator})
        for network in (base.generator, base.encoder, back.generator):
            network.requires_grad_(False).eval()
        return base, back

    def canvas(self, prefix: str, others: Set[str]) -> Canvas:
        """The canvas that the file's configuration describes; `others` are tensors that are not its own."""
        try:
            config = from_json(CanvasConfig, self.metadata.get("canvas", ""))
        except WeightsError as error:
            raise self.fault(str(error).rstrip(".")) from error
        with torch.device("meta"):
            sketch = Canvas(config)
        self.expect_networks({prefix: sketch}, others)
        canvas = Canvas(config)
        self.fill({prefix: canvas})
        return canvas.requires_grad_(False).eval()

    def adapters(self, prefix: str, others: Set[str]) -> Adapters:
        """The changes of kernels in the file; `others` are tensors that are not theirs."""
        shapes: list[Shape] = []
        for number in range(len(self.names(f"{prefix}.up"))):
            up, down = (self.claims.get(f"{prefix}.{part}.{number}") for part in ("up", "down"))
            if up is None or down is None or len(up.shape) != 2 or len(down.shape) != 2:
                raise self.fault("its adapters are not complete")
            shapes.append((up.shape[0], down.shape[1], up.shape[1]))
        if sum(outputs * inputs for outputs, inputs, _ in shapes) > _MOST_CHANGES:
            raise self.fault("its adapters are too large")
        with torch.device("meta"):
            sketch = Adapters(shapes)
        self.expect_networks({prefix: sketch}, others)
        adapters = Adapters(shapes)
        self.fill({prefix: adapters})
        return adapters.requires_grad_(False)

    def names(self, prefix: str) -> set[str]:
        """The tensors whose names begin so."""
        return {name for name in self.claims if name.startswith(f"{prefix}.")}

    def code(self, name: str, base: Base | None) -> Tensor:
        """A style code that fits the base, if that is known."""
        code = self.tensor(name).float()
        if code.ndim != 2 or len(code) != 1 or (base and not _fits(code, base.generator)):
            raise self.fault("its style code has the wrong shape")
        return code

    def amplitude(self, name: str) -> float:
        """A number from 0 to 1 that says how the style is painted; 0 where the file says nothing."""
        try:
            values = parse_json(self.metadata.get("painting", "{}"))
            value = float(values.get(name, 0.0))
        except (ValueError, TypeError, AttributeError) as error:
            raise self.fault("what it says of its painting is damaged") from error
        if not 0 <= value <= 1:
            raise self.fault(f"its {name} is not between 0 and 1")
        return value

    def card(self) -> StyleCard:
        """The style card in the metadata."""
        try:
            return StyleCard.from_json(self.metadata["card"])
        except (KeyError, ValueError) as error:
            raise self.fault("its style card is missing or damaged") from error
