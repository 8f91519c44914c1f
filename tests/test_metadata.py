"""What people and cameras wrote into a picture, and what does not belong to the result, as exiv2 reads it."""

import io
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyexiv2
import pytest
import tifffile
import torch
from conftest import scene
from PIL import Image, PngImagePlugin

from stylize import exif as exifs
from stylize.cards import StyleCard
from stylize.exif import Directory, Value, block, in_order, parse
from stylize.images import read_picture, write_picture
from stylize.marking import SOURCE_TYPE, shortened, without_private, xmp_packet
from stylize.painting import marked
from stylize.paths import FORMATS

SUFFIXES = ("jpg", "png", "webp", "tiff", "avif", "heic")
TEXTS = {315: "José Müller ©", 33432: "© Žižek", 270: "Où est la forêt ?"}
TURNED, IMAGE = 274, (64, 48)


def segment(data: bytes, marker: int = 0xE1) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(*segments: bytes, size: tuple[int, int] = IMAGE) -> bytes:
    """A JPEG with these segments behind its first two bytes."""
    buffer = io.BytesIO()
    scene(*size).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()[:2] + b"".join(segments) + buffer.getvalue()[2:]


def png(*chunks: bytes) -> bytes:
    buffer = io.BytesIO()
    scene(*IMAGE).save(buffer, "PNG")
    return buffer.getvalue()[:33] + b"".join(chunks) + buffer.getvalue()[33:]


def tags_of(code: str, order: str = "<") -> Directory:
    """Texts in this encoding, as most cameras and programs write them, and a comment."""
    tags = {tag: Value(2, text.encode(code, "replace") + b"\0") for tag, text in TEXTS.items()}
    tags[271] = Value(2, b"Camera\0")
    comment = b"UNICODE\0" + "Grüße".encode("utf-16-le" if order == "<" else "utf-16-be")
    inner = {0x9286: Value(7, comment), 0x829A: Value(5, struct.pack(order + "LL", 1, 250))}
    return Directory(order, tags, {exifs.EXIF_IFD: Directory(order, inner)})


def source(suffix: str, exif: bytes, path: Path) -> Path:
    """A file of a format with this EXIF block, byte for byte."""
    if suffix == "jpg":
        path.write_bytes(jpeg(segment(exif)))
    elif suffix == "png":
        path.write_bytes(png(chunk(b"eXIf", exif[6:])))
    elif suffix == "tiff":
        buffer = io.BytesIO()
        scene(*IMAGE).save(buffer, "TIFF")
        path.write_bytes(exifs.into_tiff(buffer.getvalue(), parse(exif)))
    else:
        scene(*IMAGE).save(path, FORMATS[suffix], exif=exif)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", ["utf-8", "latin-1"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_accents_stay_in_every_format(tmp_path: Path, suffix: str, code: str, order: str) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    wanted = tags_of(code, order)
    picture = read_picture(source(suffix, block(wanted), tmp_path / f"in.{suffix}"))
    assert parse(picture.exif).tags == wanted.tags
    for target in SUFFIXES:
        path = tmp_path / f"out.{target}"
        write_picture(picture, path, FORMATS[target], 90)
        again = read_picture(path)
        found = in_order(parse(again.exif), order)
        assert {tag: found.tags[tag].data for tag in TEXTS} == {t: wanted.tags[t].data for t in TEXTS}
        assert found.within[exifs.EXIF_IFD].tags == wanted.within[exifs.EXIF_IFD].tags
        assert picture_seen_by_others(path, code) == [TEXTS[315], TEXTS[270]]


def picture_seen_by_others(path: Path, code: str) -> list[str]:
    """Artist and description by exiftool, where it is installed, or else by exiv2."""
    if shutil.which("exiftool"):
        charset = "UTF8" if code == "utf-8" else "Latin"
        command = ["exiftool", "-s3", "-charset", f"exif={charset}", "-EXIF:Artist", "-EXIF:ImageDescription"]
        return subprocess.run([*command, path], capture_output=True, text=True).stdout.splitlines()
    with pyexiv2.Image(str(path)) as image:
        found = image.read_exif(code)
    return [found["Exif.Image.Artist"], found["Exif.Image.ImageDescription"]]


@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_turned_picture_with_an_odd_tag_is_turned(tmp_path: Path, suffix: str, kind: int) -> None:
    data = {1: b"\6", 3: struct.pack("<H", 6), 4: struct.pack("<L", 6)}[kind]
    odd = {282: Value(2, b"72\0"), 34665: Value(2, b"none\0"), 305: Value(5, b"\0" * 8)}
    directory = Directory("<", {TURNED: Value(kind, data), 271: Value(2, b"Camera\0"), **odd})
    picture = read_picture(source(suffix, block(directory), tmp_path / f"in.{suffix}"))
    assert picture.size == (48, 64)
    assert TURNED not in parse(picture.exif).tags
    assert parse(picture.exif).tags[271].data == b"Camera\0"


def test_private_tags_go_and_the_others_stay_as_they_are() -> None:
    directory = tags_of("latin-1", ">")
    directory.within[exifs.GPS_IFD] = Directory(">", {1: Value(2, b"N\0")})
    directory.within[exifs.EXIF_IFD].tags[0xA431] = Value(2, b"SN-123456\0")
    public = without_private(block(directory))
    assert b"SN-123456" not in public
    assert exifs.GPS_IFD not in parse(public).within
    assert parse(public).tags == directory.tags


# -- what it may cost -----------------------------------------------------------------------------


def seconds_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def xmp(body: str, attributes: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:a="http://a/" {attributes}>{body}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


LARGE = {
    "many": xmp("".join(f"<a:b{i}/>" for i in range(9_000))),
    "more": xmp("<a:b/>" * 100_000),
    "deep": xmp("<a:b>" * 1_500 + "</a:b>" * 1_500),
    "attributes": xmp("", " ".join(f'a:b{i}="{"x" * 20}"' for i in range(3000))),
    "one": xmp("", f'a:b="{"x" * 200_000}"'),
    "history": xmp("<a:b>" + "y" * 120_000 + "</a:b><a:c>short</a:c>"),
    "entities": b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><a>&d;</a>',
}


def test_entities_do_not_grow() -> None:
    grown = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(7))
    packet = f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{grown}]>'.encode() + xmp("&a7;")
    for code in ("utf-8", "utf-16"):
        coded = packet.decode().encode(code)
        result = xmp_packet([StyleCard("x")], coded)
        assert b"aaaa" not in result
        assert len(result) < 3000


@pytest.mark.parametrize("name", LARGE)
def test_the_mark_stays_however_large_the_xmp_is(tmp_path: Path, name: str) -> None:
    content = png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE[name]))
    began = time.monotonic()
    result = marked(read_picture(content), [StyleCard("x")], "all")
    write_picture(result, tmp_path / "out.jpg", "JPEG", 90)
    assert time.monotonic() - began < 5
    with pyexiv2.Image(str(tmp_path / "out.jpg")) as image:
        found = image.read_xmp()
    assert found["Xmp.iptcExt.DigitalSourceType"] == SOURCE_TYPE
    assert found["Xmp.iptcExt.AISystemUsed"] == "stylize"
    assert "stylize in the style of x" in found["Xmp.photoshop.Credit"]


def test_what_is_shortened_gives_way_by_its_length() -> None:
    packet = xmp_packet([StyleCard("x")], LARGE["history"])
    short = shortened(packet, 65_000)
    assert b"short" in short
    assert b"yyyy" not in short
    assert SOURCE_TYPE.encode() in short
    assert shortened(packet, 10) == b""


def test_a_megabyte_of_fractions_and_tags_that_overlap_cost_nothing() -> None:
    fractions = Directory("<", {50_000: Value(5, b"\1\0\0\0" * 500_000), 271: Value(2, b"Camera\0")})
    assert seconds_of(lambda: read_picture(png(chunk(b"eXIf", block(fractions)[6:])))) < 2
    count = 5000
    table = b"".join(struct.pack("<HHLL", 40_000 + i, 7, 900_000, 8) for i in range(count))
    overlapping = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + table + bytes(900_000)
    picture = read_picture(png(chunk(b"eXIf", overlapping)))
    assert len(picture.exif) <= exifs.MOST_BYTES + 20_000
    segments = [overlapping[i : i + 65_000] for i in range(0, len(overlapping), 65_000)]
    read_picture(jpeg(*[segment(b"Exif\0\0" + part) for part in segments]))
    for junk in (b"x", b"\xff\0", b"\xff\xff\xff", b"\xff\xd8"):  # which other readers overlook
        odd = {TURNED: Value(3, b"\6\0"), 282: Value(2, b"72\0"), 296: Value(2, b"in\0")}
        assert read_picture(jpeg(segment(b"", 0xFE), junk, segment(block(Directory("<", odd))))).size == (
            48,
            64,
        )
    with pytest.raises(Exception, match="damaged"):
        read_picture(overlapping)


def test_texts_together_have_a_limit(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    for i in range(900):
        texts.add_itxt(f"key {i}", "x" * 64_000, zip=True)
    scene(*IMAGE).save(tmp_path / "in.png", pnginfo=texts)
    picture = read_picture(tmp_path / "in.png")
    assert "text" in picture.remark
    write_picture(picture, tmp_path / "out.png", "PNG", 90)
    assert (tmp_path / "out.png").stat().st_size < 2 << 20


# -- left out, and said so ------------------------------------------------------------------------


def broken(data: bytes) -> bytes:
    """A chunk with a wrong sum."""
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("part", "remark"),
    [
        (chunk(b"eXIf", b"junk"), "EXIF"),
        (chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2_000_000)), "text"),
        (chunk(b"iCCP", b"p\0\0" + zlib.compress(b"x" * 20_000_000)), "profile"),
        (broken(chunk(b"tEXt", b"Title\0T")), "broken part"),
        (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x"), "XMP"),
        (chunk(b"tEXt", b"Title\0" + b"x" * 1_500_000), "text"),
    ],
)
def test_a_png_is_read_without_what_is_wrong_beside_it(part: bytes, remark: str) -> None:
    picture = read_picture(png(part), "a.png")
    assert picture.remark.startswith("a.png was read without")
    assert remark in picture.remark
    assert torch.equal(picture.rgb, read_picture(png()).rgb)
    assert not read_picture(png()).remark


@pytest.mark.parametrize(
    "frames",
    [
        chunk(b"acTL", struct.pack(">II", 0, 0)),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">I", 3) + bytes(22)),
        chunk(b"fdAT", struct.pack(">I", 0) + b"x"),
    ],
)
def test_a_png_whose_frames_are_wrong_is_read_as_a_still(frames: bytes) -> None:
    picture = read_picture(png(frames), "a.png")
    assert picture.motion is None
    assert "its frames" in picture.remark
    assert torch.equal(picture.rgb, read_picture(png()).rgb)


def test_the_xmp_of_a_gif_is_kept_and_a_large_tiff_is_not_taken_for_a_bomb(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    scene(*IMAGE).save(buffer, "GIF")
    packet = xmp("", 'a:kept="yes"')
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    content = buffer.getvalue()
    place = 13 + (3 << (content[10] & 7) + 1)
    extension = b"\x21\xff\x0bXMP DataXMP" + packet + trailer
    assert read_picture(content[:place] + extension + content[place:]).xmp == packet
    for order in ("<", ">"):
        for i in range(20):
            text = "x" * (i * 37)
            tifffile.imwrite(
                tmp_path / "a.tif",
                np.zeros((8, 8), np.uint8),
                bigtiff=True,
                description=text,
                byteorder=order,
            )
            if order == "<":
                read_picture(tmp_path / "a.tif")
            else:
                with pytest.raises(Exception, match=r"BigTIFF|damaged"):
                    read_picture(tmp_path / "a.tif")


def test_a_long_profile_of_a_png_is_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2_000_000))
    struct.pack_into(">I", profile, 0, len(profile))
    picture = read_picture(png(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(profile)))))
    assert picture.profile == bytes(profile)
    assert not picture.remark


def test_a_jpeg_without_its_end_mark_is_whole_and_a_shorter_one_is_not() -> None:
    whole = jpeg(size=(157, 101))
    for progressive in (False, True):
        buffer = io.BytesIO()
        scene(157, 101).save(buffer, "JPEG", progressive=progressive)
        whole = buffer.getvalue()
        assert torch.equal(read_picture(whole[:-2]).rgb, read_picture(whole).rgb)
        assert torch.equal(read_picture(whole[:-1]).rgb, read_picture(whole).rgb)
        for size in (len(whole) - 20, len(whole) * 3 // 4, len(whole) // 2):
            with pytest.raises(Exception, match="cut off"):
                read_picture(whole[:size])


# -- IPTC and XMP ---------------------------------------------------------------------------------


def iptc(fields: dict[int, str]) -> bytes:
    """A JPEG's segment with IPTC fields of record 2."""
    data = b"".join(
        b"\x1c\2" + bytes([n]) + struct.pack(">H", len(t.encode())) + t.encode() for n, t in fields.items()
    )
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    return segment(b"Photoshop 3.0\0" + resource, 0xED)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_fields_of_iptc_are_in_the_xmp_of_the_result(tmp_path: Path, suffix: str) -> None:
    fields = {90: "Nîmes", 110: "Agence X", 105: "Flood", 115: "Y Press", 55: "20240501", 120: "A caption"}
    (tmp_path / "in.jpg").write_bytes(jpeg(iptc(fields)))
    result = marked(read_picture(tmp_path / "in.jpg"), [StyleCard("ink")], "all")
    write_picture(result, tmp_path / f"out.{suffix}", FORMATS[suffix], 90)
    with pyexiv2.Image(str(tmp_path / f"out.{suffix}")) as image:
        found = image.read_xmp()
    assert found["Xmp.photoshop.City"] == "Nîmes"
    assert found["Xmp.photoshop.Headline"] == "Flood"
    assert found["Xmp.photoshop.Source"] == "Y Press"
    assert found["Xmp.photoshop.DateCreated"] == "2024-05-01"
    assert found["Xmp.photoshop.Credit"].startswith("Painted by stylize")
    assert found["Xmp.photoshop.Credit"].endswith("Agence X")
    again = marked(result, [StyleCard("oil")], "all")
    assert again.xmp.count(b"Agence X") == 1
    assert again.xmp.count(b"Painted by") == 1


def test_what_was_true_of_the_file_alone_is_not_in_the_result() -> None:
    camera = "http://ns.google.com/photos/1.0/camera/"
    attributes = (
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" xmlns:GCamera="{camera}" '
        'GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="12345" hdrgm:Version="1.0" a:stays="yes" '
        'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    )
    container = (
        '<Container:Directory xmlns:Container="http://ns.google.com/photos/1.0/container/">'
        "<rdf:Seq><rdf:li>video</rdf:li></rdf:Seq></Container:Directory><tiff:Orientation>6</tiff:Orientation>"
    )
    content = jpeg(segment(b"http://ns.adobe.com/xap/1.0/\0" + xmp(container, attributes))) + b"\0ftypmp42"
    picture = read_picture(content)
    assert picture.size == (48, 64)  # it was turned
    for word in (b"Orientation", b"Motion", b"MicroVideo", b"Container", b"hdrgm", b"video"):
        assert word not in picture.xmp
    assert b"stays" in picture.xmp


def test_a_bigtiff_keeps_its_texts_in_a_form_that_others_read(tmp_path: Path) -> None:
    scene(*IMAGE).save(tmp_path / "in.tif", big_tiff=True, description="a scan")
    picture = read_picture(tmp_path / "in.tif")
    for suffix in ("tif", "jpg", "png"):
        path = tmp_path / f"out.{suffix}"
        write_picture(picture, path, FORMATS[suffix], 90)
        with pyexiv2.Image(str(path)) as image:
            assert image.read_exif()["Exif.Image.ImageDescription"] == "a scan"
        with Image.open(path) as image:
            assert image.getexif()[270] == "a scan"
            assert np.asarray(image).shape == (48, 64, 3)
