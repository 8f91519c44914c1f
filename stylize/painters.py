"""What learns to paint in a training run: the whole base, or a single style on top of it.

Both take pictures and the moment vectors of the styles wanted, and return paintings and codes.
"""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stylize.adapters import Adapters
from stylize.config import GeneratorConfig
from stylize.encoder import StyleEncoder, moments_size
from stylize.generator import Generator
from stylize.model import Base


class Painter(nn.Module):
    """Generator and style encoder, both of which learn."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.generator = Generator(config)
        self.encoder = StyleEncoder(moments_size(), config.code_size)

    @staticmethod
    def from_scratch(config: GeneratorConfig, vectors: Tensor) -> "Painter":
        """Random weights; the encoder is calibrated on the moment vectors (N, D) of the works."""
        painter = Painter(config)
        painter.encoder.calibrate(vectors)
        return painter

    @staticmethod
    def from_base(base: Base) -> "Painter":
        """The weights of a base, to go on learning."""
        painter = Painter(base.generator.config)
        painter.generator.load_state_dict(base.generator.state_dict())
        painter.encoder.load_state_dict(base.encoder.state_dict())
        return painter

    def forward(self, picture: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Paint (N, 3, H, W) in the style of moment vectors (N, D); also return the codes."""
        code = self.encoder(vector)
        return self.generator(picture, self.generator.expand(code)), code


class StylePainter(nn.Module):
    """One style on a base that stays as it is: its code, offsets and adapters learn.

    `offsets`, one per scale and shift of the generator, and `adapters`, for its kernels, reach styles that
    no code expands to. They start at nothing, and the code where the encoder guesses it for the works.
    """

    def __init__(self, base: Base, vector: Tensor, rank: int = 0) -> None:
        """`rank` is that of the adapters; 0 leaves them out."""
        super().__init__()
        self.generator = copy.deepcopy(base.generator).requires_grad_(False)
        self.encoder = copy.deepcopy(base.encoder).requires_grad_(False)
        with torch.no_grad():
            self.code = nn.Parameter(self.encoder(vector))
        self.offsets = nn.Parameter(torch.zeros(1, self.generator.offsets_size))
        self.adapters = Adapters.for_generator(self.generator, rank) if rank else None

    def style_code(self) -> Tensor:
        """Code and offsets side by side, as style files hold them: (1, code_size + offsets_size)."""
        return torch.cat([self.code, self.offsets], dim=1)

    def forward(self, picture: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Paint (N, 3, H, W) in the style that is learnt, whatever vector is given."""
        code, generator = self.style_code(), self.generator
        modulation = generator.expand(code.expand(len(picture), -1))
        if self.adapters is None:
            painted = generator(picture, modulation)
        else:
            kernels = generator.changed_kernels(torch.cat([code, self.adapters.changes()], dim=1))
            painted = functional_call(generator, kernels, (picture, modulation))
        return painted, self.code.expand(len(picture), -1)
