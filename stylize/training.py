"""Training: generator and discriminator by turns, with an EMA of the generator and exact resume."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylize import losses
from stylize.config import DiscriminatorConfig, TrainConfig, to_json
from stylize.dataset import PictureSet
from stylize.discriminator import Discriminator
from stylize.encoder import ENCODER_LAYERS, StyleStatistics, moments_vector
from stylize.errors import StylizeError
from stylize.files import atomic_path
from stylize.library import PHOTOGRAPH, StyleDraw, StyleLibrary, look_at
from stylize.painters import Painter, StylePainter
from stylize.perceptual import CompactVGG, Features, LossNetwork
from stylize.tensors import luminance, reflect_pad

CONTENT_LAYERS = {"relu3_1": 0.5, "relu3_4": 1.0, "relu4_1": 1.0}
"""Layers of the content loss and their shares."""

CONTENT_ZOOM = (0.5, 2.0)
"""Photographs are seen from twice enlarged, like a large print, to half size."""

BORDER = 32
"""Pixels of a training crop that are painted but not judged, in all. What a network sees of the zero
padding at a crop's border differs from what it sees of a picture's, and losses over the border teach it
to paint frames."""

MIRRORED_SHARE = 0.5
"""Share of the steps whose border is mirrored, as around a picture that is painted, and not more photograph.
In these the window ends where the picture does."""

GREY_SHARE = 0.3
"""Share of the samples whose style is judged without colour. Palette alone brings a picture so near its
style that strokes are hardly worth learning; in grey, nothing else is left."""

_ENOUGH_FOR_SPREAD = 24
"""Pictures over which statistics are said to spread."""

CPU = torch.device("cpu")

Terms = dict[str, float]
Window = Callable[[Tensor], Tensor]
"""Cuts the judged part out of pictures."""


@dataclass
class Batch:
    """One step's data: photographs, a style for each, and crops of real works in those styles."""

    photos: Tensor
    works: Tensor
    vectors: Tensor
    targets: StyleStatistics
    grey: Tensor
    """Which samples (N,) are compared with their style in luminance alone; `targets` are theirs."""
    window: Window
    random: torch.Generator
    """All chance in a step comes from here, and starts from seed and step alone."""


class Trainer:
    """Networks, optimisers and data of a run. `step` advances it; `save` and `load` keep it exact."""

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
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.dtype = dtype
        self.photos = photos
        self.library = library
        self.encoder_network = encoder_network
        self.loss_network = loss_network
        self.painter = painter.to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.painter).requires_grad_(False)
        self.discriminator = Discriminator(DiscriminatorConfig(code_size=painter.generator.config.code_size))
        for network in (self.painter, self.ema, self.discriminator, encoder_network, loss_network):
            network.to(device)
        self.generator_adam = torch.optim.Adam(
            [p for p in self.painter.parameters() if p.requires_grad],
            config.generator_rate,
            betas=(0.5, 0.99),
        )
        self.discriminator_adam = torch.optim.Adam(
            self.discriminator.parameters(), config.discriminator_rate, betas=(0.5, 0.99)
        )
        # fp16 gradients underflow unless the loss is scaled; for other precisions this does nothing.
        self.scalers = [torch.amp.GradScaler(device.type, enabled=dtype == torch.float16) for _ in range(2)]
        self.spreads = _spreads(self._varied_statistics().to(device))
        self.steps_done = 0

    def _varied_statistics(self) -> StyleStatistics:
        """Those of the works; if they are few, of some photographs too: one picture alone has no spread."""
        missing = max(0, _ENOUGH_FOR_SPREAD - len(self.library.vectors))
        some = range(0, len(self.photos), max(1, len(self.photos) // max(1, missing)))[:missing]
        seen = [look_at(self.photos[i], self.encoder_network, self.loss_network)[1] for i in some]
        return StyleStatistics.concatenate([self.library.statistics, *seen])

    def autocast(self) -> torch.autocast:
        """The run's mixed precision; fp32 switches it off."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    # -- one step ---------------------------------------------------------------------------------

    def step(self) -> Terms:
        """One update of the generator and, once it has joined, one of the discriminator."""
        batch = self._batch()
        window = batch.window
        self._set_rates()
        progress = self.steps_done / self.config.steps
        judged = progress >= self.config.adversarial_start and self.config.weights.adversarial > 0
        with self.autocast():
            whole, codes = self.painter(batch.photos, batch.vectors)
            painted = window(whole)
            terms = self._generator_terms(batch, painted, codes, judged)
            if judged and self.config.weights.cycle and self.steps_done % self.config.cycle_every == 0:
                terms["cycle"] = (self.config.weights.cycle, self._cycle_term(batch, whole))
        total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        self._update(self.generator_adam, self.scalers[0], total, self.painter)
        self._update_ema()
        report = {name: term.item() for name, (_, term) in terms.items()}
        if judged:
            report |= self._discriminator_step(batch, painted.detach(), codes.detach())
        self.steps_done += 1
        return report

    def _batch(self) -> Batch:
        """The data of this step. It depends on seed and step alone, so a resumed run sees the same."""
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.steps_done)
        size, count = self.config.size, self.config.batch
        chosen = torch.randint(len(self.photos), (count,), generator=random).tolist()
        photos = torch.stack([self.photos.crop(i, size, random, CONTENT_ZOOM) for i in chosen])
        draws = [self.library.draw(random) for _ in range(count)]
        works = torch.stack([self.library.crop(draw, size, random) for draw in draws])
        photos = self._swap_for_way_back(photos, draws, size, random)
        grey = torch.rand(count, generator=random) < GREY_SHARE
        targets = [self.library.target(d, g) for d, g in zip(draws, grey.tolist(), strict=True)]
        window = _random_window(size, random)
        if torch.rand((), generator=random) < MIRRORED_SHARE:
            photos = reflect_pad(window(photos), *[BORDER // 2] * 4)
            window = _central_window(size)
        return Batch(
            photos.to(self.device).contiguous(memory_format=torch.channels_last),
            works.to(self.device).contiguous(memory_format=torch.channels_last),
            torch.cat([self.library.mean_vector(draw.works) for draw in draws]).to(self.device),
            StyleStatistics.concatenate(targets).to(self.device),
            grey.to(self.device),
            window,
            random,
        )

    def _swap_for_way_back(
        self, photos: Tensor, draws: list[StyleDraw], size: int, random: torch.Generator
    ) -> Tensor:
        """Where the style drawn is *photograph*, paint from a work: the way back."""
        for i, draw in enumerate(draws):
            if draw.group == PHOTOGRAPH:
                photos[i] = self.library.crop(self.library.draw(random), size, random)
        return photos

    def _generator_terms(
        self, batch: Batch, painted: Tensor, codes: Tensor, judged: bool
    ) -> dict[str, tuple[float, Tensor]]:
        """The terms of the objective with their weights at this step; terms without weight are left out."""
        weights, config = self.config.weights, self.config
        photos = batch.window(batch.photos)
        features = self.loss_network(_without_colour(painted, batch.grey))
        with torch.no_grad():
            content = self.loss_network(_without_colour(photos, batch.grey))
            tone = losses.tone_target(photos, batch.targets.tones)
        ramp = min(1.0, (self.steps_done + 1) / max(1.0, config.style_ramp * config.steps))
        terms = {
            "content": (weights.content, content_term(features, content)),
            "style": (weights.style * ramp, self._style_term(features, batch.targets)),
            "tone": (weights.tone, losses.tone_loss(painted, tone)),
            "edge": (weights.edge, losses.edge_loss(painted, photos)),
            "tv": (weights.tv, losses.flat_variation(painted, photos)),
        }
        if weights.identity:
            terms["identity"] = (weights.identity, self._identity_term(batch))
        if judged:
            terms["adversarial"] = (weights.adversarial, self._adversarial_term(painted, codes))
        return terms

    def _style_term(self, features: Features, targets: StyleStatistics) -> Tensor:
        """Gram and moment losses, mean over layers."""
        parts = []
        for name, x in features.items():
            parts.append(losses.gram_loss(x, targets.grams[name]))
            parts.append(losses.moment_loss(x, *targets.moments[name], *self.spreads[name]))
        return torch.stack(parts).sum() / len(features)

    def _identity_term(self, batch: Batch) -> Tensor:
        """A photograph in its own style stays as it is; one picture of the batch is enough."""
        photo = batch.photos[:1]
        back, _ = self.painter(photo, self._own_vector(photo))
        return losses.identity_loss(batch.window(back), batch.window(photo))

    def _cycle_term(self, batch: Batch, painted: Tensor) -> Tensor:
        """Two of the painted pictures, turned back into the photographs that they were."""
        photos = batch.photos[:2]
        back, _ = self.painter(painted[:2], self._own_vector(photos))
        return losses.cycle_loss(batch.window(back), batch.window(photos))

    def _own_vector(self, photo: Tensor) -> Tensor:
        with torch.no_grad():
            return moments_vector(self.encoder_network(photo, ENCODER_LAYERS))

    def _adversarial_term(self, painted: Tensor, codes: Tensor) -> Tensor:
        """Realism and style score of the painted pictures, mean over scales."""
        self.discriminator.requires_grad_(False)
        features = self.discriminator.features(painted)
        scores = self.discriminator.realism_scores(features)
        scores += self.discriminator.style_scores(features, codes.detach())
        self.discriminator.requires_grad_(True)
        return losses.mean_over_scales(
            [losses.adversarial_loss(score, self.config.adversarial_form) for score in scores]
        )

    def _discriminator_step(self, batch: Batch, painted: Tensor, codes: Tensor) -> Terms:
        """Real works against painted pictures; for style also against real works with another's code."""
        form, judge = self.config.adversarial_form, self.discriminator
        real = _translate(batch.window(batch.works), batch.random)
        fake, codes = _translate(painted, batch.random), codes.float()
        with self.autocast():
            of_real, of_fake = judge.features(real), judge.features(fake)
            realism = zip(judge.realism_scores(of_real), judge.realism_scores(of_fake), strict=True)
            style = zip(
                judge.style_scores(of_real, codes),
                judge.style_scores(of_fake, codes),
                judge.style_scores(of_real, codes.roll(1, 0)),
                strict=True,
            )
            parts = [losses.discriminator_loss(r, f, form) for r, f in realism]
            for own, faked, other in style:
                negatives = torch.cat([faked, other])
                parts.append(losses.discriminator_loss(own, negatives, form))
        loss = losses.mean_over_scales(parts)
        self._update(self.discriminator_adam, self.scalers[1], loss, judge)
        return {"discriminator": loss.item()}

    def _update(
        self, adam: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: Tensor, network: nn.Module
    ) -> None:
        adam.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(adam)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.config.clip)
        # A step with a non-finite gradient would ruin the weights for good; leave it out.
        if torch.isfinite(norm):
            scaler.step(adam)
        scaler.update()

    def _update_ema(self) -> None:
        """Average of the weights, shorter at first so that the start is forgotten."""
        decay = min(self.config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        with torch.no_grad():
            ours, theirs = dict(self.painter.named_parameters()), dict(self.ema.named_parameters())
            for name, ours_now in ours.items():
                theirs[name].lerp_(ours_now, 1 - decay)

    def _set_rates(self) -> None:
        """Cosine from the configured rates to their `final_rate` share."""
        done = min(1.0, self.steps_done / self.config.steps)
        share = self.config.final_rate + (1 - self.config.final_rate) * (1 + math.cos(math.pi * done)) / 2
        warm = min(1.0, (self.steps_done + 1) / 50)
        for adam, rate in (
            (self.generator_adam, self.config.generator_rate),
            (self.discriminator_adam, self.config.discriminator_rate),
        ):
            for group in adam.param_groups:
                group["lr"] = rate * share * warm

    # -- checkpoints ------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on, atomically, as safetensors."""
        tensors: dict[str, Tensor] = {}
        for part in ("painter", "ema", "discriminator"):
            tensors |= {f"{part}.{k}": v for k, v in getattr(self, part).state_dict().items()}
        for part in ("generator_adam", "discriminator_adam"):
            for index, state in getattr(self, part).state_dict()["state"].items():
                tensors |= {f"{part}.{index}.{k}": v for k, v in state.items()}
        tensors["loss_scales"] = torch.tensor([scaler.get_scale() for scaler in self.scalers])
        metadata = {"steps_done": str(self.steps_done), "config": to_json(self.config)}
        with atomic_path(path) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Networks of another shape raise StylizeError."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            self.steps_done = int(file.metadata()["steps_done"])
        try:
            for part in ("painter", "ema", "discriminator"):
                getattr(self, part).load_state_dict(_part(tensors, part))
        except RuntimeError as error:
            raise StylizeError(
                f"{path} belongs to a run with other networks; choose another run folder."
            ) from error
        for part in ("generator_adam", "discriminator_adam"):
            adam = getattr(self, part)
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _part(tensors, part).items():
                index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
            adam.load_state_dict({**adam.state_dict(), "state": state})
        for scaler, scale in zip(self.scalers, tensors["loss_scales"].tolist(), strict=True):
            scaler.load_state_dict({**scaler.state_dict(), "scale": scale})


def content_term(features: Features, content: Features) -> Tensor:
    """Content loss, weighted mean over `CONTENT_LAYERS`."""
    parts = [share * losses.content_loss(features[k], content[k]) for k, share in CONTENT_LAYERS.items()]
    return torch.stack(parts).sum() / sum(CONTENT_LAYERS.values())


def _random_window(size: int, random: torch.Generator) -> Window:
    """A window of size - BORDER, at a random place: a fixed one would still betray the border."""
    side = size - BORDER
    top, left = torch.randint(0, BORDER + 1, (2,), generator=random).tolist()
    return lambda pictures: pictures[..., top : top + side, left : left + side]


def _central_window(size: int) -> Window:
    """The same size, in the middle."""
    inner = slice(BORDER // 2, size - BORDER // 2)
    return lambda pictures: pictures[..., inner, inner]


def _without_colour(pictures: Tensor, grey: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) with the luminance for all three channels where `grey` (N,) says so."""
    return torch.where(grey.view(-1, 1, 1, 1), luminance(pictures), pictures)


def _spreads(statistics: StyleStatistics) -> dict[str, tuple[Tensor, Tensor]]:
    """Per layer, how far the moments differ over all works: the unit of the moment loss."""
    result = {}
    for name, moments in statistics.moments.items():
        spreads = [part.std(0) for part in moments]
        result[name] = tuple(spread + 0.1 * spread.mean() + 1e-6 for spread in spreads)
    return result


def _translate(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Shift each picture by up to 1/8, filling with black: DiffAugment's translation.

    Zhao et al., 2020 (arXiv:2006.10738). No colour change: the palette is style.
    """
    size = pictures.shape[-1]
    most = size // 8
    padded = nn.functional.pad(pictures, (most, most, most, most))
    places = torch.randint(0, 2 * most + 1, (len(pictures), 2), generator=random).tolist()
    return torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, places, strict=True)])


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = name + "."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
