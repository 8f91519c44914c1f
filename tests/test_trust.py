"""What files from anywhere claim is checked before it is believed."""

import importlib.util
import json
import shutil
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from test_model import TINY, rewrite

from stylize import bundled, model
from stylize.cards import StyleCard
from stylize.config import GeneratorConfig, to_json
from stylize.errors import WeightsError
from stylize.model import Style
from stylize.styles import resolve_style
from stylize.trust import Claim, read_header

SCRIPT = Path(__file__).parent.parent / "benchmarks/fuzz_weights.py"


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    specification = importlib.util.spec_from_file_location("fuzz_weights", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["fuzz_weights"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def written(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_good_header_is_read(tmp_path: Path) -> None:
    header = {"__metadata__": {"a": "水"}, "x": entry([2, 1], 0, 8), "y": entry([], 8, 10, "F16")}
    found = read_header(written(tmp_path / "x.safetensors", header, bytes(10)))
    assert found.metadata == {"a": "水"}
    assert found.tensors == {"x": Claim("F32", (2, 1)), "y": Claim("F16", ())}


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ([], 0, "no object"),
        (b"[" * 100_000, 0, "JSON"),
        (b'{"x": 1, "x": 2}', 0, "JSON"),
        (b'{"x": %s}' % (b"9" * 5000), 0, "JSON"),
        (b'{"x": NaN}', 0, "JSON"),
        (b" " * (1 << 20) + b"{}", 0, "too large"),
        ({"__metadata__": {"a": 1}}, 0, "texts"),
        ({"__metadata__": {"a": "\ud800"}}, 0, "shown"),
        ({"x": entry([2], 0, 4)}, 4, "not that of its bytes"),
        ({"x": entry([1], 0, 4)}, 8, "size"),
        ({"x": entry([1], 0, 4)}, 0, "size"),
        ({"x": entry([1], 0, 4), "y": entry([1], 0, 4)}, 4, "overlap"),
        ({"x": entry([1], 0, 4), "y": entry([1], 8, 12)}, 12, "gaps"),
        ({"x": entry([2**40, 2**40], 0, 2**82)}, 0, "place"),
        ({"x": entry([-1], 0, -4)}, 0, "shape"),
        ({"x": entry([True], 0, 4)}, 4, "shape"),
        ({"x": entry([1] * 9, 0, 4)}, 4, "shape"),
        ({"x": entry([1], 0, 8, "I64")}, 8, "floating"),
        ({"x": {**entry([1], 0, 4), "more": 1}}, 4, "described"),
        ({"\x1b[2J": entry([1], 0, 4)}, 4, "name"),
        ({str(i): entry([0], 0, 0) for i in range(1001)}, 0, "too many"),
    ],
)
def test_claims_that_cannot_be_true_are_refused(
    tmp_path: Path, header: object, size: int, words: str
) -> None:
    with pytest.raises(WeightsError, match=words):
        read_header(written(tmp_path / "x.safetensors", header, bytes(size)))


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"x": entry([1000], 0, 4000)}, bytes(4000))
    with pytest.raises(WeightsError, match="smaller file"):
        read_header(path, largest=4000)
    with pytest.raises(WeightsError, match="read"):
        read_header(tmp_path)


def test_a_configuration_of_a_huge_network_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "base.safetensors"
    model.save_base(path, model.new_base(TINY))
    huge = GeneratorConfig(1024, 1024, 1024, 16, 16, 1024, 1024, 32)
    rewrite(path, generator=to_json(huge))
    built: list[bool] = []
    original = model.new_base

    def watched(config: GeneratorConfig) -> model.Base:
        base = original(config)
        built.append(base.generator.to_rgb.weight.is_meta)
        return base

    monkeypatch.setattr(model, "new_base", watched)
    with pytest.raises(WeightsError, match="instead of"):
        model.load_base(path)
    assert built == [True]


def test_weights_that_are_not_those_they_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    model.save_base(path, model.new_base(TINY))
    tensors = load_file(path)
    tensors["generator.head.weight"] += 1
    with pytest.raises(WeightsError, match="not those that it names"):
        model.load_base(rewrite(path, tensors))


def test_a_grid_that_no_tensor_tells_of_is_bounded_and_that_of_the_bundled_base(tmp_path: Path) -> None:
    bundle = model.load_base(bundled.base_path())
    path = tmp_path / "s.safetensors"
    model.save_style(path, Style(torch.zeros(1, 128), StyleCard("x"), "", bundle))
    settings = json.loads(to_json(bundle.generator.config))
    for grid, words in (
        (1024, r"not in 0\.\.32"),
        (32, "another configuration"),
        (8, "another configuration"),
    ):
        rewrite(path, generator=json.dumps({**settings, "attention_grid": grid}))
        with pytest.raises(WeightsError, match=words):
            model.load_style(path)
        shutil.copy(bundled.base_path(), tmp_path / "base.safetensors")
        with pytest.raises(WeightsError, match=words):
            model.load_base(
                rewrite(
                    tmp_path / "base.safetensors", generator=json.dumps({**settings, "attention_grid": grid})
                )
            )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 1e9, -65.0])
def test_numbers_that_would_paint_black_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "s.safetensors"
    shutil.copy(bundled.style_paths()["ink-wash"], path)
    for name in ("code", "adapters.up.0", "moments"):
        tensors = {
            name: tensor.double() for name, tensor in load_file(bundled.style_paths()["ink-wash"]).items()
        }
        tensors[name][0, 0] = value
        with pytest.raises(WeightsError, match=f"{name} holds values"):
            model.load_style(rewrite(path, tensors))
    model.save_base(path, model.new_base(TINY))
    tensors = {name: tensor.double() for name, tensor in load_file(path).items()}
    tensors["generator.head.weight"].flatten()[0] = value * 100
    with pytest.raises(WeightsError, match=r"head\.weight holds values"):
        model.load_base(rewrite(path, tensors))


def test_a_style_holds_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    model.save_style(path, Style(torch.zeros(1, 8), StyleCard("x"), "abc"))
    with pytest.raises(WeightsError, match="unexpected tensor, more"):
        model.load_style(rewrite(path, {**load_file(path), "more": torch.zeros(1)}))
    with pytest.raises(WeightsError, match="name of its base"):
        model.load_style(rewrite(path, {"code": torch.zeros(1, 8)}, identity="\x1b[2J"))


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.CKPT", "x.bin", "org/x.pkl"])
def test_pickles_are_refused_by_name_with_the_way_to_convert(name: str) -> None:
    with pytest.raises(WeightsError, match=r"save_file\(torch\.load\("):
        resolve_style(name)


def test_the_way_to_convert_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(3)}, "x.pth")
    with pytest.raises(WeightsError) as refused:
        resolve_style("x.pth")
    code = str(refused.value).split('"')[1]
    exec(code, {})
    assert torch.equal(load_file("x.safetensors")["a"], torch.ones(3))


def test_mutated_files_are_refused_in_a_sentence(fuzzer: ModuleType) -> None:
    found = fuzzer.fuzz(1000, seed=1)
    assert found.faults == []
    assert sum(found.counts.values()) == 1000
    assert found.counts["code refused"] > 200
    assert found.memory < fuzzer.ALLOWANCE
    assert found.slowest < 2
