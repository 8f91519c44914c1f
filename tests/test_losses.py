"""Every loss against an answer worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from stylize import losses
from stylize.statistics import gram_matrix, instance_normalise, low_pass_chroma, mean_and_std, quantiles
from stylize.warping import smooth_flow, warp


def test_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert losses.discriminator_loss(real, fake, "hinge").item() == pytest.approx(0.5 + 1.0)
    assert losses.adversarial_loss(fake, "hinge").item() == pytest.approx(0.5)


def test_bce_of_undecided_scores_is_log_2() -> None:
    zero = torch.zeros(3)
    assert losses.discriminator_loss(zero, zero, "bce").item() == pytest.approx(2 * math.log(2))
    assert losses.adversarial_loss(zero, "bce").item() == pytest.approx(math.log(2))


def test_lsgan() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    assert losses.discriminator_loss(real, fake, "lsgan").item() == pytest.approx(2.0 + 2.0)
    assert losses.adversarial_loss(fake, "lsgan").item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "function", [losses.adversarial_loss, lambda x, f: losses.discriminator_loss(x, x, f)]
)
def test_unknown_adversarial_form_is_refused(function) -> None:
    with pytest.raises(ValueError, match="hinge, bce or lsgan"):
        function(torch.zeros(1), "wgan")


def test_content_ignores_gain_and_offset_but_not_structure() -> None:
    torch.manual_seed(0)
    features = torch.rand(2, 4, 16, 16)
    assert losses.content_loss(3 * features + 1, features).item() == pytest.approx(0, abs=1e-3)
    assert losses.content_loss(-features, features).item() == pytest.approx(4, rel=1e-2)
    assert losses.content_loss(torch.rand(2, 4, 16, 16), features).item() == pytest.approx(2, rel=0.2)


def test_gram_matrix_by_hand() -> None:
    # Two channels over two positions: F = [[1, 2], [3, 4]], G = F F^T / 2.
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    expected = torch.tensor([[[2.5, 5.5], [5.5, 12.5]]])
    assert torch.allclose(gram_matrix(features), expected)
    assert losses.gram_loss(features, expected).item() == pytest.approx(0, abs=1e-6)
    # Doubled features have a Gram matrix 4 x as large: relative error 3 squared.
    assert losses.gram_loss(2 * features, expected).item() == pytest.approx(9)


def test_gram_does_not_depend_on_size() -> None:
    features = torch.rand(1, 3, 8, 8)
    assert torch.allclose(gram_matrix(features), gram_matrix(features.tile(1, 1, 2, 3)), atol=1e-5)


def test_moments_by_hand() -> None:
    features = torch.tensor([[[[1.0, 3.0]]]])  # mean 2, deviation 1
    mean, std = mean_and_std(features)
    assert mean.item() == pytest.approx(2)
    assert std.item() == pytest.approx(1, abs=1e-4)
    one = torch.ones(1, 1)
    loss = losses.moment_loss(features, 5 * one, 3 * one, 2 * one, 4 * one)
    assert loss.item() == pytest.approx(3 / 2 + 2 / 4, abs=1e-4)


def test_statistics_survive_half_precision() -> None:
    # A sum over this picture is far beyond fp16's largest number, 65504.
    features = torch.full((1, 2, 256, 256), 100.0, dtype=torch.float16)
    assert torch.allclose(gram_matrix(features), torch.full((1, 2, 2), 1e4))
    assert mean_and_std(features)[0][0, 0].item() == pytest.approx(100)
    assert torch.isfinite(instance_normalise(features)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gram_matrices_survive_autocast(dtype: torch.dtype) -> None:
    # autocast would sum fp32 features in fp16 as well
    features = torch.full((1, 2, 256, 256), 100.0, requires_grad=True)
    with torch.autocast("cpu", dtype):
        gram = gram_matrix(features)
    assert gram.dtype == (torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    assert torch.allclose(gram.float(), torch.full((1, 2, 2), 1e4), rtol=5e-3)
    (gradient,) = torch.autograd.grad(gram.sum(), features)
    assert torch.allclose(gradient, torch.full_like(features, 4 * 100 / 256**2), rtol=1e-2)


def test_total_variation_by_hand() -> None:
    picture = torch.zeros(1, 3, 2, 2)
    picture[..., 0, 0] = 1
    # One of the two vertical differences is 1, and one of the two horizontal ones.
    assert losses.total_variation(picture).item() == pytest.approx(1.0)
    assert losses.total_variation(torch.ones(1, 3, 5, 5)).item() == 0


def test_flatness_is_one_in_the_sky_and_small_in_texture() -> None:
    torch.manual_seed(0)
    picture = torch.full((1, 3, 64, 64), 0.6)
    picture[..., 32:, :] = torch.rand(1, 1, 32, 64)
    flat = losses.flatness(picture)
    assert flat.shape == (1, 1, 64, 64)
    assert flat[..., :20, :].min() > 0.9
    assert flat[..., 44:, :].max() < 0.1
    assert losses.total_variation(picture, flat) < 0.1 * losses.total_variation(picture)


def test_cycle_and_identity_are_mean_absolute_differences() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.25)
    assert losses.cycle_loss(a, b).item() == pytest.approx(0.25)
    assert losses.identity_loss(a, b).item() == pytest.approx(0.25)


def test_flat_variation_sees_a_halo_and_not_the_edge_it_lies_at() -> None:
    photo = torch.full((1, 3, 96, 96), 0.8)
    photo[..., :48] = 0.2
    halo = photo + 0.15 * torch.exp(-((torch.arange(96) - 48).clamp_min(0) / 16)) * (torch.arange(96) >= 48)
    assert losses.flat_variation(photo, photo).item() == pytest.approx(0, abs=2e-4)
    assert losses.flat_variation(halo, photo).item() > 2e-3


def test_a_painting_that_moves_with_its_photograph_costs_nothing() -> None:
    photo = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    smooth = F.avg_pool2d(photo, 9, 1, 4)
    randoms = [torch.Generator().manual_seed(seed) for seed in range(3)]
    flow = smooth_flow((64, 64), randoms)
    invert = lambda x: 1 - x  # noqa: E731 - a painter of a line
    assert losses.warp_loss(invert(warp(smooth, flow)), warp(invert(smooth), flow)).item() < 1e-6
    grid = (torch.arange(64) % 8 < 4).float().mul(0.2)  # strokes that stay where they are
    stays = losses.warp_loss(warp(smooth, flow) + grid, warp(smooth * 0.8 + grid, flow))
    assert stays.item() > 0.02


def test_warping_moves_pixels_by_the_flow() -> None:
    picture = torch.rand(1, 3, 32, 48)
    flow = torch.zeros(1, 2, 32, 48)
    flow[:, 0], flow[:, 1] = 5, -3
    assert torch.allclose(warp(picture, flow)[..., 3:, :-5], picture[..., :-3, 5:], atol=1e-4)
    randoms = [torch.Generator().manual_seed(seed) for seed in range(40)]
    flows = smooth_flow((32, 48), randoms)
    assert flows.shape == (40, 2, 32, 48)
    bent = [flow.flatten(1).std(1).max() > 0.01 for flow in flows]
    assert 8 < sum(bent) < 32
    assert all((flow == flow.round()).all() for flow, b in zip(flows, bent, strict=True) if not b)
    steepest = (flows[..., 1:] - flows[..., :-1]).abs().max()
    assert steepest < 2.5


def test_quantiles() -> None:
    values = torch.tensor([[4.0, 0.0, 2.0, 1.0, 3.0]])
    assert quantiles(values, 3).tolist() == [[0.0, 2.0, 4.0]]


def test_tone_target_takes_tones_from_the_style_and_order_from_the_photograph() -> None:
    content = torch.linspace(0.0, 1.0, 64 * 64).view(1, 1, 64, 64).expand(1, 3, 64, 64)
    tones = torch.tensor([[0.5, 0.7, 0.9, 0.9, 0.9]])  # half of it ramps up from ink, half is paper
    target = losses.tone_target(content, tones)
    assert target.shape == (1, 1, 8, 8)
    order = target.flatten()
    assert order.min().item() == pytest.approx(0.5, abs=0.02)
    assert order.max().item() == pytest.approx(0.9, abs=0.04)
    assert (order > 0.899).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (order.diff() >= -1e-6).float().mean() == 1
    white = losses.tone_loss(torch.ones(1, 3, 64, 64), target)
    assert white.item() == pytest.approx(0.2, abs=0.02)


def test_tones_of_a_sky_are_not_spread_over_those_of_the_style() -> None:
    sky = torch.linspace(0.6, 0.64, 64 * 64).view(1, 1, 64, 64).expand(1, 3, 64, 64)
    target = losses.tone_target(sky, torch.tensor([[0.0, 0.5, 1.0]]))
    assert 0.2 < target.max() - target.min() < 0.31
    assert target.mean().item() == pytest.approx(0.5, abs=0.01)


def test_colour_target_has_the_palette_of_the_style_and_the_order_of_the_photograph() -> None:
    random = torch.Generator().manual_seed(2)
    photo = F.interpolate(torch.rand(2, 3, 12, 12, generator=random), size=96)
    mean, std = torch.tensor([[0.1, -0.2]]).expand(2, 2), torch.tensor([[0.05, 0.1]]).expand(2, 2)
    target = losses.colour_target(photo, mean, std)
    assert target.shape == (2, 2, 12, 12)
    assert torch.allclose(target.mean((2, 3)), mean, atol=1e-5)
    assert torch.allclose(target.flatten(2).std(2), std, atol=1e-3)
    theirs = low_pass_chroma(photo)
    same = torch.corrcoef(torch.stack([target[0, 0].flatten(), theirs[0, 0].flatten()]))[0, 1]
    assert same.item() == pytest.approx(1, abs=1e-4)


def test_colour_loss_sees_a_rim_of_another_hue_but_no_stroke_and_no_brightness() -> None:
    photo = torch.full((1, 3, 96, 96), 0.6)
    target = losses.colour_target(photo, *mean_and_std(low_pass_chroma(photo)))
    brighter = photo + 0.2
    strokes = photo + torch.tensor([0.2, 0.0, -0.2]).view(3, 1, 1) * (
        (torch.arange(96) % 4 < 2).float() - 0.5
    )
    rim = photo.clone()
    rim[:, 1, :, 32:56] += 0.25
    assert losses.colour_loss(brighter, target).item() == pytest.approx(0, abs=1e-6)
    assert losses.colour_loss(strokes, target).item() == pytest.approx(0, abs=1e-6)
    assert losses.colour_loss(rim, target).item() > 0.02


def test_edge_loss_is_zero_for_the_same_outlines_and_one_for_unrelated_ones() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 64, 64)
    assert losses.edge_loss(picture, picture).item() == pytest.approx(0, abs=5e-3)
    assert losses.edge_loss(1 - picture, picture).item() == pytest.approx(0, abs=5e-3)
    assert losses.edge_loss(torch.rand(1, 3, 64, 64), picture).item() == pytest.approx(1, abs=0.15)
