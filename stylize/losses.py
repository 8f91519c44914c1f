"""The losses of the generator and the discriminator: pure functions of tensors, means over the batch.

Pictures are (N, 3, H, W) in [0, 1]; features (N, C, H, W); every loss is a scalar in fp32.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylize.config import AdversarialForm
from stylize.statistics import (
    gram_matrix,
    instance_normalise,
    low_pass_chroma,
    low_pass_luminance,
    mean_and_std,
)
from stylize.tensors import luminance


def discriminator_loss(real: Tensor, fake: Tensor, form: AdversarialForm = "hinge") -> Tensor:
    """What the discriminator minimises, from score maps of any shape.

    hinge: E max(0, 1 - D(real)) + E max(0, 1 + D(fake))      (Lim & Ye, 2017, arXiv:1705.02894)
    bce:   E -log s(D(real)) + E -log(1 - s(D(fake)))         (Goodfellow et al., 2014, arXiv:1406.2661)
    lsgan: E (D(real) - 1)^2 + E D(fake)^2                    (Mao et al., 2017, arXiv:1611.04076)
    """
    real, fake = real.float(), fake.float()
    if form == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if form == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if form == "lsgan":
        return (real - 1).square().mean() + fake.square().mean()
    raise ValueError(f"unknown adversarial form {form!r}: use hinge, bce or lsgan")


def adversarial_loss(fake: Tensor, form: AdversarialForm = "hinge") -> Tensor:
    """What the generator minimises: -E D(fake); for bce -E log s(D(fake)) (non-saturating); for lsgan
    E (D(fake) - 1)^2. Papers as in `discriminator_loss`."""
    fake = fake.float()
    if form == "hinge":
        return -fake.mean()
    if form == "bce":
        return F.softplus(-fake).mean()
    if form == "lsgan":
        return (fake - 1).square().mean()
    raise ValueError(f"unknown adversarial form {form!r}: use hinge, bce or lsgan")


def accuracies(scores: Sequence[tuple[Tensor, Tensor]], form: AdversarialForm = "hinge") -> dict[str, float]:
    """Shares of (real, fake) score maps that are on the right side: `accuracy_real`, `accuracy_fake`."""
    border = 0.5 if form == "lsgan" else 0.0
    right = [[(r > border).float().mean(), (f < border).float().mean()] for r, f in scores]
    real, fake = torch.tensor(right).mean(0).tolist()
    return {"accuracy_real": real, "accuracy_fake": fake}


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 / 2 at real pictures: keeps the discriminator from growing steep around them.

    Mescheder et al., 2018 (arXiv:1801.04406). `score` maps (N, 3, H, W) to (N,).
    """
    real = real.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def content_loss(output: Tensor, content: Tensor) -> Tensor:
    """E (IN(F(output)) - IN(F(content)))^2 over one layer's features: 0 for equal, about 2 for unrelated.

    The perceptual loss of Johnson et al., 2016 (arXiv:1603.08155) on instance-normalised features
    (Huang et al., 2018, arXiv:1804.04732), so that the photograph's palette is not held on to.
    """
    return (instance_normalise(output) - instance_normalise(content)).square().mean()


def gram_loss(output: Tensor, target: Tensor) -> Tensor:
    """E ||G(output) - target||^2_F / ||target||^2_F, with target Gram matrices (N, C, C).

    Gatys et al., 2016 (arXiv:1508.06576); divided by the target's norm so that layers weigh alike.
    """
    error = (gram_matrix(output) - target).square().sum(dim=(1, 2))
    return (error / target.square().sum(dim=(1, 2)).clamp_min(1e-8)).mean()


def moment_loss(output: Tensor, mean: Tensor, std: Tensor, mean_spread: Tensor, std_spread: Tensor) -> Tensor:
    """E |mu(output) - mean| / s_mu + E |sigma(output) - std| / s_sigma, over channels.

    The mean/std style loss of AdaIN (Huang & Belongie, 2017, arXiv:1703.06868), with two changes:
    each statistic is divided by its spread over many works (the last two arguments), so that quiet
    channels count as much as loud ones, and the absolute value keeps outliers from ruling.
    All arguments after the first are (N, C) or (C,).
    """
    mu, sigma = mean_and_std(output)
    return ((mu - mean) / mean_spread).abs().mean() + ((sigma - std) / std_spread).abs().mean()


def total_variation(picture: Tensor, weight: Tensor | None = None) -> Tensor:
    """E w |x[i+1, j] - x[i, j]| + E w |x[i, j+1] - x[i, j]|: rough pictures cost more.

    Rudin et al., 1992; anisotropic form. `weight` (N, 1, H, W) says where roughness matters.
    """
    picture = picture.float()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).abs()
    right = (picture[..., :, 1:] - picture[..., :, :-1]).abs()
    if weight is not None:
        down, right = down * weight[..., 1:, :], right * weight[..., :, 1:]
    return down.mean() + right.mean()


def flatness(content: Tensor, window: int = 9, scale: float = 0.02) -> Tensor:
    """Where a picture has nothing to paint strokes on: 1 in its flats, towards 0 at edges and texture.

    1 / (1 + (g / scale)^2), with g the Sobel magnitude averaged over `window` pixels: (N, 1, H, W).
    Weighting the total variation with it keeps skies and skin clean without smoothing the brushwork.
    """
    edges = F.pad(edge_map(content), (1, 1, 1, 1), mode="replicate")
    near = F.avg_pool2d(edges, window, stride=1, padding=window // 2, count_include_pad=False)
    return 1 / (1 + (near / scale).square())


def flat_variation(output: Tensor, content: Tensor) -> Tensor:
    """Total variation of the output where the content is flat, mean over full, quarter and eighth size.

    At full size it keeps weave and grain out of skies and skin, at a quarter blotches, at an eighth the halos
    round what stands before a sky: there they are steps between cells that are flat in the photograph.
    """
    terms = []
    for size, window in ((1, 9), (4, 5), (8, 1)):
        small, photo = F.avg_pool2d(output.float(), size), F.avg_pool2d(content.float(), size)
        terms.append(total_variation(small, flatness(photo, window)))
    return torch.stack(terms).mean()


def cycle_loss(there_and_back: Tensor, picture: Tensor) -> Tensor:
    """E |F(G(x)) - x|: a picture painted and turned back is the picture.

    Zhu et al., 2017 (arXiv:1703.10593).
    """
    return (there_and_back.float() - picture.float()).abs().mean()


def warp_loss(warped_and_painted: Tensor, painted_and_warped: Tensor) -> Tensor:
    """E |G(W(x)) - W(G(x))|: strokes go with what they paint, and stay neither in place nor on a grid.

    The temporal loss of ReReVST (Wang et al., 2020, arXiv:2004.02032), which needs no films.
    """
    return (warped_and_painted.float() - painted_and_warped.float()).abs().mean()


def patch_contrast(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """E -log of softmax_j(q_i . k_j / t) at j = i: a patch of the result resembles the patch of the
    picture at the same place more than those elsewhere.

    PatchNCE of CUT (Park et al., 2020, arXiv:2007.15651). Unit vectors (N, P, D) of result and picture.
    """
    alike = query.float() @ key.float().transpose(1, 2) / temperature
    same = torch.arange(query.shape[1], device=query.device).expand(len(query), -1)
    return F.cross_entropy(alike.flatten(0, 1), same.flatten())


def identity_loss(output: Tensor, picture: Tensor) -> Tensor:
    """E |G(x) - x| for x already in the style asked for (Taigman et al., 2017, arXiv:1611.02200)."""
    return (output.float() - picture.float()).abs().mean()


_TONE_FREEDOM = 0.12
"""Luminance by which matched tones may differ from those that are only shifted and scaled."""

_TONE_STRETCH = 1.5
"""The most by which tones are spread."""


def tone_target(content: Tensor, style_quantiles: Tensor, cell: int = 8) -> Tensor:
    """The content's low-pass luminance with the tonal distribution of the style.

    Histogram matching: what is lighter stays lighter, but as much of the picture becomes paper or
    ink as in the works. `style_quantiles` is (N, Q), from `quantiles` of their low-pass luminance.

    Ranks know nothing of distances: alone, they would spread the faint shading of a sky, or a face, over all
    tones of the style. So a result stays within `_TONE_FREEDOM` of matching mean and deviation alone, and
    that stretches by no more than `_TONE_STRETCH`.
    """
    tone = low_pass_luminance(content, cell)
    n, _, height, width = tone.shape
    ratio = style_quantiles.std(dim=1) / tone.flatten(1).std(dim=1).clamp_min(1e-3)
    rest = (tone - tone.mean(dim=(2, 3), keepdim=True)) * ratio.clamp_max(_TONE_STRETCH).view(-1, 1, 1, 1)
    scaled = style_quantiles.mean(dim=1).view(-1, 1, 1, 1) + rest
    rank = tone.flatten(1).argsort(dim=1).argsort(dim=1).float()
    place = rank / max(height * width - 1, 1) * (style_quantiles.shape[1] - 1)
    below = place.floor().long().clamp_max(style_quantiles.shape[1] - 2)
    low, high = style_quantiles.gather(1, below), style_quantiles.gather(1, below + 1)
    matched = (low + (high - low) * (place - below)).view(n, 1, height, width)
    return (scaled + (matched - scaled).clamp(-_TONE_FREEDOM, _TONE_FREEDOM)).clamp(0, 1)


def tone_loss(output: Tensor, target: Tensor, cell: int = 8) -> Tensor:
    """E |low-pass luminance(output) - target|, with the target from `tone_target`."""
    return (low_pass_luminance(output, cell) - target).abs().mean()


_COLOUR_FREEDOM = 0.03
"""Chroma by which a result may differ from its target, unpunished."""

_COLOUR_STRETCH = 2.0
"""The most by which a photograph's differences of colour are enlarged."""


def colour_target(content: Tensor, mean: Tensor, std: Tensor, cell: int = 8) -> Tensor:
    """The content's low-pass chroma with the mean and deviation (each (N, 2)) of the style's palette.

    The colour transfer of Reinhard et al., 2001: what is redder stays redder, so skin stays skin in the
    style's own palette, and what has one colour keeps one: no rims of another hue before a sky.
    """
    chroma = low_pass_chroma(content, cell)
    rest = chroma - chroma.mean(dim=(2, 3), keepdim=True)
    ratio = (std / chroma.flatten(2).std(dim=2).clamp_min(1e-3)).clamp_max(_COLOUR_STRETCH)
    return mean[:, :, None, None] + rest * ratio[:, :, None, None]


def colour_loss(output: Tensor, target: Tensor, cell: int = 8) -> Tensor:
    """E max(0, |low-pass chroma(output) - target| - freedom), with the target from `colour_target`."""
    return F.relu((low_pass_chroma(output, cell) - target).abs() - _COLOUR_FREEDOM).mean()


def edge_map(picture: Tensor) -> Tensor:
    """Sobel gradient magnitude of luminance: (N, 3, H, W) -> (N, 1, H - 2, W - 2)."""
    kernel = picture.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float32) / 4
    kernels = torch.stack([kernel, kernel.T])[:, None]
    gradient = F.conv2d(luminance(picture.float()), kernels)
    return (gradient.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def edge_loss(output: Tensor, content: Tensor) -> Tensor:
    """1 - correlation of the edge maps of output and content, mean over full and half size.

    Outlines stay where they are; how strong they are on the whole is the style's choice.
    """
    losses = []
    for _ in range(2):
        ours, theirs = (instance_normalise(edge_map(x)) for x in (output, content))
        losses.append(1 - (ours * theirs).mean())
        output, content = F.avg_pool2d(output, 2), F.avg_pool2d(content, 2)
    return torch.stack(losses).mean()


def mean_over_scales(losses: Sequence[Tensor]) -> Tensor:
    """The mean of one loss per scale."""
    return torch.stack(list(losses)).mean()
