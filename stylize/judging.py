"""Measures of a painting against its photograph, and the simplest rival: moving colours alone."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from torch import Tensor

from stylize.images import to_image
from stylize.losses import content_loss, edge_map


def content_distance(features: dict[str, Tensor], photo: dict[str, Tensor]) -> float:
    """Mean squared difference of instance-normalised relu3_4: 0 for a copy, about 2 for unrelated."""
    return content_loss(features["relu3_4"], photo["relu3_4"]).item()


def perceptual_distance(features: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """How unlike two pictures look, from their features in several layers: 0 for a copy.

    As LPIPS (Zhang et al., 2018, arXiv:1801.03924) without learnt weights: E |x / |x| - y / |y||^2 over
    positions, mean over layers.
    """
    parts = [
        (F.normalize(x.float(), dim=1) - F.normalize(others[name].float(), dim=1)).square().sum(1).mean()
        for name, x in features.items()
    ]
    return torch.stack(parts).mean().item()


def ssim(a: Tensor, b: Tensor, span: float) -> float:
    """Mean structural similarity of (1, 1, H, W) pictures whose values span `span`.

    Wang et al., 2004: Gaussian window of 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03.
    """
    place = torch.arange(11) - 5.0
    window = torch.exp(-place.square() / (2 * 1.5**2))
    window = window / window.sum()
    kernel = (window[:, None] * window)[None, None]
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_a, mean_b = F.conv2d(a, kernel), F.conv2d(b, kernel)
    var_a = F.conv2d(a * a, kernel) - mean_a**2
    var_b = F.conv2d(b * b, kernel) - mean_b**2
    covariance = F.conv2d(a * b, kernel) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean().item()


def edge_ssim(picture: Tensor, photo: Tensor) -> float:
    """SSIM of the Sobel edge maps, each scaled to its own maximum."""
    ours, theirs = edge_map(picture), edge_map(photo)
    # A flat picture has no edges to scale.
    return ssim(ours / ours.max().clamp_min(1e-3), theirs / theirs.max().clamp_min(1e-3), 1.0)


def colour_transfer(photo: Tensor, work: Tensor) -> Tensor:
    """The photograph with the Lab mean and deviation of a work (Reinhard et al., 2001)."""
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    back = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )

    def lab(picture: Tensor) -> np.ndarray:
        converted = ImageCms.applyTransform(to_image(picture), to_lab)
        assert converted is not None
        values = np.array(converted).astype(np.float32)
        values[..., 1:] = (values[..., 1:] + 128) % 256  # a and b are stored as signed bytes
        return values

    ours, theirs = lab(photo), lab(work)
    axes = (0, 1)
    moved = (ours - ours.mean(axes)) / (ours.std(axes) + 1e-6) * theirs.std(axes) + theirs.mean(axes)
    moved[..., 1:] = (moved[..., 1:].clip(0, 255) + 128) % 256
    image = Image.fromarray(moved.clip(0, 255).round().astype(np.uint8), mode="LAB")
    converted = ImageCms.applyTransform(image, back)
    assert converted is not None
    return torch.from_numpy(np.array(converted)).permute(2, 0, 1).contiguous()
