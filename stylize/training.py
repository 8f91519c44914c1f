"""Learning styles: the objective of the generator, and the discriminator's, by turns."""

import copy

import torch
from torch import Tensor

from stylize import losses, parallel
from stylize.augment import diff_augment
from stylize.batches import Ahead, Batch, draw_batch
from stylize.budget import Budget
from stylize.config import DiscriminatorConfig, TrainConfig
from stylize.dataset import PictureSet
from stylize.discriminator import Discriminator
from stylize.encoder import ENCODER_LAYERS, StyleStatistics, moments_vector
from stylize.game import CPU, Game, Terms
from stylize.library import StyleLibrary, look_at
from stylize.painters import Painter, StylePainter
from stylize.perceptual import CompactVGG, Features, LossNetwork
from stylize.scoring import adversarial_term, discriminator_term
from stylize.tensors import luminance
from stylize.validation import Spreads, Validation, fixed_photos, validate_styles
from stylize.warping import smooth_flow, warp

CONTENT_LAYERS = {"relu3_1": 0.5, "relu3_4": 1.0, "relu4_1": 1.0}
"""Layers of the content loss and their shares."""

_ENOUGH_FOR_SPREAD = 24
"""Pictures over which statistics are said to spread."""

_ENOUGH_FOR_BUDGET = 12
"""Batches over which the content loss is measured at the start."""

_EVERY_SECOND, _EVERY_FOURTH, _EVERY_EIGHTH = (slice(None, None, step) for step in (2, 4, 8))
"""Samples of a batch that motion, the way back and the identity are judged on; enough, and they are dear."""

WeightedTerms = dict[str, tuple[float, Tensor]]


class Trainer(Game):
    """Networks, optimisers and data of a run that learns styles."""

    config: TrainConfig

    def __init__(
        self,
        config: TrainConfig,
        painter: Painter | StylePainter,
        photos: PictureSet,
        library: StyleLibrary,
        encoder_network: CompactVGG,
        loss_network: LossNetwork,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.bfloat16,
        unseen: PictureSet | None = None,
    ) -> None:
        """`unseen` are photographs to judge on; without them, some of `photos`."""
        super().__init__(config, device, dtype)
        torch.manual_seed(config.seed)
        self.photos = photos
        self.unseen = unseen or photos
        self.library = library
        self.encoder_network = encoder_network
        self.loss_network = loss_network
        self.painter = painter.to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.painter).requires_grad_(False)
        code_size = painter.generator.config.code_size
        self.discriminator = Discriminator(DiscriminatorConfig(code_size=code_size))
        for network in (self.painter, self.ema, self.discriminator, encoder_network, loss_network):
            network.to(device)
        self.players = {
            "painter": self.player(self.painter, config.generator_rate),
            "discriminator": self.player(self.discriminator, config.discriminator_rate),
        }
        self.averages = {"ema": (self.ema, self.painter)}
        self.budget = Budget(config.content_budget)
        self.kept = {"budget": self.budget}
        self.spreads = varied_spreads(self._varied_statistics(), device)
        self._ahead = Ahead(self._draw)

    @property
    def data(self) -> str:
        return f"{self.library.digest} {self.photos.digest()}"

    def _varied_statistics(self) -> StyleStatistics:
        """Those of the works; if they are few, of some photographs too: one picture alone has no spread."""
        missing = max(0, _ENOUGH_FOR_SPREAD - len(self.library.vectors))
        some = range(0, len(self.photos), max(1, len(self.photos) // max(1, missing)))[:missing]
        seen = [look_at(self.photos[i], self.encoder_network, self.loss_network)[1] for i in some]
        return StyleStatistics.concatenate([self.library.statistics, *seen])

    # -- one step ---------------------------------------------------------------------------------

    def step(self) -> Terms:
        """One step of the run; then the content's weight follows its budget, if there is one."""
        if not self.config.content_budget:
            return super().step()
        if self.budget.start is None:
            self.budget.start = self._content_so_far()
        terms = super().step()
        self.budget.watch(terms["content"])
        return terms | {"content_factor": self.budget.factor}

    def _content_so_far(self) -> float:
        """The content loss of the painter as it is, over the first batches of the run."""
        found = []
        for step in range(_ENOUGH_FOR_BUDGET):
            batch = self._draw(step, 0).to(self.device)
            with torch.no_grad(), self.autocast():
                painted = batch.window(self.painter(batch.inputs, batch.vectors)[0])
                features, content = (
                    self.loss_network(_without_colour(x, batch.grey))
                    for x in (painted, batch.window(batch.photos))
                )
                found.append(content_term(features, content).item())
        return parallel.average({"content": sum(found) / len(found)}, self.device)["content"]

    def _draw(self, step: int, part: int) -> Batch:
        return draw_batch(self.config, self.photos, self.library, step, self.samples(part))

    def _batch(self, part: int) -> Batch:
        """The data of a part of this step; the next is drawn meanwhile."""
        last = part + 1 == self._parts()
        then = (self.steps_done + 1, 0) if last else (self.steps_done, part + 1)
        return self._ahead.take(self.steps_done, part, then).to(self.device)

    def _parts(self) -> int:
        """Batches in this step: those whose gradients add up, and those for the discriminator alone."""
        further = self.config.discriminator_steps - 1 if self._judged() else 0
        return self.config.accumulate + further

    def _judged(self) -> bool:
        """Has the discriminator joined in?"""
        return self.progress >= self.config.adversarial_start and self.config.weights.adversarial > 0

    def _take_turns(self) -> Terms:
        player, accumulate = self.players["painter"], self.config.accumulate
        shown: list[tuple[Batch, Tensor, Tensor]] = []
        sums: Terms = {}
        player.begin(self.rate_share())
        for index in range(accumulate):
            batch = self._batch(index)
            with self.autocast():
                whole, codes = self.painter(batch.inputs, batch.vectors)
                terms = self._generator_terms(batch, whole, codes)
            total = torch.stack([weight * term for weight, term in terms.values()]).sum()
            player.add(total / accumulate)
            for name, (_, term) in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() / accumulate
            shown.append((batch, batch.window(whole).detach(), codes.detach()))
        sums["gradient"] = player.end()
        return sums | (self._discriminator_turns(shown) if self._judged() else {})

    def _generator_terms(self, batch: Batch, whole: Tensor, codes: Tensor) -> WeightedTerms:
        """The terms of the objective with their weights at this step; terms without weight are left out."""
        weights, config = self.config.weights, self.config
        photos, painted = batch.window(batch.photos), batch.window(whole)
        features = self.loss_network(_without_colour(painted, batch.grey))
        with torch.no_grad():
            content = self.loss_network(_without_colour(photos, batch.grey))
            tone = losses.tone_target(photos, batch.targets.tones)
            colour = losses.colour_target(photos, *batch.targets.palette)
        ramp = min(1.0, (self.steps_done + 1) / max(1.0, config.style_ramp * config.steps))
        terms = {
            "content": (weights.content * self.budget.factor, content_term(features, content)),
            "style": (weights.style * ramp, style_term(features, batch.targets, self.spreads)),
            "tone": (weights.tone, losses.tone_loss(painted, tone)),
            "colour": (weights.colour, losses.colour_loss(painted, colour)),
            "edge": (weights.edge, losses.edge_loss(painted, photos)),
            "tv": (weights.tv, losses.flat_variation(painted, photos)),
        }
        if weights.identity:
            terms["identity"] = (weights.identity, self._identity_term(batch))
        if weights.warp and self.progress >= config.warp_start:
            terms["warp"] = (weights.warp, self._warp_term(batch, whole))
        if self._judged():
            terms["adversarial"] = (
                weights.adversarial,
                adversarial_term(self.discriminator, painted, codes, self.config.adversarial_form),
            )
            if weights.cycle and self.steps_done % config.cycle_every == 0:
                terms["cycle"] = (weights.cycle, self._cycle_term(batch, whole))
        return terms

    def _identity_term(self, batch: Batch) -> Tensor:
        """A photograph in its own style stays as it is."""
        photos = batch.photos[_EVERY_EIGHTH]
        back, _ = self.painter(batch.inputs[_EVERY_EIGHTH], self._own_vector(photos))
        return losses.identity_loss(batch.window(back), batch.window(photos))

    def _cycle_term(self, batch: Batch, painted: Tensor) -> Tensor:
        """Some of the painted pictures, turned back into the photographs that they were."""
        photos = batch.photos[_EVERY_FOURTH]
        back, _ = self.painter(painted[_EVERY_FOURTH], self._own_vector(photos))
        return losses.cycle_loss(batch.window(back), batch.window(photos))

    def _warp_term(self, batch: Batch, painted: Tensor) -> Tensor:
        """Some photographs, moved and painted, against the paintings, moved."""
        photos = batch.photos[_EVERY_SECOND]
        flow = smooth_flow((photos.shape[-2], photos.shape[-1]), batch.randoms[_EVERY_SECOND]).to(self.device)
        again, _ = self.painter(warp(photos, flow), batch.vectors[_EVERY_SECOND])
        moved = warp(painted[_EVERY_SECOND].detach().float(), flow)
        return losses.warp_loss(batch.window(again), batch.window(moved))

    def _own_vector(self, photo: Tensor) -> Tensor:
        with torch.no_grad():
            return moments_vector(self.encoder_network(photo, ENCODER_LAYERS))

    # -- the discriminator ------------------------------------------------------------------------

    def _discriminator_turns(self, shown: list[tuple[Batch, Tensor, Tensor]]) -> Terms:
        """Its updates: the first on what the generator has just painted, more on further pictures."""
        terms = self._discriminator_turn(shown)
        for index in range(1, self.config.discriminator_steps):
            batch = self._batch(self.config.accumulate + index - 1)
            with torch.no_grad(), self.autocast():
                whole, codes = self.painter(batch.inputs, batch.vectors)
            terms = self._discriminator_turn([(batch, batch.window(whole), codes)])
        return terms

    def _discriminator_turn(self, shown: list[tuple[Batch, Tensor, Tensor]]) -> Terms:
        """Real works against painted pictures; for style also against real works with another's code."""
        player = self.players["discriminator"]
        player.begin(self.rate_share() * self.health.share)
        sums: Terms = {}
        for batch, painted, codes in shown:
            real = diff_augment(batch.window(batch.works), batch.randoms)
            fake = diff_augment(painted, batch.randoms)
            with self.autocast():
                loss, accuracies = discriminator_term(
                    self.discriminator, real, fake, codes.float(), self.config.adversarial_form
                )
            if self.config.r1:
                loss = loss + self.config.r1 * losses.r1_penalty(self.discriminator.mean_realism, real)
            player.add(loss / len(shown))
            for name, value in {"discriminator": loss.item(), **accuracies}.items():
                sums[name] = sums.get(name, 0.0) + value / len(shown)
        sums["discriminator_gradient"] = player.end()
        return sums

    # -- what it can do by now --------------------------------------------------------------------

    def validate(self) -> Validation:
        """Photographs that training does not see, painted by the averaged network in every style."""

        def paint(photo: Tensor, style: str) -> Tensor:
            vector = self.library.mean_vector(self.library.members[style]).to(self.device)
            with self.autocast():
                return self.ema(photo, vector)[0]

        photos = fixed_photos(self.unseen)
        return validate_styles(paint, photos, self.library, self.loss_network, self.spreads, self.device)


def content_term(features: Features, content: Features) -> Tensor:
    """Content loss, weighted mean over `CONTENT_LAYERS`."""
    parts = [share * losses.content_loss(features[k], content[k]) for k, share in CONTENT_LAYERS.items()]
    return torch.stack(parts).sum() / sum(CONTENT_LAYERS.values())


def style_term(features: Features, targets: StyleStatistics, spreads: Spreads) -> Tensor:
    """Gram and moment losses, mean over layers."""
    parts = []
    for name, x in features.items():
        parts.append(losses.gram_loss(x, targets.grams[name]))
        parts.append(losses.moment_loss(x, *targets.moments[name], *spreads[name]))
    return torch.stack(parts).sum() / len(features)


def _without_colour(pictures: Tensor, grey: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) with the luminance for all three channels where `grey` (N,) says so."""
    return torch.where(grey.view(-1, 1, 1, 1), luminance(pictures), pictures)


def varied_spreads(statistics: StyleStatistics, device: torch.device) -> Spreads:
    """Per layer, how far the moments differ over all works: the unit of the moment loss."""
    result = {}
    for name, moments in statistics.to(device).moments.items():
        spreads = [part.std(0) for part in moments]
        result[name] = tuple(spread + 0.1 * spread.mean() + 1e-6 for spread in spreads)
    return result
