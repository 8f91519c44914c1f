"""The discriminator: two scores per patch, realism and style, at two scales."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from stylize.config import DiscriminatorConfig


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches (Isola et al., 2017, arXiv:1611.07004), features spectrally normalised.

    Spectral normalisation: Miyato et al., 2018 (arXiv:1802.05957). No instance norm: it would erase
    palette and contrast, which are style. `strides` sets the patch size.
    """

    def __init__(self, config: DiscriminatorConfig, strides: tuple[int, ...]) -> None:
        super().__init__()
        widths = [3] + [min(config.width * 2**i, 128) for i in range(len(strides))]
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4 if stride == 2 else 3, stride, padding=1))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        # The last layers are free: with every layer held to a slope of one, the scores stay so small
        # that the hinge is never reached and the generator learns little from them.
        self.realism = nn.Conv2d(widths[-1], 1, 1)
        self.style = nn.Linear(config.code_size, widths[-1]) if config.code_size else None

    def features(self, picture: Tensor) -> Tensor:
        """What both scores look at: (N, 3, H, W) in [0, 1] -> (N, C, h, w)."""
        x = picture * 2 - 1
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        return x

    def realism_score(self, features: Tensor) -> Tensor:
        """(N, 1, h, w): does this patch look like a real work?"""
        return self.realism(features)

    def style_score(self, features: Tensor, code: Tensor) -> Tensor:
        """(N, 1, h, w): does it look like *this* style? A projection on the code (N, code_size).

        Projection discriminator: Miyato & Koyama, 2018 (arXiv:1802.05637).
        """
        assert self.style is not None
        direction = self.style(code).to(features.dtype)
        scale = features.shape[1] ** -0.5
        return torch.einsum("nchw,nc->nhw", features, direction)[:, None] * scale


class Discriminator(nn.Module):
    """A fine judge of strokes at full size and a coarse judge of shapes at half size."""

    def __init__(self, config: DiscriminatorConfig = DiscriminatorConfig()) -> None:
        super().__init__()
        self.config = config
        self.fine = PatchDiscriminator(config, strides=(2, 2, 1))
        self.coarse = PatchDiscriminator(config, strides=(2, 2, 2, 1))

    def features(self, picture: Tensor) -> list[Tensor]:
        """Features per scale, for the two scores."""
        return [self.fine.features(picture), self.coarse.features(F.avg_pool2d(picture, 2))]

    def realism_scores(self, features: list[Tensor]) -> list[Tensor]:
        """A map of realism scores per scale; higher is more real."""
        judges = (self.fine, self.coarse)
        return [judge.realism_score(x) for judge, x in zip(judges, features, strict=True)]

    def mean_realism(self, pictures: Tensor) -> Tensor:
        """The mean of all realism scores of each picture: (N, 3, H, W) -> (N,)."""
        scores = self.realism_scores(self.features(pictures))
        return torch.stack([score.flatten(1).mean(1) for score in scores]).mean(0)

    def style_scores(self, features: list[Tensor], code: Tensor) -> list[Tensor]:
        """A map of style scores per scale; higher is more in the style of the code."""
        judges = (self.fine, self.coarse)
        return [judge.style_score(x, code) for judge, x in zip(judges, features, strict=True)]
