"""What every training by turns shares: two players, a moving average, learning rates, checkpoints."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stylize import parallel
from stylize.config import GameConfig, to_json
from stylize.errors import StylizeError, UsageError
from stylize.files import write_tensors
from stylize.health import Health
from stylize.validation import Validation

CPU = torch.device("cpu")

Terms = dict[str, float]


class Kept(Protocol):
    """Something with a state of tensors."""

    def tensors(self) -> dict[str, Tensor]:
        """The state."""
        ...

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the state on."""
        ...


_WARM_UP = 50
"""Steps over which the learning rates rise from nothing."""


class Player:
    """One side of the game: a network and its Adam (Kingma & Ba, 2014, arXiv:1412.6980).

    A turn is `begin`, `add` for each batch, `end`.
    """

    def __init__(
        self, network: nn.Module, rate: float, clip: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.network = network
        self.rate = rate
        self.clip = clip
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, rate, betas=(0.5, 0.99))
        # fp16 gradients underflow unless the loss is scaled; for other precisions this does nothing.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def begin(self, share: float) -> None:
        """Start a turn at a share of the learning rate."""
        for group in self.adam.param_groups:
            group["lr"] = self.rate * share
        self.adam.zero_grad(set_to_none=True)

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def end(self) -> float:
        """Move the weights; returns the norm of the gradient. A gradient that is not finite moves nothing:
        it would ruin the weights for good."""
        parallel.average_gradients(self.parameters)
        self.scaler.unscale_(self.adam)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if torch.isfinite(norm):
            self.scaler.step(self.adam)
        self.scaler.update()
        return norm.item()

    def tensors(self) -> dict[str, Tensor]:
        """The state of network, optimiser and scaler."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, state in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in state.items()}
        return tensors | {"scale": torch.tensor(self.scaler.get_scale())}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on such a state. RuntimeError if it is that of another network."""
        self.network.load_state_dict(part(tensors, "network"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part(tensors, "adam").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        self.adam.load_state_dict({**self.adam.state_dict(), "state": state})
        self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": tensors["scale"].item()})


class Game(ABC):
    """A training run in memory. `step` advances it; `save` and `load` keep it exact.

    What a step computes depends on the weights, the seed and the step's number alone.
    """

    def __init__(self, config: GameConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self.health = Health()
        self.steps_done = 0
        self.players: dict[str, Player] = {}
        self.averages: dict[str, tuple[nn.Module, nn.Module]] = {}
        """Networks that follow others as an exponential moving average: name -> (follower, leader)."""
        self.kept: dict[str, Kept] = {}
        """What else a checkpoint has to hold."""

    @property
    @abstractmethod
    def data(self) -> str:
        """A digest of all that is learnt from."""

    @abstractmethod
    def validate(self) -> Validation:
        """What the averaged network can do by now."""

    @abstractmethod
    def _take_turns(self) -> Terms:
        """One turn of the generator and those of the discriminator."""

    def step(self) -> Terms:
        """One step of the run: its terms, mean over all processes."""
        terms = parallel.average(self._take_turns(), self.device)
        self._follow()
        self.steps_done += 1
        self.health.watch(self.steps_done, terms)
        return terms

    def player(self, network: nn.Module, rate: float) -> Player:
        """A player of this run, by its settings."""
        return Player(network, rate, self.config.clip, self.device, self.dtype)

    def autocast(self) -> torch.autocast:
        """The run's mixed precision; fp32 switches it off."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        return min(1.0, self.steps_done / self.config.steps)

    def rate_share(self) -> float:
        """The learning rates fall along a cosine, after a short rise."""
        final = self.config.final_rate
        share = final + (1 - final) * (1 + math.cos(math.pi * self.progress)) / 2
        return share * self.warm_up()

    def warm_up(self) -> float:
        """Rises from 0 to 1 over the first steps."""
        return min(1.0, (self.steps_done + 1) / _WARM_UP)

    def samples(self, part: int) -> range:
        """The numbers, within a step, of the samples in its batch `part` of this process."""
        first = (part * parallel.count() + parallel.rank()) * self.config.batch
        return range(first, first + self.config.batch)

    @torch.no_grad()
    def _follow(self) -> None:
        """Exponential moving average of the weights, shorter at first so that the start is forgotten."""
        decay = min(self.config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        for follower, leader in self.averages.values():
            followers = dict(follower.named_parameters())
            for name, now in leader.named_parameters():
                followers[name].lerp_(now, 1 - decay)

    # -- checkpoints ------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on, atomically, as safetensors.

        StylizeError if there is no room for it: an older checkpoint stays as it is.
        """
        tensors: dict[str, Tensor] = {}
        for name, player in self.players.items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in player.tensors().items()}
        for name, (follower, _) in self.averages.items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in follower.state_dict().items()}
        for name, kept in self.kept.items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in kept.tensors().items()}
        metadata = {
            "steps_done": str(self.steps_done), "config": to_json(self.config), "data": self.data,
            "health": json.dumps(self.health.state()),
        }  # fmt: skip
        try:
            write_tensors(path, tensors, metadata)
        except (OSError, SafetensorError) as error:
            raise StylizeError(
                f"Cannot write the checkpoint {path} ({error}); make room and run the same command again: "
                "it goes on from the checkpoint before."
            ) from error

    def load(self, path: Path, changed: bool = False) -> None:
        """Go on from a checkpoint. Settings or data that have changed since raise UsageError, unless
        `changed` allows them; networks of another shape raise StylizeError."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                metadata: dict[str, str] = file.metadata()
        except (OSError, SafetensorError) as error:
            raise StylizeError(f"Cannot read the checkpoint {path}: {error}; delete it to go on.") from error
        try:
            before, data = json.loads(metadata["config"]), metadata["data"]
            steps_done, health = int(metadata["steps_done"]), Health()
            health.load_state(json.loads(metadata["health"]))
            if steps_done < 0:
                raise ValueError("no number of steps")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StylizeError(
                f"What the checkpoint {path} says of itself is damaged; delete it to go on from the one "
                "before."
            ) from error
        if not changed:
            self._compare(path, before, data)
        try:
            for name, player in self.players.items():
                player.load(part(tensors, name))
            for name, (follower, _) in self.averages.items():
                follower.load_state_dict(part(tensors, name))
            for name, kept in self.kept.items():
                kept.load(part(tensors, name))
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise StylizeError(
                f"{path} belongs to a run with other networks; choose another run folder with -o."
            ) from error
        self.steps_done, self.health = steps_done, health

    def _compare(self, path: Path, before: Any, data: str) -> None:
        """Would going on be the same run?"""
        other = [
            f"{k} {was} -> {new}" for k, was, new in differences(before, json.loads(to_json(self.config)))
        ]
        if data != self.data:
            other.append("other works or photographs")
        if other:
            raise UsageError(
                f"The run in {path.parent} was begun with other settings ({', '.join(other)}): give those, "
                "or another -o, or --changed to go on with the new ones."
            )


def differences(before: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """The (name, value before, value now) in which two settings, as JSON values, differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted({*before, *now})
        return [d for key in names for d in differences(before.get(key), now.get(key), key)]
    return [] if before == now else [(name, before, now)]


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    prefix = name + "."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
