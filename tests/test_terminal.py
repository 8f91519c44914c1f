"""The command line in every surrounding: errors, pipes, narrow and plain terminals, shell completion."""

import errno
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run, scene
from PIL import Image

from stylize import bundled
from stylize.cli.options import complete_style, side_of
from stylize.errors import TABLE, ExitCode, PictureError, UsageError, row_of, sentence_of

STYLIZE = f"{sys.executable} -m stylize"


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = ["bash", "-c", line.replace("stylize ", f"{STYLIZE} ")]
    surrounding = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR"}}
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=100, env={**surrounding, **env})


# -- the error table ------------------------------------------------------------------------------


class OutOfMemoryError(RuntimeError):
    """Called like the one of a library that is not loaded."""


@pytest.mark.parametrize(
    ("fault", "words", "code"),
    [
        (UsageError("Do this."), "Do this.", 2),
        (PictureError("Do that."), "Do that.", 1),
        (KeyboardInterrupt(), "Interrupted", 130),
        (BrokenPipeError(errno.EPIPE, "x"), "", 141),
        (OSError(errno.ENOSPC, "No space", "a.png"), "no room for a.png", 1),
        (OSError(errno.EMFILE, "x"), "--workers", 1),
        (OSError(errno.ENAMETOOLONG, "x", "long.png"), "long.png is too long", 1),
        (OSError(errno.EIO, "Input/output error", "disk"), "disk cannot be used: Input/output error", 1),
        (FileNotFoundError(errno.ENOENT, "x", "a.txt"), "no file or folder a.txt", 1),
        (PermissionError(errno.EACCES, "x", "a.txt"), "a.txt may not be", 1),
        (MemoryError(), "--size", 1),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "--size", 1),
        (OSError(errno.EROFS, "Read-only file system", "a.png"), "a.png lies where nothing can be", 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "--size", 1),
        (RuntimeError("can't start new thread"), "ulimit -u", 1),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "ulimit -v", 1),
        (OutOfMemoryError("CUDA out of memory"), "--size", 1),
        (ModuleNotFoundError("No module named 'torch'"), "install it again", 1),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", 1),
    ],
)
def test_every_fault_has_a_sentence_and_a_code(fault: BaseException, words: str, code: int) -> None:
    sentence = sentence_of(fault)
    assert words in sentence
    assert bool(sentence) == bool(words)
    assert row_of(fault).code == code


def test_no_row_of_the_table_is_hidden_by_one_above() -> None:
    for index, row in enumerate(TABLE):
        if not isinstance(row.kind, str):
            words = row.words or "x"
            fault = row.kind(row.number or 0, words) if issubclass(row.kind, OSError) else row.kind(words)
            assert row_of(fault) is TABLE[index]


def test_a_mistake_of_ours_is_one_sentence_and_debugging_shows_it_all(tmp_path: Path) -> None:
    code = (
        "import sys, stylize.cli as cli, stylize.bundled as bundled\n"
        "def broken(): raise ZeroDivisionError('oh\\nno')\n"
        "bundled.style_paths = broken\n"
        "sys.exit(cli.main(['styles']))"
    )
    for debug in ("", "1"):
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env={**os.environ, "STYLIZE_DEBUG": debug}
        )
        assert result.returncode == ExitCode.FAILED
        assert (b"Traceback" in result.stderr) == bool(debug)
        assert b"STYLIZE_DEBUG" in result.stderr.splitlines()[-1]
        assert debug or len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["paint"], "paint"),
        (["apply", "x.jpg", "--styl", "x"], "--style"),
        (["apply", "x.jpg"], "--style"),
        (["apply", "x.jpg", "-s", "ink-wash", "--format", "pdf"], "'png'"),
        (["apply", "x.jpg", "-s", "ink-wash", "--strength", "2"], "--strength"),
        (["styles", "show"], "styles show --help"),
        (["bench", "--rounds", "many"], "bench --help"),
    ],
)
def test_wrong_options_are_one_sentence_that_names_the_help(
    run: Run, arguments: list[str], words: str
) -> None:
    result = run(*arguments)
    assert result.returncode == ExitCode.USAGE
    (line,) = result.stderr.decode().splitlines()
    assert words in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "huge"], "--size takes pixels from 1 to 20000, or 2k, 4k, 8k, not 'huge'"),
        (["--size", "0"], "--size takes pixels"),
        (["--format", "pdf"], "--format takes one of 'jpg', 'png'"),
        (["--strength", "much"], "--strength takes a number, not 'much'"),
        (["--strength", "2"], "--strength takes 1 at most, not 2"),
        (["--quality", "0"], "--quality takes 1 or more, not 0"),
        (["--seed", "1.5"], "--seed takes a whole number, not '1.5'"),
        (["--dtype", "fp8"], "--dtype takes one of 'auto', 'fp32', 'bf16', 'fp16', not 'fp8'"),
    ],
)
def test_what_an_option_takes_is_said_in_our_words(run: Run, options: list[str], words: str) -> None:
    result = run("apply", "x.jpg", "-s", "ink-wash", *options)
    assert result.returncode == ExitCode.USAGE
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith(f"Error: {words}")
    for phrase in ("Input should", "unable to parse", "Value error", "Invalid value"):
        assert phrase not in line


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mosaic", "byzantine-mosaic"), ("mosiac", "byzantine-mosaic"), ("Ink Wash", "ink-wash"),
        ("inkwash", "ink-wash"), ("VanGogh", "van-gogh"), ("vangoh", "van-gogh"), ("Gogh", "van-gogh"),
        ("ukiyoe", "ukiyo-e"), ("impresionist", "impressionist"), ("thangka", "tibetan-thangka"),
    ],
)  # fmt: skip
def test_the_style_that_was_meant(text: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{name}'"):
        bundled.style_file(text)


def test_a_style_that_nobody_meant() -> None:
    with pytest.raises(UsageError, match="there are art-nouveau"):
        bundled.style_file("xq")


@pytest.mark.parametrize("name", ["jpeg", "JPEG", ".JPEG", "jpg", ".jpg", "jfif"])
def test_jpeg_has_many_names(run: Run, photo: Path, name: str) -> None:
    result = run("apply", photo.name, "-s", "ink-wash", "--format", name, "-n")
    assert result.stdout == b"photo.jpg -> photo.ink-wash.jpg\n"


@pytest.mark.parametrize(("text", "pixels"), [("4k", 3840), ("2K", 2048), ("90px", 90), ("90", 90)])
def test_sizes_as_people_say_them(text: str, pixels: int) -> None:
    assert side_of(text) == pixels


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["optimize", "photo.jpg", "none.jpg", "-o", "a.png", "--size", "4k"], "none.jpg"),
        (
            ["optimize", "photo.jpg", "none.jpg", "-o", "a.png", "--size", "9k"],
            "takes pixels from 64 to 8192",
        ),
        (["texture", "-s", "none", "-o", "a.png", "--size", "4K"], "'none'"),
        (["fuse", "photo.jpg", "none.jpg", "-o", "a.png", "--size", "4k"], "none.jpg"),
    ],
)
def test_every_size_knows_short_names(run: Run, photo: Path, line: list[str], words: str) -> None:
    result = run(*line)
    assert result.returncode in {ExitCode.FAILED, ExitCode.USAGE}
    assert words in result.stderr.decode()


def test_too_little_memory_to_load_anything(tmp_path: Path, photo: Path) -> None:
    result = shell("ulimit -v 1500000; stylize apply photo.jpg -s ink-wash", tmp_path)
    assert result.returncode == ExitCode.FAILED
    (line,) = result.stderr.decode().splitlines()
    assert "ulimit -v" in line


# -- pipes and terminals --------------------------------------------------------------------------


def test_a_reader_that_goes_away(tmp_path: Path, photo: Path) -> None:
    for command in (
        "styles --json",
        "apply photo.jpg -s ink-wash -o -",
        "apply photo.jpg -s ink-wash --json",
    ):
        line = f"(sleep 0.3; exec stylize {command}) | true; exit ${{PIPESTATUS[0]}}"
        result = shell(line, tmp_path)
        assert result.returncode == ExitCode.CLOSED_PIPE, command
        assert result.stderr == b""


def test_streams_that_are_closed(tmp_path: Path, photo: Path) -> None:
    result = shell("stylize apply photo.jpg -s ink-wash -o a.png <&- >&- 2>&-", tmp_path)
    assert result.returncode == 0
    with Image.open(tmp_path / "a.png") as image:
        image.load()
    assert shell("stylize styles >&-", tmp_path).returncode == 0
    result = shell("stylize styles > /dev/full", tmp_path)
    assert result.returncode == ExitCode.FAILED
    assert len(result.stderr.splitlines()) == 1


def test_the_picture_has_stdout_for_itself(tmp_path: Path, photo: Path) -> None:
    """Whatever a library prints meanwhile, even by its number, goes elsewhere."""
    code = (
        "import os, sys, stylize.painting as painting\n"
        "from stylize.cli import main\n"
        "paint = painting.Painter.paint\n"
        "def noisy(self, picture):\n"
        "    print('a warning'); os.write(1, b'from C')\n"
        "    return paint(self, picture)\n"
        "painting.Painter.paint = noisy\n"
        "code = main(['apply', 'photo.jpg', '-s', 'ink-wash', '-o', '-'])\n"
        "print('END'); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(b"\x89PNG")
    assert result.stdout.endswith(b"IEND\xaeB`\x82END\n")
    assert b"a warning" in result.stderr
    assert b"from C" in result.stderr


def test_json_and_the_picture_do_not_share_stdout(run: Run, photo: Path) -> None:
    assert run("apply", photo, "-s", "ink-wash", "-o", "-", "--json").returncode == 2
    result = run("apply", "-", "-s", "ink-wash", "-o", "a.png", "--json", stdin=photo.read_bytes())
    assert b'"status": "done"' in result.stdout


def in_a_terminal(arguments: list[str], folder: Path, **env: str) -> str:
    """What a person sees at a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    surrounding = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "stylize", *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**surrounding, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 4096):
            seen += data
    except OSError:  # Linux says so at the end
        pass
    process.wait(timeout=60)
    os.close(ours)
    return seen.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9;]*m")


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    wrong = ["apply", "x.jpg", "-s", "ink-wahs"]
    assert COLOUR.search(in_a_terminal(wrong, tmp_path))
    assert not COLOUR.search(in_a_terminal(wrong, tmp_path, NO_COLOR="1"))
    assert not COLOUR.search(in_a_terminal(["apply", "--help"], tmp_path, NO_COLOR="1"))
    for line in ("stylize apply x.jpg -s ink-wahs", "stylize styles", "stylize apply --help"):
        result = shell(line, tmp_path)
        assert b"\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["apply", "--help"], ["train", "--help"], ["styles"]])
def test_eighty_columns_are_enough(run: Run, arguments: list[str]) -> None:
    text = run(*arguments, COLUMNS="80").stdout.decode()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_progress_is_for_terminals_and_json_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(3):
        scene(30, 30).save(tmp_path / f"in/{index}.png")
    assert "Painting" in in_a_terminal(["apply", "in", "-s", "ink-wash", "-o", "out"], tmp_path)
    result = shell("stylize apply in -s ink-wash -o out -f", tmp_path)
    assert result.stderr == b"3 done, 0 skipped, 0 failed.\n"
    assert shell("stylize apply in -s ink-wash -o out -f -q", tmp_path).stderr == b""


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_style_is_one_line_in_any_width(run: Run, width: int) -> None:
    names = list(bundled.known_styles())
    lines = run("styles", COLUMNS=str(width)).stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == names
    assert max(map(len, lines)) <= max(width, max(map(len, names)))
    assert any("Mountains in azurite" in line for line in lines) == (width > 40)


def test_names_of_styles_for_scripts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "home/styles").mkdir(parents=True)
    shutil.copy(bundled.style_paths()["ink-wash"], tmp_path / "home/styles/mine.safetensors")
    for command in (("styles", "--names"), ("styles", "list", "--names")):
        names = run(*command, COLUMNS="10").stdout.decode().splitlines()
        assert {*bundled.style_paths(), "mine"} <= set(names)
    assert run("styles").stdout.decode().splitlines()[-1].startswith("mine ")


# -- completion -----------------------------------------------------------------------------------


def test_styles_and_files_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "works").mkdir()
    for name in ("wave.safetensors", "work[1].jpg", "words.txt"):
        (tmp_path / name).touch()
    assert complete_style("ink") == ["ink-wash"]
    assert set(complete_style("")) == {*bundled.known_styles(), "wave.safetensors", "work[1].jpg", "works/"}
    assert complete_style("wo") == ["work[1].jpg", "works/"]
    assert complete_style("work[") == ["work[1].jpg"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("stylize apply photo.jpg --style van", ["van-gogh"]),
        ("stylize apply photo.jpg -s uki", ["ukiyo-e"]),
        ("stylize apply photo.jpg -s ink-wash --outside eng", ["engraving"]),
        ("stylize styles show byz", ["byzantine-icon", "byzantine-mosaic"]),
        ("stylize apply --skip", ["--skip-existing"]),
        ("stylize be", ["bench"]),
    ],
)
def test_a_shell_completes(run: Run, words: str, offered: list[str]) -> None:
    last = str(len(words.split()) - 1)
    result = run(_STYLIZE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=last)
    assert result.stdout.decode().split() == offered, result.stderr.decode()
