"""Blends, palettes, masks: what `apply` can do with more than one style."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, scene
from PIL import Image

from stylize import bundled, mixing
from stylize.errors import UsageError
from stylize.looks import resolve_look
from stylize.styles import resolve_blend, resolve_style


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(float)


@pytest.fixture
def paint(run: Run, photo: Path):
    """Paint the photo with options; returns its pixels."""

    def call(*options: object) -> np.ndarray:
        result = run("apply", photo, *options, "-o", "out.png", "-f")
        assert result.returncode == 0, result.stderr.decode()
        return pixels(photo.with_name("out.png"))

    return call


def test_weights_are_read_from_the_end() -> None:
    assert bundled.weighted("ink-wash") == ("ink-wash", 1.0)
    assert bundled.weighted("ink-wash:0.25") == ("ink-wash", 0.25)
    assert bundled.weighted("C:/works/x.png") == ("C:/works/x.png", 1.0)
    assert bundled.weighted("a:b:2") == ("a:b", 2.0)


def test_a_blend_moves_from_one_style_to_the_other(paint) -> None:
    ends = [paint("-s", name) for name in ("ink-wash", "van-gogh")]
    distances = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        between = paint("-s", f"ink-wash:{1 - share}", "-s", f"van-gogh:{share}")
        distances.append([np.abs(between - end).mean() for end in ends])
    from_ink, from_gogh = zip(*distances, strict=True)
    assert list(from_ink) == sorted(from_ink)
    assert list(from_gogh) == sorted(from_gogh, reverse=True)
    assert from_ink[0] < 0.5
    assert from_gogh[-1] < 0.5


def test_weights_count_relatively() -> None:
    a = resolve_blend(["ink-wash:3", "van-gogh:1"]).code
    b = resolve_blend(["ink-wash:0.75", "van-gogh:0.25"]).code
    assert torch.allclose(a, b, atol=1e-5)


def test_a_folder_is_the_mean_of_its_works(tmp_path: Path) -> None:
    for i in range(2):
        scene(120, 90, seed=i).rotate(90 * i, expand=True).save(tmp_path / f"{i}.png")
    together = resolve_style(str(tmp_path)).code
    alone = [resolve_style(str(tmp_path / f"{i}.png")).code for i in range(2)]
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    assert (together - alone[0]).norm() < (alone[1] - alone[0]).norm()


def test_palette_and_strokes_come_from_two_styles(paint) -> None:
    grey, colourful = paint("-s", "engraving"), paint("-s", "van-gogh")
    mixed = paint("-s", "van-gogh", "--palette-from", "engraving")
    same = paint("-s", "engraving", "--strokes-from", "van-gogh")
    assert np.array_equal(mixed, same)

    def chroma(picture: np.ndarray) -> float:
        return float(np.ptp(picture, axis=2).mean())

    assert abs(chroma(mixed) - chroma(grey)) < 0.4 * abs(chroma(colourful) - chroma(grey))
    light = [p.mean(2) - p.mean() for p in (mixed, colourful, grey)]
    like_strokes, like_palette = (np.corrcoef(light[0].ravel(), x.ravel())[0, 1] for x in light[1:])
    assert like_strokes > like_palette


def test_keeping_the_colour(paint, photo: Path) -> None:
    kept, plain, original = paint("-s", "van-gogh", "--keep-colour"), paint("-s", "van-gogh"), pixels(photo)

    def hue(picture: np.ndarray) -> np.ndarray:
        return picture - picture.mean(2, keepdims=True)

    assert np.abs(hue(kept) - hue(original)).mean() < 0.5 * np.abs(hue(plain) - hue(original)).mean()
    assert np.abs(kept - original).mean() > 5


def test_a_mask_divides_the_picture(paint, photo: Path) -> None:
    mask = np.zeros((101, 157), np.uint8)
    mask[:, :80] = 255
    Image.fromarray(mask).save(photo.with_name("mask.png"))
    inside, beyond, original = paint("-s", "ink-wash"), paint("-s", "van-gogh"), pixels(photo)
    result = paint("-s", "ink-wash", "--mask", "mask.png", "--feather", 0)
    assert np.array_equal(result[:, :80], inside[:, :80])
    assert np.array_equal(result[:, 80:], original[:, 80:])
    result = paint("-s", "ink-wash", "--mask", "mask.png", "--outside", "van-gogh", "--feather", 10)
    assert np.array_equal(result[:, :60], inside[:, :60])
    assert np.array_equal(result[:, 100:], beyond[:, 100:])
    assert np.abs(result[:, 80] - (inside[:, 80] + beyond[:, 80]) / 2).mean() < 6
    assert paint("-s", "ink-wash", "--mask", "mask.png", "--size", 80).shape == (51, 80, 3)


def test_a_mask_in_the_alpha_channel(paint, photo: Path) -> None:
    mask = Image.new("RGBA", (157, 101), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 157, 50))
    mask.save(photo.with_name("mask.png"))
    result = paint("-s", "ink-wash", "--mask", "mask.png", "--feather", 0)
    assert np.array_equal(result[50:], pixels(photo)[50:])
    assert not np.array_equal(result[:50], pixels(photo)[:50])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-s", "ink-wash:-1"], 2, "weight"),
        (["-s", "ink-wash:nan"], 2, "weight"),
        (["-s", "ink-wash:0", "-s", "van-gogh:0"], 2, "sum to nothing"),
        (["-s", "ink-wash", "--mask", "small.png"], 1, "mask has 20 x 10"),
        (["-s", "ink-wash", "--mask", "none.png"], 1, "none.png"),
        (["-s", "ink-wash", "--outside", "van-gogh"], 2, "--mask"),
        (["-s", "ink-wash", "--keep-colour", "--palette-from", "van-gogh"], 2, "--palette-from"),
        (["-s", "flat.png"], 1, "flat colour"),
        (["-s", "tiny.png"], 1, "too small"),
        (["-s", "empty"], 2, "empty"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    run: Run, photo: Path, options: list[str], code: int, words: str
) -> None:
    Image.new("L", (20, 10)).save(photo.with_name("small.png"))
    Image.new("RGB", (90, 90), "teal").save(photo.with_name("flat.png"))
    scene(8, 8).save(photo.with_name("tiny.png"))
    photo.with_name("empty").mkdir()
    result = run("apply", photo, *options, "-o", "out.png")
    text = result.stderr.decode()
    assert (result.returncode, words in text) == (code, True), text
    assert len(text.strip().splitlines()) == 1
    assert not photo.with_name("out.png").exists()


def test_styles_of_different_bases_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    ink = resolve_style("ink-wash")
    ink.base.identity = "other"
    monkeypatch.setattr(
        "stylize.styles.resolve_style", lambda name, *rest: ink if name == "a" else resolve_style(name, *rest)
    )
    with pytest.raises(UsageError, match="different bases"):
        resolve_blend(["a", "van-gogh"])
    monkeypatch.setattr("stylize.looks.resolve_blend", lambda *given: ink)
    with pytest.raises(UsageError, match="different bases"):
        resolve_look(["a"], palette_from="van-gogh")


def test_recolouring_never_leaves_the_range_or_shifts_the_hue() -> None:
    torch.manual_seed(0)
    strokes, palette = (torch.randint(256, (3, 600, 7), dtype=torch.uint8) for _ in range(2))
    result = mixing.keep_colour(strokes, palette).float()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    light = (strokes.float() * weights).sum(0)
    assert ((result * weights).sum(0) - light).abs().max() <= 1
