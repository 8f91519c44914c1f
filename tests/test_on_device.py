"""What a GPU does differently, as far as a CPU can tell; and what torchvision did before."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conftest import scene
from torch import Tensor
from torchvision.transforms.functional import adjust_sharpness
from torchvision.transforms.v2 import functional as transforms

from stylize import multiscale, stylizer
from stylize.dataset import PictureSet, centre_crop
from stylize.multiscale import noise_of, noises, resized, with_noise
from stylize.pixels import rgb_tensor
from stylize.sharpening import sharpened
from stylize.strokes import Stroke
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import constant, to_float, to_uint8

CPU = torch.device("cpu")
STROKE = Stroke(width=4.0, noise=0.05)  # two passes, at 100 pixels and at the picture's own size


def picture(seed: int = 0, width: int = 220, height: int = 180) -> Tensor:
    return rgb_tensor(scene(width, height, seed))


def painted(brush: Stylizer, pictures: Sequence[Tensor]) -> list[Tensor]:
    code = resolve_style("ink-wash").code
    return [one.rgb for one in brush.paint_batch(pictures, code, STROKE)]


@pytest.fixture
def brush() -> Stylizer:
    return Stylizer(resolve_style("ink-wash").base, perceptual_network, CPU, torch.float32)


class TestDraftsOnTheDevice:
    def test_it_paints_the_same(self, brush: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures = [picture(0), picture(1)]
        usual = painted(brush, pictures)
        monkeypatch.setattr(Stylizer, "_stays_on_device", lambda self, pictures: True)
        assert all(torch.equal(*pair) for pair in zip(painted(brush, pictures), usual, strict=True))

    def test_where_memory_runs_out_between_passes_it_goes_by_way_of_the_cpu(
        self, brush: Stylizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usual, calls = painted(brush, [picture()]), []

        def scarce(*arguments: object) -> object:
            calls.append(arguments)
            if len(calls) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return multiscale.paint_coarse_to_fine(*arguments)  # pyright: ignore

        monkeypatch.setattr(Stylizer, "_stays_on_device", lambda self, pictures: True)
        monkeypatch.setattr(stylizer, "paint_coarse_to_fine", scarce)
        assert torch.equal(painted(brush, [picture()])[0], usual[0])
        assert len(calls) == 2

    def test_other_faults_are_not_hidden(self, brush: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: object) -> object:
            raise RuntimeError("cuDNN error")

        monkeypatch.setattr(Stylizer, "_stays_on_device", lambda self, pictures: True)
        monkeypatch.setattr(stylizer, "paint_coarse_to_fine", broken)
        with pytest.raises(RuntimeError, match="cuDNN"):
            painted(brush, [picture()])

    @pytest.mark.parametrize(
        ("device", "side", "dtype", "stays"),
        [
            ("cuda", 1000, torch.uint8, True),
            ("cuda", 4000, torch.uint8, False),
            ("cuda", 1000, torch.uint16, False),
            ("cpu", 1000, torch.uint8, False),
            ("mps", 1000, torch.uint8, False),
        ],
    )
    def test_which_pictures_stay(self, device: str, side: int, dtype: torch.dtype, stays: bool) -> None:
        brush = Stylizer(resolve_style("ink-wash").base, perceptual_network, torch.device(device), dtype)
        assert brush._stays_on_device([torch.empty(3, side, side, dtype=dtype, device="meta")]) is stays


class TestBetweenPasses:
    @pytest.mark.parametrize("size", [(90, 110), (270, 330)])
    def test_planes_are_resized_alike_together_and_one_by_one(
        self, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = (picture().int() * 257).to(torch.uint16)  # takes the way of accelerators
        together = resized(deep, size)
        monkeypatch.setattr(multiscale, "_AT_ONCE", 0)
        assert torch.equal(resized(deep, size), together)
        off = (together.float() / 257 - resized(picture(), size).float()).abs()
        assert off.mean() < 0.3  # levels: of 8 bits on a CPU, rows are rounded before columns
        assert off.max() < 4

    def test_noise_is_that_of_its_seed_wherever_it_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, again = with_noise(picture(), 0.1, 3), with_noise(picture(), 0.1, 3)
        monkeypatch.setattr(multiscale, "_KEPT_NOISE", 0)
        assert torch.equal(first, again)
        assert torch.equal(first, with_noise(picture(), 0.1, 3))
        assert not torch.equal(first, with_noise(picture(), 0.1, 4))

    def test_many_noises_are_alike_but_not_the_same(self) -> None:
        several = noises(3, 64, 80, torch.Generator().manual_seed(5))
        assert several.shape == (3, 1, 64, 80)
        assert not torch.equal(several[0], several[1])
        assert several.std() == pytest.approx(noise_of(64, 80, 5).std(), rel=0.15)

    def test_a_constant_has_type_and_place_of_its_like(self) -> None:
        like = torch.ones(2, dtype=torch.float64)
        assert torch.equal(constant((1, 2.5), like), torch.tensor([1, 2.5], dtype=torch.float64))


class TestAsTorchvisionDid:
    @pytest.mark.parametrize(("zoom", "rotate"), [((1.0, 1.0), 0.0), ((0.5, 1.7), 0.0), ((1.0, 1.7), 8.0)])
    def test_crops(self, tmp_path: Path, zoom: tuple[float, float], rotate: float) -> None:
        path = tmp_path / "a.png"
        scene(150, 130).save(path)
        pictures = PictureSet([path])
        for seed in range(8):
            ours = pictures.crop(0, 64, torch.Generator().manual_seed(seed), zoom, rotate)
            assert torch.equal(ours, self.crop(pictures[0], 64, seed, zoom, rotate))

    def crop(self, whole: Tensor, size: int, seed: int, zoom: tuple[float, float], rotate: float) -> Tensor:
        import math

        draw = torch.rand(5, generator=torch.Generator().manual_seed(seed)).tolist()
        angle = rotate * (2 * draw[4] - 1)
        spare = abs(math.cos(math.radians(angle))) + abs(math.sin(math.radians(angle)))
        factor = zoom[0] * (zoom[1] / zoom[0]) ** draw[0]
        extent = min(round(size * factor * spare), *whole.shape[1:])
        top, left = (round(draw[i] * (whole.shape[i] - extent)) for i in (1, 2))
        crop = whole[:, top : top + extent, left : left + extent].float().div_(255)
        if angle:
            crop = transforms.rotate(crop, angle, transforms.InterpolationMode.BILINEAR)
            crop = transforms.center_crop(crop, [int(extent / spare)] * 2)
        if crop.shape[1] != size:
            crop = transforms.resize(crop, [size, size])
        return transforms.horizontal_flip(crop) if draw[3] < 0.5 else crop

    @pytest.mark.parametrize("size", [(101, 64), (64, 101), (64, 64)])
    def test_the_square_in_the_middle(self, size: tuple[int, int]) -> None:
        whole = to_float(picture(2, *size))
        expected = transforms.resize(transforms.center_crop(whole, [64, 64]), [48, 48])
        assert torch.equal(centre_crop(whole, 48), expected)

    @pytest.mark.parametrize("size", [(40, 30), (2, 50), (50, 1)])
    def test_sharpening(self, size: tuple[int, int]) -> None:
        whole = picture(1, *size)
        assert torch.equal(sharpened(whole, 1.7), to_uint8(adjust_sharpness(to_float(whole), 1.7)))


def test_painting_and_training_need_no_torchvision(tmp_path: Path) -> None:
    scene(150, 130).save(tmp_path / "a.png")
    code = """
import sys
sys.modules["torchvision"] = None
from pathlib import Path
import torch
from stylize.dataset import PictureSet
from stylize.errors import StylizeError
from stylize.fuse_job import as_sharp_as
from stylize.studio import Studio
from stylize.cycle_studio import CycleStudio
from stylize.painting import Painter
pictures = PictureSet([Path("a.png")])
assert pictures.crop(0, 64, torch.Generator()).shape == (3, 64, 64)
try:
    pictures.crop(0, 64, torch.Generator(), rotate=5.0)
except StylizeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "install torchvision" in done.stdout
