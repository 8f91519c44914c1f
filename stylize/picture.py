"""What a picture is here: pixels, transparency, metadata, and frames if it moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from stylize.tensors import to_8_bits


@dataclass(frozen=True)
class Motion:
    """The frames of an animation, all of one size, and when they are shown."""

    frames: tuple["Picture", ...]
    durations: tuple[float, ...]
    """How long each frame stays, in milliseconds."""
    plays: int
    """How often the animation is shown; 0: without end."""


@dataclass(frozen=True)
class Picture:
    """An upright sRGB picture: RGB (3, H, W) and, if it has one, alpha (H, W); and its metadata.

    Both are uint8, or both are uint16 if the file had 16 bits. The three values of a pixel lie side by
    side in memory, as in files: no copy is needed either way. Of an animation, these are the first frame.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    exif: bytes = b""
    xmp: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Captions and comments by their PNG keyword; the comment of a JPEG or GIF is "Comment"."""
    profile: bytes = b""
    """The ICC profile that the file is written in, by converting from sRGB; without one, sRGB untagged."""
    dpi: tuple[float, float] | None = None
    grey: bool = False
    """Was it a grey picture, or shall it be written as one?"""
    motion: Motion | None = None
    remark: str = ""
    """A sentence for the user about what of the file could not be read."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.shape[2], self.rgb.shape[1]

    def still(self) -> "Picture":
        """The first frame alone."""
        return replace(self, motion=None)

    def simple(self) -> "Picture":
        """One frame, 8 bits, to be written in colour."""
        alpha = None if self.alpha is None else to_8_bits(self.alpha)
        return replace(self, rgb=to_8_bits(self.rgb), alpha=alpha, grey=False, motion=None)
