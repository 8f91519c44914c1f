"""Statistics of feature maps: what the literature calls style. All in fp32, whatever comes in, but for Gram
matrices under bf16.

Sums over a picture overflow in fp16; that is the classic black output.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.tensors import luminance

_EPSILON = 1e-5


def mean_and_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """Per-channel mean and standard deviation over the picture: (N, C, H, W) -> two of (N, C).

    The style description of AdaIN (Huang & Belongie, 2017, arXiv:1703.06868).
    """
    mean, _, variance = _centred(features)
    return mean.squeeze(2), (variance + _EPSILON).sqrt().squeeze(2)


def _centred(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means (N, C, 1), the features without them (N, C, H W), and variances (N, C, 1).

    In rows of positions, and the variance as a squared norm: reducing a channels_last tensor in place, or
    with `var_mean`, is several times slower on CPUs.
    """
    rows = features.float().flatten(2).contiguous()
    mean = rows.mean(2, keepdim=True)
    rest = rows - mean
    return mean, rest, torch.linalg.vector_norm(rest, dim=2, keepdim=True).square() / rows.shape[2]


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix over positions: (N, C, H, W) -> (N, C, C), G_ij = mean_p F_ip F_jp.

    The style description of Gatys et al., 2016 (arXiv:1508.06576), divided by the number of
    positions so that pictures of different sizes compare.
    """
    device = features.device.type
    rows = features.flatten(2).to(_dtype_of_sums(device))
    with torch.autocast(device, enabled=False):
        return rows @ rows.transpose(1, 2) / rows.shape[2]


def _dtype_of_sums(device: str) -> torch.dtype:
    """bf16 where autocast asks for it, since it reaches as far as fp32, and those of many works are kept;
    never fp16, whose sums overflow."""
    wanted = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    return torch.bfloat16 if wanted == torch.bfloat16 else torch.float32


def instance_normalise(features: Tensor) -> Tensor:
    """Zero mean and unit variance per picture and channel, shape kept, fp32.

    Instance normalisation (Ulyanov et al., 2017, arXiv:1701.02096) without an affine part.
    """
    _, rest, variance = _centred(features)
    return (rest * (variance + _EPSILON).rsqrt()).view(features.shape)


def quantiles(values: Tensor, count: int) -> Tensor:
    """`count` evenly spaced quantiles per row: (N, M) -> (N, count)."""
    places = torch.linspace(0, 1, count, device=values.device)
    return torch.quantile(values.float(), places, dim=1).transpose(0, 1)


def low_pass_luminance(picture: Tensor, cell: int = 8) -> Tensor:
    """Mean luminance of cells of `cell` pixels: (N, 3, H, W) -> (N, 1, H / cell, W / cell)."""
    return F.avg_pool2d(luminance(picture.float()), cell)


def low_pass_chroma(picture: Tensor, cell: int = 8) -> Tensor:
    """Mean R - Y and B - Y of cells, Y the luminance: (N, 3, H, W) -> (N, 2, H / cell, W / cell).

    0 for greys; the colour differences of analogue television, without its factors.
    """
    means = F.avg_pool2d(picture.float(), cell)
    return means[:, ::2] - luminance(means)
