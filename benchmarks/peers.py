"""Well-known networks, written from their papers, to be timed beside ours (random weights)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.generator import UpConv


class _NormedConv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, up: int = 1) -> None:
        layers: list[nn.Module] = [nn.Upsample(scale_factor=up)] if up > 1 else []
        layers += [
            nn.ReflectionPad2d(kernel // 2),
            nn.Conv2d(inputs, outputs, kernel, stride),
            nn.InstanceNorm2d(outputs, affine=True),
        ]
        super().__init__(*layers)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _NormedConv(channels, channels, 3)
        self.second = _NormedConv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class Johnson(nn.Module):
    """The transfer network of Johnson et al., 2016, with instance norm and upsampling as in PyTorch's
    examples: 9x9 stem, two strided convolutions, five residual blocks, and the way back."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        stages: list[nn.Module] = [_NormedConv(3, w, 9), nn.ReLU(), _NormedConv(w, 2 * w, 3, 2), nn.ReLU()]
        stages += [_NormedConv(2 * w, 4 * w, 3, 2), nn.ReLU(), *[_Residual(4 * w) for _ in range(5)]]
        stages += [_NormedConv(4 * w, 2 * w, 3, up=2), nn.ReLU(), _NormedConv(2 * w, w, 3, up=2), nn.ReLU()]
        stages += [nn.ReflectionPad2d(4), nn.Conv2d(w, 3, 9)]
        self.stages = nn.Sequential(*stages)

    def forward(self, picture: Tensor) -> Tensor:
        return self.stages(picture)


class ResNet9(nn.Module):
    """CycleGAN's generator (Zhu et al., 2017): like Johnson's, with 64 channels, 7x7 ends, nine blocks
    and transposed convolutions on the way back."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        stages: list[nn.Module] = [_NormedConv(3, w, 7), nn.ReLU(), _NormedConv(w, 2 * w, 3, 2), nn.ReLU()]
        stages += [_NormedConv(2 * w, 4 * w, 3, 2), nn.ReLU(), *[_Residual(4 * w) for _ in range(9)]]
        for inputs in (4 * w, 2 * w):
            up = nn.ConvTranspose2d(inputs, inputs // 2, 3, 2, padding=1, output_padding=1)
            stages += [up, nn.InstanceNorm2d(inputs // 2), nn.ReLU()]
        stages += [nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()]
        self.stages = nn.Sequential(*stages)

    def forward(self, picture: Tensor) -> Tensor:
        return self.stages(picture)


def multiply_adds(network: nn.Module, *inputs: object) -> int:
    """Multiply-adds of all convolutions in one pass."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        positions = output.shape[-1] * output.shape[-2] * output.shape[0]
        taps = module.weight.numel()
        if isinstance(module, nn.ConvTranspose2d):
            taps /= module.stride[0] * module.stride[1]
        if isinstance(module, UpConv):
            taps *= 4 / 9  # it computes with 2x2 kernels
        total += round(taps * positions)

    hooks = [
        m.register_forward_hook(count)
        for m in network.modules()
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    with torch.inference_mode():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return total
