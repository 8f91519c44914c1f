"""The judges of the honest table: networks that see the results but took no part in training them.

* SqueezeNet v1.0 (Iandola et al., 2016, arXiv:1602.07360) names the nearest style. Training never sees it.
* The real VGG19 measures distances. (The shipped losses use its distilled student.)
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import squeezenet1_0

from stylize.perceptual import VGG19
from stylize.statistics import mean_and_std
from stylize.studio import load_vgg
from stylize.tensors import luminance

VGG_LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4")
_FIRES = (3, 4, 5, 7, 8, 9)
"""Indices of fire2 ... fire7 in torchvision's SqueezeNet."""


class Judges:
    """SqueezeNet and VGG19 from the files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.squeezenet = load_squeezenet(folder / "squeezenet_v1.0_dc.safetensors")
        vgg = load_vgg(str(folder / "vgg19_relu3_4.fp16.safetensors"))
        assert isinstance(vgg, VGG19)
        self.vgg = vgg

    @torch.inference_mode()
    def squeeze_vector(self, picture: Tensor) -> Tensor:
        """Channel means and deviations of fire2 ... fire7 for (1, 3, H, W) in [0, 1]: (D,)."""
        x = picture.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
        parts = []
        for index, layer in enumerate(self.squeezenet):
            x = layer(x)
            if index in _FIRES:
                parts += mean_and_std(x)
            if index == max(_FIRES):
                break
        return torch.cat(parts, dim=1)[0]

    @torch.inference_mode()
    def vgg_features(self, picture: Tensor) -> dict[str, Tensor]:
        """Features of the eight layers relu1_1 ... relu3_4."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.vgg(picture, VGG_LAYERS)


def load_squeezenet(path: Path) -> torch.nn.Sequential:
    """torchvision's SqueezeNet with weights in Caffe's naming."""
    weights = load_file(path)
    network = squeezenet1_0(weights=None).features
    places = {
        "fire2": 3,
        "fire3": 4,
        "fire4": 5,
        "fire5": 7,
        "fire6": 8,
        "fire7": 9,
        "fire8": 10,
        "fire9": 12,
    }
    parts = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3"}
    renamed = {f"0.{end}": weights[f"conv1.{end}"] for end in ("weight", "bias")}
    for fire, index in places.items():
        for theirs, ours in parts.items():
            for end in ("weight", "bias"):
                renamed[f"{index}.{ours}.{end}"] = weights[f"{fire}.{theirs}.{end}"]
    network.load_state_dict(renamed)
    return network.eval().requires_grad_(False)


def grey(picture: Tensor) -> Tensor:
    """Luminance as three equal channels."""
    return luminance(picture).expand(-1, 3, -1, -1)


def vgg_vector(features: dict[str, Tensor]) -> Tensor:
    """Channel means and deviations of all layers: (D,)."""
    return torch.cat([part for x in features.values() for part in mean_and_std(x)], dim=1)[0]
