"""The exact slow method: the pixels themselves are optimised until content and style fit.

Gatys et al., 2016 (arXiv:1508.06576), from coarse to fine (Gatys et al., 2017, arXiv:1611.07865), on the
bundled perceptual network or a VGG19.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stylize import losses
from stylize.errors import StylizeError
from stylize.files import write_tensors
from stylize.perceptual import Features, LossNetwork
from stylize.statistics import gram_matrix
from stylize.tensors import to_float, to_uint8

Init = Literal["content", "noise", "fast"]
Optimiser = Literal["lbfgs", "adam"]

CONTENT_LAYERS = ("relu3_4", "relu4_1")
COARSEST = 192
"""Shorter side in pixels of the coarsest scale, about."""

_FIRST_MOVE = 0.004
"""How far the first step of L-BFGS moves each value of the picture, on average: one level in 256."""

_RANGE = 300.0
"""Weight of the squares of what lies outside [0, 1]. Without it papers are painted whiter than white, and a
third of the gain is lost when the result is cut off."""

_TRIALS = 12
"""Looks that the line search of L-BFGS may take in a step; torch gives it none when steps are single."""

_KEPT_EVERY = 10
"""Steps between two times that the picture so far is kept."""

_COARSE_SHARE = 0.6
"""Each coarser scale gets more steps: they are cheaper, and large forms are decided there."""


@dataclass(frozen=True)
class OptimiseSettings:
    """How much of what, and for how long."""

    steps: int = 150
    """In all, shared out among the scales."""
    content: float = 1.0
    style: float = 4.0
    tv: float = 0.5
    optimiser: Optimiser = "lbfgs"
    rate: float = 0.02
    """Learning rate of Adam, as a share of the range of values; L-BFGS searches along its lines."""
    scales: int = 3


@dataclass
class Progress:
    """Where an optimisation stands: the scale, the step within it, and the picture (1, 3, h, w) in [0, 1]."""

    scale: int
    step: int
    picture: Tensor
    loss: float = float("nan")
    terms: dict[str, float] = field(default_factory=dict)


class Objective:
    """Content, style, total variation, and what lies beyond black and white, at one scale."""

    def __init__(
        self,
        photo: Tensor,
        styles: Sequence[tuple[Tensor, float]],
        settings: OptimiseSettings,
        network: LossNetwork,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        """Photograph (1, 3, H, W) and works (1, 3, h, w) in [0, 1], these with weights that sum to 1."""
        self.settings = settings
        self.network = network
        self.autocast = autocast
        with torch.no_grad(), autocast():
            self.content = {name: x.float() for name, x in network(photo).items() if name in CONTENT_LAYERS}
            grams = [({k: gram_matrix(x) for k, x in network(work).items()}, w) for work, w in styles]
        self.grams = {name: sum_of(gram[name] * w for gram, w in grams) for name in grams[0][0]}

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """The weighted terms."""
        with self.autocast():
            features: Features = self.network(picture)
        s = self.settings
        content = [losses.content_loss(features[name], x) for name, x in self.content.items()]
        style = [losses.gram_loss(features[name], gram) for name, gram in self.grams.items()]
        return {
            "content": s.content * torch.stack(content).mean(),
            "style": s.style * torch.stack(style).mean(),
            "tv": s.tv * losses.total_variation(picture),
            "range": _RANGE * (picture - picture.clamp(0, 1)).square().mean(),
        }


def sum_of(tensors: Iterator[Tensor]) -> Tensor:
    """The sum of some tensors of one shape."""
    return torch.stack(list(tensors)).sum(0)


def sizes_of(height: int, width: int, scales: int) -> list[tuple[int, int]]:
    """The sizes from coarse to fine, no side below 64; the last is the picture's, if that allows it."""
    shorter = min(height, width)
    ratio = min(1.0, COARSEST / shorter)
    count = 1 if ratio == 1 else scales
    factors = [ratio ** (1 - i / max(1, count - 1)) for i in range(count)] if count > 1 else [1.0]
    return [(max(64, round(height * f)), max(64, round(width * f))) for f in factors]


def steps_of(total: int, scales: int) -> list[int]:
    """The steps of each scale, most for the coarsest, at least one each."""
    shares = [_COARSE_SHARE**i for i in range(scales)]
    return [max(1, round(total * share / sum(shares))) for share in shares]


def optimise(
    photo: Tensor,
    start: Tensor,
    styles: Sequence[tuple[Tensor, float]],
    settings: OptimiseSettings,
    network: LossNetwork,
    device: torch.device,
    dtype: torch.dtype,
    state: Path | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Tensor:
    """Optimise from `start`, both uint8 (3, H, W), towards the works in `styles` (uint8, with weights).

    With `state`, the picture so far is kept in that file after the first step, after each scale and every ten
    steps, before `on_step` hears of it, and taken up again. StylizeError if it belongs to another picture,
    other works or settings.
    """
    identity = _identity(photo, styles, settings, network)
    whole, works = to_float(photo)[None].to(device), [(to_float(w)[None].to(device), x) for w, x in styles]
    height, width = photo.shape[1:]
    sizes = sizes_of(height, width, settings.scales)
    plan = steps_of(settings.steps, len(sizes))
    done = _load(state, sizes, identity) or Progress(0, 0, _at(to_float(start)[None], sizes[0]))
    shorter = min(height, width)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

    for scale in range(done.scale, len(sizes)):
        if scale > done.scale or done.picture.shape[-2:] != sizes[scale]:
            done = Progress(scale, 0, _at(done.picture, sizes[scale]))
        # Strokes are as broad, in pixels, as the works show them at this scale.
        share = min(sizes[scale]) / shorter
        seen = [(_reduced(work, share * shorter), weight) for work, weight in works]
        objective = Objective(_at(whole, sizes[scale]), seen, settings, network, autocast)
        begun = done
        for done in _descend(objective, begun, plan[scale] - begun.step, settings, device):
            if state is not None and (
                done.step == 1 or done.step % _KEPT_EVERY == 0 or done.step == plan[scale]
            ):
                _save(state, done, identity)
            on_step(done)
    return to_uint8(_at(done.picture, (height, width))[0].cpu())


def _descend(
    objective: Objective, start: Progress, steps: int, settings: OptimiseSettings, device: torch.device
) -> Iterator[Progress]:
    """Steps of the optimiser at one scale. StylizeError when the loss is no longer finite.

    L-BFGS begins with a step of 1 in all, summed over the values: it is given the picture in units in which
    that moves each of them by `_FIRST_MOVE`; one far below it would drown in the rounding of the loss. And
    it may leave [0, 1] on its way, at a cost: cut off, values would no longer be where its curvature says.
    """
    by_adam = settings.optimiser == "adam"
    unit = 1.0 if by_adam else _FIRST_MOVE * start.picture.numel()
    looks = _Looks(objective, start.picture.to(device), unit)
    adam = torch.optim.Adam([looks.values], settings.rate)
    lbfgs = torch.optim.LBFGS(
        [looks.values], max_iter=1, max_eval=_TRIALS, history_size=20, line_search_fn="strong_wolfe"
    )
    optimiser = adam if by_adam else lbfgs
    for step in range(steps):
        looks.terms.clear()
        optimiser.step(looks)  # pyright: ignore[reportArgumentType] - torch wants a tensor from it
        if by_adam:
            with torch.no_grad():
                looks.values.clamp_(0, 1)
        # The first is where the step began; the last may be a trial that the search did not take.
        terms = {name: term.item() for name, term in looks.terms[0].items()}
        loss = sum(terms.values())
        if not math.isfinite(loss):
            raise StylizeError("The loss is not finite any more; try --dtype fp32 or smaller weights.")
        yield Progress(start.scale, start.step + step + 1, looks.values.detach() * unit, loss, terms)


class _Looks:
    """The closure of an optimiser: the loss where `values`, times `unit`, are, and its gradient.

    L-BFGS asks again at the start of a step what it was told at the end of the one before, which costs as
    much as the step itself: the last answer is kept.
    """

    def __init__(self, objective: Objective, picture: Tensor, unit: float) -> None:
        self.objective, self.unit = objective, unit
        self.values = (picture / unit).contiguous().requires_grad_(True)
        self.terms: list[dict[str, Tensor]] = []
        """What was found since this was last cleared."""
        self._last: tuple[Tensor, Tensor, dict[str, Tensor]] | None = None

    def __call__(self) -> Tensor:
        if self._last is None or not torch.equal(self._last[0], self.values):
            self._last = self._look()
        _, self.values.grad, terms = self._last
        self.terms.append(terms)
        return torch.stack(list(terms.values())).sum()

    def _look(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Where it looked, and the gradient and the terms there."""
        with torch.enable_grad():
            terms = self.objective(self.values * self.unit)
            (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), self.values)
        return self.values.detach().clone(), gradient, {name: term.detach() for name, term in terms.items()}


def _at(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture at a size."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True).clamp(0, 1)


def _reduced(work: Tensor, shorter: float) -> Tensor:
    """A work with about this shorter side, never enlarged, at least 64 pixels."""
    side = min(work.shape[-2:])
    factor = max(64.0, min(shorter, side)) / side
    height, width = (max(64, round(length * factor)) for length in work.shape[-2:])
    return _at(work, (height, width))


def _identity(
    photo: Tensor,
    styles: Sequence[tuple[Tensor, float]],
    settings: OptimiseSettings,
    network: LossNetwork,
) -> str:
    """A digest of all that is optimised towards; there may be more steps, or fewer."""
    facts = replace(settings, steps=0), [weight for _, weight in styles], network.vgg is not None
    digest = hashlib.sha256(repr(facts).encode())
    for picture in (photo, *(work for work, _ in styles)):
        digest.update(f"{tuple(picture.shape)}".encode() + picture.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(path: Path, progress: Progress, identity: str) -> None:
    metadata = {"scale": str(progress.scale), "step": str(progress.step), "identity": identity}
    write_tensors(path, {"picture": progress.picture.cpu()}, metadata)


def _load(path: Path | None, sizes: Sequence[tuple[int, int]], identity: str) -> Progress | None:
    """What was kept, if anything."""
    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            scale, step = int(metadata["scale"]), int(metadata["step"])
            if min(scale, step) < 0 or file.get_slice("picture").get_shape() != [1, 3, *sizes[scale]]:
                raise ValueError("another size")
            if metadata["identity"] != identity:
                raise ValueError("another picture")
            return Progress(scale, step, file.get_tensor("picture"))
    except (SafetensorError, OSError, KeyError, ValueError, IndexError) as error:
        raise StylizeError(
            f"{path} was kept for other pictures or settings, or is damaged; delete it to begin anew."
        ) from error
