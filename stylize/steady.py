"""Painting the frames of an animation alike, so that the look does not flicker.

Frame by frame, a network with instance norm answers to everything that moves: a bird that enters changes
the mean of the picture, and the whole sky is painted anew. Here the statistics that the norms divide by,
the grid that attention looks at and the style's code are taken from all frames together and then held:
what stands still is painted the same in every frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stylize.generator import mix_codes
from stylize.mixing import faded
from stylize.strokes import Stroke
from stylize.stylizer import Stylizer
from stylize.tiling import Recording

_FRAMES = 8
_PIXELS = 16_000_000
"""So many frames, and so many of their pixels, speak for the whole animation."""


class SteadyStylizer:
    """A stylizer for the frames of one animation, all of one size and depth; paints like `Stylizer`."""

    def __init__(self, stylizer: Stylizer, frames: Sequence[Tensor]) -> None:
        self.stylizer = stylizer
        self.samples = samples_of(frames)
        self._seen: list[tuple[Tensor, float, Tensor, list[Recording]]] = []

    def paint(self, picture: Tensor, code: Tensor, stroke: Stroke, strength: float = 1.0) -> Tensor:
        """Paint one frame, uint8 or uint16 (3, H, W), in the style of a code (1, code_size)."""
        if strength == 0:
            return picture
        stroke = stroke.at(strength)
        mixed, seen = self._held(code, stroke, strength)
        painted = self.stylizer.paint_batch([picture], mixed, stroke, seen)[0].rgb
        return faded(painted, picture, strength)

    def _held(self, code: Tensor, stroke: Stroke, strength: float) -> tuple[Tensor, list[Recording]]:
        """The code and the statistics for all frames; a look has two or three codes, so all are kept."""
        for known, its_strength, mixed, seen in self._seen:
            if its_strength == strength and torch.equal(known, code):
                return mixed, seen
        mixed = code
        if strength != 1:
            own = torch.stack([self.stylizer.encode(frame) for frame in self.samples]).mean(dim=0)
            mixed = mix_codes([own, code], [1 - strength, strength])
        seen = self.stylizer.look_over(self.samples, mixed, stroke)
        self._seen.append((code, strength, mixed, seen))
        return mixed, seen


def samples_of(frames: Sequence[Tensor]) -> list[Tensor]:
    """A few frames (3, H, W), evenly spread over the animation, that speak for all."""
    affordable = max(1, _PIXELS // (frames[0].shape[1] * frames[0].shape[2]))
    count = min(len(frames), _FRAMES, affordable)
    return [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]
