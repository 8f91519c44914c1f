"""The loss by which styles are learnt, and the script that learns the bundled ones."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import scene
from torch import Tensor

from stylize.errors import UsageError
from stylize.model import load_style
from stylize.painting_loss import PaintingLoss, PaintingRecipe, gram, low_frequencies, normalised
from stylize.pixels import rgb_tensor
from stylize.settings import changed
from stylize.styles import perceptual_network
from stylize.tensors import to_float

WEIGHTS = Path(__file__).parent.parent / "weights"


def no_autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=False)


def picture(seed: int, width: int = 160, height: int = 128) -> Tensor:
    return to_float(rgb_tensor(scene(width, height, seed)))[None]


def work() -> Tensor:
    """Vertical stripes in warm colours: unlike any scene."""
    x = torch.arange(192) // 6 % 2
    stripes = x.expand(1, 3, 160, 192) * torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1)
    return (
        0.05 + stripes + 0.02 * torch.rand(1, 3, 160, 192, generator=torch.Generator().manual_seed(0))
    ).clamp(0, 1)


def loss(**settings: float) -> PaintingLoss:
    recipe = replace(PaintingRecipe(), **settings)  # pyright: ignore[reportArgumentType]
    return PaintingLoss(recipe, [work()], perceptual_network(), no_autocast)


def test_gram_matrices_and_normalised_features_are_what_they_are_called() -> None:
    x = torch.randn(2, 4, 8, 8)
    expected = torch.einsum("ncij,ndij->ncd", x, x) / (4 * 64)
    assert torch.allclose(gram(x), expected, atol=1e-6)
    assert torch.allclose(normalised(5 * x + 3), normalised(x), atol=1e-2)


def test_the_photograph_keeps_all_that_is_held_and_the_work_has_the_style() -> None:
    objective, photo = loss(own_colour=0.0, own_tone=0.0), picture(1)
    held = objective.held(photo)
    of_photo, of_work = objective(photo, held), objective(F.interpolate(work(), (128, 160)), held)
    assert of_photo["content"] < 1e-6
    assert of_photo["drawing"] < 1e-6
    assert of_work["content"] > 100 * of_photo["content"].clamp_min(1e-6)
    assert of_work["style"] < 0.3 * of_photo["style"]


def test_colours_are_free_up_to_an_amount() -> None:
    objective, photo = loss(own_colour=0.0, free=0.1), picture(2)
    held = replace(objective.held(photo), chroma=low_frequencies(photo)[1])
    shifted = photo + torch.tensor([0.04, 0.0, -0.04]).view(1, 3, 1, 1)
    far = photo + torch.tensor([0.4, 0.0, -0.4]).view(1, 3, 1, 1)
    assert objective(shifted, held)["colour"] == 0
    assert objective(far, held)["colour"] > 0


def test_descending_it_paints() -> None:
    objective, photo = loss(), picture(3)
    held = objective.held(photo)
    result = photo.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([result], 0.03)
    terms: dict[str, Tensor] = {}
    for _ in range(15):
        terms = objective(result, held)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert terms["style"] < 0.5 * objective(photo, held)["style"]
    assert terms["content"] < objective(work()[..., :128, :160], held)["content"]


def test_recipes_know_their_settings() -> None:
    assert changed(PaintingRecipe(), {"content": 2, "works": ["a.jpg"]}, "x").works == ("a.jpg",)
    with pytest.raises(UsageError, match="no setting 'contnet'"):
        changed(PaintingRecipe(), {"contnet": 2.0}, "x")


def test_the_script_learns_a_style_that_paints(tmp_path: Path) -> None:
    for name, count in (("photos", 3), ("works/stripes", 2)):
        (tmp_path / name).mkdir(parents=True)
        for i in range(count):
            scene(150, 130, seed=i).save(tmp_path / name / f"{i}.png")
    recipes = tmp_path / "recipes.toml"
    recipes.write_text('[van-gogh]\nworks = ["stripes/0.png", "stripes/1.png"]\nside = 128\n')
    command = [
        sys.executable, WEIGHTS / "train_styles.py", "--works", tmp_path / "works", "--photos",
        tmp_path / "photos", "--vgg", "bundled", "--out", tmp_path / "out", "--recipes", recipes,
        "--steps", "2", "--finish", "1",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    style = load_style(tmp_path / "out" / "van-gogh.safetensors")
    assert style.noise == PaintingRecipe().noise
    assert style.adapters is not None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["van-gogh.safetensors"]
