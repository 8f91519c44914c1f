"""Comparing styles: known answers, distances that order as eyes do, a page that stands alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, scene
from PIL import Image

from stylize.comparing import MEASURES, measures, moment_distance, with_interval


def measured(picture: np.ndarray) -> dict[str, float]:
    tensor = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    return dict(zip(MEASURES, measures(tensor).tolist(), strict=True))


def test_measures_with_known_answers() -> None:
    random = np.random.default_rng(0)
    x = np.arange(128)
    lines = np.repeat(np.tile((np.sin(2 * np.pi * x / 16) > 0).astype(float), (128, 1))[..., None], 3, 2)
    noise = np.repeat(random.uniform(0, 1, (128, 128, 1)), 3, 2)
    coarse = np.kron(noise[::8, ::8], np.ones((8, 8, 1)))
    red = np.tile([0.8, 0.2, 0.1], (128, 128, 1))
    assert measured(lines)["orientation"] > 0.95
    assert measured(noise)["orientation"] < 0.1
    assert measured(coarse)["stroke scale"] > 1.5 * measured(noise)["stroke scale"]
    assert measured(noise)["edge density"] > 0.7
    assert measured(red)["edge density"] == 0
    assert measured(red)["warmth"] == pytest.approx(0.7)
    assert measured(red)["contrast"] < 1e-3
    assert measured(noise)["colourfulness"] == pytest.approx(0, abs=1e-6)
    assert measured(lines)["contrast"] == pytest.approx(0.5, abs=0.01)


def test_the_interval_holds_the_distance_and_shrinks_with_more_works() -> None:
    torch.manual_seed(0)
    few, many = (with_interval(moment_distance, torch.randn(n, 40), 1 + torch.randn(n, 40)) for n in (5, 100))
    for found in (few, many):
        assert found.low <= found.value <= found.high
    assert many.high - many.low < few.high - few.low
    assert many.low <= 1.05
    assert many.high >= 0.95


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two folders of one kind, and one of another."""
    for name, first in (("alike-a", 0), ("alike-b", 3), ("lines", 6)):
        (tmp_path / name).mkdir()
        for seed in range(first, first + 3):
            picture = scene(128, 96, seed)
            if name == "lines":
                x = np.arange(128)
                stripes = 255 * (np.sin(x / (1 + seed / 4)) > 0)
                picture = Image.fromarray(np.tile(stripes.astype(np.uint8), (96, 1)))
            picture.save(tmp_path / name / f"{seed}.png")
    return ["alike-a", "alike-b", "lines"]


def test_comparing_folders(run: Run, folders: list[str], tmp_path: Path) -> None:
    result = run("styles", "compare", *folders, "--json", "-o", "page.html")
    assert result.returncode == 0, result.stderr.decode()
    pairs = {(p["first"], p["second"]): p for p in json.loads(result.stdout)}
    near = pairs["alike-a", "alike-b"]["moments"]["value"]
    assert near < 0.5 * pairs["alike-a", "lines"]["moments"]["value"]
    assert pairs["alike-a", "lines"]["gram"] > pairs["alike-a", "alike-b"]["gram"]
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page
    for kind in ("matrix", "map"):
        with Image.open(tmp_path / f"page.{kind}.png") as image:
            assert image.width > 200


def test_comparing_names_and_one_folder(run: Run, folders: list[str]) -> None:
    result = run("styles", "compare", "engraving", "van-gogh", folders[0])
    assert result.returncode == 0, result.stderr.decode()
    assert "colourfulness" in result.stdout.decode()


@pytest.mark.parametrize("arguments", [["ink-wash"], ["ink-wash", "ink-wash"], ["ink-wash", "nowhere"]])
def test_nothing_to_compare(run: Run, arguments: list[str]) -> None:
    assert run("styles", "compare", *arguments).returncode == 2
    assert run("styles", "compare", "ink-wash", "van-gogh", "-o", "page.png").returncode == 2
