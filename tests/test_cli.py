"""The command line as a user meets it: real processes, real files."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, scene
from PIL import Image
from test_images import damaged_files

from stylize import __version__, bundled
from stylize.cards import read_card, read_cards
from stylize.cli.bench import two_digits

STYLES = ["byzantine-mosaic", "engraving", "impressionist", "ink-wash", "ukiyo-e", "van-gogh"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(float)


def one_sentence(stderr: bytes) -> str:
    """Assert that stderr is friendly, and return it."""
    text = stderr.decode()
    assert "Traceback" not in text, text
    assert len([line for line in text.splitlines() if line.strip()]) == 1, text
    return text


def test_version_help_and_no_arguments(run: Run) -> None:
    assert run("--version").stdout.decode().strip() == f"stylize {__version__}"
    for flag in ("-h", "--help"):
        assert b"apply" in run(flag).stdout
    assert b"apply" in run().stdout + run().stderr


def test_a_photo_becomes_a_painting_of_its_size(run: Run, photo: Path) -> None:
    result = run("apply", photo, "--style", "ink-wash")
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b""
    painted = photo.with_name("photo.ink-wash.jpg")
    assert pixels(painted).shape == pixels(photo).shape
    assert np.abs(pixels(painted) - pixels(photo)).mean() > 15


def test_the_six_styles_are_there_and_differ(run: Run, photo: Path) -> None:
    results = []
    for style in STYLES:
        assert run("stylize", photo, "-s", style, "-o", f"{style}.png").returncode == 0
        results.append(pixels(photo.with_name(f"{style}.png")))
    for i, a in enumerate(results):
        for b in results[i + 1 :]:
            assert np.abs(a - b).mean() > 4


def test_styles_lists_a_line_each(run: Run) -> None:
    text = run("styles").stdout.decode()
    for style in [*STYLES, "photograph"]:
        assert style in text
    cards = json.loads(run("styles", "--json").stdout)
    assert all(card["description"] and card["tradition"] and card["works"] for card in cards)


def test_strength_moves_from_photograph_to_painting(run: Run, photo: Path) -> None:
    distances = []
    for strength in (0, 0.5, 1):
        run("apply", photo, "-s", "ukiyo-e", "--strength", strength, "-o", "x.png", "-f")
        distances.append(np.abs(pixels(photo.with_name("x.png")) - pixels(photo)).mean())
    assert distances[0] < distances[1] < distances[2]


def test_any_painting_is_a_style(run: Run, photo: Path) -> None:
    scene(300, 200, seed=3).convert("L").save(photo.with_name("work.png"))
    result = run("apply", photo, "--style", "work.png")
    assert result.returncode == 0, result.stderr.decode()
    assert photo.with_name("photo.work.jpg").exists()


def test_size_format_and_quality(run: Run, photo: Path) -> None:
    result = run("apply", photo, "-s", "ink-wash", "--size", 64, "--format", "webp", "--quality", 50)
    assert result.returncode == 0
    with Image.open(photo.with_name("photo.ink-wash.webp")) as image:
        assert (image.format, image.size) == ("WEBP", (64, 41))


def test_pipes(run: Run, photo: Path) -> None:
    result = run("apply", "-", "-s", "ink-wash", "-o", "-", stdin=photo.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    assert Image.open(io.BytesIO(result.stdout)).size == (157, 101)
    result = run("apply", "-", "-s", "ink-wash", "-o", "out.jpg", stdin=photo.read_bytes())
    assert result.returncode == 0
    assert photo.with_name("out.jpg").exists()
    asked = ("apply", "-", "-s", "ink-wash", "-o", "other.jpg")
    assert run(*asked, "--dry-run", stdin=photo.read_bytes()).returncode == 2
    assert run(*asked, "--format", "png", stdin=photo.read_bytes()).returncode == 2
    assert not photo.with_name("other.jpg").exists()
    kept = ("apply", "-", "-s", photo, "-o", photo, "--force")
    assert b"is an input" in run(*kept, stdin=photo.read_bytes()).stderr
    assert run("apply", "-", "-s", "ink-wash", stdin=b"nonsense").returncode == 1


def test_a_folder_is_mirrored_and_a_bad_file_does_not_stop_the_rest(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    scene(70, 50).save(tmp_path / "in/a.jpg")
    scene(50, 70).save(tmp_path / "in/sub/b.png")
    (tmp_path / "in/bad.jpg").write_bytes(damaged_files()["cut off"])
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "-r", "--json")
    assert result.returncode == 1
    records = {Path(r["source"]).name: r for r in map(json.loads, result.stdout.splitlines())}
    assert {name: r["status"] for name, r in records.items()} == {
        "a.jpg": "done", "b.png": "done", "bad.jpg": "failed",
    }  # fmt: skip
    assert "bad.jpg" in records["bad.jpg"]["error"]
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == ["a.jpg", "b.png"]


def test_existing_results(run: Run, photo: Path) -> None:
    target = photo.with_name("photo.ink-wash.jpg")
    target.write_bytes(b"mine")
    result = run("apply", photo, "-s", "ink-wash")
    assert result.returncode == 1
    assert "--force" in one_sentence(result.stderr)
    assert run("apply", photo, "-s", "ink-wash", "--skip-existing").returncode == 0
    assert target.read_bytes() == b"mine"
    assert run("apply", photo, "-s", "ink-wash", "--force").returncode == 0
    assert target.read_bytes() != b"mine"


def test_dry_run_writes_nothing(run: Run, photo: Path) -> None:
    result = run("apply", photo, "-s", "ink-wash", "-n")
    assert b"photo.ink-wash.jpg" in result.stdout
    assert os.listdir(photo.parent) == ["photo.jpg"]


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2, 2), (64, 1)])
def test_extreme_shapes(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (200, 90, 40)).save(tmp_path / "x.png")
    result = run("apply", "x.png", "-s", "ink-wash")
    assert result.returncode == 0, result.stderr.decode()
    with Image.open(tmp_path / "x.ink-wash.png") as image:
        assert image.size == size


@pytest.mark.parametrize("kind", damaged_files())
def test_damaged_pictures(run: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.jpg").write_bytes(damaged_files()[kind])
    result = run("apply", "x.jpg", "-s", "ink-wash")
    assert result.returncode == 1
    assert "x.jpg" in one_sentence(result.stderr)
    assert os.listdir(tmp_path) == ["x.jpg"]


def test_missing_file_and_empty_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none.jpg", "empty"):
        result = run("apply", name, "-s", "ink-wash")
        assert result.returncode == 1
        assert name in one_sentence(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-s", "ink-wahs"], "ink-wash"),
        (["-s", "none.safetensors"], "none.safetensors"),
        (["-s", "ink-wash", "-o", "x.xyz"], ".xyz"),
        (["-s", "ink-wash", "--device", "toaster"], "toaster"),
        (["-s", "ink-wash", "--device", "cuda:77"], "cuda:77"),
        (["-s", "ink-wash", "-f", "--skip-existing"], "--force"),
        (["photo.jpg", "-s", "ink-wash", "-o", "out/"], "out"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(
    run: Run, photo: Path, arguments: list[str], word: str
) -> None:
    result = run("apply", photo, *arguments)
    assert result.returncode == 2
    assert word in one_sentence(result.stderr)
    assert os.listdir(photo.parent) == ["photo.jpg"]


@pytest.mark.parametrize("content", [b"", b"\x10" * 200, b"PK\x03\x04"])
def test_a_style_file_that_is_none(run: Run, photo: Path, content: bytes) -> None:
    photo.with_name("s.safetensors").write_bytes(content)
    result = run("apply", photo, "-s", "s.safetensors")
    assert result.returncode == 1
    assert "s.safetensors" in one_sentence(result.stderr)


def test_a_style_for_another_base_says_so(run: Run, photo: Path) -> None:
    from test_model import rewrite

    style = photo.with_name("s.safetensors")
    shutil.copy(bundled.style_paths()["ink-wash"], style)
    rewrite(style, identity="0123456789abcdef")
    result = run("apply", photo, "-s", style)
    assert result.returncode == 1
    assert "0123456789abcdef" in one_sentence(result.stderr)


def test_a_folder_that_cannot_be_made(run: Run, photo: Path) -> None:
    photo.with_name("file").touch()
    result = run("apply", photo, "-s", "ink-wash", "-o", "file/out/x.png")
    assert result.returncode == 1
    assert "file" in one_sentence(result.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(run: Run, photo: Path) -> None:
    photo.with_name("locked").mkdir(mode=0o500)
    result = run("apply", photo, "-s", "ink-wash", "-o", "locked/x.png")
    assert result.returncode == 1
    assert "locked" in one_sentence(result.stderr)


def test_brackets_in_a_name_are_no_markup(run: Run, photo: Path) -> None:
    result = run("apply", photo, "-s", "works[red].png")
    assert result.returncode == 2
    assert "works[red].png" in one_sentence(result.stderr)


def test_debugging_shows_the_traceback(run: Run, photo: Path) -> None:
    result = run("apply", photo, "-s", "ink-wahs", STYLIZE_DEBUG="1")
    assert b"Traceback" in result.stderr


def test_bench_measures_time_and_memory(run: Run) -> None:
    result = run("bench", "--sizes", "64,300x200", "--device", "cpu", "--rounds", 1, "--json")
    assert result.returncode == 0, result.stderr.decode()
    small, large = json.loads(result.stdout)
    assert (large["width"], large["height"]) == (300, 200)
    assert 0 < small["seconds"] < 60
    assert 0 < small["memory"] < 1 << 30
    assert small["seconds_per_megapixel"] == pytest.approx(small["seconds"] * 1e6 / 64**2)
    assert "threads" in small["machine"]
    table = run("bench", "--sizes", "64", "--device", "cpu", "--rounds", 1).stdout.decode()
    assert "64 x 64" in table
    assert run("bench", "--sizes", "large").returncode == 2
    assert run("bench", "--sizes", "64", "--device", "cuda:9").returncode == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(0.3456, "0.35"), (0.00123, "0.0012"), (12.3, "12"), (1.04, "1.0"), (345.6, "346")]
)
def test_two_digits(value: float, shown: str) -> None:
    assert two_digits(value) == shown


def test_the_doctor_says_what_there_is_and_how_to_get_the_rest(run: Run, tmp_path: Path) -> None:
    cache = tmp_path / "file"
    cache.touch()
    result = run("doctor", "--json", "--device", "cpu", "--dtype", "fp32", HF_HOME=str(cache))
    assert result.returncode == 0, result.stderr.decode()
    found = json.loads(result.stdout)
    facts, parts = found["facts"], {part["name"]: part for part in found["parts"]}
    assert facts["stylize"].startswith(__version__)
    assert facts["device"].startswith("cpu, ")
    assert facts["precision"].startswith("float32")
    assert "GiB free" in facts["memory"]
    assert "cannot be written" in facts["fetched styles"]
    assert set(parts) == {"heic", "video", "ui", "cloud", "ray"}
    for part in parts.values():
        assert part["there"] or part["missing"]
    assert parts["heic"]["there"]["pillow-heif"]
    text = run("doctor").stdout.decode()
    for word in ("device", "precision", "memory", "HEIC pictures", "pillow-heif"):
        assert word in text
    assert run("doctor", "--device", "cuda:77").returncode == 2


def test_the_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from stylize import checkup

    monkeypatch.setattr(checkup, "_version", lambda name: None)
    missing = {part.name: part.missing for part in checkup.look_around("cpu").parts}
    assert [text.split(">")[0] for text in missing["video"]] == ["av", "opencv-python-headless"]


def test_a_style_shows_its_card(run: Run) -> None:
    text = run("styles", "show", "ukiyo-e").stdout.decode()
    for word in ("浮世絵", "Japan", "carved", "public domain"):
        assert word in text
    card = json.loads(run("styles", "show", "ink-wash", "--json").stdout)
    assert card["transliteration"] == "shuǐmò"
    assert run("styles", "show", "inkwash").returncode == 2
    assert run("styles", "list").stdout == run("styles").stdout


def test_every_bundled_card_is_complete() -> None:
    cards = read_cards(Path(__file__).parent.parent / "weights/cards.toml")
    for name, path in bundled.style_paths().items():
        card = read_card(path)
        assert replace(card, training="", metrics="") == cards[name]
        assert card.training
        assert card.metrics or name == "photograph"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[x", "Cannot read"),
        ('[x]\ntitle = "X"', "lacks"),
        ("[x]\ntitle = 3", "text"),
        ("[x]\nhue = 3", "hue"),
    ],
)
def test_bad_cards_are_refused(run: Run, photo: Path, text: str, words: str) -> None:
    photo.with_name("cards.toml").write_text(text)
    result = run("train", photo, "--name", "x", "--cards", "cards.toml", "-q")
    assert result.returncode == 2
    assert words in one_sentence(result.stderr)


def test_a_sheet_of_all_styles(run: Run, photo: Path) -> None:
    result = run("styles", "sheet", "-o", "sheet.png", "--photo", photo, "--width", 64)
    assert result.returncode == 0, result.stderr.decode()
    with Image.open(photo.with_name("sheet.png")) as image:
        assert image.width == 4 * 72 + 8
    assert run("styles", "sheet", "-o", "sheet.pdf").returncode == 2
    assert run("styles", "sheet", "-o", "none/sheet.png", "--width", 64).returncode == 1
