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
        (["a.jpg", "a.png"], None),
        (["a.jpg", "a.jpg"], "out"),
        (["a.jpg"], "a.jpg"),  # would replace its own photograph
        (["a.jpg"], "x.xyz"),
    ],
)
def test_collisions_are_refused_before_work(tmp_path: Path, inputs: list[str], output: str | None) -> None:
    suffix = "jpg" if output is None else None
    with pytest.raises(UsageError):
        plan([tmp_path / name for name in inputs], tmp_path / output if output else None, suffix)
