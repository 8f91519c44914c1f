"""Learning textures: a canvas against a discriminator, with a generator that stays as it is between them.

Adversarial texture synthesis as in PSGAN (Bergmann et al., 2017, arXiv:1705.06566), with the style loss of
texture networks (Ulyanov et al., 2016, arXiv:1603.03417) to hold on to.
"""

import copy
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from stylize import losses
from stylize.augment import diff_augment
from stylize.batches import BORDER, Ahead, central_window, chance
from stylize.canvas import Canvas, Noise, draw_noise
from stylize.config import DiscriminatorConfig, TextureConfig
from stylize.dataset import centre_crop
from stylize.discriminator import Discriminator
from stylize.encoder import StyleStatistics, describe
from stylize.game import CPU, Game, Terms
from stylize.judging import perceptual_distance
from stylize.library import StyleLibrary
from stylize.model import Base
from stylize.overlap import groups_of
from stylize.perceptual import Features, LossNetwork
from stylize.scoring import adversarial_term, discriminator_term
from stylize.tensors import to_float
from stylize.training import WeightedTerms, style_term, varied_spreads
from stylize.validation import SAMPLE_SIZE, Row, Validation, style_distance

_SEEDS = 3
"""Textures of each style that are looked at."""

_MOST_STYLES = 8
_ENOUGH_DIVERSITY = 0.7
_ENOUGH_FOR_SPREAD = 48


class TexturePainter(nn.Module):
    """What learns: a canvas, and the code of the style where there is only one."""

    def __init__(self, canvas: Canvas, code: Tensor | None = None) -> None:
        """`code` (1, code_size) is where the style starts; None for styles of many."""
        super().__init__()
        self.canvas = canvas
        self.code = nn.Parameter(code.clone()) if code is not None else None


@dataclass
class TextureBatch:
    """Noise, a style for each canvas, and crops of real works in those styles."""

    noise: Noise
    works: Tensor
    vectors: Tensor
    randoms: list[torch.Generator]

    def to(self, device: torch.device) -> "TextureBatch":
        """The same on a device, pictures with their channels last."""
        works = self.works.to(device).contiguous(memory_format=torch.channels_last)
        return TextureBatch(self.noise.to(device), works, self.vectors.to(device), self.randoms)


class TextureTrainer(Game):
    """A canvas for one style or many, against a discriminator of realism and style."""

    config: TextureConfig

    def __init__(
        self,
        config: TextureConfig,
        painter: TexturePainter,
        base: Base,
        library: StyleLibrary,
        loss_network: LossNetwork,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(config, device, dtype)
        torch.manual_seed(config.seed)
        self.library = library
        self.loss_network = loss_network
        self.generator = copy.deepcopy(base.generator).to(memory_format=torch.channels_last)
        self.encoder = base.encoder
        self.painter = painter.to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.painter).requires_grad_(False)
        code_size = painter.canvas.config.code_size
        self.discriminator = Discriminator(DiscriminatorConfig(code_size=code_size))
        for network in (self.generator, self.encoder, self.painter, self.ema, self.discriminator):
            network.to(device)
        self.players = {
            "painter": self.player(self.painter, config.generator_rate),
            "discriminator": self.player(self.discriminator, config.discriminator_rate),
        }
        self.averages = {"ema": (self.ema, self.painter)}
        self.spreads = varied_spreads(self._statistics_of_crops(), device)
        self._ahead = Ahead(self._draw)

    @property
    def data(self) -> str:
        return self.library.digest

    def codes(self, painter: TexturePainter, vectors: Tensor) -> Tensor:
        """The codes (N, code_size) of styles with these moment vectors (N, D); or the one that is learnt."""
        if painter.code is not None:
            return painter.code.expand(len(vectors), -1)
        with torch.no_grad():
            return self.encoder(vectors)

    def paint(self, painter: TexturePainter, noise: Noise, codes: Tensor) -> Tensor:
        """Textures (N, 3, H, W) in [0, 1], as large as the noise is for."""
        modulation = self.generator.expand(codes)
        features = painter.canvas(noise, codes).contiguous(memory_format=torch.channels_last)
        body = self.generator.run_body(features, modulation[:-2])
        return torch.sigmoid(self.generator.run_head(body, modulation[-2:]).float())

    # -- one step ---------------------------------------------------------------------------------

    def _draw(self, step: int, part: int) -> TextureBatch:
        config, library = self.config, self.library
        randoms = [chance(config.seed, step, sample) for sample in self.samples(part)]
        draws = [library.draw(random) for random in randoms]
        works = [library.crop(d, config.size, random) for d, random in zip(draws, randoms, strict=True)]
        side, shape = config.size + BORDER, self.painter.canvas.config
        noise = [draw_noise(shape, side, side, random) for random in randoms]
        vectors = torch.cat([library.mean_vector(draw.works) for draw in draws])
        return TextureBatch(Noise.together(noise), torch.stack(works), vectors, randoms)

    def _take_turns(self) -> Terms:
        player, parts = self.players["painter"], self.config.accumulate
        window = central_window(self.config.size + BORDER)
        shown: list[tuple[TextureBatch, Tensor, Tensor]] = []
        sums: Terms = {}
        player.begin(self.rate_share())
        for part in range(parts):
            then = (self.steps_done, part + 1) if part + 1 < parts else (self.steps_done + 1, 0)
            batch = self._ahead.take(self.steps_done, part, then).to(self.device)
            with self.autocast():
                codes = self.codes(self.painter, batch.vectors)
                painted = window(self.paint(self.painter, batch.noise, codes))
                terms = self._terms(batch, painted, codes)
            player.add(torch.stack([weight * term for weight, term in terms.values()]).sum() / parts)
            for name, (_, term) in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() / parts
            shown.append((batch, painted.detach(), codes.detach()))
        sums["gradient"] = player.end()
        for _ in range(self.config.discriminator_steps):
            sums |= self._discriminator_turn(shown)
        return sums

    def _terms(self, batch: TextureBatch, painted: Tensor, codes: Tensor) -> WeightedTerms:
        """The terms of the objective with their weights; terms without weight are left out."""
        weights, terms = self.config.weights, {}
        if weights.adversarial:
            terms["adversarial"] = (
                weights.adversarial,
                adversarial_term(self.discriminator, painted, codes, self.config.adversarial_form),
            )
        if weights.style:
            targets = self._statistics(batch.works)
            terms["style"] = (weights.style, style_term(self.loss_network(painted), targets, self.spreads))
        return terms

    @torch.no_grad()
    def _statistics(self, works: Tensor) -> StyleStatistics:
        """What crops of works are like. A texture is compared with such, not with whole works: statistics of
        little vary more, and are lower, than those of much."""
        return describe(works, {k: v.float() for k, v in self.loss_network(works).items()})

    def _statistics_of_crops(self) -> StyleStatistics:
        """Those of many crops, which say how far statistics spread."""
        random, config = torch.Generator().manual_seed(self.config.seed), self.config
        crops = [
            self.library.crop(self.library.draw(random), config.size, random)
            for _ in range(_ENOUGH_FOR_SPREAD)
        ]
        with self.autocast():
            parts = [self._statistics(torch.stack(some).to(self.device)) for some in groups_of(crops, 8)]
        return StyleStatistics.concatenate(parts)

    def _discriminator_turn(self, shown: list[tuple[TextureBatch, Tensor, Tensor]]) -> Terms:
        """Its update: works against textures; for style also against works with another's code."""
        player = self.players["discriminator"]
        player.begin(self.rate_share() * self.health.share)
        sums: Terms = {}
        for batch, painted, codes in shown:
            real, fake = diff_augment(batch.works, batch.randoms), diff_augment(painted, batch.randoms)
            with self.autocast():
                # In one style alone, nobody else's code is wrong.
                loss, accuracies = discriminator_term(
                    self.discriminator, real, fake, codes.float(), self.config.adversarial_form,
                    neighbours=len(self.library.members) > 1,
                )  # fmt: skip
            if self.config.r1:
                loss = loss + self.config.r1 * losses.r1_penalty(self.discriminator.mean_realism, real)
            player.add(loss / len(shown))
            for name, value in {"discriminator": loss.item(), **accuracies}.items():
                sums[name] = sums.get(name, 0.0) + value / len(shown)
        sums["discriminator_gradient"] = player.end()
        return sums

    # -- what it can do by now --------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> Validation:
        """Textures of the same seeds in every style, by the averaged canvas, and a crop of a work each."""
        styles = list(self.library.members)
        styles = styles[:: -(-len(styles) // _MOST_STYLES)]
        table: dict[str, Row] = {}
        columns, score = [], 0.0
        for style in styles:
            textures = [self._sample(style, seed) for seed in range(_SEEDS)]
            table[style] = row = self._row(style, textures)
            works = self.library.groups[style]
            work = centre_crop(to_float(works[len(works) // 2]), SAMPLE_SIZE)
            columns.append(torch.cat([work, *(texture[0] for texture in textures)], dim=1))
            score -= row["distance"] + max(0.0, _ENOUGH_DIVERSITY - row["diversity"])
        return Validation(torch.cat(columns, dim=2), table, score=score / len(styles))

    def _sample(self, style: str, seed: int) -> Tensor:
        """A texture (1, 3, SAMPLE_SIZE, SAMPLE_SIZE), on the CPU."""
        side = SAMPLE_SIZE + BORDER
        random = torch.Generator().manual_seed(seed)
        noise = draw_noise(self.ema.canvas.config, side, side, random).to(self.device)
        vector = self.library.mean_vector(self.library.members[style]).to(self.device)
        with self.autocast():
            painted = self.paint(self.ema, noise, self.codes(self.ema, vector))
        return central_window(side)(painted).float().cpu()

    def _row(self, style: str, textures: list[Tensor]) -> Row:
        """Distance to the style, and diversity over seeds as a share of that over the works' crops."""
        found = [self._features(texture) for texture in textures]
        works, random = self.library.groups[style], torch.Generator().manual_seed(0)
        crops = [works.crop(i * len(works) // 4, SAMPLE_SIZE, random)[None] for i in range(4)]
        seen = [self._features(crop) for crop in crops]
        real = mean_distance(seen)
        described = [describe(crop, features) for crop, features in zip(crops, seen, strict=True)]
        target = StyleStatistics.concatenate(described).mean_of(range(len(crops)))
        near = sum(style_distance(features, target, self.spreads) for features in found)
        return {"distance": near / len(found), "diversity": mean_distance(found) / max(real, 1e-6)}

    def _features(self, picture: Tensor) -> Features:
        with self.autocast():
            return {k: v.float().cpu() for k, v in self.loss_network(picture.to(self.device)).items()}


def mean_distance(pictures: list[Features]) -> float:
    """The mean perceptual distance over all pairs."""
    pairs = [perceptual_distance(a, b) for a, b in combinations(pictures, 2)]
    return sum(pairs) / len(pairs)
