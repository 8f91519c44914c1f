"""Documents that a change can break: they are checked against the code."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from conftest import Run, scene

from stylize import __version__, bundled
from stylize.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text()
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert command in script


def commands_of(text: str, prose: bool = False) -> list[str]:
    """Every line of a shell block that calls stylize, from there to the end of the call; with `prose`, the
    calls in the text as well."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(stylize [^`]+)`", text) if prose else []
    calls = [re.search(r"(?:^|[ /])stylize (.*)$", line) for line in lines]
    return [re.split(r" [|>&]", call[1])[0].strip() for call in calls if call]


PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
DOCUMENTS = [f"docs/{name}" for name in PAGES]


def commands_of_the_readme() -> list[str]:
    return commands_of(README, prose=True)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150
    assert len(README) < 11_000


@pytest.mark.parametrize(
    "line",
    dict.fromkeys(
        [*commands_of_the_readme(), *(call for page in PAGES.values() for call in commands_of(page))]
    ),
)
def test_every_command_of_the_documents_is_understood(line: str) -> None:
    command, arguments = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
        command = command.commands[arguments.pop(0)]
    command.make_context("stylize", arguments)  # raises for what there is not


_NOT_TO_THE_END = {
    "train": ["--dry-run", "--set", "size=64", "-q"], "cycle": ["--dry-run", "--set", "size=64", "-q"],
    "optimize": ["--steps", "2", "--size", "64"], "ui": ["--help"],
    "bench": ["--sizes", "64", "--rounds", "1"], "texture": ["--size", "64"],
}  # fmt: skip
"""What is added to commands of the README that take minutes, or never end."""


@pytest.fixture
def belongings(tmp_path: Path) -> Path:
    """The files that the README speaks of."""
    names = [
        "photo.jpg",
        "my-favourite-painting.jpg",
        "painting.jpg",
        "a.jpg",
        "b.jpg",
        "examples/temple.jpg",
    ]
    folders = ["my-favourite-works", "holiday", "works", "photos", "paintings"]
    names += [f"{folder}/{name}" for folder in folders for name in ("1.jpg", "2.jpg")]
    for seed, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        scene(160, 120, seed).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("line", dict.fromkeys(commands_of_the_readme()))
def test_every_command_of_the_readme_runs(run: Run, belongings: Path, line: str) -> None:
    arguments = shlex.split(line)
    result = run(*arguments, *_NOT_TO_THE_END.get(arguments[0], []))
    assert result.returncode == 0, result.stderr.decode()
    if target := re.search(r" -o (\S+)", line):
        assert (belongings / target[1]).exists() or arguments[0] in _NOT_TO_THE_END
    elif arguments[0] == "apply":
        assert list((belongings / arguments[1]).parent.glob(f"{Path(arguments[1]).stem}.*.jpg"))


def test_documents_name_the_extras_that_there_are_and_the_small_way() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "".join([README, *PAGES.values()])
    named = {part for found in re.findall(r"pip install '\.\[([\w,]+)\]'", text) for part in found.split(",")}
    assert named <= set(extras)
    assert set(extras) == named
    assert "https://download.pytorch.org/whl/cpu" in README


def test_every_command_is_in_the_readme() -> None:
    called = " ".join(commands_of_the_readme())
    for name, command in typer.main.get_command(app).commands.items():
        assert command.hidden or re.search(rf"\b{name}\b", called), name


def test_the_reference_says_what_the_code_says() -> None:
    """To mend it: python docs/commands.py"""
    result = subprocess.run(
        [sys.executable, "-c", "import commands; print(commands.reference(), end='')"],
        cwd=ROOT / "docs", capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.stdout.decode() == (ROOT / "docs/commands.md").read_text(encoding="utf-8"), result.stderr


def test_pictures_and_files_that_documents_name_are_there() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", security):
        assert (ROOT / name).is_file(), name
    for document in ("README.md", *DOCUMENTS, "weights/README.md", "benchmarks/README.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for link, _, heading in re.findall(r"\]\(([^)#]*)(#([^)]*))?\)", text):
            if link.startswith("http"):
                continue
            place = (ROOT / document).parent / link if link else ROOT / document
            assert place.exists(), f"{document}: {link}"
            if heading:
                titles = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in {title.lower().replace(" ", "-") for title in titles}, (
                    f"{document}: {heading}"
                )


def test_every_page_is_reached_from_the_readme() -> None:
    for name in PAGES:
        assert f"docs/{name}" in README


def test_the_gallery_names_every_style() -> None:
    for style in bundled.style_paths():
        assert f"`{style}`" in README
        assert f"| `{style}` |" in PAGES["styles.md"]


def test_nothing_tells_to_install_what_belongs_to_others() -> None:
    """On PyPI stylize is another project's package; this one's distribution is called stylize-gan."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "stylize-gan"
    assert project["scripts"] == {"stylize": "stylize.cli:main"}
    patterns = (
        "*.md",
        "stylize/**/*.py",
        "docs/**/*",
        "benchmarks/**/*",
        "weights/**/*.md",
        ".ci/*",
        ".github/**/*",
    )
    files = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    assert len(files) > 80
    other = re.compile(
        r"stylize\[[a-z]|install (-\S+ )*['\"]?stylize\b(?!-gan)|importlib.metadata.*stylize['\"]"
    )
    told = [
        f"{path}: {found[0]}" for path in files if (found := other.search(path.read_text("utf-8", "replace")))
    ]
    assert told == []


def test_what_messages_tell_to_install_is_what_the_extras_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = " ".join(text for texts in project["optional-dependencies"].values() for text in texts)
    told = {
        word
        for path in (ROOT / "stylize").rglob("*.py")
        for words in re.findall(r"pip install (?:-U )?([^\",{]+)", path.read_text(encoding="utf-8"))
        for word in re.findall(r"[a-z][\w-]+", words.replace("[data]<2.64", ""))
    }
    assert told == {"gradio", "pillow-heif", "av", "opencv-python-headless", "ray"}
    assert all(name in extras for name in told)


def test_the_changelog_knows_this_version() -> None:
    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_shipped_weights_are_small() -> None:
    sizes = {path: path.stat().st_size for path in bundled.weights_folder().rglob("*.safetensors")}
    assert sizes[bundled.base_path()] <= 6_000_000
    assert sizes[bundled.perceptual_path()] <= 2_000_000
    assert all(sizes[path] <= 600_000 for path in bundled.style_paths().values())
    assert sum(sizes.values()) <= 22_000_000
