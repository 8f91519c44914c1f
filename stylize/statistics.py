"""Statistics of feature maps: what the literature calls style. All in fp32, whatever comes in.

Half-precision sums over a picture overflow; that is the classic black output.
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
    # Rows of positions: reducing a channels_last tensor in place is several times slower on CPUs.
    variance, mean = torch.var_mean(features.float().flatten(2).contiguous(), dim=2, correction=0)
    return mean, (variance + _EPSILON).sqrt()


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix over positions: (N, C, H, W) -> (N, C, C), G_ij = mean_p F_ip F_jp.

    The style description of Gatys et al., 2016 (arXiv:1508.06576), divided by the number of
    positions so that pictures of different sizes compare.
    """
    n, channels, height, width = features.shape
    flat = features.float().reshape(n, channels, height * width)
    return flat @ flat.transpose(1, 2) / (height * width)


def instance_normalise(features: Tensor) -> Tensor:
    """Zero mean and unit variance per picture and channel, shape kept, fp32.

    Instance normalisation (Ulyanov et al., 2017, arXiv:1701.02096) without an affine part.
    """
    rows = features.float().flatten(2).contiguous()
    variance, mean = torch.var_mean(rows, dim=2, correction=0, keepdim=True)
    return ((rows - mean) * (variance + _EPSILON).rsqrt()).view(features.shape)


def quantiles(values: Tensor, count: int) -> Tensor:
    """`count` evenly spaced quantiles per row: (N, M) -> (N, count)."""
    places = torch.linspace(0, 1, count, device=values.device)
    return torch.quantile(values.float(), places, dim=1).transpose(0, 1)


def low_pass_luminance(picture: Tensor, cell: int = 8) -> Tensor:
    """Mean luminance of cells of `cell` pixels: (N, 3, H, W) -> (N, 1, H / cell, W / cell)."""
    return F.avg_pool2d(luminance(picture.float()), cell)
