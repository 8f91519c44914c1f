"""Documents that a change can break: they are checked against the code."""

import re
from pathlib import Path

import pytest
from conftest import Run

from stylize import __version__, bundled

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text()
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert command in script


@pytest.mark.parametrize("command", ["apply", "train", "cycle", "styles", "eval", "bench"])
def test_every_command_is_documented_and_every_documented_option_exists(run: Run, command: str) -> None:
    parts = [[command], [command, "push"], [command, "sheet"]] if command == "styles" else [[command]]
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    help_text = "".join(run(*part, "--help", **wide).stdout.decode() for part in parts)
    assert f"stylize {command}" in README
    lines = [line for line in README.splitlines() if f"stylize {command} " in line]
    used = {option for line in lines for option in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert all(option in help_text for option in used)


def test_pictures_and_files_that_documents_name_are_there() -> None:
    for document in ("README.md", "weights/README.md", "benchmarks/README.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("http"):
                assert ((ROOT / document).parent / link).exists(), f"{document}: {link}"


def test_the_gallery_names_every_style() -> None:
    for style in bundled.style_paths():
        assert style in README


def test_the_changelog_knows_this_version() -> None:
    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_shipped_weights_are_small() -> None:
    sizes = {path: path.stat().st_size for path in bundled.weights_folder().rglob("*.safetensors")}
    assert sizes[bundled.base_path()] <= 6_000_000
    assert sizes[bundled.perceptual_path()] <= 2_000_000
    assert all(sizes[path] <= 100_000 for path in bundled.style_paths().values())
