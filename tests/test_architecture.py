"""The shape of the code itself: imports point one way, and help needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "stylize"

FLOORS = [
    {"__init__"},
    {"errors"},
    {"trust", "exif"},
    {
        "config",
        "files",
        "tensors",
        "console",
        "overlap",
        "parallel",
        "health",
        "budget",
        "augment",
        "warping",
        "flow",
        "remote",
        "network",
    },
    {
        "statistics",
        "cards",
        "arrivals",
        "strokes",
        "bundled",
        "paths",
        "devices",
        "mixing",
        "settings",
        "picture",
        "colour",
    },
    {"places", "confined", "guard"},
    {"generator", "discriminator", "perceptual", "losses", "jobs", "marking", "hub", "pixels", "animation"},
    {"wrapping", "boxes", "gifs", "kinds"},
    {"depth", "tags", "traces"},
    {"images", "video"},
    {
        "adapters",
        "encoder",
        "dataset",
        "selection",
        "folding",
        "canvas",
        "reports",
        "judging",
        "proofs",
        "watching",
    },
    {"sources", "scoring", "sharpening"},
    {"model", "library", "tiling", "painting_loss", "invented", "comparing", "translator", "pool", "pyramid"},
    {"fusing", "multiscale"},
    {"stylizer", "painters", "validation", "batches", "translation", "optimising"},
    {"game", "steady", "film", "texturing"},
    {"training", "fitting", "filming"},
    {"styles", "exporting", "cycle", "texture"},
    {"checkup"},
    {"looks", "explaining", "measuring", "sheets", "comparison", "publishing"},
    {"evaluation", "run_report"},
    {"workshop"},
    {"studio"},
    {"cycle_studio", "optimise_job", "texture_job", "texture_studio"},
    {"painting"},
    {"fuse_job", "easel", "cluster"},
    {"atelier"},
    {"window"},
    {"cli.options", "cli.live"},
    {"cli.streaming", "cli.working"},
    {
        "cli.apply",
        "cli.bench",
        "cli.doctor",
        "cli.evaluate",
        "cli.train",
        "cli.styles",
        "cli.cycle",
        "cli.optimize",
    },
    {"cli.fuse", "cli.texture", "cli.ui"},
    {"cli"},
    {"__main__"},
]
"""From the ground up; a module imports only from floors below its own."""


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "stylize":
            inside = (node.module or "").removeprefix("stylize").lstrip(".")
            names = [f"{inside}.{alias.name}".lstrip(".") for alias in node.names]
            found |= {name if name in modules() else inside or "__init__" for name in names}
    return found


def test_every_module_has_a_floor() -> None:
    assert set(modules()) == set().union(*FLOORS)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name: str) -> None:
    floor = next(i for i, names in enumerate(FLOORS) if name in names)
    below = set().union(*FLOORS[:floor])
    assert imports(modules()[name]) <= below


def test_functions_are_short() -> None:
    long = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not name.startswith("cli."):
                length = (node.end_lineno or 0) - node.body[0].lineno + 1
                long += [f"{name}.{node.name}: {length}"] if length > 45 else []
    assert not long


def test_public_things_have_docstrings() -> None:
    bare = []
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        for node in [tree, *tree.body]:
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                private = getattr(node, "name", "").startswith("_")
                if not private and not ast.get_docstring(node):
                    bare.append(f"{name}.{getattr(node, 'name', '')}")
    assert not bare


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["apply", "--help"],
        ["train", "--help"],
        ["bench", "-h"],
        ["fuse", "--help"],
        ["ui", "--help"],
        ["styles"],
        ["styles", "show", "ink-wash"],
        ["styles", "pull", "--help"],
    ],
)
def test_help_and_lists_need_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from stylize.cli import main; main(sys.argv[1:]);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'huggingface_hub', 'fsspec', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True).returncode == 0


def test_painting_needs_no_large_libraries_but_torch() -> None:
    code = (
        "import sys, stylize.painting, stylize.styles;"
        "sys.exit(any(name in sys.modules for name in ('torchvision', 'huggingface_hub', 'ray', 's3fs')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
