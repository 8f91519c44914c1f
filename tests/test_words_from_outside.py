"""Names of files, folders and styles are data: no command, no table and no page obeys them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Run, scene
from rich.table import Table
from test_model import rewrite

from stylize import bundled
from stylize.cli import app
from stylize.cli.options import complete_style
from stylize.console import Plain, page_text
from stylize.proofs import ProofSheet
from stylize.reports import matrix, scatter, table

WORD = "[red]y\x1b[31m\x9b2J\u202e:smile:\n<b>z"
"""Markup of rich and HTML, an emoji, escape sequences in 7 and 8 bits, a turn of direction, a line end."""
SHOWN = r"[red]y\x1b[31m\x9b2J\u202e:smile:\n<b>z"
BYTES = os.fsdecode(b"[red]caf\xe9")
"""A name that is no text."""

TRAIN = ["--steps", 1, "-b", 1, "--size", 64]
COMMANDS: dict[str, list[tuple[object, ...]]] = {
    "apply": [
        ("apply", "{photos}", "-s", "{style}", "-o", "{out}", "--report", "{out}.html"),
        ("apply", "{photos}", "-s", "{work}", "-o", "{out}", "-n"),
        ("apply", "{photo}", "-s", "{style}", "-o", "{out}/a.png", "--explain", "--json"),
        ("apply", "{photos}", "-s", "{style}", "-o", "{out}"),
        ("apply", "none{photo}", "-s", "{style}"),
        ("apply", "{photo}", "-s", "none{style}"),
        ("apply", "{photo}", "-s", "{word}"),
        ("apply", "{photo}", "-s", "{style}", "--mask", "{bad}"),
        ("apply", "{bad}", "-s", "{style}"),
    ],
    "styles": [
        ("styles",),
        ("styles", "list", "--json"),
        ("styles", "show", "{style}"),
        ("styles", "show", "{style}", "--json"),
        ("styles", "show", "{bad}"),
        ("styles", "sheet", "--photo", "{photo}", "-o", "{out}.png", "--width", 64),
        ("styles", "compare", "{works}", "{style}", "-o", "{out}.html"),
        ("styles", "compare", "{works}", "{style}", "-o", "{out}.html", "--json"),
        ("styles", "pull", "{word}"),
        ("styles", "push", "{style}", "org/name", "-n"),
    ],
    "eval": [
        ("eval", "{photo}", "-s", "{style}", "-o", "{out}.html"),
        ("eval", "{photo}", "-s", "{style}", "--json"),
        ("eval", "{photo}", "-s", "{works}"),
        ("eval", "{photo}", "-s", "{style}", "--works", "{style}={bad}"),
    ],
    "optimize": [("optimize", "{photo}", "{work}", "-o", "{out}.png", "--steps", 1, "--size", 64)],
    "fuse": [
        ("fuse", "{photo}", "{work}", "-o", "{out}.png"),
        ("fuse", "{photo}", "{bad}", "-o", "{out}.png"),
    ],
    "texture": [("texture", "{style}", "-o", "{out}.png", "--size", "128")],
    "train": [
        ("train", "{works}", "--name", "mine", "-o", "{out}", *TRAIN),
        ("train", "{works}", "--name", "mine", "-o", "{out}", "--dry-run", *TRAIN),
        ("train", "{works}", "--name", "{word}", "-o", "{out}", *TRAIN),
        ("train", "{works}", "--name", "mine", "--config", "{bad}"),
        ("train", "{works}", "--name", "mine", "--set", "{word}=1"),
    ],
    "cycle": [
        ("cycle", "{works}", "{photos}", "--name", "mine", "-o", "{out}", "--dry-run", *TRAIN),
        ("cycle", "check", "{style}", "{works}", "{photos}"),
    ],
    "ui": [("ui", "--host", "{word}"), ("ui", "--allow-host", "{word}")],
    "bench": [("bench", "--device", "{word}")],
}  # fmt: skip


@pytest.fixture(scope="module", params=[WORD, BYTES], ids=["word", "bytes"])
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pictures, a style and folders of such a name."""
    folder, word = tmp_path_factory.mktemp("named"), request.param
    for name in ("works", "photos"):
        (folder / f"{word}{name}").mkdir()
        for number in range(2):
            scene(72, 72, number).save(folder / f"{word}{name}" / f"{number}{word}.png")
    (folder / f"{word}photos" / f"bad{word}.png").write_bytes(b"none")
    scene(80, 64).save(folder / f"{word}.png")
    scene(80, 64, 3).save(folder / f"{word}work.png")
    (folder / f"{word}.bad.png").write_bytes(b"none")
    style, made = folder / f"{word}.safetensors", folder / "made.safetensors"
    shutil.copy(bundled.style_paths()["engraving"], made)
    card = {
        field: f"{word if word == WORD else '[red]'}{field}"
        for field in ("name", "title", "tradition", "works")
    }
    shutil.move(rewrite(made, card=json.dumps(card)), style)
    own = folder / "home/styles" / f"own{word}.safetensors"
    own.parent.mkdir(parents=True)
    shutil.copy(style, own)
    names = {"photo": f"{word}.png", "work": f"{word}work.png", "bad": f"{word}.bad.png", "word": word}
    names |= {"works": f"{word}works", "photos": f"{word}photos", "style": f"{word}.safetensors"}
    return {name: text if name == "word" else str(folder / text) for name, text in names.items()}


def test_every_command_is_walked() -> None:
    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert {name for name, command in commands.items() if not command.hidden} == set(COMMANDS)


def harmless(output: bytes) -> None:
    """Nothing that a terminal would obey, and no line that is not one of ours."""
    text = output.decode("utf-8", "surrogateescape")
    for sign in ("\x1b", "\x9b", "\u202e", "😄"):
        assert sign not in text, text
    assert not any("\udc80" <= character <= "\udcff" for character in text), text
    for line in text.splitlines():
        assert not line.startswith("<b>z"), text


@pytest.mark.parametrize("command", COMMANDS)
def test_names_are_shown_and_not_obeyed(
    command: str, named: dict[str, str], run: Run, tmp_path: Path
) -> None:
    home = str(Path(named["photo"]).parent / "home")
    for number, arguments in enumerate(COMMANDS[command]):
        places = {**named, "out": f"{tmp_path}/{number}{named['word']}out"}
        filled = [a.format(**places) if isinstance(a, str) else a for a in arguments]
        result = run(*filled, STYLIZE_HOME=home, PYTHONIOENCODING="utf-8:surrogateescape")
        told = result.stdout + result.stderr
        assert b"Traceback" not in told, told.decode(errors="replace")
        assert b"mistake in stylize" not in told, (arguments, told.decode(errors="replace"))
        harmless(told)
        if "--json" in arguments and result.returncode == 0:
            for text in [result.stdout] if command != "apply" else result.stdout.splitlines():
                json.loads(text)
    for page in tmp_path.rglob("*.html"):
        harmless(page.read_bytes())
        assert "<b>z" not in page.read_text(encoding="utf-8")


def test_a_table_shows_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    drawing = Table(f"h{WORD}", title=f"t{WORD}")
    drawing.add_row(WORD)
    Plain(width=200).print(drawing, WORD)
    shown = capsys.readouterr().out
    assert [shown.count(f"{sign}{SHOWN}") for sign in ("h", "t", "")] == [1, 1, 4]
    harmless(shown.encode())


def test_pages_and_drawings_show_what_they_are_given(tmp_path: Path) -> None:
    assert page_text(WORD) == SHOWN.replace("<", "&lt;").replace(">", "&gt;")
    assert "<b>" not in table([WORD], [[WORD]]).replace("<table", "")
    matrix([WORD, BYTES], [[0, 1], [1, 0]], "a title")
    scatter([WORD, BYTES], [[[0, 1]], [[1, 0]]], "a title")
    record: dict[str, Any] = {"status": "done", "warning": "", "seconds": 1, "error": WORD}
    with ProofSheet(tmp_path / "a.html") as sheet:
        sheet.add({**record, "source": WORD, "target": WORD, "style": WORD})
        sheet.add({**record, "source": BYTES, "target": BYTES, "style": BYTES})
    harmless((tmp_path / "a.html").read_bytes())


def test_a_shell_is_offered_only_names_that_are_one_word(
    named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(named["photo"]).parent)
    for name in complete_style(""):
        harmless(name.encode("utf-8", "surrogateescape"))
        assert "\n" not in name
