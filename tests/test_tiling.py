"""Tiles give the picture that one pass gives, whatever its size; half precision never paints black."""

import pytest
import torch
from conftest import scene
from torch import Tensor, nn

from stylize import stylizer as stylizer_module
from stylize import tiling
from stylize.config import GeneratorConfig
from stylize.encoder import StyleEncoder, moments_size
from stylize.folding import FoldedGenerator
from stylize.generator import Generator
from stylize.model import Base
from stylize.perceptual import CompactVGG
from stylize.pixels import rgb_tensor
from stylize.strokes import Stroke
from stylize.stylizer import Stylizer
from stylize.tensors import to_uint8

ONE_PASS = Stroke(width=None)

TINY = GeneratorConfig(4, 8, 16, eighth_blocks=2, quarter_blocks=1, code_size=8, attention_width=4)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base() -> Base:
    """A tiny base whose attention is on and whose styles differ."""
    torch.manual_seed(0)
    generator = Generator(TINY).eval()
    assert generator.attention is not None
    nn.init.constant_(generator.attention.gate, 0.5)
    nn.init.normal_(generator.expansion.weight, std=0.3)
    for conv in generator.modules():
        if isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.normal_(conv.bias, std=0.1)
    nn.init.normal_(generator.to_rgb.weight, std=0.6)  # as it starts, it paints in pale greys
    return Base(generator, StyleEncoder(moments_size(), TINY.code_size), "")


def folded(base: Base, dtype: torch.dtype = torch.float32) -> FoldedGenerator:
    return FoldedGenerator(base.generator, code(), CPU, dtype)


def code() -> Tensor:
    return torch.linspace(-1, 1, TINY.code_size)[None]


def picture(width: int, height: int) -> Tensor:
    return rgb_tensor(scene(width, height))


def difference(a: Tensor, b: Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(331, 203), (64, 500), (129, 128)])
@pytest.mark.parametrize("side", [16, 72, 200])
def test_tiles_equal_the_whole(base: Base, size: tuple[int, int], side: int, dtype: torch.dtype) -> None:
    network, photo = folded(base, dtype), picture(*size)
    frame = tiling.Frame.around([photo])
    whole, tiled = (tiling.paint(network, [photo], frame, s)[0].rgb for s in (0, side))
    assert whole.shape == photo.shape
    assert whole.float().std() > 5
    assert difference(whole, tiled) <= 1


def test_folding_changes_nothing(base: Base) -> None:
    photo = picture(150, 90)
    frame = tiling.Frame.around([photo])
    padded = frame.cut(photo, tiling.Tile(0, frame.height, 0, frame.width))
    with torch.no_grad():
        plain = base.generator(padded[None].float() / 255, base.generator.expand(code()))
    expected = frame.place(photo).of(to_uint8(plain[0])).float()
    ours = tiling.paint(folded(base), [photo], frame, 0)[0].rgb.float()
    # Only at the frame's very edge do the two differ: mirrored pixels there, repeated ones here.
    assert (ours - expected).abs().mean() < 0.08 * expected.std()
    assert (ours - expected).abs()[:, :24].max() <= 2


def test_a_batch_equals_its_pictures_one_by_one(base: Base) -> None:
    photos = [picture(100, 80), picture(97, 76).flip(2), picture(90, 80)]
    frame, network = tiling.Frame.around(photos), folded(base)
    together = tiling.paint(network, photos, frame, 64)
    for photo, painted in zip(photos, together, strict=True):
        assert difference(painted.rgb, tiling.paint(network, [photo], frame, 0)[0].rgb) <= 1


def test_every_small_size(base: Base) -> None:
    stylizer = Stylizer(base, CompactVGG, CPU, torch.float32)
    for side in range(1, 65):
        for photo in (picture(side, 1 + side // 3), picture(1 + side // 7, side)):
            assert stylizer.paint(photo, code(), ONE_PASS).shape == photo.shape


class TestBeyondTheLimit:
    """Pictures whose body does not run whole."""

    @pytest.fixture(autouse=True)
    def _low_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tiling, "WHOLE_BODY_LIMIT", 0)
        monkeypatch.setattr(tiling, "THUMBNAIL_SIDE", 320)

    def test_the_size_of_the_tiles_does_not_matter(self, base: Base) -> None:
        photo, network = picture(701, 523), folded(base)
        frame = tiling.Frame.around([photo])
        large, small = (tiling.paint(network, [photo], frame, s)[0].rgb for s in (0, 136))
        assert difference(large, small) <= 1

    def test_no_seam_between_tiles(self, base: Base) -> None:
        """Steps across the tiles' edges against those one pixel inside, and the same in one large tile,
        where the difference between these columns is the picture's own."""
        photo, side, network = picture(1100, 900), 120, folded(base)
        frame = tiling.Frame.around([photo])
        edges = torch.arange(side, frame.width, side) - frame.place(photo).left - 1

        def seam(tile: int) -> float:
            painted = tiling.paint(network, [photo], frame, tile)[0].rgb.float()
            steps = (painted[..., 1:] - painted[..., :-1]).abs().mean((0, 1))
            there = edges[(edges > 1) & (edges < len(steps) - 2)]
            inside = torch.cat([steps[there - 1], steps[there + 1]]).mean()
            return float(steps[there].mean() / inside)

        tiled, whole = seam(side), seam(0)
        assert abs(tiled / whole - 1) <= 0.02
        assert abs(tiled - 1) <= 0.05

    def test_it_looks_like_the_whole_pass(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        photo, network = picture(640, 480), folded(base)
        frame = tiling.Frame.around([photo])
        by_thumbnail = tiling.paint(network, [photo], frame, 256)[0].rgb.float()
        monkeypatch.setattr(tiling, "WHOLE_BODY_LIMIT", 1 << 40)
        exact = tiling.paint(network, [photo], frame, 256)[0].rgb.float()
        assert (by_thumbnail - exact).abs().mean() < 0.5 * exact.std()


def test_an_overflow_in_fp16_is_painted_again(base: Base) -> None:
    wild = Base(Generator(TINY), base.encoder, "")
    wild.generator.load_state_dict(base.generator.state_dict())
    with torch.no_grad():
        wild.generator.stem_quarter.weight *= 3e6
    photos = [picture(60, 40), torch.full((3, 40, 60), 127, dtype=torch.uint8)]
    results = Stylizer(wild, CompactVGG, CPU, torch.float16).paint_batch(photos, code(), ONE_PASS)
    in_fp32 = Stylizer(wild, CompactVGG, CPU, torch.float32).paint_batch(photos, code(), ONE_PASS)
    assert not results[0].finite
    assert results[0].rgb.float().std() > 5
    for ours, theirs in zip(results, in_fp32, strict=True):
        assert theirs.finite
        assert difference(ours.rgb, theirs.rgb) <= 3


class TestLittleMemory:
    """What happens when memory runs out."""

    def test_batch_then_tile_are_halved(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        stylizer = Stylizer(base, CompactVGG, CPU, torch.float32, tile=512)
        tried, paint = [], tiling.paint

        def tight(
            network: FoldedGenerator, pictures: list[Tensor], frame: tiling.Frame, side: int, seen: None
        ) -> object:
            tried.append((len(pictures), side))
            if len(pictures) * side > 256:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 12 bytes")
            return paint(network, pictures, frame, side, seen)

        monkeypatch.setattr(stylizer_module, "paint", tight)
        photos = [picture(300, 300), picture(296, 300)]
        painted = stylizer.paint_batch(photos, code(), ONE_PASS)
        assert [p.rgb.shape for p in painted] == [p.shape for p in photos]
        assert tried == [(2, 512), (1, 512), (1, 150), (1, 512), (1, 150)]

    def test_it_gives_up_with_a_memory_error(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr(stylizer_module, "paint", never)
        with pytest.raises(MemoryError):
            Stylizer(base, CompactVGG, CPU, torch.float32).paint(picture(900, 900), code(), ONE_PASS)

    def test_the_tile_follows_free_memory(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        stylizer, sides = Stylizer(base, CompactVGG, CPU, torch.bfloat16), []
        for free in (1 << 20, 100 << 20, 64 << 30):
            monkeypatch.setattr(stylizer_module, "free_memory", lambda device, free=free: free)
            sides.append(stylizer.tile_side([picture(9, 9)]))
        assert sides == sorted(set(sides))
        assert sides[0] == stylizer_module.SMALLEST_TILE


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestOnCuda:
    """The same on a GPU."""

    def test_fp16_is_close_to_fp32(self, base: Base) -> None:
        photo = picture(500, 400)
        halves, singles = (
            Stylizer(base, CompactVGG, torch.device("cuda"), dtype).paint(photo, code(), ONE_PASS)
            for dtype in (torch.float16, torch.float32)
        )
        assert difference(halves, singles) <= 3

    def test_tiles_equal_the_whole(self, base: Base) -> None:
        photo = picture(500, 400)
        whole, tiled = (
            Stylizer(base, CompactVGG, torch.device("cuda"), torch.float16, tile=t).paint(
                photo, code(), ONE_PASS
            )
            for t in (0, 128)
        )
        assert difference(whole, tiled) <= 1

    def test_a_batch_equals_its_pictures_one_by_one(self, base: Base) -> None:
        photos = [picture(300, 200), picture(290, 200)]
        stylizer = Stylizer(base, CompactVGG, torch.device("cuda"), torch.float16)
        for photo, painted in zip(photos, stylizer.paint_batch(photos, code(), ONE_PASS), strict=True):
            assert difference(painted.rgb, stylizer.paint(photo, code(), ONE_PASS)) <= 2
