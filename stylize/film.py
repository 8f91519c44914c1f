"""Painting the frames of a clip as they come, alike, so that the look does not flicker.

As in `steady.py`, the statistics that the norms divide by, the grid that attention looks at and the style's
code must not jump with every bird that enters; but a clip has no end of frames, so here they follow the film
slowly. Strokes also dance where the camera moves: the network paints a shifted picture anew. So the painting
of the frame before is carried along with what moves, and the new one changes it only by degrees (as in Ruder
et al., 2016, arXiv:1604.08610, but without optimising). A cut begins everything anew.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stylize.flow import Change, carry
from stylize.generator import mix_codes
from stylize.mixing import faded
from stylize.strokes import Stroke
from stylize.stylizer import Stylizer
from stylize.tiling import Running

_SECONDS = 0.25
"""Time in which the statistics follow a film: much less than a scene lasts, much more than a frame."""

_KEPT = 0.5
"""The share of what was painted before, where it is sure to show the same: more would blur the strokes."""


@dataclass
class _Track:
    """What one of the codes of a look has painted so far. `asked` is the code and the strength asked for."""

    asked: tuple[Tensor, float]
    seen: list[Running] = field(default_factory=list)
    """The statistics of each pass."""
    own: Tensor | None = None
    """The mean code of the frames themselves, for strengths below 1."""
    latest: Tensor | None = None
    """The code of the last frame that was looked at for this."""
    since: float = 0.0
    """Seconds since then."""
    painted: Tensor | None = None
    """The last painting (3, H, W)."""


class FilmStylizer:
    """A stylizer for the frames of a clip as they come; paints like `Stylizer`, in constant memory.

    Before each frame, it is told by `follow` how the frame follows from the last one.
    """

    def __init__(self, stylizer: Stylizer) -> None:
        self.stylizer = stylizer
        self._tracks: list[_Track] = []
        self._change = Change()
        self._seconds = 0.0
        self._rate = 1.0

    def follow(self, change: Change, seconds: float) -> None:
        """The next frame follows in this way from the last one, and so many seconds after it."""
        self._change, self._seconds = change, max(seconds, 0.0)
        self._rate = 1.0 if change.cut else 1 - math.exp(-self._seconds / _SECONDS)

    def paint(self, picture: Tensor, code: Tensor, stroke: Stroke, strength: float = 1.0) -> Tensor:
        """Paint the frame, uint8 or uint16 (3, H, W), in the style of a code (1, code_size)."""
        if strength == 0:
            return picture
        track = self._track(code, strength)
        if self._change.same and track.painted is not None:
            return track.painted
        stroke = stroke.at(strength)
        track.seen = track.seen or [Running() for _ in stroke.sizes(*picture.shape[1:])]
        for running in track.seen:
            running.rate = self._rate
        mixed = self._mixed(track, picture, code, strength)
        painted = self.stylizer.paint_batch([picture], mixed, stroke, track.seen)[0].rgb
        painted = faded(painted, picture, strength)
        if track.painted is not None and not self._change.cut:
            painted = _carried_on(track.painted, painted, self._change)
        track.painted = painted
        return painted

    def _track(self, code: Tensor, strength: float) -> _Track:
        """What this code painted before; a look has two or three codes."""
        for track in self._tracks:
            if track.asked[1] == strength and torch.equal(track.asked[0], code):
                return track
        self._tracks.append(_Track((code, strength)))
        return self._tracks[-1]

    def _mixed(self, track: _Track, picture: Tensor, code: Tensor, strength: float) -> Tensor:
        if strength == 1:
            return code
        track.since += self._seconds
        if track.latest is None or self._change.cut or track.since >= _SECONDS:
            track.latest, track.since = self.stylizer.encode(picture), 0.0  # takes as long as painting
        track.own = track.latest if track.own is None else torch.lerp(track.own, track.latest, self._rate)
        return mix_codes([track.own, code], [1 - strength, strength])

    def tensors(self) -> dict[str, Tensor]:
        """All that later frames need to know of earlier ones, for `load`."""
        found = {}
        for i, track in enumerate(self._tracks):
            assert track.painted is not None
            code, strength = track.asked
            numbers = torch.tensor([strength, track.since], dtype=torch.float64)
            found |= {f"{i}.code": code, f"{i}.numbers": numbers, f"{i}.painted": track.painted}
            if track.own is not None and track.latest is not None:
                found |= {f"{i}.own": track.own, f"{i}.latest": track.latest}
            for number, running in enumerate(track.seen):
                for j, (variance, mean) in enumerate(running.moments):
                    found |= {f"{i}.{number}.variance.{j:03}": variance, f"{i}.{number}.mean.{j:03}": mean}
                found |= {f"{i}.{number}.grid.{j:03}": grid for j, grid in enumerate(running.grids)}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave. Raises KeyError if something is missing."""
        device = self.stylizer.device
        self._tracks = []
        while (name := str(len(self._tracks))) + ".code" in tensors:

            def series(kind: str, name: str = name) -> list[Tensor]:
                found = sorted(key for key in tensors if key.startswith(f"{name}.{kind}."))
                return [tensors[key].to(device) for key in found]

            strength, since = tensors[f"{name}.numbers"].tolist()
            track = _Track((tensors[f"{name}.code"], strength), since=since)
            track.painted = tensors[f"{name}.painted"]
            track.own, track.latest = tensors.get(f"{name}.own"), tensors.get(f"{name}.latest")
            while means := series(f"{len(track.seen)}.mean"):
                number, running = len(track.seen), Running()
                running.moments = list(zip(series(f"{number}.variance"), means, strict=True))
                running.grids = series(f"{number}.grid")
                track.seen.append(running)
            self._tracks.append(track)


def _carried_on(before: Tensor, painted: Tensor, change: Change) -> Tensor:
    """The new painting (3, H, W), where it shows what was there before only by degrees."""
    assert change.places is not None
    assert change.trust is not None
    moved = carry(np.ascontiguousarray(before.permute(1, 2, 0).numpy()), change.places)
    new = painted.permute(1, 2, 0)
    share = torch.from_numpy(_KEPT * change.trust).float()[..., None]
    mixed = torch.lerp(new.float(), torch.from_numpy(moved).float(), share)
    return mixed.round_().to(new.dtype).permute(2, 0, 1)
