"""Painting with a trained base: device, precision, tiles and memory; uint8 or uint16 pictures in and out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylize.devices import free_memory, out_of_memory
from stylize.encoder import ENCODER_LAYERS, REFERENCE_SIDE, moments_vector
from stylize.folding import FoldedGenerator
from stylize.fusing import paint_fused
from stylize.generator import STRIDE, mix_codes
from stylize.mixing import faded
from stylize.model import Base
from stylize.multiscale import paint_coarse_to_fine, resized, with_noise
from stylize.perceptual import CompactVGG, fit_to_network
from stylize.sources import Source
from stylize.strokes import Size, Stroke
from stylize.tensors import to_float
from stylize.tiling import Frame, Painted, Recording, Seen, look_over, paint

SMALLEST_TILE = 128
LARGEST_TILE = {"cpu": 512, "cuda": 4096, "mps": 1024}
"""Sides beyond which a tile gains no speed."""

SMALL = 4_000_000
"""Pixels of a coarse pass that is never tiled, so that tiles of the last one begin from the same painting."""

BUCKET = 64
"""Padded sides are multiples of this on accelerators."""

_BYTES_PER_PIXEL = 150
"""Memory that stem and head need for a pixel of a tile in half precision, with some to spare."""


class Stylizer:
    """A base on a device, ready to paint. `perceptual` is called when a picture must be encoded.

    `tile` is the side of the tiles: None chooses by free memory, 0 paints without.
    """

    def __init__(
        self,
        base: Base,
        perceptual: Callable[[], CompactVGG],
        device: torch.device,
        dtype: torch.dtype,
        tile: int | None = None,
    ) -> None:
        self.base = base
        self.perceptual = perceptual
        self.device = device
        self.dtype = dtype
        self.tile = tile
        self._folded: tuple[Tensor, torch.dtype, FoldedGenerator] | None = None

    def encode(self, picture: Tensor) -> Tensor:
        """The style code (1, code_size) of a painting or photograph, uint8 (3, H, W)."""
        return encode_style(self.base, self.perceptual(), picture)

    def paint(self, picture: Tensor, code: Tensor, stroke: Stroke, strength: float = 1.0) -> Tensor:
        """Paint uint8 or uint16 RGB (3, H, W) in the style of a code (1, code_size); same form and size.

        Below strength 1 the code moves towards that of the photograph itself, which at 0 is the result.
        """
        if strength == 0:
            return picture
        if strength != 1:
            code = mix_codes([self.encode(picture), code], [1 - strength, strength])
        painted = self.paint_batch([picture], code, stroke.at(strength))[0].rgb
        return faded(painted, picture, strength)

    def paint_batch(
        self, pictures: Sequence[Tensor], code: Tensor, stroke: Stroke, seen: Sequence[Seen] | None = None
    ) -> list[Painted]:
        """Paint pictures of about one size, and of one depth, together, from coarse to fine.

        16 bits are painted in fp32. `seen`, one for each pass, takes the place of what each picture says of
        itself as a whole. Where memory does not suffice, the batch is halved, then the tile. A picture whose
        numbers overflowed in half precision is painted again in fp32 and comes back with `finite` False.
        """
        sizes = [stroke.sizes(*picture.shape[1:]) for picture in pictures]
        if len({len(passes) for passes in sizes}) > 1:
            return [one for picture in pictures for one in self.paint_batch([picture], code, stroke, seen)]

        def paint_pass(coarse: Sequence[Tensor], number: int) -> list[Painted]:
            return self._paint_pass(coarse, code, number < len(sizes[0]) - 1, seen[number] if seen else None)

        if self._stays_on_device(pictures):
            try:  # drafts need not come back between passes
                there = [picture.to(self.device, non_blocking=True) for picture in pictures]
                painted = paint_coarse_to_fine(there, sizes, stroke, paint_pass)
                return [replace(one, rgb=one.rgb.cpu()) for one in painted]
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
        return paint_coarse_to_fine(pictures, sizes, stroke, paint_pass)

    def _stays_on_device(self, pictures: Sequence[Tensor]) -> bool:
        """Are these pictures best kept on the GPU, which can resize, from the first pass to the last?"""
        small = all(picture[0].numel() <= SMALL for picture in pictures)
        return self.device.type == "cuda" and small and pictures[0].dtype == torch.uint8

    def _paint_pass(
        self, pictures: Sequence[Tensor], code: Tensor, is_coarse: bool, seen: Seen | None = None
    ) -> list[Painted]:
        """One pass at the pictures' own size."""
        dtype = self._precision(pictures)
        whole = is_coarse and pictures[0][0].numel() <= SMALL
        side = 0 if whole else self.tile_side(pictures)
        painted = self._paint_in_memory(pictures, code, side, seen, dtype)
        for index, result in enumerate(painted):
            if not result.finite:
                alone = [pictures[index]]
                again = self._paint_in_memory(alone, code, self.tile_side(alone), seen, torch.float32)
                painted[index] = replace(again[0], finite=False)
        return painted

    def paint_fused(self, sources: Sequence[Source], code: Tensor, stroke: Stroke) -> Tensor:
        """Paint several pictures of one size as one, uint8 or uint16 (3, H, W) as they are.

        They are fused in the first pass. Raises MemoryError where not even the smallest tile fits.
        """
        first = sources[0].rgb
        sizes = stroke.sizes(*first.shape[1:])

        def paint_pass(coarse: Sequence[Tensor], number: int) -> list[Painted]:
            if number == 0:
                return [self._fuse_pass([_reduced(s, sizes[0], stroke) for s in sources], code)]
            return self._paint_pass(coarse, code, number < len(sizes) - 1)

        return paint_coarse_to_fine([first], [sizes], replace(stroke, detail=0.0), paint_pass)[0].rgb

    def _fuse_pass(self, sources: Sequence[Source], code: Tensor) -> Painted:
        pictures = [source.rgb for source in sources]
        side, precision = self.tile_side(pictures), self._precision(pictures)
        painted = self._fuse_in_memory(sources, code, side, precision)
        if not painted.finite:
            painted = self._fuse_in_memory(sources, code, side, torch.float32)
        return painted

    def tile_side(self, pictures: Sequence[Tensor]) -> int:
        """The side of the tiles for a batch; 0 for none."""
        if self.tile is not None:
            return self.tile
        least = 2048 if self.frame(pictures).is_beyond_the_limit else 0  # the halo is broad then
        return affordable_side(self.device, self._precision(pictures), len(pictures), least)

    def look_over(self, pictures: Sequence[Tensor], code: Tensor, stroke: Stroke) -> list[Recording]:
        """What pictures of one size say, as a whole, to a network that paints in this style, in each pass.

        Where memory does not suffice, half of them speak for all. Raises MemoryError at the end.
        """
        sizes = [stroke.sizes(*picture.shape[1:]) for picture in pictures]
        recordings: list[Recording] = []

        def paint_pass(coarse: Sequence[Tensor], number: int) -> list[Painted]:
            recordings.append(self._look_over_pass(coarse, code))
            if number == len(sizes[0]) - 1:  # nobody looks at these
                return [Painted(picture, True) for picture in coarse]
            return self._paint_pass(coarse, code, True, recordings[-1])

        paint_coarse_to_fine(pictures, sizes, stroke, paint_pass)
        return recordings

    def _look_over_pass(self, pictures: Sequence[Tensor], code: Tensor) -> Recording:
        network = self._network(code, self._precision(pictures))
        try:
            return look_over(network, pictures, self.frame(pictures), self.tile_side(pictures))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if len(pictures) == 1:
            raise MemoryError("not even one frame fits")
        return self._look_over_pass(pictures[::2], code)

    def _precision(self, pictures: Sequence[Tensor]) -> torch.dtype:
        """Half precision holds about eight bits of a colour; sixteen need more."""
        return torch.float32 if pictures[0].dtype == torch.uint16 else self.dtype

    def _paint_in_memory(
        self,
        pictures: Sequence[Tensor],
        code: Tensor,
        side: int,
        seen: Seen | None,
        dtype: torch.dtype,
    ) -> list[Painted]:
        """Paint, with less at a time for as long as memory runs out. Raises MemoryError at the end."""
        try:
            return paint(self._network(code, dtype), pictures, self.frame(pictures), side, seen)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if len(pictures) > 1:
            half = len(pictures) // 2
            parts = (pictures[:half], pictures[half:])
            return [p for part in parts for p in self._paint_in_memory(part, code, side, seen, dtype)]
        return self._paint_in_memory(pictures, code, _smaller(side, pictures[0]), seen, dtype)

    def _fuse_in_memory(
        self, sources: Sequence[Source], code: Tensor, side: int, dtype: torch.dtype
    ) -> Painted:
        """Paint as one, with smaller tiles for as long as memory runs out. Raises MemoryError at the end."""
        pictures = [source.rgb for source in sources]
        try:
            return paint_fused(self._network(code, dtype), sources, self.frame(pictures), side)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        return self._fuse_in_memory(sources, code, _smaller(side, pictures[0]), dtype)

    def frames(self, picture: Tensor, stroke: Stroke) -> tuple[Frame, ...]:
        """The padded sizes of all passes over a picture: those with the same ones may be painted together."""
        sizes = stroke.sizes(*picture.shape[1:])
        return tuple(self.frame([torch.empty(3, *size, device="meta")]) for size in sizes)

    def frame(self, pictures: Sequence[Tensor]) -> Frame:
        """The padded size; on an accelerator coarse, so that pictures of nearly one size form batches."""
        return Frame.around(pictures, STRIDE if self.device.type == "cpu" else BUCKET)

    def _network(self, code: Tensor, dtype: torch.dtype) -> FoldedGenerator:
        """The generator for this style; the last one is kept, since folders have one style."""
        kept = self._folded
        if kept is None or kept[1] != dtype or not torch.equal(kept[0], code):
            network = FoldedGenerator(self.base.generator, code, self.device, dtype)
            self._folded = kept = (code, dtype, network)
        return kept[2]


def _reduced(source: Source, size: Size, stroke: Stroke) -> Source:
    """A source in the size of the first pass, with the stroke's noise."""
    where = None if source.where is None else resized(source.where[None], size)[0]
    return replace(source, rgb=with_noise(resized(source.rgb, size), stroke.noise, stroke.seed), where=where)


def _smaller(side: int, picture: Tensor) -> int:
    """Half a tile's side. Raises MemoryError if that is too small."""
    longest = max(picture.shape)
    smaller = min(side or longest, longest) // 2
    if smaller < SMALLEST_TILE:
        raise MemoryError("not even the smallest tile fits")
    return smaller


def affordable_side(device: torch.device, dtype: torch.dtype, count: int = 1, least: int = 0) -> int:
    """The side of the tiles for `count` pictures: what a quarter of the free memory holds, but no more than
    gains speed, or than `least`."""
    affordable = int((free_memory(device) / 4 / (_BYTES_PER_PIXEL * count * dtype.itemsize / 2)) ** 0.5)
    return max(SMALLEST_TILE, min(affordable, max(LARGEST_TILE[device.type], least)))


def encode_style(base: Base, perceptual: CompactVGG, picture: Tensor) -> Tensor:
    """The style code (1, code_size) of a uint8 picture (3, H, W)."""
    with torch.inference_mode():
        return base.encoder(picture_moments(perceptual, picture))


def picture_moments(perceptual: CompactVGG, picture: Tensor) -> Tensor:
    """The moment vector (1, D) of a uint8 picture (3, H, W), reduced to the scale that training saw."""
    with torch.inference_mode():
        seen = fit_to_network(to_float(picture)[None], shorter_side=REFERENCE_SIDE)
        return moments_vector(perceptual(seen, ENCODER_LAYERS))
