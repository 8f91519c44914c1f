"""What the window does, without it: a sitting's styles, variations and files."""

import zipfile
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from PIL import Image
from torch import Tensor

from stylize import bundled
from stylize.adapters import Adapters
from stylize.atelier import MOST_BLENDED, THUMBNAIL, VIEW, Atelier, Manner, Sitting
from stylize.cards import StyleCard, read_card
from stylize.config import GeneratorConfig
from stylize.errors import PictureError, UsageError
from stylize.generator import mix_codes
from stylize.model import Base, Style, new_base, save_style
from stylize.styles import resolve_style

TINY = GeneratorConfig(8, 16, 32, 1, 1, 16, attention_width=8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the styles of one's own are: none at first."""
    monkeypatch.setenv("STYLIZE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "styles"


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    """No styles but three of a tiny base; the last, "c", has offsets and changes of kernels as well."""
    for bundle in ("style_paths", "translation_paths"):
        monkeypatch.setattr(bundled, bundle, dict)
    torch.manual_seed(0)
    base = new_base(TINY)
    home.mkdir(parents=True)
    for name in "abc":
        save(home, name, torch.randn(1, 16), base)
    adapters = Adapters.for_generator(base.generator, 2)
    for up in adapters.up:
        torch.nn.init.normal_(up, std=0.3)
    save(home, "c", 0.3 * torch.randn(1, 16 + base.generator.offsets_size), base, adapters)
    return base


def save(home: Path, name: str, code: Tensor, base: Base, adapters: Adapters | None = None) -> None:
    card = StyleCard(name, title=name.upper(), cultural_note=f"Note of {name}.", licence="MIT")
    save_style(home / f"{name}.safetensors", Style(code, card, "", base, adapters=adapters))


@pytest.fixture
def atelier(tmp_path: Path) -> Atelier:
    (tmp_path / "there").mkdir()
    return Atelier(tmp_path / "there", "cpu", "fp32", megapixels=1)


def upload(atelier: Atelier, name: str, seed: int = 0, size: tuple[int, int] = (96, 64)) -> Path:
    """A picture among what was uploaded, in a folder of its own as Gradio makes them."""
    path = atelier.folder / "uploads" / f"{seed}{name}"[:8].strip(". ") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(*size, seed).save(path)
    return path


@pytest.fixture
def sitting(atelier: Atelier) -> Sitting:
    sitting = atelier.sitting()
    sitting.open(upload(atelier, "my photo.png"))
    return sitting


def code_of(sitting: Sitting) -> Tensor:
    assert sitting.chosen is not None
    return sitting.chosen.style.code


# -- styles ---------------------------------------------------------------------------------------


def test_thumbnails_show_the_photo_in_every_style_and_are_painted_once(
    tiny: Base, home: Path, atelier: Atelier
) -> None:
    (home / "bad.safetensors").write_bytes(b"no style")
    sitting, told = atelier.sitting(), []
    sitting.open(upload(atelier, "wide.png", size=(600, 300)))
    shown, notes = sitting.thumbnails(lambda done, total: told.append((done, total)))
    assert [name for _, name in shown] == ["a", "b", "c"] == sitting.shown
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert len(notes) == 1
    assert "bad.safetensors" in notes[0]
    assert len({path.read_bytes() for path, _ in shown}) == 3
    with Image.open(shown[0][0]) as image:
        assert image.size == (THUMBNAIL, THUMBNAIL // 2)
    save(home, "d", torch.randn(1, 16), tiny)
    again, _ = sitting.thumbnails()
    assert again[:3] == shown
    assert again[3][1] == "d"


def test_the_bundled_styles_are_there_and_the_one_that_paints_nothing_comes_last(
    home: Path, atelier: Atelier
) -> None:
    names = atelier.names()
    assert set(names) == set(bundled.style_paths()) | set(bundled.translation_paths())
    assert names[-1] == "photograph"


def test_a_style_alone_and_a_blend(tiny: Base, sitting: Sitting) -> None:
    with pytest.raises(UsageError, match="Choose a style"):
        sitting.view(Manner())
    sitting.choose({"a": 1.0})
    sitting.take("b")
    assert sitting.weights == {"a": 1.0, "b": 1.0}
    sitting.choose({"a": 0.75, "b": 0.25})
    a, b = (resolve_style(name).code for name in "ab")
    assert torch.allclose(code_of(sitting), mix_codes([a, b], [0.75, 0.25]), atol=1e-6)
    assert [card.name for card in sitting.cards] == ["a", "b"]
    with pytest.raises(UsageError, match="sum to nothing"):
        sitting.choose({"a": 0.0, "b": 0.0})
    assert sitting.weights == {"a": 0.75, "b": 0.25}
    sitting.take("a")
    sitting.take("b")
    assert list(sitting.weights) == ["b"]
    with pytest.raises(UsageError, match="no style 'x'"):
        sitting.choose({"x": 1.0})


def test_only_so_many_styles_blend(tiny: Base, home: Path, sitting: Sitting) -> None:
    for number in range(MOST_BLENDED + 1):
        save(home, f"s{number}", torch.randn(1, 16), tiny)
    for number in range(MOST_BLENDED):
        sitting.take(f"s{number}")
    with pytest.raises(UsageError, match="take one out"):
        sitting.take(f"s{MOST_BLENDED}")


def test_styles_of_one_base_share_its_networks(tiny: Base, atelier: Atelier) -> None:
    assert atelier.style("a").base is atelier.style("b").base


def test_a_style_that_was_made_anew_is_read_anew(tiny: Base, home: Path, atelier: Atelier) -> None:
    before = atelier.style("a").code
    save(home, "a", before + 1, tiny)
    assert torch.allclose(atelier.style("a").code, before + 1)


def test_an_uploaded_painting_is_a_style(home: Path, atelier: Atelier, sitting: Sitting) -> None:
    work = upload(atelier, "ukiyo-e.png", seed=3)
    name = sitting.add_work(work)
    assert name == "ukiyo-e (yours)"
    assert sitting.names()[0] == name
    sitting.choose({name: 1.0})
    assert torch.equal(code_of(sitting), resolve_style(str(work)).code)
    flat = upload(atelier, "flat.png", seed=4)
    Image.new("RGB", (64, 64), "red").save(flat)
    with pytest.raises(PictureError, match="one flat colour"):
        sitting.add_work(flat)
    assert "flat" not in sitting.names()


# -- what is shown --------------------------------------------------------------------------------


def test_the_view_is_the_painting_at_the_size_of_the_file_up_to_a_limit(tiny: Base, atelier: Atelier) -> None:
    sitting = atelier.sitting()
    sitting.open(upload(atelier, "large.png", size=(1200, 300)))
    sitting.choose({"a": 1.0})
    for side, seen in ((None, VIEW), (200, 200)):
        before, after = sitting.view(Manner(longer_side=side))
        with Image.open(before) as old, Image.open(after) as new:
            assert max(old.size) == max(new.size) == seen
            assert old.tobytes() != new.tobytes()
        assert sitting.is_reduced(Manner(longer_side=side)) == (side is None)
    full = sitting.view(Manner())[1].read_bytes()
    assert sitting.view(Manner(strength=0.5))[1].read_bytes() != full
    assert sitting.view(Manner(keep_colour=True))[1].read_bytes() != full


def test_what_is_shown_tells_nothing_private(tiny: Base, atelier: Atelier, sitting: Sitting) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    path = upload(atelier, "tagged.jpg", seed=5)
    scene(64, 64).save(path, exif=exif)
    sitting.open(path)
    sitting.choose({"a": 1.0})
    assert all(b"Maker" not in shown.read_bytes() for shown in sitting.view(Manner()))
    assert b"Maker" in sitting.paint_full(Manner()).read_bytes()


def test_files_that_were_seen_are_removed(
    tiny: Base, sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylize.atelier._PASSING", 4)
    shown, _ = sitting.thumbnails()
    sitting.choose({"a": 1.0})
    seen = [path for _ in range(4) for path in sitting.view(Manner())]
    assert [path.exists() for path in seen] == [False] * 4 + [True] * 4
    assert all(path.exists() for path, _ in shown)
    sitting.close()
    assert not any(path.exists() for path in seen)


# -- variations -----------------------------------------------------------------------------------


def test_variations_lead_on_from_the_one_that_was_picked(tiny: Base, sitting: Sitting) -> None:
    sitting.choose({"c": 1.0})
    root = code_of(sitting)
    with pytest.raises(UsageError, match="Make four"):
        sitting.pick(0)
    first = [path.read_bytes() for path in sitting.vary(Manner())]
    assert len(set(first)) == 4
    sitting.pick(2)
    sitting.pick(1)  # another of the same four
    centre, steps = code_of(sitting), [(code_of(sitting) - root).norm().item()]
    assert torch.allclose(centre[:, 16:], root[:, 16:], atol=1e-6)
    for _ in range(2):
        sitting.vary(Manner())
        reached = []
        for index in range(4):
            sitting.pick(index)
            reached.append((code_of(sitting) - centre).norm().item())
        steps.append(sum(reached) / 4)
        centre = code_of(sitting)
    assert steps[1] < 0.8 * steps[0]
    assert 0 < steps[2] < 0.8 * steps[1]
    for _ in range(3):
        sitting.back()
    assert torch.equal(code_of(sitting), root)
    with pytest.raises(UsageError, match="where you began"):
        sitting.back()


def test_other_variations_each_time_and_the_same_for_who_does_the_same(tiny: Base, atelier: Atelier) -> None:
    seen = []
    for _ in range(2):
        sitting = atelier.sitting()
        sitting.open(upload(atelier, "photo.png"))
        sitting.choose({"a": 1.0})
        seen.append([path.read_bytes() for _ in range(2) for path in sitting.vary(Manner())])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 8


def test_what_is_kept_is_a_style_by_name(tiny: Base, home: Path, sitting: Sitting) -> None:
    sitting.choose({"a": 0.5, "c": 0.5})
    sitting.vary(Manner())
    sitting.pick(3)
    path = sitting.keep(" my-own ")
    assert path == home / "my-own.safetensors"
    kept = resolve_style("my-own")
    size = 16 + tiny.generator.offsets_size
    assert torch.allclose(kept.code[:, :size], code_of(sitting)[:, :size], atol=2e-3)
    changes, wanted = kept.code[:, size:], code_of(sitting)[:, size:]
    assert wanted.norm() > 0.1
    assert (changes - wanted).norm() < 3e-3 * wanted.norm()
    card = read_card(path)
    assert card.name == "my-own"
    assert card.cultural_note == "Note of a.; Note of c."
    assert card.licence == "MIT"
    assert "A and C" in card.description
    assert "my-own" in sitting.names()
    for name, why in (("my-own", "You have"), ("../x", "cannot be called"), ("", "Give it a name")):
        with pytest.raises(UsageError, match=why):
            sitting.keep(name)


def test_a_variation_of_a_bundled_style_needs_no_networks_of_its_own(
    home: Path, atelier: Atelier, sitting: Sitting
) -> None:
    sitting.choose({"ink-wash": 1.0})
    with pytest.raises(UsageError, match="cannot be called"):
        sitting.keep("van-gogh")
    assert sitting.keep("mine").stat().st_size < 200_000
    assert resolve_style("mine").base.identity == atelier.style("ink-wash").base.identity
    assert read_card(home / "mine.safetensors").avoid == read_card(bundled.style_paths()["ink-wash"]).avoid


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_byte_for_byte_that_of_apply(home: Path, run: Run, atelier: Atelier) -> None:
    photo = upload(atelier, "tagged.jpg")
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825)[1] = "N"
    scene(157, 101).save(photo, exif=exif, comment=b"Our garden")
    sitting = atelier.sitting()
    sitting.open(photo)
    sitting.choose({"ink-wash": 0.5, "van-gogh": 0.5})
    ways = {
        "all": (Manner(0.8, True), ["--strength", 0.8, "--keep-colour"]),
        "png": (Manner(suffix="png", longer_side=80, metadata="public"), ["--size", 80, "--strip-private"]),
    }
    for way, (manner, options) in ways.items():
        mine = sitting.paint_full(manner)
        target = f"{way}{mine.suffix}"
        blend = ("-s", "ink-wash:0.5", "-s", "van-gogh:0.5")
        result = run("apply", photo, *blend, *options, "-o", target, "--dtype", "fp32", "--device", "cpu")
        assert result.returncode == 0, result.stderr
        assert mine.name == f"tagged.ink-wash+van-gogh{mine.suffix}"
        assert mine.read_bytes() == home.parent.with_name(target).read_bytes()


def test_many_photos_become_an_archive_and_a_bad_one_does_not_stop_the_rest(
    tiny: Base, atelier: Atelier, sitting: Sitting
) -> None:
    sitting.choose({"a": 1.0})
    good = [upload(atelier, "one.png", 1), upload(atelier, "two.jpg", 2), upload(atelier, "one.png", 3)]
    bad = upload(atelier, "bad.jpg", 4)
    bad.write_bytes(b"\xff\xd8\xff no picture")
    cut = upload(atelier, "cut.png", 5)
    cut.write_bytes(cut.read_bytes()[:700])
    clip = bad.with_name("clip.mp4")
    clip.write_bytes(b"")
    told: list[tuple[int, int]] = []
    batch = sitting.paint_many(
        [bad, good[0], Path("/etc/passwd"), cut, *good[1:], clip], Manner(), lambda *of: told.append(of)
    )
    assert batch.done == 3
    assert told[-1] == (4, 4)
    assert batch.archive is not None
    assert batch.archive.name == "a.zip"
    with zipfile.ZipFile(batch.archive) as pack:
        assert pack.namelist() == ["one.png", "two.jpg", "2/one.png"]
        assert pack.testzip() is None
        with pack.open("2/one.png") as file, Image.open(file) as image:
            assert image.size == (96, 64)
        assert b"compositeWithTrainedAlgorithmicMedia" in pack.read("two.jpg")
    notes = "\n".join(batch.notes)
    for name in (
        "bad.jpg is not a picture",
        "passwd was not uploaded",
        "cut.png is damaged",
        "clip.mp4 is a",
    ):
        assert name in notes
    assert str(atelier.folder) not in notes
    nothing = sitting.paint_many([bad], Manner())
    assert nothing.archive is None


def test_stopping_keeps_what_is_painted(tiny: Base, atelier: Atelier, sitting: Sitting) -> None:
    sitting.choose({"a": 1.0})
    files = [upload(atelier, f"{number}.png", number) for number in range(5)]

    def stop_at_two(done: int, total: int) -> None:
        sitting.stopped = done == 2

    batch = sitting.paint_many(files, Manner(), stop_at_two)
    assert batch.done == 2
    assert batch.notes == ("Stopped after 2 of 5.",)
    assert batch.archive is not None
    with zipfile.ZipFile(batch.archive) as pack:
        assert pack.namelist() == ["0.png", "1.png"]


def test_names_that_are_too_long_are_cut(tiny: Base, home: Path, atelier: Atelier) -> None:
    for letter in "xyz":
        save(home, letter * 60, torch.randn(1, 16), tiny)
    sitting = atelier.sitting()
    sitting.open(upload(atelier, "ö" * 110 + ".png"))
    sitting.choose({letter * 60: 1.0 for letter in "xyz"})
    assert sitting.paint_full(Manner()).stat().st_size > 0
    assert sitting.paint_many([upload(atelier, "a.png")], Manner()).done == 1


# -- limits ---------------------------------------------------------------------------------------


def test_nothing_is_read_that_was_not_uploaded(tiny: Base, atelier: Atelier, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    scene(64, 64).save(outside)
    link = atelier.folder / "link.png"
    link.symlink_to(outside)
    sitting = atelier.sitting()
    for path in (outside, link, atelier.folder / ".." / "secret.png"):
        with pytest.raises(PictureError, match="was not uploaded"):
            sitting.open(path)
        with pytest.raises(PictureError, match="was not uploaded"):
            sitting.add_work(path)
    sitting.choose({"a": 1.0})
    for action in (sitting.thumbnails, lambda: sitting.view(Manner()), lambda: sitting.paint_full(Manner())):
        with pytest.raises(UsageError, match="Choose a photograph"):
            action()


def test_a_picture_with_too_many_pixels_is_refused_and_the_last_one_stays(
    atelier: Atelier, sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, before = upload(atelier, "large.png", size=(1100, 1000)), sitting.photo
    monkeypatch.setattr("stylize.easel.read_picture", None)  # it must not even be decoded
    with pytest.raises(PictureError, match=r"large\.png has 1100 x 1000 pixels.*--max-megapixels"):
        sitting.open(large)
    assert sitting.photo == before


def test_sentences_name_files_and_not_where_they_lie(atelier: Atelier) -> None:
    inner = atelier.folder / "uploads" / "0a1b"
    assert atelier.plain(f"{inner}/my photo.jpg is no picture.") == "my photo.jpg is no picture."
    assert atelier.plain(f"{atelier.folder}/a.jpg and /b/c.jpg") == "a.jpg and /b/c.jpg"


def test_colours_of_another_style_and_a_mask(tiny: Base, atelier: Atelier, sitting: Sitting) -> None:
    sitting.choose({"a": 1.0})
    plain = sitting.atelier.paint(sitting._photograph(), sitting._chosen().style, Manner()).rgb
    palette = sitting.palette("b")
    with_palette = sitting.atelier.paint(
        sitting._photograph(), sitting._chosen().style, Manner(palette=palette)
    ).rgb
    assert not torch.equal(plain, with_palette)
    mask = Image.new("L", (192, 128))
    mask.paste(255, (0, 0, 96, 128))
    path = upload(atelier, "mask.png", 5)
    mask.save(path)
    half = sitting.atelier.paint(sitting._photograph(), sitting._chosen().style, Manner(mask=path)).rgb
    assert torch.equal(half[..., :40], plain[..., :40])
    assert torch.equal(half[..., 60:], sitting._photograph().rgb[..., 60:])
    written = sitting.paint_full(Manner(mask=path, palette=palette))
    with Image.open(written) as image:
        assert image.size == (96, 64)
    Image.new("L", (64, 128)).save(path)
    with pytest.raises(PictureError, match="same proportions"):
        sitting.view(Manner(mask=path))
    with pytest.raises(UsageError, match="not both"):
        sitting.view(Manner(keep_colour=True, palette=palette))


def test_a_sample_is_there_and_gives_way_to_another_photograph(tiny: Base, atelier: Atelier) -> None:
    sitting = atelier.sitting()
    assert sitting.open_sample().parent.is_relative_to(atelier.folder)
    growing = sitting.growing_thumbnails()
    shown, notes = next(growing)
    assert (len(shown), notes) == (1, [])
    sitting.open(upload(atelier, "mine.png"))
    assert list(growing) == []
    assert sitting.style_at(0) == "a"
    for index in (-1, 1, "0", None, True):
        with pytest.raises(UsageError):
            sitting.style_at(index)
