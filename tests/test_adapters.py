"""What a style changes in kernels: learnt, kept in a small file, mixed with other styles, painted with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_model import TINY, rewrite
from torch import Tensor
from torch.func import functional_call

from stylize import bundled
from stylize.adapters import Adapters
from stylize.cards import StyleCard
from stylize.config import GeneratorConfig
from stylize.errors import WeightsError
from stylize.folding import FoldedGenerator
from stylize.generator import Generator, mix_codes
from stylize.model import Style, load_base, load_style, save_style
from stylize.tensors import to_float, to_uint8
from stylize.tiling import Frame, Tile, paint

CPU = torch.device("cpu")


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(TINY).requires_grad_(False)


def adapters_for(generator: Generator, rank: int = 2) -> Adapters:
    """Adapters that change something."""
    adapters = Adapters.for_generator(generator, rank).requires_grad_(False)
    for up in adapters.up:
        up.normal_(std=0.5)
    return adapters


def style_for(generator: Generator) -> Style:
    size = generator.config.code_size + generator.offsets_size
    return Style(0.1 * torch.randn(1, size), StyleCard("x"), "abc", adapters=adapters_for(generator))


def painted(generator: Generator, code: Tensor, picture: Tensor) -> Tensor:
    network = FoldedGenerator(generator, code, CPU, torch.float32)
    return paint(network, [picture], Frame.around([picture]), 0)[0].rgb.float()


def test_at_first_they_change_nothing_and_then_every_kernel(generator: Generator) -> None:
    assert not Adapters.for_generator(generator, 4).changes().any()
    style = style_for(generator)
    changed = generator.changed_kernels(style.code_for(generator))
    assert set(changed) == set(generator.kernels)
    assert all((changed[name] != kernel).any() for name, kernel in generator.kernels.items())
    assert not any(name.startswith("attention") for name in changed)


def test_changes_without_the_stem_leave_it_alone(generator: Generator) -> None:
    style = style_for(generator)
    assert style.adapters is not None
    body = len(style.adapters.up) - generator.stem_kernels
    style.adapters.up, style.adapters.down = style.adapters.up[:body], style.adapters.down[:body]
    changed = generator.changed_kernels(style.code_for(generator))
    assert changed
    assert not any(name.startswith("stem") for name in changed)
    again = Adapters.of_changes(generator, style.adapters.changes())
    assert len(again.up) == body
    assert torch.allclose(again.changes(), style.adapters.changes(), atol=1e-4)


def test_painting_with_them_is_running_the_network_with_these_kernels(generator: Generator) -> None:
    code = style_for(generator).code_for(generator)
    picture = torch.randint(0, 256, (3, 130, 150), dtype=torch.uint8)
    frame = Frame.around([picture])
    framed = to_float(frame.cut(picture, Tile(0, frame.height, 0, frame.width)))[None]
    whole = functional_call(generator, generator.changed_kernels(code), (framed, generator.expand(code)))
    expected = frame.place(picture).of(to_uint8(whole[0])).float()
    # Mirrored pixels at the frame's edge there, repeated ones here.
    assert (painted(generator, code, picture) - expected).abs().mean() < 0.6
    without = code[:, : generator.config.code_size + generator.offsets_size]
    assert (painted(generator, without, picture) - expected).abs().mean() > 2


def test_a_blend_takes_its_share_of_them(generator: Generator) -> None:
    code, plain = style_for(generator).code_for(generator), torch.randn(1, 8)
    half = generator.changed_kernels(mix_codes([code, plain], [0.5, 0.5]))
    for name, kernel in generator.changed_kernels(code).items():
        assert torch.allclose(half[name], (kernel + generator.kernels[name]) / 2, atol=1e-6)


def test_they_survive_in_a_file(generator: Generator, tmp_path: Path) -> None:
    style = style_for(generator)
    save_style(tmp_path / "s.safetensors", style)
    again = load_style(tmp_path / "s.safetensors")
    assert torch.allclose(again.code_for(generator), style.code_for(generator), atol=2e-3)


def test_a_style_of_the_bundled_base_takes_at_most_100_kb(tmp_path: Path) -> None:
    generator = load_base(bundled.base_path()).generator
    style = style_for(generator)
    style.adapters = adapters_for(generator, rank=4)
    save_style(tmp_path / "s.safetensors", style)
    assert (tmp_path / "s.safetensors").stat().st_size < 100 * 1024


def test_adapters_that_are_damaged_or_for_another_base_are_refused(
    generator: Generator, tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    save_style(path, style_for(generator))
    whole = load_file(path)
    broken = {
        "not complete": {k: v for k, v in whole.items() if k != "adapters.down.0"},
        "unexpected": {**whole, "adapters.more": torch.zeros(1)},
        "too large": {
            **whole,
            "adapters.up.0": torch.zeros(9000, 2),
            "adapters.down.0": torch.zeros(2, 9000),
        },
        "finite": {**whole, "adapters.up.0": torch.full_like(whole["adapters.up.0"], torch.inf)},
    }
    for word, tensors in broken.items():
        save_style(path, style_for(generator))
        with pytest.raises(WeightsError, match=word):
            load_style(rewrite(path, tensors))
    deeper = Generator(GeneratorConfig(4, 8, 16, 1, 2, 8, 4))
    style = style_for(generator)
    with pytest.raises(WeightsError, match="does not fit"):
        style.code_for(deeper)
    with pytest.raises(WeightsError, match="do not fit"):
        Style(torch.zeros(1, 8), StyleCard("x"), "abc", adapters=style.adapters).code_for(generator)


def test_changes_are_taken_apart_again(generator: Generator) -> None:
    style = style_for(generator)
    code = style.code_for(generator)
    again = style.with_code(code, generator)
    assert again.adapters is not None
    assert style.adapters is not None
    assert torch.allclose(again.code_for(generator), code, atol=1e-5)
    ranks = [
        (len(one), len(other)) for one, other in zip(again.adapters.down, style.adapters.down, strict=True)
    ]
    assert all(one <= other for one, other in ranks)
    assert style.with_code(style.code, generator).adapters is None
