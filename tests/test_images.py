"""Reading and writing: modes, depths, orientation, alpha, damage, odd sizes."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene
from PIL import Image

from stylize.errors import PictureError
from stylize.images import encode_picture, read_picture, read_rgb, resize_picture, write_picture
from stylize.paths import FORMATS
from stylize.picture import Picture
from stylize.tensors import reflect_pad, to_8_bits, to_float, to_uint8


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "I;16", "YCbCr", "F"])
def test_every_mode_becomes_the_same_rgb(tmp_path: Path, mode: str) -> None:
    image = scene(40, 30).convert("L").convert("RGB")
    path = tmp_path / ("x.jpg" if mode in {"CMYK", "YCbCr"} else "x.tiff" if mode == "F" else "x.png")
    if mode == "I;16":
        deep = np.array(image.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(path)
    else:
        (image.quantize(256) if mode == "P" else image.convert(mode)).save(path)
    picture = read_picture(path)
    assert picture.rgb.shape == (3, 30, 40)
    assert picture.rgb.dtype == (torch.uint16 if mode in {"I;16", "F"} else torch.uint8)
    if mode != "1":
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        assert (to_8_bits(picture.rgb).float() - expected).abs().mean() < 6
    assert (picture.alpha is not None) == (mode in {"RGBA", "LA"})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_not_written_again(tmp_path: Path, orientation: int) -> None:
    image = Image.new("RGB", (20, 10), "black")
    image.paste("white", (0, 0, 6, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera"
    image.save(tmp_path / "x.jpg", exif=exif, quality=100)
    picture = read_picture(tmp_path / "x.jpg")
    assert picture.size == ((20, 10) if orientation < 5 else (10, 20))
    corners = picture.rgb.float().mean(0)[[0, 0, -1, -1], [0, -1, 0, -1]]
    upright_corner = {1: 0, 2: 1, 3: 3, 4: 2, 5: 0, 6: 1, 7: 3, 8: 2}[orientation]
    assert corners.argmax() == upright_corner
    write_picture(picture, tmp_path / "y.jpg", "JPEG", 90)
    with Image.open(tmp_path / "y.jpg") as again:
        assert again.getexif().get(0x0112, 1) == 1
        assert again.getexif()[0x010F] == "Camera"


def test_alpha_survives_where_the_format_has_it_and_is_flattened_on_white_elsewhere(tmp_path: Path) -> None:
    rgba = scene(20, 20).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize((20, 20)))
    rgba.save(tmp_path / "x.png")
    picture = read_picture(tmp_path / "x.png")
    for suffix, name in {"png": "PNG", "webp": "WEBP", "tiff": "TIFF"}.items():
        write_picture(picture, tmp_path / f"y.{suffix}", name, 90)
        with Image.open(tmp_path / f"y.{suffix}") as again:
            assert np.array_equal(np.array(again)[..., 3], picture.alpha)
    write_picture(picture, tmp_path / "y.jpg", "JPEG", 100)
    with Image.open(tmp_path / "y.jpg") as flat:
        assert np.array(flat)[0].mean() > 245  # the gradient starts clear


def test_palette_with_transparency_keeps_it(tmp_path: Path) -> None:
    image = scene(16, 16).quantize(8)
    image.save(tmp_path / "x.png", transparency=0)
    assert read_picture(tmp_path / "x.png").alpha is not None


def huge_png_header() -> bytes:
    """A PNG that claims 50,000 x 50,000 pixels and has no data."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + crc


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_exif_survives_in_every_format_that_has_it(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Artist"
    scene(30, 20).save(tmp_path / "x.jpg", exif=exif)
    write_picture(read_picture(tmp_path / "x.jpg"), tmp_path / f"y.{suffix}", FORMATS[suffix], 90)
    with Image.open(tmp_path / f"y.{suffix}") as again:
        assert again.getexif()[0x013B] == "Artist"


def damaged_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    scene(80, 80).save(buffer, "JPEG")
    whole = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"hello, I am no picture",
        "cut off": whole[: len(whole) // 2],
        "header only": whole[:20],
        "huge": huge_png_header(),
    }


@pytest.mark.parametrize("kind", damaged_files())
def test_damage_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(damaged_files()[kind])
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_missing_file_and_a_folder_are_picture_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(PictureError):
            read_picture(path)


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    picture = Picture(torch.zeros(3, 4, 4, dtype=torch.uint8))
    with pytest.raises(PictureError):
        write_picture(picture, tmp_path / "no-such-folder" / "x.png", "PNG", 90)
    target = tmp_path / "x.webp"
    target.write_bytes(b"old")
    wide = Picture(torch.zeros(3, 1, 20_000, dtype=torch.uint8))  # beyond WebP's 16,383 pixels
    with pytest.raises(PictureError):
        write_picture(wide, target, "WEBP", 90)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.webp"]


def test_png_written_and_read_is_the_same(tmp_path: Path) -> None:
    rgb = torch.randint(0, 256, (3, 13, 7), dtype=torch.uint8)
    write_picture(Picture(rgb), tmp_path / "x.png", "PNG", 90)
    assert torch.equal(read_rgb(tmp_path / "x.png"), rgb)
    buffer = io.BytesIO()
    encode_picture(Picture(rgb), buffer, "PNG", 90)
    assert torch.equal(read_picture(buffer.getvalue()).rgb, rgb)


def test_resizing_keeps_proportions_and_alpha() -> None:
    picture = Picture(torch.zeros(3, 50, 100, dtype=torch.uint8), torch.ones(50, 100, dtype=torch.uint8))
    small = resize_picture(picture, 20)
    assert small.size == (20, 10)
    assert small.alpha is not None
    assert small.alpha.shape == (10, 20)


def test_read_rgb_reduces_the_shorter_side(tmp_path: Path) -> None:
    scene(200, 100).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png", 50).shape == (3, 50, 100)
    assert read_rgb(tmp_path / "x.png", 500).shape == (3, 100, 200)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (40, 30)])
def test_reflect_pad_takes_any_size_and_amount(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size)
    padded = reflect_pad(picture, 37, 20, 16, 55)
    assert padded.shape == (1, 3, size[0] + 71, size[1] + 57)
    assert torch.equal(padded[..., 16 : 16 + size[0], 37 : 37 + size[1]], picture)


def test_reflect_pad_mirrors() -> None:
    row = torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 1, 3)
    assert reflect_pad(row, 2, 2, 0, 0).flatten().tolist() == [2, 1, 0, 1, 2, 1, 0]


def test_uint8_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert to_uint8(torch.tensor([-1.0, 2.0])).tolist() == [0, 255]
