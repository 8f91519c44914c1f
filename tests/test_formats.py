"""Every format, mode, depth, orientation and profile, painted and read back with readers that are not ours.

Pixels are decoded by imagecodecs and tifffile, metadata by exiv2; none of them shares code with Pillow's
Python side, and imagecodecs brings its own libraries.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pyexiv2
import pytest
import tifffile
from PIL import Image, ImageCms

from stylize.images import read_picture
from stylize.jobs import Job
from stylize.looks import Look
from stylize.painting import Painter, PaintSettings
from stylize.paths import FORMATS
from stylize.styles import resolve_style
from stylize.tensors import to_8_bits

pillow_heif.register_heif_opener()

SIZES = ((33, 21), (1, 1), (47, 64))
CAMERA, WHEN, CAPTION = "Box Camera", "2024:05:01 10:00:00", "Our garden"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
    f'<rdf:li xml:lang="x-default">{CAPTION}</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF>'
    "</x:xmpmeta>"
).encode()

WITH_ALPHA = {"png", "webp", "tiff", "gif", "avif", "heic"}
WITH_PROFILE = {"jpg", "png", "webp", "tiff", "avif", "heic"}
LOSSLESS = {"png", "tiff", "bmp"}


@dataclass(frozen=True)
class Case:
    """An input file, and the format of the result."""

    source: str
    mode: str
    orientation: int = 1
    size: tuple[int, int] = SIZES[0]
    target: str = ""
    profile: str = ""

    @property
    def name(self) -> str:
        width, height = self.size
        parts = (self.mode, self.orientation, f"{width}x{height}", self.target or "same", self.profile)
        return "-".join(map(str, parts)) + f".{self.source}"

    @property
    def suffix(self) -> str:
        return self.target or self.source

    @property
    def has_alpha(self) -> bool:
        return self.mode in {"LA", "RGBA", "LA16", "RGBA16", "P+A"}

    @property
    def is_deep(self) -> bool:
        return self.mode.endswith("16") or self.mode == "F"


def cases() -> Iterator[Case]:
    orientations = range(1, 9)
    modes = {
        "jpg": ("RGB", "L", "CMYK"),
        "png": ("1", "L", "LA", "P", "P+A", "RGB", "RGBA", "L16", "LA16", "RGB16", "RGBA16"),
        "tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "L16", "RGB16", "RGBA16"),
        "webp": ("RGB", "RGBA"),
        "avif": ("RGB", "RGBA"),
    }
    for source in modes:
        yield from (Case(source, mode, turn) for mode, turn in product(modes[source], orientations))
        yield from (Case(source, mode, 6, size) for mode, size in product(modes[source], SIZES[1:]))
    for mode, size in product(("1", "L", "P", "RGB"), SIZES):
        yield Case("bmp", mode, 1, size)
    for mode, size in product(("P", "P+A"), SIZES[::2]):
        yield Case("gif", mode, 1, size)
    for mode, size in product(("RGB", "RGBA"), (SIZES[2], (64, 96))):
        yield Case("heic", mode, 1, size)
    targets = ("jpg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic")
    for target, mode, profile in product(targets, ("RGB", "RGBA", "RGB16", "RGBA16"), ("", "sRGB", "P3")):
        yield Case("tiff", mode, 8, SIZES[2], target, profile)


CASES = list(cases())


def test_there_are_enough() -> None:
    assert len(set(CASES)) == len(CASES)
    assert len({case.name for case in CASES}) >= 300


# -- making the inputs ----------------------------------------------------------------------------


def upright(size: tuple[int, int]) -> np.ndarray:
    """Four fields, the upper left one bright: uint8 (H, W, 4); alpha is 0 in the lower right."""
    width, height = size
    picture = np.empty((height, width, 4), np.uint8)
    picture[:] = (40, 120, 60, 255)
    picture[height // 2 :, width // 2 :] = (30, 40, 140, 0)
    picture[: (height + 1) // 2, (width + 1) // 2 :] = (150, 40, 30, 255)
    picture[: (height + 1) // 2, : (width + 1) // 2] = (245, 240, 225, 255)
    return picture


def stored(picture: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera that was held so stores what is upright."""
    turned = [
        picture, picture[:, ::-1], picture[::-1, ::-1], picture[::-1], picture.swapaxes(0, 1),
        np.rot90(picture, 1), np.rot90(picture, 2).swapaxes(0, 1), np.rot90(picture, -1),
    ]  # fmt: skip
    return np.ascontiguousarray(turned[orientation - 1])


@cache
def profile_named(name: str) -> bytes:
    """sRGB, or Display P3: the same curve with other primaries."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if name == "sRGB":
        return srgb
    content = bytearray(srgb.replace(b"s\0R\0G\0B", b"D\0 \0P\0" + b"3"))
    columns = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for i in range(struct.unpack_from(">I", content, 128)[0]):
        tag, place = content[132 + 12 * i : 136 + 12 * i], struct.unpack_from(">I", content, 136 + 12 * i)[0]
        if bytes(tag) in columns:
            numbers = [round(value * 65536) for value in columns[bytes(tag)]]
            struct.pack_into(">3i", content, place + 8, *numbers)
    return bytes(content)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = CAMERA, orientation
    exif.get_ifd(0x8769)[0x9003] = WHEN
    return exif


def write_input(case: Case, path: Path) -> None:
    picture = stored(upright(case.size), case.orientation)
    if case.is_deep or case.target:
        write_deep(case, picture, path)
        return
    image = Image.fromarray(picture)
    if case.mode in {"P", "P+A"}:
        palette = image.convert("RGB").quantize(16)
        if case.mode == "P+A":
            palette.putpalette([*palette.getpalette(), *[0] * 768][:768])
            palette.paste(17, mask=Image.fromarray(255 - picture[..., 3]))
            palette.info["transparency"] = 17
        image = palette
    else:
        image = image.convert("RGB").convert(case.mode) if "A" not in case.mode else image.convert(case.mode)
    options = {}
    if case.source in {"jpg", "png", "webp", "avif", "tiff", "heic"}:
        options["exif"] = exif_of(case.orientation).tobytes()
        if case.source in {"jpg", "webp"}:
            options["xmp"] = XMP
    if case.source in {"jpg", "webp", "avif", "heic"}:
        options["quality"] = 95
    image.save(path, FORMATS[case.source], **options)


def write_deep(case: Case, picture: np.ndarray, path: Path) -> None:
    """TIFF by tifffile; PNG by imagecodecs, with an eXIf chunk put in."""
    channels = {"L16": [0], "LA16": [0, 3], "F": [0]}.get(case.mode, [0, 1, 2, 3][: 3 + case.has_alpha])
    pixels = picture[..., channels]
    if case.is_deep:
        pixels = pixels.astype(np.uint16) * 257
    pixels = pixels[..., 0] if len(channels) == 1 else np.ascontiguousarray(pixels)
    if case.source == "png":
        content = imagecodecs.png_encode(pixels)
        data = b"eXIf" + exif_of(case.orientation).tobytes()[6:]
        chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
        path.write_bytes(content[:33] + chunk + content[33:])
        return
    tags = [(274, 3, 1, case.orientation, True), (272, 2, 0, CAMERA, True), (700, 1, len(XMP), XMP, True)]
    if case.profile:
        tags.append((34675, 7, len(profile_named(case.profile)), profile_named(case.profile), True))
    tifffile.imwrite(
        path,
        (pixels / 65535).astype(np.float32) if case.mode == "F" else pixels,
        photometric="rgb" if len(channels) > 2 else "minisblack",
        extrasamples=["unassalpha"] if case.has_alpha else None,
        metadata=None,
        compression="zlib" if case.orientation % 2 else None,
        extratags=tags,
    )


# -- reading the results --------------------------------------------------------------------------


def decoded(path: Path) -> np.ndarray:
    """Pixels (H, W, C) as uint8 or uint16, by other libraries than Pillow's; HEIC by libheif."""
    suffix = path.suffix[1:]
    if suffix == "heic":
        pixels = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
    elif suffix in {"tif", "tiff"}:
        pixels = tifffile.imread(path)
    else:
        content = path.read_bytes()
        decode = {"jpg": "jpeg8", "webp": "webp", "png": "png", "bmp": "bmp", "gif": "gif", "avif": "avif"}
        pixels = getattr(imagecodecs, f"{decode[suffix]}_decode")(content)
        if suffix == "gif":
            pixels = pixels.reshape(-1, *pixels.shape[-3:])[0] if pixels.ndim > 3 else pixels
    return pixels if pixels.ndim == 3 else pixels[..., None]


def check(case: Case, target: Path) -> None:
    pixels, wanted = decoded(target), upright(case.size)
    assert pixels.shape[:2] == wanted.shape[:2]
    assert pixels.dtype == (np.uint16 if case.is_deep and case.suffix in {"png", "tiff"} else np.uint8)
    if case.has_alpha and case.suffix in WITH_ALPHA and wanted[..., 3].min() == 0:
        alpha = pixels[..., 3] // 257 if pixels.dtype == np.uint16 else pixels[..., 3]
        difference = np.abs(alpha.astype(int) - wanted[..., 3])
        assert difference.mean() < (1 if case.suffix in {*LOSSLESS, "webp", "gif"} else 8)
    elif not case.has_alpha and case.suffix != "gif":
        assert pixels.shape[2] == 3
    if min(case.size) > 8:
        light = pixels[..., :3].astype(float).mean(axis=2)
        height, width = light.shape
        bright = light[: height // 3, : width // 3].mean()
        assert bright > 1.25 * light[: height // 3, -width // 3 :].mean(), "not upright"
        assert bright > 1.25 * light[-height // 3 :, : width // 3].mean(), "not upright"
    check_metadata(case, target)


def check_metadata(case: Case, target: Path) -> None:
    if case.suffix in {"bmp", "gif"}:
        return
    with pyexiv2.Image(str(target)) as image:
        exif, xmp, profile = image.read_exif(), image.read_xmp(), image.read_icc()
    assert "DigitalSourceType" in str(xmp)
    assert exif.get("Exif.Image.Orientation", "1") == "1"
    if case.source not in {"bmp", "gif"}:
        assert exif["Exif.Image.Model"] == CAMERA
        if not case.is_deep and not case.target:
            assert exif["Exif.Photo.DateTimeOriginal"] == WHEN
    if case.source in {"jpg", "webp"} or case.target or (case.is_deep and case.source == "tiff"):
        assert CAPTION in str(xmp["Xmp.dc.description"])
    if case.suffix in WITH_PROFILE:
        assert (profile or b"") == (profile_named(case.profile) if case.profile else b"")


def check_reading(case: Case, source: Path) -> None:
    """What is going to be painted is the upright picture in sRGB, to the level where nothing was lost."""
    picture = read_picture(source)
    rgb = to_8_bits(picture.rgb).permute(1, 2, 0).numpy().astype(int)
    wanted = upright(case.size)[..., :3].astype(int)
    if case.profile == "P3":
        return  # tests/test_colour.py knows the numbers
    if case.mode == "1":
        assert set(np.unique(rgb)) <= {0, 255}
        return
    if case.mode in {"L", "LA"}:
        wanted = (wanted @ np.array([0.299, 0.587, 0.114])).round().astype(int)[..., None]
    elif case.mode in {"L16", "LA16", "F"}:
        wanted = wanted[..., :1]
    seen = upright(case.size)[..., 3] > 0 if case.has_alpha else np.ones(wanted.shape[:2], bool)
    exact = case.source in LOSSLESS and case.mode != "CMYK"
    assert not seen.any() or np.abs(rgb - wanted)[seen].mean() <= (1 if exact else 12)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(Look(resolve_style("photograph")), "cpu", "fp32", PaintSettings(workers=0))


@pytest.mark.parametrize("source", ["jpg", "png", "tiff", "webp", "avif", "bmp", "gif", "heic", "profiles"])
def test_what_was_read_is_what_was_meant_and_so_is_what_was_written(
    source: str, painter: Painter, tmp_path: Path
) -> None:
    chosen = [case for case in CASES if source == ("profiles" if case.target else case.source)]
    assert chosen
    jobs, wrong = {}, []
    for case in chosen:
        path = tmp_path / case.name
        write_input(case, path)
        check_reading(case, path)
        jobs[Job(path, tmp_path / "out" / f"{path.stem}.{case.suffix}", "")] = case
    for outcome in painter.work(list(jobs)):
        case = jobs[outcome.job]
        assert outcome.status == "done", outcome.note
        try:
            check(case, outcome.job.target)
        except Exception as error:
            wrong.append(f"{case.name}: {error!r:.200}")
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong)
