"""What becomes of each pixel from one frame of a film to the next: optical flow, and where to trust it.

DIS flow (Kroeger et al., 2016, arXiv:1603.03590) as OpenCV has it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

_SIDE = 1280
"""Longer side in pixels at which flow is computed: larger frames take too long and gain little."""

_SMALLEST = 16
"""Sides below which there is no pyramid to find flow in; it is then taken to be none."""

_SURE, _LOST = 6.0, 14.0
"""Grey levels by which a pixel's surroundings may differ from where they came from: up to the first, it is
the same thing; from the second on, something else."""
_SURROUNDINGS = 9

_CUT = 0.2
"""A frame of which less than this share can be found again in the one before begins a new scene."""


@dataclass(frozen=True)
class Change:
    """How a frame follows from the one before it."""

    same: bool = False
    """Is it the very same picture?"""
    places: np.ndarray | None = None
    """Where in the frame before each pixel was: (H, W, 2) of x and y. None at the start of a scene."""
    trust: np.ndarray | None = None
    """How sure that is, (H, W) in [0, 1]."""

    @property
    def cut(self) -> bool:
        """Does a new scene begin?"""
        return self.places is None and not self.same


def change(before: np.ndarray | None, now: np.ndarray) -> Change:
    """How a frame uint8 (H, W, 3) follows from the one before, if there is one."""
    if before is None:
        return Change()
    if np.array_equal(before, now):
        return Change(same=True)
    places = _places(before, now)
    trust = _trust(before, now, places)
    return Change(places=places, trust=trust) if trust.mean() >= _CUT else Change()


def carry(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) of the frame before, moved to where its pixels are now."""
    return _moved(picture, places, cv2.INTER_CUBIC)


def _moved(picture: np.ndarray, places: np.ndarray, interpolation: int) -> np.ndarray:
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return cv2.remap(picture, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _places(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    height, width = now.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [_grey(frame, size) for frame in (now, before)]
    flow = np.zeros((size[1], size[0], 2), np.float32)
    if min(size) >= _SMALLEST:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = dis.calc(small[0], small[1], flow)
    flow = cv2.resize(flow, (width, height)) * np.array([width / size[0], height / size[1]], np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return flow + np.stack([x, y], axis=-1)


def _grey(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def _trust(before: np.ndarray, now: np.ndarray, places: np.ndarray) -> np.ndarray:
    height, width = now.shape[:2]
    came = _moved(before, places, cv2.INTER_LINEAR)
    difference = cv2.absdiff(came, now).mean(axis=2, dtype=np.float32)
    around = cv2.blur(difference, (_SURROUNDINGS, _SURROUNDINGS))
    trust = np.clip((_LOST - around) / (_LOST - _SURE), 0, 1)
    x, y = places[..., 0], places[..., 1]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return trust * inside
