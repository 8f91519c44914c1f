"""The works that a training run learns from: their statistics, and fair draws from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylize.dataset import PictureSet
from stylize.encoder import ENCODER_LAYERS, StyleStatistics, describe, moments_vector
from stylize.files import atomic_path
from stylize.perceptual import DEEP_LAYERS, SHALLOW_LAYERS, CompactVGG, LossNetwork, fit_to_network
from stylize.tensors import to_float

PHOTOGRAPH = "photograph"
"""The style that photographs have; every base knows it."""


@dataclass(frozen=True)
class StyleDraw:
    """One style to paint in: some works of one group, and one of them to show the discriminator."""

    group: str
    works: tuple[int, ...]
    shown: int


class StyleLibrary:
    """Groups of works (one group, one style) with their statistics, all in memory.

    `vectors` (W, D) feed the style encoder; `statistics` are the targets of the losses.
    """

    def __init__(
        self,
        groups: Mapping[str, PictureSet],
        encoder_network: CompactVGG,
        loss_network: LossNetwork,
        cache: Path | None = None,
    ) -> None:
        self.groups = dict(groups)
        self.members: dict[str, range] = {}
        self._owner: list[tuple[str, int]] = []
        for name, pictures in groups.items():
            self.members[name] = range(len(self._owner), len(self._owner) + len(pictures))
            self._owner += [(name, index) for index in range(len(pictures))]
        digest = self._digest(encoder_network, loss_network)
        known = _read_cache(cache, digest)
        if known is None:
            known = self._look_at_works(encoder_network, loss_network)
            if cache is not None:
                _write_cache(cache, digest, *known)
        self.vectors, self.statistics = known

    def _look_at_works(
        self, encoder_network: CompactVGG, loss_network: LossNetwork
    ) -> tuple[Tensor, StyleStatistics]:
        """Moment vectors and statistics of all works."""
        device, cpu = encoder_network.mean.device, torch.device("cpu")
        vectors, statistics = [], []
        for group, index in self._owner:
            picture = fit_to_network(to_float(self.groups[group][index])[None]).to(device)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                features = loss_network(picture)
                vectors.append(moments_vector(encoder_network(picture, ENCODER_LAYERS)).cpu())
            statistics.append(describe(picture, features).to(cpu))
        return torch.cat(vectors), StyleStatistics.concatenate(statistics)

    def _digest(self, *networks: nn.Module) -> str:
        """Changes whenever a work or a network does."""
        digest = hashlib.sha256()
        for group, index in self._owner:
            path = self.groups[group].paths[index]
            digest.update(f"{group} {path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
        for network in networks:
            for tensor in network.state_dict().values():
                digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def draw(self, random: torch.Generator) -> StyleDraw:
        """A group with even odds, then one work of it, three, or all: works count evenly within."""
        names = list(self.groups)
        group = names[int(torch.randint(len(names), (), generator=random))]
        members = self.members[group]
        kind = float(torch.rand((), generator=random))
        order = torch.randperm(len(members), generator=random).tolist()
        shown = members[order[0]]
        if kind < 0.4:
            works = (shown,)
        elif kind < 0.5:
            works = tuple(members[i] for i in order[:3])
        else:
            works = tuple(members)
        return StyleDraw(group, works, shown)

    def mean_vector(self, works: Sequence[int]) -> Tensor:
        """Mean moment vector (1, D) of some works, such as `members` of a group or those of a draw."""
        return self.vectors[list(works)].mean(0, keepdim=True)

    def target(self, draw: StyleDraw) -> StyleStatistics:
        """Mean statistics of the drawn works (N = 1)."""
        return self.statistics.mean_of(draw.works)

    def crop(self, draw: StyleDraw, size: int, random: torch.Generator) -> Tensor:
        """A random crop (3, size, size) of the work that was chosen to be shown."""
        group, index = self._owner[draw.shown]
        return self.groups[group].crop(index, size, random, zoom=(1.0, 1.3))


def _write_cache(path: Path, digest: str, vectors: Tensor, statistics: StyleStatistics) -> None:
    tensors = {"vectors": vectors, "tones": statistics.tones}
    for layer, (mean, std) in statistics.moments.items():
        tensors |= {f"mean/{layer}": mean, f"std/{layer}": std, f"gram/{layer}": statistics.grams[layer]}
    with atomic_path(path) as temporary:
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"digest": digest})


def _read_cache(path: Path | None, digest: str) -> tuple[Tensor, StyleStatistics] | None:
    """What was kept of these very works and networks, if anything."""
    if path is None or not path.exists():
        return None
    with safe_open(path, "pt") as file:
        if file.metadata().get("digest") != digest:
            return None
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    layers = [name.removeprefix("gram/") for name in kept if name.startswith("gram/")]
    ordered = [layer for layer in SHALLOW_LAYERS + DEEP_LAYERS if layer in layers]
    moments = {layer: (kept[f"mean/{layer}"], kept[f"std/{layer}"]) for layer in ordered}
    grams = {layer: kept[f"gram/{layer}"] for layer in ordered}
    return kept["vectors"], StyleStatistics(moments, grams, kept["tones"])
