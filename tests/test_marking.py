"""Metadata of results, read back with exiv2: an independent reader."""

from pathlib import Path

import pyexiv2
import pytest
from conftest import Run, scene
from PIL import Image, ImageCms

from stylize.cards import StyleCard
from stylize.marking import SOURCE_TYPE, xmp_packet

SOURCE_TAG = "Xmp.iptcExt.DigitalSourceType"


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """A photo with camera, date, location, serial number, caption and colour profile."""
    path = tmp_path / "tagged.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    scene(64, 48).save(path, icc_profile=profile)
    image = pyexiv2.Image(str(path))
    image.modify_exif(
        {
            "Exif.Image.Model": "Box Camera",
            "Exif.Photo.DateTimeOriginal": "2024:05:01 10:00:00",
            "Exif.Photo.BodySerialNumber": "SN-123456",
            "Exif.GPSInfo.GPSLatitude": "48/1 51/1 0/1",
            "Exif.GPSInfo.GPSLatitudeRef": "N",
        }
    )
    image.modify_xmp({"Xmp.dc.description": {'lang="x-default"': "Our garden"}, SOURCE_TAG: "digitalCapture"})
    image.close()
    return path


def read(path: Path) -> tuple[dict[str, str], dict[str, object]]:
    image = pyexiv2.Image(str(path))
    found = image.read_exif(), image.read_xmp()
    image.close()
    return found


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_results_say_what_they_are_and_keep_what_they_had(run: Run, tagged: Path, suffix: str) -> None:
    result = run("apply", tagged, "-s", "ukiyo-e", "-o", f"out.{suffix}")
    assert result.returncode == 0, result.stderr.decode()
    exif, xmp = read(tagged.with_name(f"out.{suffix}"))
    assert xmp[SOURCE_TAG] == SOURCE_TYPE
    assert xmp["Xmp.iptcExt.AISystemUsed"] == "stylize"
    assert "Ukiyo-e" in str(xmp["Xmp.photoshop.Credit"])
    assert "Our garden" in str(xmp["Xmp.dc.description"])
    assert exif["Exif.Image.Model"] == "Box Camera"
    assert exif["Exif.Photo.DateTimeOriginal"] == "2024:05:01 10:00:00"
    assert exif["Exif.Photo.BodySerialNumber"] == "SN-123456"
    assert "Exif.GPSInfo.GPSLatitude" in exif
    with Image.open(tagged.with_name(f"out.{suffix}")) as image:
        assert image.info["icc_profile"]


def test_private_things_can_be_left_out(run: Run, tagged: Path) -> None:
    assert run("apply", tagged, "-s", "ukiyo-e", "-o", "out.jpg", "--strip-private").returncode == 0
    exif, xmp = read(tagged.with_name("out.jpg"))
    assert exif["Exif.Image.Model"] == "Box Camera"
    assert not [tag for tag in exif if "GPS" in tag or "Serial" in tag]
    assert xmp[SOURCE_TAG] == SOURCE_TYPE
    assert "Xmp.dc.description" not in xmp
    assert b"SN-123456" not in tagged.with_name("out.jpg").read_bytes()


def test_and_so_can_everything(run: Run, tagged: Path) -> None:
    assert run("apply", tagged, "-s", "ukiyo-e", "-o", "out.jpg", "--no-metadata").returncode == 0
    assert read(tagged.with_name("out.jpg")) == ({}, {})


def test_painting_a_painting_marks_it_once(run: Run, tagged: Path) -> None:
    run("apply", tagged, "-s", "ukiyo-e", "-o", "once.jpg")
    assert run("apply", "once.jpg", "-s", "ink-wash", "-o", "twice.jpg").returncode == 0
    content = tagged.with_name("twice.jpg").read_bytes()
    assert content.count(SOURCE_TYPE.encode()) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"<x", b"\xff\xfe", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"]
)
def test_damaged_xmp_is_replaced(damage: bytes) -> None:
    assert SOURCE_TYPE.encode() in xmp_packet([StyleCard("x")], damage)
