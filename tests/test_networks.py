"""Shapes and promises of the networks, on tiny random ones."""

from pathlib import Path

import pytest
import torch

from stylize.config import DiscriminatorConfig, GeneratorConfig, from_json, to_json
from stylize.discriminator import Discriminator
from stylize.encoder import ENCODER_LAYERS, StyleEncoder, moments_size, moments_vector
from stylize.errors import WeightsError
from stylize.generator import (
    EdgeConv,
    Generator,
    ToPixels,
    UpConv,
    conditional_instance_norm,
    conv_to_the_edge,
    even_phases,
)
from stylize.images import read_rgb
from stylize.perceptual import VGG19, CompactVGG, fit_to_network
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY = GeneratorConfig(4, 8, 16, eighth_blocks=2, quarter_blocks=1, code_size=8, attention_width=4)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(TINY).eval()


@pytest.mark.parametrize("size", [(64, 64), (32, 104), (8, 16)])
def test_generator_keeps_the_size_and_stays_in_range(generator: Generator, size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *size)
    painted = generator(picture, generator.expand(torch.randn(2, 8)))
    assert painted.shape == picture.shape
    assert painted.min() >= 0
    assert painted.max() <= 1


def test_the_code_changes_the_picture(generator: Generator) -> None:
    picture, codes = torch.rand(1, 3, 64, 64), torch.randn(2, 8)
    a, b = (generator(picture, generator.expand(code[None])) for code in codes)
    assert (a - b).abs().mean() > 1e-3


def test_a_batch_paints_like_its_pictures_one_by_one(generator: Generator) -> None:
    pictures, codes = torch.rand(3, 3, 64, 48), torch.randn(3, 8)
    together = generator(pictures, generator.expand(codes))
    for i in range(3):
        alone = generator(pictures[i : i + 1], generator.expand(codes[i : i + 1]))
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_attention_starts_as_the_identity(generator: Generator) -> None:
    assert generator.attention is not None
    x = torch.randn(1, 16, 12, 10)
    assert torch.equal(generator.attention(x), x)
    generator.attention.gate.data.fill_(1.0)
    assert not torch.allclose(generator.attention(x), x)


def test_attention_can_be_left_out() -> None:
    assert Generator(GeneratorConfig(4, 8, 16, 1, 1, 8, attention_grid=0)).attention is None


def test_stem_and_head_are_local(generator: Generator) -> None:
    """No statistics above 1/4 of the size: what tiling relies on."""
    norms = [layer for layer in generator.modulated if layer == TINY.half_width]
    assert len(norms) == 2  # the head's two scale-and-shift layers, which are per position
    x = torch.randn(1, 4, 32, 32)
    y = x.clone()
    y[..., -1] += 5
    a, b = (generator.head(t) for t in (x, y))
    assert torch.equal(a[..., :16], b[..., :16])


def test_conditional_instance_norm_on_cpu_is_the_formula() -> None:
    x, scale, shift = torch.randn(2, 3, 9, 7) * 4 + 2, torch.rand(2, 3), torch.randn(2, 3)
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True)
    expected = (x - mean) / std * scale[..., None, None] + shift[..., None, None]
    assert torch.allclose(conditional_instance_norm(x, scale, shift), expected, atol=1e-3)


def test_discriminator_scores_patches_at_two_scales() -> None:
    judge = Discriminator(DiscriminatorConfig(width=8, code_size=8))
    features = judge.features(torch.rand(2, 3, 64, 64))
    realism = judge.realism_scores(features)
    style = judge.style_scores(features, torch.randn(2, 8))
    assert [score.shape for score in realism] == [score.shape for score in style]
    assert all(score.shape[:2] == (2, 1) and score.shape[2] > 1 for score in realism)


def test_style_score_depends_on_the_code_and_realism_does_not() -> None:
    torch.manual_seed(0)
    judge = Discriminator(DiscriminatorConfig(width=8, code_size=8)).eval()
    features = judge.features(torch.rand(1, 3, 64, 64))
    a, b = (judge.style_scores(features, torch.randn(1, 8))[0] for _ in range(2))
    assert not torch.allclose(a, b)
    assert torch.equal(judge.realism_scores(features)[0], judge.realism_scores(features)[0])


def test_style_encoder_clips_wild_moments() -> None:
    encoder = StyleEncoder(6, 4)
    encoder.calibrate(torch.randn(50, 6))
    assert torch.allclose(encoder(torch.full((1, 6), 1e3)), encoder(torch.full((1, 6), 1e9)))


def test_moments_vector_has_the_announced_size() -> None:
    network = CompactVGG()
    features = network(torch.rand(2, 3, 64, 64), ENCODER_LAYERS)
    assert moments_vector(features).shape == (2, moments_size())


def test_vgg19_loads_torchvisions_numbering() -> None:
    network = VGG19()
    numbers = [0, 2, 5, 7, 10, 12, 14, 16]
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 256]
    weights = {}
    for i, number in enumerate(numbers):
        weights[f"features.{number}.weight"] = torch.full((widths[i + 1], widths[i], 3, 3), float(i))
        weights[f"features.{number}.bias"] = torch.zeros(widths[i + 1])
    network.load_torchvision(weights)
    assert [conv.weight[0, 0, 0, 0].item() for conv in network.convs.values()] == list(range(8))
    features = network(torch.rand(1, 3, 32, 32), ["relu1_1", "relu3_4"])
    assert features["relu1_1"].shape == (1, 64, 32, 32)
    assert features["relu3_4"].shape == (1, 256, 8, 8)


@pytest.mark.parametrize("size", [(8, 8), (1, 500), (64, 64), (700, 900)])
def test_any_reference_fits_the_network(size: tuple[int, int]) -> None:
    seen = fit_to_network(torch.rand(1, 3, *size), shorter_side=512)
    assert seen.shape[2] % 16 == 0
    assert seen.shape[3] % 16 == 0
    assert 64 <= min(seen.shape[2:]) <= 512


def test_configuration_survives_json() -> None:
    assert from_json(GeneratorConfig, to_json(TINY)) == TINY


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"half_width": -1}', '{"half_width": 1e9}', '{"half_width": "x"}', '{"magic": 1}',
     '{"eighth_blocks": 500}'],
)  # fmt: skip
def test_bad_configurations_are_refused(text: str) -> None:
    with pytest.raises(WeightsError):
        from_json(GeneratorConfig, text)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (2, 2), (8, 1)])
def test_a_convolution_goes_on_beyond_the_edge(stride: int, size: tuple[int, int]) -> None:
    plain = torch.nn.Conv2d(3, 5, 3, stride, padding=1, padding_mode="replicate")
    ours = EdgeConv(3, 5, stride)
    ours.load_state_dict(plain.state_dict())
    picture = torch.randn(2, 3, *size)
    assert torch.allclose(ours(picture), plain(picture), atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(ours(picture), plain(picture), atol=1e-5)


def test_a_picture_that_never_changes_downwards_has_no_border(generator: Generator) -> None:
    columns = torch.rand(1, 3, 1, 64).expand(-1, -1, 64, -1)
    with torch.no_grad():
        painted = generator(columns, generator.expand(torch.randn(1, 8)))
    assert torch.allclose(painted[..., 0, :], painted[..., 32, :], atol=1e-4)


def test_flat_features_give_flat_pictures_whatever_the_weights_are() -> None:
    torch.manual_seed(1)
    last = ToPixels(8)
    torch.nn.init.normal_(last.weight)
    assert last.bias is not None
    torch.nn.init.normal_(last.bias)
    flat = torch.randn(1, 8, 1, 1).expand(1, 8, 6, 5)
    picture = torch.nn.functional.pixel_shuffle(last(flat), 2)
    torch.testing.assert_close(picture, picture[..., :1, :1].expand_as(picture), atol=1e-4, rtol=1e-4)
    again = even_phases(*even_phases(last.weight, last.bias))
    torch.testing.assert_close(again, even_phases(last.weight, last.bias))
    edge = (torch.arange(12) > 5).float().view(1, 1, 1, 12).expand(1, 8, 6, 12)
    before = conv_to_the_edge(edge, last.weight, last.bias)
    assert (last(edge)[..., 5] - last(edge)[..., 6]).abs().mean() > 0.1 * before.std(), (
        "edges are still there"
    )


def test_bundled_styles_leave_no_grid_of_two_pixels() -> None:
    style = resolve_style("ukiyo-e")
    photo = read_rgb(EXAMPLES / "temple.jpg", 256)
    painted = Stylizer(style.base, perceptual_network, torch.device("cpu"), torch.float32).paint(
        photo, style.code, style.stroke
    )
    phases = torch.nn.functional.pixel_unshuffle(painted[:, :256, :256].float().mean(0)[None, None], 2)
    assert phases.mean(dim=(2, 3)).std() < 0.3


def test_enlarging_by_phases_is_repeating_and_convolving() -> None:
    conv = UpConv(6, 4)
    x = torch.randn(2, 6, 5, 7)
    repeated = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    repeated = torch.nn.functional.pad(repeated, (1, 1, 1, 1), mode="replicate")
    plain = torch.nn.functional.conv2d(repeated, conv.weight, conv.bias)
    assert torch.allclose(conv(x), plain, atol=1e-5)
