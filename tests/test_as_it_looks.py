"""Pictures are taken as they look elsewhere: masks, clear pixels, floats, frames; others are named."""

import io
import struct
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from conftest import Run, scene
from PIL import Image

from stylize import boxes, gifs
from stylize.errors import PictureError
from stylize.images import MOST_FRAMES, is_mask_for, pixel_count, read_mask, read_picture, read_rgb
from stylize.pixels import fill_hidden
from stylize.tensors import to_8_bits

SIZE = (96, 64)


def ramp() -> np.ndarray:
    return np.linspace(0, 255, SIZE[0], dtype=np.uint8)[None].repeat(SIZE[1], 0)


def half(mode: str) -> Image.Image:
    """Black on the left, white on the right, opaque."""
    image = Image.new("L", SIZE)
    image.paste(255, (48, 0, *SIZE))
    if mode == "P":
        palette = image.convert("RGB").quantize(4)
        palette.info["transparency"] = bytes([255] * 4)
        return palette
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "LA", "RGBA", "P"])
def test_an_opaque_mask_is_its_luminance(tmp_path: Path, mode: str) -> None:
    half(mode).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert int(mask[:, :48].max()) == 0
    assert int(mask[:, 48:].min()) == 255


def test_what_is_clear_of_a_drawn_mask_is_none_of_it_and_a_cut_out_is_its_outline(tmp_path: Path) -> None:
    mask = half("RGBA")
    mask.paste((255, 255, 255, 0), (0, 0, 96, 20))
    mask.paste((255, 255, 255, 128), (0, 20, 96, 30))
    mask.save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png")
    assert found[10, 80] == 0
    assert found[25, 80] == 128
    assert (found[40, 20], found[40, 80]) == (0, 255)
    for colour in ((0, 0, 0, 255), (255, 255, 255, 255), (200, 90, 30, 255)):
        cut = Image.new("RGBA", SIZE, (120, 120, 120, 0))
        cut.paste(colour, (0, 0, 48, 64))
        cut.save(tmp_path / "cut.png")
        assert read_mask(tmp_path / "cut.png")[0, [0, 47, 48]].tolist() == [255, 255, 0]


def test_a_mask_of_the_same_proportions_is_scaled(run: Run, tmp_path: Path) -> None:
    scene(157, 101).save(tmp_path / "photo.png")
    half("RGBA").resize((79, 51), Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    common = ("apply", "photo.png", "-s", "ink-wash", "--mask", "mask.png", "--feather", 0, "--force")
    for options, size in (((), (157, 101)), (("--size", 80), (80, 51))):
        result = run(*common, *options, "-o", "out.png")
        assert result.returncode == 0, result.stderr.decode()
        photo = scene(157, 101).resize(size, Image.Resampling.LANCZOS)
        with Image.open(tmp_path / "out.png") as image:
            painted = np.asarray(image).astype(int)
        assert image.size == size
        difference = np.abs(painted - np.asarray(photo).astype(int)).mean(axis=(0, 2))
        assert difference[: size[0] // 2 - 2].max() <= 1
        assert difference[size[0] // 2 + 2 :].mean() > 3


def test_proportions_are_compared_to_a_pixel() -> None:
    mask = torch.zeros(600, 800, dtype=torch.uint8)
    for size in ((800, 600), (1600, 1200), (4032, 3024), (401, 301), (1, 1)):
        assert is_mask_for(mask, size), size
    for size in ((600, 800), (800, 640), (1600, 1260)):
        assert not is_mask_for(mask, size), size


# -- clear pixels ---------------------------------------------------------------------------------


def cut_out(hidden: int, mode: str) -> Image.Image:
    """A picture of which the upper half is clear, with this level hidden there."""
    image = scene(*SIZE).convert("L").convert(mode)
    image.paste((hidden,) * (len(mode) - 1) + (0,), (0, 0, 96, 31))
    return image


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "deep.png", "palette.png", "animated.png"])
def test_hidden_colours_do_not_count(tmp_path: Path, suffix: str) -> None:
    read = []
    for hidden in (0, 255):
        path = tmp_path / f"{hidden}.{suffix}"
        image = cut_out(hidden, "RGBA")
        options = {"lossless": True, "exact": True} if suffix == "webp" else {}
        if suffix == "deep.png":
            path.write_bytes(imagecodecs.png_encode(np.asarray(image).astype(np.uint16) * 257))
        elif suffix == "palette.png":
            image.quantize(255, method=Image.Quantize.FASTOCTREE).save(path)
        elif suffix == "animated.png":
            image.save(path, save_all=True, append_images=[image.rotate(180)])
        else:
            image.save(path, **options)
        read.append(read_picture(path))
        read.append(read_picture(path).rgb if suffix == "deep.png" else read_rgb(path))
    black, black_reference, white, white_reference = read
    assert black.alpha is not None
    assert torch.equal(black.rgb, white.rgb)
    assert torch.equal(black_reference, white_reference)
    if black.motion is not None:
        pairs = zip(black.motion.frames, white.motion.frames, strict=True)
        assert all(torch.equal(one.rgb, other.rgb) for one, other in pairs)
    if suffix != "palette.png":  # what is seen stays to the level
        seen = torch.from_numpy(np.asarray(cut_out(0, "RGBA"))[31:, :, :3].copy()).permute(2, 0, 1)
        assert torch.equal(to_8_bits(black.rgb)[:, 31:], seen)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (600, 3)])
def test_clear_places_go_on_from_what_is_seen(size: tuple[int, int]) -> None:
    rgb = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    alpha = torch.zeros(size, dtype=torch.uint8)
    assert (fill_hidden(rgb.clone(), alpha) == 255).all()
    alpha[-1, -1] = 9
    result = fill_hidden(rgb.clone(), alpha)
    assert (result == rgb[:, -1:, -1:]).all()


# -- depths ---------------------------------------------------------------------------------------


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"photometric": "minisblack", "metadata": None, **options})
    return buffer.getvalue()


GREY = ramp()
BRIGHT = {
    "float to 1": tiff((GREY / 255).astype(np.float32)),
    "float above 1": tiff((GREY / 250).astype(np.float32)),
    "float of lights": tiff(np.where(GREY > 253, 40, GREY / 255).astype(np.float32)),
    "float to 255": tiff(GREY.astype(np.float32)),
    "unsigned 32": tiff(GREY.astype(np.uint32) * 16_843_009),
    "signed 32": tiff(GREY.astype(np.int32) * 8_421_504),
    "16 in 32": tiff(GREY.astype(np.uint32) * 257),
    "signed 16": tiff(GREY.astype(np.int16) * 128),
    "12 bits": tiff(GREY.astype(np.uint16) * 16, bitspersample=12),
    "white is 0": tiff(255 - GREY, photometric="miniswhite"),
    "grey with alpha": tiff(
        np.dstack([GREY, np.full_like(GREY, 255)]), extrasamples=["unassalpha"], planarconfig="contig"
    ),
    "large": tiff(GREY, bigtiff=True),
}


@pytest.mark.parametrize("name", BRIGHT)
def test_a_tiff_is_as_bright_as_it_looks(name: str) -> None:
    picture = read_picture(BRIGHT[name])
    seen = to_8_bits(picture.rgb)[0, 0].int().numpy()
    assert np.abs(seen - GREY[0].astype(int)).max() <= 6
    assert picture.alpha is None or int(picture.alpha.min()) == 255


PLANES = np.stack([GREY, np.full_like(GREY, 128)])
RGB = np.dstack([GREY, GREY, GREY])
OTHER_KINDS = {
    "TIFF with grey and transparency": tiff(PLANES, planarconfig="separate", extrasamples=["unassalpha"]),
    "TIFF with 3 x 32-bit floats": tiff(RGB.astype(np.float32), photometric="rgb"),
    "TIFF with 1 x 16-bit floats": tiff(GREY.astype(np.float16)),
    "TIFF with 3 x 32-bit integers": tiff(RGB.astype(np.uint32), photometric="rgb"),
    "TIFF with JPEG 2000": tiff(RGB, photometric="rgb", compression="jpeg2000"),
    "12-bit JPEG": imagecodecs.ljpeg_encode(GREY.astype(np.uint16) * 16, bitspersample=12),
    "JPEG-LS": imagecodecs.jpegls_encode(RGB),
    "JPEG XL": imagecodecs.jpegxl_encode(RGB),
    "JPEG XR": imagecodecs.jpegxr_encode(RGB),
    "QOI": imagecodecs.qoi_encode(RGB),
    "PQ picture": imagecodecs.avif_encode(
        RGB.astype(np.uint16) * 4, bitspersample=10, transfer=16, primaries=9, matrix=9
    ),
    "HLG picture": imagecodecs.avif_encode(
        RGB.astype(np.uint16) * 4, bitspersample=10, transfer=18, primaries=9, matrix=9
    ),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_cannot_be_read_is_named_and_not_called_damaged(kind: str) -> None:
    with pytest.raises(PictureError, match=r"of a kind that cannot be read here \(" + kind):
        read_picture(OTHER_KINDS[kind], "x")


def grey_png(bits: int, clear: int) -> bytes:
    """A grey PNG in which one level is clear."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    levels = np.arange(16)[None].repeat(8, 0) % (1 << bits)
    unpacked = (levels[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(8, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", struct.pack(">H", clear)) + data


@pytest.mark.parametrize(("bits", "clear"), [(1, 0), (1, 1), (2, 0), (2, 2), (4, 5), (8, 3)])
def test_the_clear_level_of_a_grey_png_is_clear(bits: int, clear: int) -> None:
    picture = read_picture(grey_png(bits, clear))
    assert picture.alpha is not None
    expected = [0 if level % (1 << bits) == clear else 255 for level in range(16)]
    assert picture.alpha[0].tolist() == expected
    top = (1 << bits) - 1
    seen = [i for i in range(16) if expected[i]]
    assert [int(picture.rgb[0, 0, i]) for i in seen] == [i % (1 << bits) * 255 // top for i in seen]


# -- AVIF -----------------------------------------------------------------------------------------


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + kind + data


def with_aperture(avif: bytes, width: int, height: int, x: int, y: int) -> bytes:
    """An AVIF of one picture of which a part is to be shown; x and y are from the middle."""
    clap = box(b"clap", struct.pack(">LLLLlLlL", width, 1, height, 1, x, 1, y, 1))
    content = bytearray(avif)
    ipco, ipma, iloc = (content.index(kind) - 4 for kind in (b"ipco", b"ipma", b"iloc"))
    (ipco_size,) = struct.unpack_from(">I", content, ipco)
    properties, place = 0, ipco + 8
    while place < ipco + ipco_size:
        properties += 1
        place += struct.unpack_from(">I", content, place)[0]
    count = content[ipma + 18]
    end = ipma + 19 + count
    grown = {name: content.index(name) - 4 for name in (b"meta", b"iprp", b"ipco", b"ipma")}
    content[end:end] = bytes([0x80 | properties + 1])
    content[ipma + 18] = count + 1
    content[ipco + ipco_size : ipco + ipco_size] = clap
    for name, place in grown.items():
        if name == b"ipma":
            place += len(clap)
        more = {b"ipco": len(clap), b"ipma": 1}.get(name, len(clap) + 1)
        struct.pack_into(">I", content, place, struct.unpack_from(">I", content, place)[0] + more)
    assert content[iloc + 12] >> 4 == 4  # offsets of 4 bytes
    base = content[iloc + 13] >> 4
    at = iloc + 16 + 2 + (2 if content[iloc + 8] else 0) + 2 + base + 2
    struct.pack_into(">I", content, at, struct.unpack_from(">I", content, at)[0] + len(clap) + 1)
    return bytes(content)


def test_of_an_avif_the_part_that_is_to_be_shown_is_read() -> None:
    buffer = io.BytesIO()
    image = scene(*SIZE)
    image.save(buffer, "AVIF", quality=95)
    whole = read_picture(buffer.getvalue()).rgb
    content = with_aperture(buffer.getvalue(), 40, 20, -10, 4)
    assert boxes.clean_aperture(content, SIZE) == (18, 26, 58, 46)
    part = read_picture(content)
    assert part.size == (40, 20)
    assert torch.equal(part.rgb, whole[:, 26:46, 18:58])


# -- GIF ------------------------------------------------------------------------------------------


def gif(
    size: tuple[int, int], *frames: tuple[tuple[int, int, int, int], int, int], end: bytes = b";"
) -> bytes:
    """Frames of one colour of four: (left, top, width, height), colour, disposal."""
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
    parts = [b"GIF89a" + struct.pack("<HH", *size) + b"\x81\0\0" + palette]
    for place, colour, disposal in frames:
        buffer = io.BytesIO()
        flat = Image.new("P", place[2:], colour)
        flat.putpalette(palette)
        flat.save(buffer, "GIF", optimize=False)
        alone = gifs.parse(buffer.getvalue(), 1).frames[0]
        table = alone.palette.ljust(12, b"\0")[:768]
        bits = (len(table) // 3 - 1).bit_length() - 1
        parts.append(b"\x21\xf9\x04" + bytes([disposal << 2]) + b"\x05\0\0\0")
        parts.append(b"\x2c" + struct.pack("<HHHH", *place) + bytes([0x80 | bits]) + table + alone.data)
    return b"".join(parts) + end


def test_a_gif_is_put_together_as_browsers_do() -> None:
    picture = read_picture(gif((8, 6), ((0, 0, 4, 6), 0, 1), ((2, 0, 4, 6), 1, 2), ((0, 0, 1, 1), 2, 1)))
    assert picture.motion is not None
    rows = [(frame.rgb[:, 1].T.tolist(), frame.alpha[1].tolist()) for frame in picture.motion.frames]
    red, green = [255, 0, 0], [0, 255, 0]
    assert rows[0][0][:4] == [red] * 4
    assert rows[0][1] == [255] * 4 + [0] * 4
    assert rows[1][0][:6] == [red] * 2 + [green] * 4
    assert rows[1][1] == [255] * 6 + [0] * 2
    assert rows[2][1] == [255] * 2 + [0] * 6  # the second frame was cleared away
    assert picture.motion.durations == (50.0, 50.0, 50.0)


def test_a_frame_that_is_taken_back_leaves_what_was_before() -> None:
    picture = read_picture(gif((4, 4), ((0, 0, 4, 4), 0, 1), ((0, 0, 4, 4), 1, 3), ((0, 0, 1, 1), 2, 1)))
    assert picture.motion is not None
    assert picture.alpha is None
    assert picture.motion.frames[2].rgb[:, 3, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("end", [b";", b"", b"\0\0;"])
def test_frames_beyond_the_canvas_are_cut(end: bytes) -> None:
    picture = read_picture(gif((6, 6), ((0, 0, 6, 6), 0, 1), ((4, 4, 9, 9), 1, 1), end=end))
    assert picture.size == (6, 6)
    assert picture.motion is not None
    assert picture.motion.frames[1].rgb[:, 5, 5].tolist() == [0, 255, 0]
    with pytest.raises(PictureError, match="cut off"):
        read_picture(gif((6, 6), ((0, 0, 6, 6), 0, 1))[:-5])


def test_gifs_of_many_frames_or_pixels_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    many = gif((1, 1), *[((0, 0, 1, 1), 1, 1)] * 2)[:-1]
    frame = many[len(gif((1, 1))) - 1 :][: (len(many) - len(gif((1, 1))) + 1) // 2]
    began = time.monotonic()
    with pytest.raises(PictureError, match=f"more than {MOST_FRAMES} frames"):
        read_picture(many + frame * 100_000 + b";")
    huge = gif((1, 1), ((0, 0, 1, 1), 1, 1))
    place = huge.index(b"\x2c")
    huge = huge[: place + 5] + struct.pack("<HH", 60_000, 60_000) + huge[place + 9 :]
    with pytest.raises(PictureError, match="60000 x 60000"):
        read_picture(huge)
    assert time.monotonic() - began < 2
    monkeypatch.setenv("STYLIZE_MAX_MEGAPIXELS", "0.0001")
    with pytest.raises(PictureError, match="2 frames"):
        read_picture(gif((8, 8), ((0, 0, 8, 8), 0, 1), ((0, 0, 1, 1), 1, 1)))


def test_all_frames_count_as_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(gif((8, 6), ((0, 0, 8, 6), 0, 1), ((0, 0, 20, 20), 1, 1)))
    assert pixel_count(tmp_path / "a.gif") == 48 + 400
    scene(8, 6).save(tmp_path / "a.webp", save_all=True, append_images=[scene(8, 6, 1)] * 2)
    assert pixel_count(tmp_path / "a.webp") >= 96
    scene(8, 6).save(tmp_path / "a.png")
    assert pixel_count(tmp_path / "a.png") == 48


# -- costs and limits -----------------------------------------------------------------------------


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    buffer = io.BytesIO()
    scene(200, 200).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(PictureError):
        read_picture(content[:-2] + scan * 2000 + b"\xff\xd9")
    read_picture(content)


@pytest.mark.parametrize(("suffix", "limit"), [("webp", "16,383"), ("jpg", "65,500"), ("gif", "65,535")])
def test_what_a_format_cannot_hold_is_said_before_painting(
    run: Run, tmp_path: Path, suffix: str, limit: str
) -> None:
    Image.new("RGB", (70_000, 8), "teal").save(tmp_path / "pano.png")
    began = time.monotonic()
    result = run("apply", "pano.png", "-s", "ink-wash", "-o", f"out.{suffix}")
    assert result.returncode == 1
    text = " ".join(result.stderr.decode().split())
    assert limit in text
    assert "70000 x 8" in text
    assert time.monotonic() - began < 20
    assert not (tmp_path / f"out.{suffix}").exists()


def test_what_is_left_out_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    scene(40, 30).save(buffer, "PNG")
    content = buffer.getvalue()
    junk = struct.pack(">I", 4) + b"eXIfjunk" + struct.pack(">I", zlib.crc32(b"eXIfjunk"))
    (tmp_path / "a.png").write_bytes(content[:33] + junk + content[33:])
    result = run("apply", "a.png", "-s", "ink-wash", "-o", "b.png")
    assert result.returncode == 0
    assert b"without its EXIF" in result.stderr + result.stdout
