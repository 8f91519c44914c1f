"""Weight files: what is written can be read, what is wrong is refused with a sentence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylize import model
from stylize.cards import StyleCard, read_card
from stylize.config import GeneratorConfig
from stylize.errors import WeightsError
from stylize.model import Style

TINY = GeneratorConfig(4, 8, 16, 1, 1, 8, 4)


@pytest.fixture
def base_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model.save_base(tmp_path / "base.safetensors", model.new_base(TINY))
    return tmp_path / "base.safetensors"


def rewrite(path: Path, tensors: dict[str, torch.Tensor] | None = None, **metadata: str) -> Path:
    """Save a weights file again with some of it replaced."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = {**file.metadata(), **metadata}
    save_file(load_file(path) if tensors is None else tensors, path, metadata=header)
    return path


def test_a_base_survives(base_file: Path) -> None:
    base = model.load_base(base_file)
    assert base.generator.config == TINY
    assert len(base.identity) == 16
    again = base_file.with_name("again.safetensors")
    model.save_base(again, base)
    assert model.load_base(again).identity == base.identity


def test_a_style_survives_with_its_card(tmp_path: Path) -> None:
    card = StyleCard("水墨", tradition="Chinese", cultural_note="a 'note' with \"quotes\"")
    model.save_style(tmp_path / "s.safetensors", Style(torch.randn(1, 8), card, "abc"))
    style = model.load_style(tmp_path / "s.safetensors")
    assert style.card == card
    assert style.base_identity == "abc"
    assert read_card(tmp_path / "s.safetensors") == card
    (tmp_path / "plain").touch()
    assert (tmp_path / "s.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_style_can_carry_its_networks(tmp_path: Path, base_file: Path) -> None:
    base = model.load_base(base_file)
    model.save_style(tmp_path / "s.safetensors", Style(torch.zeros(1, 8), StyleCard("x"), "", base))
    style = model.load_style(tmp_path / "s.safetensors")
    assert style.base is not None
    assert style.base_identity == base.identity
    for ours, theirs in zip(
        base.generator.state_dict().values(), style.base.generator.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_missing_extra_misshapen_and_infinite_tensors_are_refused(base_file: Path) -> None:
    tensors = load_file(base_file)
    name = "generator.head.weight"
    broken = {
        "missing": {k: v for k, v in tensors.items() if k != name},
        "unexpected": {**tensors, "extra": torch.zeros(1)},
        "shape": {**tensors, name: torch.zeros(2, 2)},
        "finite": {**tensors, name: torch.full_like(tensors[name], torch.nan)},
    }
    for word, content in broken.items():
        with pytest.raises(WeightsError, match=word):
            model.load_base(rewrite(base_file, content))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "99"),
        ("kind", "style"),
        ("generator", "{"),
        ("generator", '{"half_width": 100000}'),
    ],
)
def test_bad_metadata_is_refused(base_file: Path, key: str, value: str) -> None:
    with pytest.raises(WeightsError):
        model.load_base(rewrite(base_file, **{key: value}))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "x.pth").write_bytes(b"PK")
    for name in ("x.safetensors", "empty.safetensors", "x.pth", "none.safetensors"):
        with pytest.raises(WeightsError, match=name):
            model.load_style(tmp_path / name)


def test_a_huge_code_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    model.save_style(path, Style(torch.zeros(1, 8), StyleCard("x"), ""))
    with pytest.raises(WeightsError, match="too large"):
        model.load_style(rewrite(path, {"code": torch.zeros(1, 1_000_000)}))
