"""Works in colours that none of them has, for an encoder that must read palettes it never met.

    python weights/vary_works.py --works $DATA/style --out runs/varied

Some works of each group that the base learns from: their hues are turned by one angle, colours made stronger
or weaker, tones bent, and all of it tinted. Strokes stay as they are.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = {
    "ink-wash": 10, "ukiyo-e": 14, "van-gogh": 16, "impressionist": 12, "engraving-dore": 12,
    "byzantine-mosaic": 16, "chinese-blue-green": 10, "persian-mughal-miniature": 18,
}  # fmt: skip
"""Folder -> how many of its works."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def turned(angle: float) -> np.ndarray:
    """The matrix (3, 3) that turns colours about the axis of greys (Rodrigues' formula)."""
    x = y = z = 3**-0.5
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def varied(work: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A work (H, W, 3) in [0, 1] in other colours."""
    light = work @ _LUMINANCE
    colour = (work - light[..., None]) @ turned(random.uniform(0.6, 5.7)).T * random.uniform(0.4, 1.5)
    darkest, lightest = random.uniform(0, 0.2), random.uniform(0.8, 1)
    light = darkest + (lightest - darkest) * light ** np.exp(random.uniform(-0.5, 0.5))
    tint = random.uniform(-0.12, 0.12, 3)
    return (light[..., None] + colour + tint - tint.mean()).clip(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--works", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    random = np.random.default_rng(5)
    options.out.mkdir(parents=True, exist_ok=True)
    for group, count in COUNTS.items():
        files = sorted((options.works / group).glob("*.jpg"))
        for index in sorted(random.choice(len(files), min(count, len(files)), replace=False)):
            work = np.asarray(Image.open(files[index]).convert("RGB"), np.float32) / 255
            result = Image.fromarray((varied(work, random) * 255).round().astype(np.uint8))
            result.save(options.out / f"{group}-{files[index].stem}.jpg", quality=92)


if __name__ == "__main__":
    main()
