"""Where results go, and what is refused before any work starts."""

from pathlib import Path

import pytest

from stylize.errors import UsageError
from stylize.jobs import Job, Naming, plan_jobs


def plan(inputs: list[Path], output: Path | None = None, suffix: str | None = None, deep: bool = False):
    return plan_jobs(inputs, Naming(output, "ink", suffix, deep))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in ("a.jpg", "b.PNG", "notes.txt", "sub/a.jpg", "sub/deep/c.tga"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_beside_the_input(tmp_path: Path) -> None:
    jobs, _ = plan([tmp_path / "x.jpg", tmp_path / "y.tga"])
    assert [job.target.name for job in jobs] == ["x.ink.jpg", "y.ink.png"]


def test_format_replaces_the_suffix(tmp_path: Path) -> None:
    jobs, _ = plan([tmp_path / "x.jpg"], suffix="webp")
    assert jobs[0].target.name == "x.ink.webp"
    assert jobs[0].format_name == "WEBP"


def test_a_single_input_may_name_its_result(tmp_path: Path) -> None:
    jobs, _ = plan([tmp_path / "x.jpg"], tmp_path / "out.png")
    assert jobs == [Job(tmp_path / "x.jpg", tmp_path / "out.png", "ink")]


def test_several_inputs_go_into_a_folder_under_their_names(tmp_path: Path) -> None:
    jobs, _ = plan([tmp_path / "x.jpg", tmp_path / "y.jpg"], tmp_path / "out")
    assert [job.target for job in jobs] == [tmp_path / "out/x.jpg", tmp_path / "out/y.jpg"]


def test_folders_are_mirrored(tree: Path, tmp_path: Path) -> None:
    jobs, _ = plan([tree], tmp_path / "out")
    assert [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs] == ["a.jpg", "b.PNG"]
    jobs, _ = plan([tree], tmp_path / "out", deep=True)
    names = {job.target.relative_to(tmp_path / "out").as_posix() for job in jobs}
    assert names == {"a.jpg", "b.PNG", "sub/a.jpg", "sub/deep/c.png"}


def test_earlier_results_beside_the_photographs_are_not_painted_again(tree: Path) -> None:
    (tree / "a.ink.jpg").touch()
    jobs, _ = plan([tree])
    assert tree / "a.ink.jpg" not in [job.source for job in jobs]


def test_an_empty_folder_is_a_problem_and_the_rest_goes_on(tree: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    jobs, problems = plan([empty, tree], tmp_path / "out")
    assert len(jobs) == 2
    assert len(problems) == 1
    assert str(empty) in problems[0].why


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        (["a.jpg", "sub/a.jpg"], "out"),  # one name, two folders
        (["a.jpg", "a.jpg"], "out"),
        (["a.jpg"], "a.jpg"),  # would replace its own photograph
        (["a.jpg"], "x.xyz"),
        (["a.jpg", "b.jpg"], "one.png"),  # one file for two
        (["in"], "one.png"),
        (["in"], "one.mp4"),
    ],
)
def test_collisions_are_refused_before_work(tmp_path: Path, inputs: list[str], output: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").touch()
    with pytest.raises(UsageError):
        plan([tmp_path / name for name in inputs], tmp_path / output)


def test_a_folder_may_be_called_like_a_picture(tmp_path: Path) -> None:
    (tmp_path / "one.png").mkdir()
    jobs, _ = plan([tmp_path / "a.jpg", tmp_path / "b.jpg"], tmp_path / "one.png")
    assert [job.target for job in jobs] == [tmp_path / "one.png/a.jpg", tmp_path / "one.png/b.jpg"]


@pytest.mark.parametrize("order", [["a.jpg", "a.png", "a.tga"], ["a.tga", "a.png", "a.jpg"]])
def test_pictures_that_differ_in_the_suffix_only_keep_apart(tmp_path: Path, order: list[str]) -> None:
    paths = [tmp_path / name for name in order]
    jobs, refused = plan(paths, suffix="jpg")
    assert not refused
    assert {job.source.name: job.target.name for job in jobs} == {
        "a.jpg": "a.ink.jpg", "a.png": "a.png.ink.jpg", "a.tga": "a.tga.ink.jpg",
    }  # fmt: skip
    jobs, _ = plan(paths, tmp_path / "out", "jpg")
    assert {job.target.name for job in jobs} == {"a.jpg", "a.png.jpg", "a.tga.jpg"}
    jobs, _ = plan(paths[1:] if order[0] == "a.jpg" else paths[:-1], tmp_path / "out")  # a TGA becomes a PNG
    assert {job.source.name: job.target.name for job in jobs} == {"a.png": "a.png", "a.tga": "a.tga.png"}


def test_sheets_that_explain_are_no_photographs(tree: Path) -> None:
    (tree / "a.van-gogh.explained.png").touch()
    jobs, _ = plan([tree])
    assert [job.source.name for job in jobs] == ["a.jpg", "b.PNG"]
