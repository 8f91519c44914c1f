"""Weight files: safetensors that carry their configuration, checked before any memory is taken.

Three kinds, told apart by the `kind` in their metadata:

* base - a generator and its style encoder;
* style - a style code and its card; either for a named base, or with networks of its own;
* perceptual - the compact perceptual network.
"""

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylize.cards import StyleCard
from stylize.config import GeneratorConfig, from_json, to_json
from stylize.encoder import StyleEncoder, moments_size
from stylize.errors import WeightsError
from stylize.files import atomic_path
from stylize.generator import Generator
from stylize.perceptual import CompactVGG

FORMAT_VERSION = "1"


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
    """

    code: Tensor
    card: StyleCard
    base_identity: str
    base: Base | None = None
    moments: Tensor | None = None
    reverse: "Style | None" = None
    """The way back, for a style that translates both ways; it carries networks, perhaps the same."""


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
    tensors = {"code": style.code.detach().cpu().float().reshape(1, -1)}
    if style.moments is not None:
        tensors["moments"] = style.moments.detach().cpu().float().reshape(1, -1)
    metadata = {"card": style.card.to_json()}
    if style.base is not None:
        networks = _base_tensors(style.base)
        style.base_identity = _identity(networks)
        tensors |= networks
        metadata["generator"] = to_json(style.base.generator.config)
    if style.reverse is not None:
        tensors |= _reverse_tensors(style.reverse, style.base)
    _save(path, "style", tensors, {**metadata, "identity": style.base_identity})


def load_style(path: Path) -> Style:
    """Read a style. Raises WeightsError for anything that is not one."""
    with _Checked(path, "style") as file:
        own = {"code", "moments", "reverse.code"}
        base, back = file.bases(extra=own) if "generator" in file.metadata else (None, None)
        code = file.code("code", base)
        moments = file.tensor("moments", (1, moments_size())) if "moments" in file.names else None
        style = Style(code, file.card(), file.metadata.get("identity", ""), base, moments)
        if "reverse.code" in file.names and back is not None:
            style.reverse = Style(file.code("reverse.code", back), style.card, back.identity, back)
        return style


def fits(code: Tensor, generator: Generator) -> bool:
    """Is this a code for the generator, with or without offsets?"""
    size = generator.config.code_size
    return code.shape[1] in (size, size + generator.offsets_size)


def load_perceptual(path: Path) -> CompactVGG:
    """Read the compact perceptual network, frozen."""
    network = CompactVGG()
    with _Checked(path, "perceptual") as file:
        file.fill({"": network}, set())
    return network.requires_grad_(False).eval()


def _base_tensors(base: Base) -> dict[str, Tensor]:
    """Networks in fp16; the encoder's calibration stays fp32, its small spreads would underflow."""
    tensors: dict[str, Tensor] = {}
    for part in ("generator", "encoder"):
        network: nn.Module = getattr(base, part)
        buffers = {name for name, _ in network.named_buffers()}
        for name, tensor in network.state_dict().items():
            kept = tensor.detach().cpu().float() if name in buffers else tensor.detach().cpu().half()
            tensors[f"{part}.{name}"] = kept.contiguous()
    return tensors


def _reverse_tensors(reverse: Style, base: Base | None) -> dict[str, Tensor]:
    """The code of the way back, and its generator if it has one of its own."""
    tensors = {"reverse.code": reverse.code.detach().cpu().float().reshape(1, -1)}
    if reverse.base is not None and (base is None or reverse.base.generator is not base.generator):
        for name, tensor in reverse.base.generator.state_dict().items():
            tensors[f"reverse.generator.{name}"] = tensor.detach().cpu().half().contiguous()
    return tensors


def _identity(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def _save(path: Path, kind: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    header = {"format": "pt", "format_version": FORMAT_VERSION, "kind": kind, **metadata}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=header)


class _Checked:
    """An open weights file whose claims are verified against its header before tensors are read."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        if path.suffix in {".pth", ".pt", ".ckpt", ".bin", ".pkl"}:
            raise self.fault("it is a pickle, which can run code; only .safetensors files are loaded")
        try:
            self._open = safe_open(path, "pt")
            self._file = self._open.__enter__()
        except FileNotFoundError:
            raise WeightsError(f"There is no file {path}; check the path.") from None
        except (SafetensorError, OSError) as error:
            raise self.fault("it is no safetensors file, or it is damaged") from error
        self.metadata: dict[str, str] = self._file.metadata() or {}
        self.names = set(self._file.keys())
        if self.metadata.get("kind") != kind:
            raise self.fault(f"it is no {kind} file of stylize")
        if self.metadata.get("format_version") != FORMAT_VERSION:
            raise self.fault("it has another format version; update stylize or get a newer file")

    def __enter__(self) -> "_Checked":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(None, None, None)

    def fault(self, reason: str) -> WeightsError:
        return WeightsError(f"Cannot use {self.path}: {reason}.")

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """One tensor in fp32, its shape checked first, its values checked to be finite."""
        if name not in self.names:
            raise self.fault(f"the tensor {name} is missing")
        found = tuple(self._file.get_slice(name).get_shape())
        if shape is not None and found != shape:
            raise self.fault(f"the tensor {name} has shape {found} instead of {shape}")
        if sum(found) > 4096 and shape is None:
            raise self.fault(f"the tensor {name} is too large")
        tensor = self._file.get_tensor(name).float()
        if not torch.isfinite(tensor).all():
            raise self.fault(f"the tensor {name} holds values that are not finite")
        return tensor

    def fill(self, networks: Mapping[str, nn.Module], extra: set[str]) -> None:
        """Load networks, each under its prefix; missing or unexpected tensors are refused."""
        expected = {
            (f"{prefix}.{name}" if prefix else name): tensor
            for prefix, network in networks.items()
            for name, tensor in network.state_dict().items()
        }
        if unknown := sorted(self.names - set(expected) - extra):
            raise self.fault(f"it holds an unexpected tensor, {unknown[0]}")
        for full_name, target in expected.items():
            with torch.no_grad():
                target.copy_(self.tensor(full_name, tuple(target.shape)))

    def base(self) -> Base:
        """The generator and encoder that the file's configuration describes."""
        return self.bases(frozenset())[0]

    def bases(self, extra: Set[str]) -> tuple[Base, Base]:
        """Those of the way there and of the way back: the same, unless the file has two generators."""
        base = new_base(from_json(GeneratorConfig, self.metadata.get("generator", "")))
        base.identity = self.metadata.get("identity", "")
        networks: dict[str, nn.Module] = {"generator": base.generator, "encoder": base.encoder}
        back = base
        if any(name.startswith("reverse.generator.") for name in self.names):
            back = Base(Generator(base.generator.config), base.encoder, f"{base.identity} reverse")
            networks["reverse.generator"] = back.generator
        self.fill(networks, set(extra))
        for network in networks.values():
            network.requires_grad_(False).eval()
        return base, back

    def code(self, name: str, base: Base | None) -> Tensor:
        """A style code that fits the base, if that is known."""
        code = self.tensor(name)
        if code.ndim != 2 or len(code) != 1 or (base and not fits(code, base.generator)):
            raise self.fault("its style code has the wrong shape")
        return code

    def card(self) -> StyleCard:
        """The style card in the metadata."""
        try:
            return StyleCard.from_json(self.metadata["card"])
        except (KeyError, ValueError) as error:
            raise self.fault("its style card is missing or damaged") from error
