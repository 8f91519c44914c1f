"""A limit on one loss in the place of its weight, which follows it."""

import math

import torch
from torch import Tensor

_PACE = 0.05
"""How fast the weight follows: a loss a tenth above its limit raises it by a half in a hundred steps."""

_FARTHEST = 4.0
"""The most by which the weight grows, or shrinks."""


class Budget:
    """Keeps a loss at a multiple of what it was at the start, by a factor on its weight.

    Dual ascent on a Lagrange multiplier (Platt & Barr, 1987): above the limit the factor grows, below it it
    shrinks and leaves the other losses more room. Its state belongs into checkpoints.
    """

    def __init__(self, multiple: float) -> None:
        self.multiple = multiple
        self.factor = 1.0
        self.start: float | None = None
        """The loss at the start, once it is measured."""

    def watch(self, loss: float) -> None:
        """Hear of the loss in a step. One that is not finite says nothing."""
        if self.start and math.isfinite(loss):
            grown = self.factor * math.exp(_PACE * (loss / self.start - self.multiple))
            self.factor = min(_FARTHEST, max(1 / _FARTHEST, grown))

    def tensors(self) -> dict[str, Tensor]:
        """The state."""
        return {"state": torch.tensor([self.factor, self.start or 0.0], dtype=torch.float64)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the state on."""
        self.factor, start = tensors["state"].tolist()
        self.start = start or None
