"""What lies on the disk may be damaged: a sentence names the file, or work goes on without it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_training import CONFIG, library, trainer  # noqa: F401 - a fixture

from stylize import bundled
from stylize.errors import StylizeError, row_of
from stylize.fitting import Run as TrainingRun
from stylize.fitting import RunFolder, read_metrics
from stylize.library import StyleLibrary, _read_cache, _write_cache
from stylize.run_report import write_run_report
from stylize.settings import read_settings

NESTED = b"[" * 100_000


@pytest.fixture(scope="module")
def begun(library: StyleLibrary, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The folder of a run of a few steps, with its best checkpoint."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    run = TrainingRun(trainer(library), folder)
    run.rhythm = type(run.rhythm)(metrics_every=2)
    assert run.go()
    assert len(read_metrics(folder.metrics)) > 4
    return folder.path


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(begun, tmp_path / "run")


def go_on(library: StyleLibrary, folder: Path) -> None:  # noqa: F811
    assert TrainingRun(trainer(library), RunFolder(folder)).go()


def refused(library: StyleLibrary, folder: Path, file: Path) -> str:  # noqa: F811
    """The sentence that going on ends in: it names the file, and what to do."""
    with pytest.raises(StylizeError) as found:
        go_on(library, folder)
    sentence = str(found.value)
    assert str(file) in sentence
    assert re.search("remove|delete", sentence), sentence
    assert "\n" not in sentence
    assert row_of(found.value).code == 1
    return sentence


@pytest.mark.parametrize(
    "end", [b'{"step": 9, "conte', b'{"step": 8, "table": {"a": {"b": 1}', b"\xff\xfe", b"\0" * 99]
)
def test_a_last_line_that_was_not_finished_is_dropped(
    library: StyleLibrary, folder: Path, end: bytes  # noqa: F811
) -> None:  # fmt: skip
    before = read_metrics(folder / "metrics.jsonl")
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(end)
    assert read_metrics(folder / "metrics.jsonl") == before
    write_run_report(folder, "a run", [])
    go_on(library, folder)
    assert end not in (folder / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("line", [b"{", b"3", b"null", b'{"step": "x"}', b'{"stop": 1}', b"\xff", NESTED])
def test_another_damaged_line_is_told(library: StyleLibrary, folder: Path, line: bytes) -> None:  # noqa: F811
    metrics = folder / "metrics.jsonl"
    first, rest = metrics.read_bytes().split(b"\n", 1)
    metrics.write_bytes(first + b"\n" + line + b"\n" + rest)
    assert "Line 2 of" in refused(library, folder, metrics)
    with pytest.raises(StylizeError, match="Line 2 of"):
        write_run_report(folder, "a run", [])


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"score": "x"}', b'{"score": null}', b"\xff", NESTED])
def test_a_damaged_note_of_the_best_is_told(library: StyleLibrary, folder: Path, note: bytes) -> None:  # noqa: F811
    path = folder / "checkpoints/best.json"
    path.write_bytes(note)
    refused(library, folder, path)


@pytest.mark.parametrize(
    "changes",
    [
        None, {"steps_done": "x"}, {"steps_done": "-3"}, {"steps_done": None}, {"config": "{"},
        {"config": None}, {"data": None}, {"health": "[]"}, {"health": '{"share": "x"}'},
        {"health": NESTED.decode()},
    ],
)  # fmt: skip
def test_damaged_metadata_of_a_checkpoint_is_told(
    library: StyleLibrary, folder: Path, changes: dict[str, str | None] | None  # noqa: F811
) -> None:  # fmt: skip
    (path,) = RunFolder(folder).checkpoints()
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), **(changes or {})}
    kept = {name: text for name, text in metadata.items() if text is not None}
    save_file(load_file(path), path, metadata=kept if changes else None)
    refused(library, folder, path)


def test_a_damaged_checkpoint_is_told(library: StyleLibrary, folder: Path) -> None:  # noqa: F811
    (path,) = RunFolder(folder).checkpoints()
    content, tensors = path.read_bytes(), load_file(path)
    for damaged in (b"", content[:1000], content[:-5]):
        path.write_bytes(damaged)
        refused(library, folder, path)
    path.write_bytes(content)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({**tensors, "painter.adam.x.exp_avg": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(StylizeError, match="other networks"):
        go_on(library, folder)


def test_files_with_other_names_are_left_alone(library: StyleLibrary, folder: Path) -> None:  # noqa: F811
    for name in ("checkpoints/1x.safetensors", "checkpoints/9 (copy).safetensors", "samples/1x.png"):
        (folder / name).write_bytes(b"")
    go_on(library, folder)
    for sample in (folder / "samples").glob("*.png"):
        sample.write_bytes(b"no picture")
    write_run_report(folder, "a run", [])


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "config.toml", ".lock", "checkpoints/best.json", "samples/1.png", "x"]
)
def test_links_that_lead_nowhere_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StylizeError, match="is a link to what is not there; remove it"):
        RunFolder(folder)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_links_to_other_files_empty_nothing(folder: Path, tmp_path: Path, make: object) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    for name in (".lock", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
        make(folder / name, kept)  # pyright: ignore[reportCallIssue]
        with pytest.raises(StylizeError, match="is a link to another file"):
            RunFolder(folder)
        (folder / name).unlink()
    assert kept.read_text() == "mine"


def test_a_damaged_cache_of_works_is_made_anew(library: StyleLibrary, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "works.safetensors"
    _write_cache(path, "x", library.vectors, library.statistics, library.grey_statistics)
    assert _read_cache(path, "x") is not None
    tensors = load_file(path)
    del tensors["vectors"]
    save_file(tensors, path, metadata={"digest": "x"})
    assert _read_cache(path, "x") is None
    save_file(tensors, path)
    assert _read_cache(path, "x") is None
    path.write_bytes(path.read_bytes()[:50])
    assert _read_cache(path, "x") is None


@pytest.mark.parametrize(
    "text", [b"steps = ", b"\xff\xfe", b"a = " + NESTED, b"train = 3", b"[train]\nsteps = 1\nsteps = 2"]
)
def test_damaged_settings_are_told(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(text)
    with pytest.raises(StylizeError, match=re.escape(str(path))):
        read_settings(path, "train")


@pytest.mark.parametrize("card", [b"", b"{", b"[]", b'{"name": 3}', b'{"title": "x"}', NESTED, b"null"])
def test_a_damaged_card_is_told_by_every_command_that_reads_it(run: Run, tmp_path: Path, card: bytes) -> None:
    path, own = tmp_path / "x.safetensors", tmp_path / "home/styles/own.safetensors"
    with safe_open(bundled.style_paths()["engraving"], "pt") as file:
        metadata = {**file.metadata(), "card": card.decode()}
    save_file(load_file(bundled.style_paths()["engraving"]), path, metadata=metadata)
    own.parent.mkdir(parents=True)
    shutil.copy(path, own)
    scene(40, 30).save(tmp_path / "photo.png")
    for arguments in (("apply", "photo.png", "-s", path), ("styles", "show", path), ("styles", "list")):
        result = run(*arguments)
        assert b"Traceback" not in result.stderr
        assert b"mistake in stylize" not in result.stderr
        if card != b'{"name": 3}' and arguments[1] != "list":
            assert result.returncode == 1
            assert b"x.safetensors" in result.stderr
            assert len(result.stderr.strip().splitlines()) == 1


def test_settings_that_are_damaged_end_a_command_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "works").mkdir()
    scene(90, 90).save(tmp_path / "works/0.png")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    result = run("train", "works", "--name", "x", "--config", "c.toml")
    assert result.returncode == 1
    assert b"c.toml" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
