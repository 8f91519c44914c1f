"""Explanations: occluded layers lose the style, others keep it; the map is hot where the picture changed."""

import numpy as np
import torch
from conftest import Run, scene
from PIL import Image

from stylize.explaining import heat_map, layer_groups, occluded
from stylize.styles import resolve_style


def test_occlusion_gives_some_layers_the_neutral_style_and_leaves_the_others() -> None:
    style, neutral = resolve_style("van-gogh"), resolve_style("photograph")
    generator = style.base.generator
    groups = layer_groups(generator)
    assert [i for layers in groups.values() for i in layers] == list(range(len(generator.modulated)))
    layers = groups["fine strokes (1/4 blocks)"]
    mixed = generator.expand(occluded(generator, style.code, neutral.code, layers))
    full, plain = generator.expand(style.code), generator.expand(neutral.code)
    for i, pair in enumerate(mixed):
        expected = plain[i] if i in layers else full[i]
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(pair, expected, strict=True))


def test_occlusion_takes_back_what_a_style_changes_in_the_kernels_of_the_layers() -> None:
    style, neutral = resolve_style("van-gogh"), resolve_style("photograph")
    generator = style.base.generator
    extra = torch.ones(1, generator.offsets_size + generator.changes_size)
    code = torch.cat([style.code[:, : generator.config.code_size], extra], dim=1)
    assert len(generator.kernels) == len(generator.modulated) + 1 + generator.stem_kernels
    seen: set[str] = set()
    for layers in layer_groups(generator).values():
        kernels = generator.changed_kernels(occluded(generator, code, neutral.code, layers))
        back = {name for name, kernel in kernels.items() if torch.equal(kernel, generator.kernels[name])}
        assert not seen & back
        seen |= back
    assert seen == {name for name in generator.kernels if not name.startswith("stem")}


def test_the_map_is_red_where_most_changed_and_blue_where_nothing_did() -> None:
    photo = torch.full((3, 60, 80), 100, dtype=torch.uint8)
    painted = photo.clone()
    painted[:, :, 40:] = 220
    heat = heat_map(photo, painted).int()
    assert (heat[0, :, 60:] > heat[2, :, 60:]).all()
    assert (heat[2, :, :20] > heat[0, :, :20]).all()


def test_explain_writes_a_sheet_beside_the_result(run: Run, tmp_path) -> None:
    scene(200, 150).save(tmp_path / "photo.png")
    result = run("apply", "photo.png", "-s", "van-gogh", "--explain")
    assert result.returncode == 0, result.stderr.decode()
    with Image.open(tmp_path / "photo.van-gogh.explained.png") as sheet:
        assert sheet.width > 600
        assert np.array(sheet).std() > 20
    assert run("apply", "-", "-s", "van-gogh", "--explain", stdin=b"x").returncode == 2
