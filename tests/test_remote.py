"""Pictures on object stores, with a real server of S3's protocol on this machine."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, scene
from hub_server import Hub
from object_store import Store
from PIL import Image

from stylize import remote
from stylize.errors import StylizeError, UsageError
from stylize.remote import Url, url_of


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_a_folder_on_a_store_is_painted_into_another(run: Run, store: Store, tmp_path: Path) -> None:
    for name in ("a b+ü.png", "sub/b.png", "sub/.hidden.png"):
        store.put(f"in/{name}", scene(50, 40, seed=len(name)))
    store.put("in/notes.txt", b"no picture")
    scene(50, 40, seed=9).save(tmp_path / "b.png")
    arguments = ["apply", "s3://bucket/in/", "-s", "ink-wash", "-o", "s3://bucket/out", "-r", "--json"]
    result = run(*arguments, "--report", "sheet.html", **store.env)
    assert result.returncode == 0, result.stderr.decode()
    assert store.names("out") == ["a b+ü.png", "sub/b.png"]
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["source"], r["target"], r["status"]) for r in records] == [
        ("s3://bucket/in/a b+ü.png", "s3://bucket/out/a b+ü.png", "done"),
        ("s3://bucket/in/sub/b.png", "s3://bucket/out/sub/b.png", "done"),
    ]
    assert b"s3://bucket/out/sub/b.png" in (tmp_path / "sheet.html").read_bytes()
    here = run("apply", "b.png", "-s", "ink-wash", "-o", "here.png")
    assert here.returncode == 0, here.stderr.decode()
    painted = store.picture("out/sub/b.png")
    assert (pixels(painted) == pixels(Image.open(tmp_path / "here.png"))).all()
    assert b"compositeWithTrainedAlgorithmicMedia" in painted.info["xmp"]
    again = run(*arguments, **store.env)
    assert again.returncode == 1
    assert b"2 exist already; --skip-existing" in again.stderr
    kept = run(*arguments, "--skip-existing", **store.env)
    assert kept.returncode == 0
    assert kept.stdout.count(b'"skipped"') == 2


def test_a_bad_object_does_not_stop_the_rest(run: Run, store: Store, tmp_path: Path) -> None:
    store.put("in/good.png", scene(50, 40))
    store.put("in/bad.png", b"no picture")
    store.put("in/empty.png", b"")
    store.put("in//odd.png", scene(50, 40))
    result = run(
        "apply", "s3://bucket/in", "s3://bucket/none.png", "-s", "ink-wash", "-o", "out", "-r",
        **store.env,
    )  # fmt: skip
    assert result.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir() if path.suffix] == ["good.png"]
    said = result.stderr.decode()
    assert "There is no s3://bucket/none.png" in said
    assert "s3://bucket/in/bad.png is not a picture" in said
    assert "s3://bucket/in//odd.png has an empty folder" in said
    assert "Traceback" not in said
    assert "1 done, 0 skipped, 4 failed" in said


def test_pictures_of_a_dataset_on_the_hub(run: Run, tmp_path: Path) -> None:
    def png(seed: int) -> bytes:
        buffer = io.BytesIO()
        scene(50, 40, seed).save(buffer, "png")
        return buffer.getvalue()

    with Hub() as hub:
        for name, seed in (("photos/a.png", 1), ("photos/deep/b.png", 2), ("README.md", 3)):
            hub.add("datasets/me/mine", name, png(seed))
        hub.add("datasets/me/mine", "photos/bad.png", b"no picture")
        env = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
        arguments = ["apply", "hf://datasets/me/mine/photos", "-s", "ink-wash", "-r", "--json"]
        arguments += ["-o", "hf://datasets/me/mine/painted"]
        denied = run(*arguments, **env, HF_TOKEN="hf_reader")
        assert denied.returncode == 1
        assert b"Traceback" not in denied.stderr
        assert b"may not be written" in denied.stderr
        painted = run(*arguments, **env, HF_TOKEN="hf_writer")
        assert painted.returncode == 1, painted.stderr.decode()
        assert b"photos/bad.png is not a picture" in painted.stderr
        files = hub.repositories["datasets/me/mine"].revisions["main"]
        assert {name for name in files if "painted" in name} == {"painted/a.png", "painted/deep/b.png"}
        again = run(*arguments, "--skip-existing", **env, HF_TOKEN="hf_writer")
        assert again.stdout.count(b'"skipped"') == 2, again.stderr.decode()
    (tmp_path / "a.png").write_bytes(png(1))
    assert run("apply", "a.png", "-s", "ink-wash", "-o", "here.png").returncode == 0
    here = pixels(Image.open(tmp_path / "here.png"))
    assert (pixels(Image.open(io.BytesIO(files["painted/a.png"]))) == here).all()


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        ("s3://bucket/a/b.png", "s3://bucket"),
        ("hf://datasets/me/mine/a/b.png", "hf://datasets/me/mine"),
        ("hf://me/mine/a/b.png", "hf://me/mine"),
    ],
)
def test_what_must_be_there_before_anything_is_written(text: str, bucket: str) -> None:
    url = url_of(text)
    assert url is not None
    assert str(url.bucket) == bucket


def test_a_clip_comes_and_goes_by_a_store(run: Run, store: Store, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="av is not installed")
    pytest.importorskip("cv2", reason="opencv is not installed")
    with av.open(str(tmp_path / "c.mp4"), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for seed in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_image(scene(64, 48, seed))))
        clip.mux(stream.encode())
    store.put("c.mp4", (tmp_path / "c.mp4").read_bytes())
    result = run("apply", "s3://bucket/c.mp4", "-s", "ink-wash", "-o", "s3://bucket/d.mp4", **store.env)
    assert result.returncode == 0, result.stderr.decode()
    with av.open(io.BytesIO(store.fs.cat_file("bucket/d.mp4"))) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 3


def test_without_rights_there_is_a_sentence_and_nothing_is_lost(run: Run, store: Store) -> None:
    store.put("in/a.png", scene(50, 40))
    before = store.fs.cat_file("bucket/in/a.png")
    paint = ["apply", "s3://bucket/in/a.png", "-s", "ink-wash", "-o", "s3://bucket/out/a.png"]
    for action, sentence in (
        ("s3:PutObject", b"s3://bucket/out/a.png may not be written; check your keys"),
        ("s3:GetObject", b"s3://bucket/in/a.png may not be read; check your keys"),
    ):
        with store.denied(action):
            result = run(*paint, **store.env)
        assert result.returncode == 1
        assert sentence in result.stderr
        assert b"Traceback" not in result.stderr
        assert store.names("out") == []
    assert store.fs.cat_file("bucket/in/a.png") == before
    assert run(*paint, **store.env).returncode == 0


@pytest.mark.parametrize(
    ("inputs", "output", "sentence"),
    [
        ("s3://none/in/a.png", "out", b"There is no s3://none; check the names"),
        ("s3://bucket/a.png", "s3://none/out", b"There is no s3://none; check the names"),
        ("s3://bucket/in/", "out", b"There is no s3://bucket/in"),
        ("gs://bucket/a.png", "out", b"For gs:// URLs, run: pip install gcsfs"),
        ("nosuch://bucket/a.png", "out", b"is no kind of store"),
        ("s3://bucket/../a.png", "out", b"'..'"),
        ("file:///a.png", "out", b"write its path without file://"),
    ],
)
def test_what_is_not_there_is_said_before_any_work(
    run: Run, store: Store, inputs: str, output: str, sentence: bytes
) -> None:
    result = run("apply", inputs, "-s", "ink-wash", "-o", output, **store.env)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr
    assert b"Traceback" not in result.stderr


def test_nobody_answers(run: Run, store: Store) -> None:
    env = {**store.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    result = run("apply", "s3://bucket/in/", "-s", "ink-wash", "-o", "out", **env)
    assert result.returncode == 1
    assert b"s3://bucket cannot be reached; check the network" in result.stderr
    assert b"Traceback" not in result.stderr


def test_urls_are_paths_that_no_file_is_opened_by() -> None:
    url = url_of("S3://bucket/in/photo.JPG")
    assert url is not None
    assert str(url) == "s3://bucket/in/photo.JPG"
    assert str(url.with_suffix(".png").parent / "x") == "s3://bucket/in/x"
    assert url_of("c:/photo.jpg") is None
    with pytest.raises(TypeError):
        os.fspath(url)  # pyright: ignore
    for wrong in ("s3://", "s3://b//c", "s3://b/./c", "zip://a::s3://b/c", "sftp://host/a"):
        with pytest.raises(UsageError):
            url_of(wrong)


def test_where_files_grow_they_are_written_beside_and_moved() -> None:
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Slow(MemoryFileSystem):
        protocol = "slow"
        store: dict[str, Any] = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012
        seen: list[str] = []  # noqa: RUF012

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
            self.seen.append(path)
            super().pipe_file(path.removeprefix("slow://host"), value[: len(value) // 2])
            if value == b"broken":
                raise ConnectionError("cut off")
            super().pipe_file(path.removeprefix("slow://host"), value)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("slow://host").strip("/")

    fsspec.register_implementation("slow", Slow, clobber=True)
    target = Url("slow://host/out/a.png")
    remote.write(target, b"whole")
    assert remote.read(target, 100) == b"whole"
    with pytest.raises(StylizeError, match="cannot be reached"):
        remote.write(target, b"broken")
    assert remote.read(target, 100) == b"whole"
    assert all(".part" in name for name in Slow.seen)
