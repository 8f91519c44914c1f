"""The works that a training run learns from: their statistics, and fair draws from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stylize.dataset import PictureSet
from stylize.devices import comparing_autocast
from stylize.encoder import ENCODER_LAYERS, StyleStatistics, describe, moments_vector
from stylize.files import write_tensors
from stylize.perceptual import DEEP_LAYERS, SHALLOW_LAYERS, CompactVGG, LossNetwork, fit_to_network
from stylize.tensors import luminance, to_float

PHOTOGRAPH = "photograph"
"""The style that photographs have; every base knows it."""

Seen = tuple[Tensor, StyleStatistics, StyleStatistics]
"""Moment vectors of N pictures, their statistics in colour and in grey."""

_KINDS = ("colour", "grey")


@dataclass(frozen=True)
class StyleDraw:
    """One style to paint in: some works of one group, and one of them to show the discriminator."""

    group: str
    works: tuple[int, ...]
    shown: int


def look_at(picture: Tensor, encoder_network: CompactVGG, loss_network: LossNetwork) -> Seen:
    """What there is to know of one picture, uint8 (3, H, W); on the CPU."""
    device, cpu = encoder_network.mean.device, torch.device("cpu")
    floats = fit_to_network(to_float(picture)[None]).to(device)
    pair = torch.cat([floats, luminance(floats).expand_as(floats)])
    with torch.no_grad(), comparing_autocast(device):
        both = describe(floats.expand_as(pair), loss_network(pair)).to(cpu)
        vector = moments_vector(encoder_network(floats, ENCODER_LAYERS)).cpu()
    return vector, both.mean_of([0]), both.mean_of([1])


class StyleLibrary:
    """Groups of works (one group, one style) with their statistics, all in memory.

    `vectors` (W, D) feed the style encoder; `statistics` are the targets of the losses, and
    `grey_statistics` the same of the works without colour. With `together`, all works of a group are
    one style and nothing less is drawn.
    """

    def __init__(
        self,
        groups: Mapping[str, PictureSet],
        encoder_network: CompactVGG,
        loss_network: LossNetwork,
        cache: Path | None = None,
        together: bool = False,
    ) -> None:
        self.together = together
        self.groups = dict(groups)
        self.members: dict[str, range] = {}
        self._owner: list[tuple[str, int]] = []
        for name, pictures in groups.items():
            self.members[name] = range(len(self._owner), len(self._owner) + len(pictures))
            self._owner += [(name, index) for index in range(len(pictures))]
        self.digest = self._digest(encoder_network, loss_network)
        known = _read_cache(cache, self.digest)
        if known is None:
            known = self._look_at_works(encoder_network, loss_network)
            if cache is not None:
                _write_cache(cache, self.digest, *known)
        self.vectors, self.statistics, self.grey_statistics = known

    def _look_at_works(self, encoder_network: CompactVGG, loss_network: LossNetwork) -> Seen:
        """Moment vectors and statistics of all works, in colour and in grey."""
        pictures = (self.groups[group][index] for group, index in self._owner)
        seen = [look_at(picture, encoder_network, loss_network) for picture in pictures]
        vectors, coloured, grey = zip(*seen, strict=True)
        concatenate = StyleStatistics.concatenate
        return torch.cat(vectors), concatenate(coloured), concatenate(grey)

    def _digest(self, *networks: nn.Module) -> str:
        """Changes whenever a work or a network does."""
        digest = hashlib.sha256(b"4")  # the cache's own layout
        for group, index in self._owner:
            path = self.groups[group].paths[index]
            text = f"{group} {path} {path.stat().st_size} {path.stat().st_mtime_ns}\n"
            digest.update(text.encode(errors="surrogateescape"))
        for network in networks:
            for tensor in network.state_dict().values():
                digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def draw(self, random: torch.Generator) -> StyleDraw:
        """A group with even odds, then one work of it, some, or all: works count evenly within."""
        names = list(self.groups)
        group = names[int(torch.randint(len(names), (), generator=random))]
        members = self.members[group]
        kind = float(torch.rand((), generator=random))
        order = torch.randperm(len(members), generator=random).tolist()
        shown = members[order[0]]
        if self.together:
            works = tuple(members)
        elif kind < 0.4:
            works = (shown,)
        elif kind < 0.55:
            most = max(2, len(members) // 2)
            some = round(2 * (most / 2) ** float(torch.rand((), generator=random)))
            works = tuple(members[i] for i in order[:some])
        else:
            works = tuple(members)
        return StyleDraw(group, works, shown)

    def mean_vector(self, works: Sequence[int]) -> Tensor:
        """Mean moment vector (1, D) of some works, such as `members` of a group or those of a draw."""
        return self.vectors[list(works)].mean(0, keepdim=True)

    def target(self, draw: StyleDraw, grey: bool = False) -> StyleStatistics:
        """Mean statistics of the drawn works (N = 1), in colour or without."""
        return (self.grey_statistics if grey else self.statistics).mean_of(draw.works)

    def crop(self, draw: StyleDraw, size: int, random: torch.Generator) -> Tensor:
        """A random crop (3, size, size) of the work that was chosen to be shown."""
        group, index = self._owner[draw.shown]
        return self.groups[group].crop(index, size, random, zoom=(1.0, 1.3))


def _write_cache(path: Path, digest: str, vectors: Tensor, *statistics: StyleStatistics) -> None:
    tensors = {"vectors": vectors}
    for kind, these in zip(_KINDS, statistics, strict=True):
        tensors[f"{kind}/tones"] = these.tones
        tensors |= dict(zip((f"{kind}/palette/mean", f"{kind}/palette/std"), these.palette, strict=True))
        for layer, (mean, std) in these.moments.items():
            tensors |= {f"{kind}/mean/{layer}": mean, f"{kind}/std/{layer}": std}
            tensors[f"{kind}/gram/{layer}"] = these.grams[layer]
    write_tensors(path, tensors, {"digest": digest})


def _read_cache(path: Path | None, digest: str) -> Seen | None:
    """What was kept of these very works and networks, if anything."""
    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("digest") != digest:
                return None
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        coloured, grey = (_statistics_of(kept, kind) for kind in _KINDS)
        return kept["vectors"], coloured, grey
    except (OSError, SafetensorError, KeyError):
        return None  # damaged: the works are looked at once more


def _statistics_of(kept: Mapping[str, Tensor], kind: str) -> StyleStatistics:
    layers = [layer for layer in SHALLOW_LAYERS + DEEP_LAYERS if f"{kind}/gram/{layer}" in kept]
    moments = {layer: (kept[f"{kind}/mean/{layer}"], kept[f"{kind}/std/{layer}"]) for layer in layers}
    grams = {layer: kept[f"{kind}/gram/{layer}"] for layer in layers}
    palette = kept[f"{kind}/palette/mean"], kept[f"{kind}/palette/std"]
    return StyleStatistics(moments, grams, kept[f"{kind}/tones"], palette)
