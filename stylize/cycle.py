"""Cycle-consistent translation between two piles of unpaired pictures.

Zhu et al., 2017 (arXiv:1703.10593), on the compact generator.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylize import losses
from stylize.augment import diff_augment
from stylize.batches import Ahead, chance
from stylize.config import CycleConfig, DiscriminatorConfig
from stylize.dataset import PictureSet
from stylize.discriminator import Discriminator
from stylize.encoder import StyleStatistics
from stylize.game import CPU, Game, Terms
from stylize.library import StyleLibrary
from stylize.perceptual import CompactVGG, LossNetwork
from stylize.pool import HistoryPool
from stylize.training import WeightedTerms, content_term, style_term, varied_spreads
from stylize.translation import Eyes, judge_way
from stylize.translator import BACK, THERE, Translator
from stylize.validation import Validation, fixed_photos, vital_signs

WAYS = (THERE, BACK)

_PATCHES = 64
_GOOD_CYCLE = 0.08

_LEAST_DISTANCE = 0.1
"""Kernel distance below which two piles are as good as alike: of few pictures it may come out below nothing,
and must not be divided by."""

Batch = tuple[list[Tensor], list[torch.Generator]]
"""Crops of each pile (N, 3, S, S), and a source of chance for each sample."""


class CycleTrainer(Game):
    """Translators both ways against a discriminator for each pile."""

    config: CycleConfig

    def __init__(
        self,
        config: CycleConfig,
        translator: Translator,
        piles: Sequence[PictureSet],
        library: StyleLibrary,
        compact: CompactVGG,
        loss_network: LossNetwork,
        eyes: Eyes,
        unseen: Sequence[PictureSet],
        device: torch.device = CPU,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """`piles` are learnt from, `unseen` judged on; the two groups of `library` describe the piles."""
        super().__init__(config, device, dtype)
        torch.manual_seed(config.seed)
        self.library = library
        self.piles = piles
        self.unseen = unseen
        self.loss_network = loss_network
        self.eyes = eyes
        self.translator = translator.to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.translator).requires_grad_(False)
        self.judges = nn.ModuleList(Discriminator(DiscriminatorConfig(code_size=0)) for _ in WAYS)
        for network in (self.translator, self.ema, self.judges, compact, loss_network):
            network.to(device)
        self.players = {
            "translator": self.player(self.translator, config.generator_rate),
            "discriminator": self.player(self.judges, config.discriminator_rate),
        }
        self.averages = {"ema": (self.ema, self.translator)}
        self.pools = [HistoryPool(config.pool) for _ in WAYS]
        self.kept = {f"pool{way}": pool for way, pool in zip(WAYS, self.pools, strict=True)}
        self.targets = [
            library.statistics.mean_of(members).to(device) for members in reversed(library.members.values())
        ]
        self.spreads = varied_spreads(library.statistics, device)
        self._ahead = Ahead(self._draw)

    @property
    def data(self) -> str:
        return " ".join([self.library.digest, *(pile.digest() for pile in self.piles)])

    def rate_share(self) -> float:
        """Constant, then down along a line, as in the paper; after a short rise."""
        falling = max(0.0, self.progress - self.config.constant) / max(1e-9, 1 - self.config.constant)
        return max(1 - falling, self.config.final_rate) * self.warm_up()

    # -- one step ---------------------------------------------------------------------------------

    def _draw(self, step: int, part: int) -> Batch:
        config = self.config
        randoms = [chance(config.seed, step, sample) for sample in self.samples(part)]
        crops: list[list[Tensor]] = [[], []]
        for random in randoms:
            for pile, found in zip(self.piles, crops, strict=True):
                index = int(torch.randint(len(pile), (), generator=random))
                crop = pile.crop(index, config.size, random, config.zoom, config.rotate, config.flip)
                found.append(crop)
        return [torch.stack(found) for found in crops], randoms

    def _take_turns(self) -> Terms:
        player, parts = self.players["translator"], self.config.accumulate
        shown: list[tuple[list[Tensor], list[Tensor], list[torch.Generator]]] = []
        sums: Terms = {}
        player.begin(self.rate_share())
        for part in range(parts):
            then = (self.steps_done, part + 1) if part + 1 < parts else (self.steps_done + 1, 0)
            drawn, randoms = self._ahead.take(self.steps_done, part, then)
            real = [x.to(self.device).contiguous(memory_format=torch.channels_last) for x in drawn]
            with self.autocast():
                fake = [self.translator(real[way], way) for way in WAYS]
                terms = self._terms(real, fake, randoms[0])
            player.add(torch.stack([weight * term for weight, term in terms.values()]).sum() / parts)
            for name, (_, term) in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() / parts
            shown.append((real, [picture.detach() for picture in fake], randoms))
        sums["gradient"] = player.end()
        for _ in range(self.config.discriminator_steps):
            sums |= self._discriminator_turn(shown)
        return sums

    def _terms(self, real: list[Tensor], fake: list[Tensor], random: torch.Generator) -> WeightedTerms:
        """The objective of both ways, summed; terms without weight are left out."""
        weights = self.config.weights
        again = [self.translator(fake[way], 1 - way) for way in WAYS]
        parts: dict[str, tuple[float, list[Tensor]]] = {
            "adversarial": (weights.adversarial, [self._adversarial(fake[way], way) for way in WAYS]),
            "cycle": (weights.cycle, [losses.cycle_loss(again[way], real[way]) for way in WAYS]),
        }
        if weights.identity:
            same = [self._identity(real[1 - way], way) for way in WAYS]
            parts["identity"] = (weights.identity, same)
        if weights.perceptual_cycle:
            seen = [self._perceptual(again[way], real[way]) for way in WAYS]
            parts["perceptual_cycle"] = (weights.perceptual_cycle, seen)
        if weights.contrastive:
            alike = [self._contrast(fake[way], real[way], way, random) for way in WAYS]
            parts["contrastive"] = (weights.contrastive, alike)
        if weights.style:
            parts["style"] = (weights.style, [self._style(fake[way], way) for way in WAYS])
        return {name: (weight, torch.stack(terms).sum()) for name, (weight, terms) in parts.items()}

    def _adversarial(self, fake: Tensor, way: int) -> Tensor:
        """What the judge of the pile that a way leads to thinks of its results."""
        judge = self.judges[1 - way]
        judge.requires_grad_(False)
        scores = judge.realism_scores(judge.features(fake))  # pyright: ignore[reportCallIssue]
        judge.requires_grad_(True)
        return losses.mean_over_scales(
            [losses.adversarial_loss(score, self.config.adversarial_form) for score in scores]
        )

    def _identity(self, real: Tensor, way: int) -> Tensor:
        """A picture of the pile that a way leads to stays as it is; every second one is enough."""
        some = real[::2]
        return losses.identity_loss(self.translator(some, way), some)

    def _perceptual(self, again: Tensor, real: Tensor) -> Tensor:
        with torch.no_grad():
            content = self.loss_network(real)
        return content_term(self.loss_network(again), content)

    def _style(self, fake: Tensor, way: int) -> Tensor:
        targets = StyleStatistics.concatenate([self.targets[way]] * len(fake))
        return style_term(self.loss_network(fake), targets, self.spreads)

    def _contrast(self, fake: Tensor, real: Tensor, way: int, random: torch.Generator) -> Tensor:
        places = [torch.rand(_PATCHES, 2, generator=random) for _ in self.translator.heads]
        queries = self.translator.patches(fake, way, places)
        keys = self.translator.patches(real, way, places)
        pairs = zip(queries, keys, strict=True)
        return torch.stack([losses.patch_contrast(query, key.detach()) for query, key in pairs]).mean()

    # -- the discriminators -----------------------------------------------------------------------

    def _discriminator_turn(
        self, shown: list[tuple[list[Tensor], list[Tensor], list[torch.Generator]]]
    ) -> Terms:
        """One update of both judges: real pictures against present and earlier results."""
        player = self.players["discriminator"]
        player.begin(self.rate_share() * self.health.share)
        sums: Terms = {}
        for real, fake, randoms in shown:
            for way in WAYS:
                shared = self.pools[way].exchange(fake[way], randoms[0])
                loss, accuracies = self._judge(1 - way, real[1 - way], shared, randoms)
                player.add(loss / len(shown))
                for name, value in {"discriminator": loss.item(), **accuracies}.items():
                    sums[name] = sums.get(name, 0.0) + value / len(shown) / len(WAYS)
        sums["discriminator_gradient"] = player.end()
        return sums

    def _judge(
        self, pile: int, real: Tensor, fake: Tensor, randoms: list[torch.Generator]
    ) -> tuple[Tensor, Terms]:
        """The loss of one judge, and the shares of its scores that are right."""
        judge, form = self.judges[pile], self.config.adversarial_form
        assert isinstance(judge, Discriminator)
        real, fake = diff_augment(real, randoms), diff_augment(fake, randoms)
        with self.autocast():
            pairs = list(
                zip(
                    judge.realism_scores(judge.features(real)),
                    judge.realism_scores(judge.features(fake)),
                    strict=True,
                )
            )
            loss = losses.mean_over_scales([losses.discriminator_loss(r, f, form) for r, f in pairs])
        if self.config.r1:
            loss = loss + self.config.r1 * losses.r1_penalty(judge.mean_realism, real)
        return loss, losses.accuracies(pairs, form)

    # -- what it can do by now --------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> Validation:
        """Pictures that training does not see, there and back, by the averaged network."""

        def translate(picture: Tensor, way: int) -> Tensor:
            with self.autocast():
                return self.ema(picture.to(self.device), way).float().cpu()

        piles = [fixed_photos(unseen, 8) for unseen in self.unseen]
        names = list(self.library.groups)
        table, vitals, rows, score = {}, {}, [], 0.0
        for way in WAYS:
            found = judge_way(
                lambda x, way=way: translate(x, way), lambda x, way=way: translate(x, 1 - way),
                piles[way], piles[1 - way], self.eyes,
            )  # fmt: skip
            table[f"{names[way]} to {names[1 - way]}"] = {
                "cycle": found.cycle_l1, "identity": found.identity_l1, "change": found.change,
                "distance": found.distance.value, "before": found.before.value,
            }  # fmt: skip
            score -= found.distance.value / max(found.before.value, _LEAST_DISTANCE) / 2
            score -= 5 * max(0.0, found.cycle_l1 - _GOOD_CYCLE)
            there = [translate(picture, way) for picture in piles[way]]
            signs = vital_signs(piles[way], {"there": there})
            vitals |= {name: min(value, vitals.get(name, value)) for name, value in signs.items()}
            rows += _sheet_rows(piles[way][:5], there[:5], [translate(x, 1 - way) for x in there[:5]])
        return Validation(torch.cat(rows, dim=1), table, vitals, score)


def _sheet_rows(pictures: list[Tensor], there: list[Tensor], again: list[Tensor]) -> list[Tensor]:
    """Pictures, translations, and the way back, a row each, as (3, H, W); five columns in any case."""
    rows = [torch.cat([p[0] for p in row], dim=2) for row in (pictures, there, again)]
    width = 5 * pictures[0].shape[-1]
    return [nn.functional.pad(row, (0, width - row.shape[2]), value=1.0) for row in rows]
