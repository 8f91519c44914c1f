"""How good a translation between two piles of pictures is, both ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylize.comparing import Distance, kernel_distance, with_interval
from stylize.encoder import ENCODER_LAYERS, StyleEncoder, moments_vector
from stylize.judging import perceptual_distance, ssim
from stylize.perceptual import CompactVGG, Features, fit_to_network
from stylize.tensors import luminance

Way = Callable[[Tensor], Tensor]
"""Translates RGB (1, 3, H, W) in [0, 1] of any size to the same form."""

COPIES = 0.05
"""Perceptual distance to the source below which a translation is close to the identity."""

HIDES = 1.5
"""A cycle error that grows by this factor when the translation in between is disturbed by one grey level:
the way back was read off invisible noise (Chu et al., 2017, arXiv:1712.02950)."""

_ODD = 4.0
"""Standardised moments beyond which a picture counts as no odder."""


@dataclass(frozen=True)
class OneWay:
    """Measures of one way, means over the pictures that were translated.

    cycle_l1         |back(there(x)) - x|
    cycle_ssim       SSIM of luminance between the two
    cycle_perceptual their perceptual distance
    disturbed_l1     cycle_l1 with one grey level of noise on there(x)
    identity_l1      |there(y) - y| for pictures y of the pile that is translated to
    change           perceptual distance of there(x) to x
    distance         kernel distance of the translations to the pile that is translated to
    before           the same of the pictures as they were
    """

    cycle_l1: float
    cycle_ssim: float
    cycle_perceptual: float
    disturbed_l1: float
    identity_l1: float
    change: float
    distance: Distance
    before: Distance

    def warnings(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if self.change < COPIES:
            found.append("it hardly changes its pictures: it is close to the identity")
        if self.disturbed_l1 > HIDES * max(self.cycle_l1, 1e-4):
            found.append(
                "it hides what the way back needs in invisible noise: one grey level more or less, and the "
                f"cycle error rises from {self.cycle_l1:.3f} to {self.disturbed_l1:.3f}"
            )
        if self.distance.value > self.before.value:
            found.append("its results are no nearer to the other pile than its pictures were")
        return found


class Eyes:
    """The bundled perceptual network, and how its moments spread over many works."""

    def __init__(self, network: CompactVGG, encoder: StyleEncoder) -> None:
        self.network = network
        self._mean, self._spread = encoder.mean.cpu(), encoder.spread.cpu()

    @torch.no_grad()
    def features(self, picture: Tensor) -> Features:
        """Features of (1, 3, H, W) in [0, 1]."""
        device = self.network.mean.device
        seen = self.network(fit_to_network(picture.float()).to(device), ENCODER_LAYERS)
        return {name: x.float().cpu() for name, x in seen.items()}

    def moments(self, features: Features) -> Tensor:
        """The standardised moment vector (1, D) of such features, in -4 ... 4."""
        seen = (moments_vector(features) - self._mean) / self._spread
        # One odd picture, all black say, would otherwise outweigh all others in a kernel of third degree.
        return seen.clamp(-_ODD, _ODD)


def judge_way(
    there: Way, back: Way, sources: Sequence[Tensor], targets: Sequence[Tensor], eyes: Eyes
) -> OneWay:
    """Translate `sources` (1, 3, H, W) and back again, and compare with them and with `targets`."""
    sums = dict.fromkeys(("l1", "ssim", "perceptual", "disturbed", "change"), 0.0)
    of_sources, of_results = [], []
    random = torch.Generator().manual_seed(0)
    for source in sources:
        result = there(source)
        again = back(result)
        noise = (torch.randint(0, 2, result.shape, generator=random).float() * 2 - 1) / 255
        disturbed = back((result.cpu() + noise).clamp(0, 1).to(result))
        seen, painted, returned = (eyes.features(x) for x in (source, result, again))
        sums["l1"] += (again.cpu() - source.cpu()).abs().mean().item()
        sums["disturbed"] += (disturbed.cpu() - source.cpu()).abs().mean().item()
        sums["ssim"] += ssim(luminance(again.cpu()), luminance(source.cpu()), 1.0)
        sums["perceptual"] += perceptual_distance(returned, seen)
        sums["change"] += perceptual_distance(painted, seen)
        of_sources.append(eyes.moments(seen))
        of_results.append(eyes.moments(painted))
    pile = torch.cat([eyes.moments(eyes.features(target)) for target in targets])
    same = sum((there(y).cpu() - y.cpu()).abs().mean().item() for y in targets) / len(targets)
    mean = {name: value / len(sources) for name, value in sums.items()}
    return OneWay(
        mean["l1"], mean["ssim"], mean["perceptual"], mean["disturbed"], same, mean["change"],
        with_interval(kernel_distance, torch.cat(of_results), pile),
        with_interval(kernel_distance, torch.cat(of_sources), pile),
    )  # fmt: skip
