"""The perceptual network: what "looks alike" means to the losses and to the style encoder.

Two networks share one interface: a call maps RGB in [0, 1] to feature maps by VGG layer name.

* `VGG19` - the first layers of the classifier of Simonyan & Zisserman, 2015 (arXiv:1409.1556).
* `CompactVGG` - a narrow student of it, distilled by us, small enough to ship with the package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Features = dict[str, Tensor]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# VGG19's convolutions in order; "pool" halves the picture before the next one.
_VGG19_PLAN = (
    ("relu1_1", 64), ("relu1_2", 64), "pool",
    ("relu2_1", 128), ("relu2_2", 128), "pool",
    ("relu3_1", 256), ("relu3_2", 256), ("relu3_3", 256), ("relu3_4", 256), "pool",
    ("relu4_1", 512), ("relu4_2", 512), ("relu4_3", 512), ("relu4_4", 512), "pool",
    ("relu5_1", 512),
)  # fmt: skip


class _FeatureStack(nn.Module):
    """A plan of 3x3 convolutions and poolings whose named activations can be read."""

    mean: Tensor
    std: Tensor

    def __init__(self, plan: Sequence[tuple[str, int] | str]) -> None:
        super().__init__()
        self.plan = tuple(plan)
        self.convs = nn.ModuleDict()
        channels = 3
        for entry in self.plan:
            if isinstance(entry, tuple):
                name, width = entry
                self.convs[name] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all activations, shallow to deep."""
        return tuple(self.convs)

    def forward(self, picture: Tensor, layers: Sequence[str] | None = None) -> Features:
        """RGB (N, 3, H, W) in [0, 1] -> the activations of `layers` (default: all), shallow to deep.

        A layer named reluK_x has size H / 2^(K-1). Computation stops at the deepest layer asked for.
        """
        wanted = set(self.layers if layers is None else layers)
        x = (picture - self.mean) / self.std
        found: Features = {}
        for entry in self.plan:
            if len(found) == len(wanted):
                break
            if isinstance(entry, str):
                x = F.max_pool2d(x, 2)
                continue
            x = F.relu(self.convs[entry[0]](x), inplace=True)
            if entry[0] in wanted:
                found[entry[0]] = x
        return found


class VGG19(_FeatureStack):
    """VGG19 up to `depth`, with torchvision's weights and layer numbering (`features.N.weight`)."""

    def __init__(self, depth: str = "relu3_4") -> None:
        names = [entry if isinstance(entry, str) else entry[0] for entry in _VGG19_PLAN]
        super().__init__(_VGG19_PLAN[: names.index(depth) + 1])

    def load_torchvision(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict in torchvision's naming; deeper layers than ours are ignored.

        Raises KeyError for a missing layer and RuntimeError for a wrong shape.
        """
        self.load_state_dict({ours: weights[theirs] for theirs, ours in self._torchvision_names().items()})

    def torchvision_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor that `load_torchvision` takes, by its name there."""
        state = self.state_dict()
        return {theirs: tuple(state[ours].shape) for theirs, ours in self._torchvision_names().items()}

    def _torchvision_names(self) -> dict[str, str]:
        """Torchvision's name of each tensor -> ours. Its numbers count convolution, ReLU and pooling."""
        names: dict[str, str] = {}
        index = 0
        for entry in self.plan:
            if isinstance(entry, str):
                index += 1
                continue
            for part in ("weight", "bias"):
                names[f"features.{index}.{part}"] = f"convs.{entry[0]}.{part}"
            index += 2
        return names


@dataclass(frozen=True)
class CompactPlan:
    """Widths of the student's layers and of the teacher's layers that they imitate."""

    widths: tuple[tuple[str, int] | str, ...] = (
        ("relu1_1", 24), ("relu1_2", 24), "pool",
        ("relu2_1", 48), ("relu2_2", 48), "pool",
        ("relu3_1", 96), ("relu3_2", 96), ("relu3_4", 96), "pool",
        ("relu4_1", 128), ("relu4_2", 128), "pool",
        ("relu5_1", 128),
    )  # fmt: skip
    taught: tuple[tuple[str, int], ...] = (
        ("relu1_1", 64), ("relu2_1", 128), ("relu3_1", 256), ("relu3_4", 256),
        ("relu4_1", 512), ("relu5_1", 512),
    )  # fmt: skip


class CompactVGG(_FeatureStack):
    """A student of VGG19 with about 1/14 of its multiply-adds.

    The activations of the layers in `CompactPlan.taught` are trained so that a 1x1 convolution maps
    them onto the teacher's, the embedding of collaborative distillation (Wang et al., 2020,
    arXiv:2003.08436). Losses use the narrow activations themselves.
    """

    def __init__(self, plan: CompactPlan = CompactPlan()) -> None:
        super().__init__(plan.widths)
        widths = dict(entry for entry in plan.widths if isinstance(entry, tuple))
        self.embeddings = nn.ModuleDict(
            {name: nn.Conv2d(widths[name], teacher, 1) for name, teacher in plan.taught}
        )
        # He et al., 2015: keeps the spread of activations through twelve layers of ReLU.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def embed(self, features: Features) -> Features:
        """Map narrow activations onto the teacher's channels: what distillation compares."""
        return {name: F.relu(self.embeddings[name](x), inplace=True) for name, x in features.items()}


SHALLOW_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
DEEP_LAYERS = ("relu4_1", "relu5_1")
_MAPPED = SHALLOW_LAYERS[1:]


class LossNetwork(nn.Module):
    """The features that losses compare: all from the compact network, or, given a VGG19, the shallow
    ones from the real layers and the deep ones from the compact network.

    The compact network's are mapped onto VGG19's channels where that pays: statistics of narrow activations
    can agree while the real ones are still far apart. relu1_1 is nearly the same, and dear to map; the deep
    ones would make huge Gram matrices.
    """

    def __init__(self, compact: CompactVGG, vgg: VGG19 | None = None) -> None:
        super().__init__()
        self.compact = compact
        self.vgg = vgg

    def forward(self, picture: Tensor) -> Features:
        """RGB (N, 3, H, W) in [0, 1] -> features of `SHALLOW_LAYERS` and `DEEP_LAYERS`, in fp32."""
        if self.vgg is None:
            found = self.compact(picture, SHALLOW_LAYERS + DEEP_LAYERS)
            found |= self.compact.embed({name: found[name] for name in _MAPPED})
        else:
            found = {**self.vgg(picture, SHALLOW_LAYERS), **self.compact(picture, DEEP_LAYERS)}
        # What all losses would ask for, each on its own.
        return {name: x.float().contiguous() for name, x in found.items()}


def fit_to_network(picture: Tensor, shorter_side: int | None = None) -> Tensor:
    """Cut (1, 3, H, W) to multiples of the deepest stride, enlarging what is smaller than 64 pixels.

    With `shorter_side`, a larger picture is first reduced to it: strokes are judged at the scale at
    which they were learnt.
    """
    shortest = min(picture.shape[-2:])
    side = max(64, min(shortest, shorter_side or shortest))
    if side != shortest:
        height, width = (round(length * side / shortest) for length in picture.shape[-2:])
        picture = F.interpolate(picture, (height, width), mode="bilinear", antialias=True)
    height, width = (length // 16 * 16 for length in picture.shape[-2:])
    return picture[..., :height, :width]
