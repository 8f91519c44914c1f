"""Clips: painted steadily, with sound, times, rotation and colour tags kept, and resumable."""

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.sidedata.sidedata import Type
from conftest import Run, scene
from PIL import Image
from test_cli import one_sentence

from stylize import filming, video
from stylize.cli import main
from stylize.config import GeneratorConfig
from stylize.encoder import StyleEncoder, moments_size
from stylize.errors import PictureError, UsageError
from stylize.film import FilmStylizer
from stylize.filming import Order, paint_clip
from stylize.flow import Change, change
from stylize.generator import Generator
from stylize.jobs import Naming, plan_jobs
from stylize.marking import SOURCE_TYPE
from stylize.model import Base
from stylize.perceptual import CompactVGG
from stylize.strokes import Stroke
from stylize.stylizer import Stylizer

ONE_PASS = Stroke(width=None)

TICK = Fraction(1, 90_000)


def frames_of_a_pan(count: int, width: int = 64, height: int = 48, seed: int = 0) -> list[np.ndarray]:
    """A camera that goes to the right by two pixels a frame."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4, (width + 2 * count) // 4, 3))
    image = Image.fromarray(coarse.astype(np.uint8)).resize(
        (width + 2 * count, height), Image.Resampling.BICUBIC
    )
    wide = np.asarray(image)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + width]) for i in range(count)]


def write_clip(
    path: Path, frames: list[np.ndarray], times: list[int] | None = None, rotation: int = 0,
    sound: bool = False, subtitles: bool = False, codec: str = "libx264", pixels: str = "yuv420p",
) -> list[int]:  # fmt: skip
    """A clip of these frames; the times in ticks at which they are shown."""
    times = times or [3003 * i for i in range(len(frames))]
    ticks = {"video_track_timescale": "90000"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=ticks) as file:
        height, width = frames[0].shape[:2]
        stream = file.add_stream(codec, rate=Fraction(30_000, 1001), options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = stream.time_base = TICK
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = 1, 9, 14, 9
        if rotation:
            stream.set_display_rotation(rotation)
        tones = file.add_stream("aac", rate=44_100) if sound else None
        texts = file.add_stream("mov_text") if subtitles else None
        file.metadata["title"] = "Pan"
        file.metadata["location"] = "+48.1+011.5/"
        for pixels_of_frame, moment in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = moment, TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if tones is not None:
            add_sound(file, tones, times[-1] / 90_000)
        assert texts is None
    return times


def add_sound(file: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    random = np.random.default_rng(0)
    for i in range(max(4, int(seconds * 44_100 / 1024))):
        noise = (random.standard_normal((1, 1024)) * 0.1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, i * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def read_frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def packets(path: Path, kind: str) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as file:
        return [(p.pts, bytes(p)) for p in file.demux(**{kind: 0}) if p.dts is not None]


@pytest.fixture
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    config = GeneratorConfig(
        half_width=8, quarter_width=8, eighth_width=8, eighth_blocks=2, quarter_blocks=1, code_size=16,
        attention_grid=4, attention_width=4,
    )  # fmt: skip
    base = Base(Generator(config).eval(), StyleEncoder(moments_size(), 16).eval(), "tiny")
    return Stylizer(base, lambda: CompactVGG().eval(), torch.device("cpu"), torch.float32)


@pytest.fixture
def code() -> torch.Tensor:
    return torch.randn(1, 16, generator=torch.Generator().manual_seed(1))


def paint(order: Order, stylizer: Stylizer, code: torch.Tensor, stop: int | None = None) -> list[str]:
    """Paint with a tiny network; Ctrl-C after `stop` frames."""

    def tell(done: int, total: int | None) -> None:
        if done == stop:
            raise KeyboardInterrupt

    return paint_clip(
        order, FilmStylizer(stylizer), lambda rgb, brush: brush.paint(rgb, code, ONE_PASS), tell
    )


# -- what is kept -----------------------------------------------------------------------------------


def test_sound_times_rotation_tags_and_mark(run: Run, tmp_path: Path) -> None:
    times = [0, 3003, 9009, 10510, 18018, 18019, 30000, 33003]
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(8), times, rotation=-90, sound=True)
    result = run("apply", "clip.mp4", "-s", "ink-wash", "-o", "out.mp4", "--json", "--strip-private")
    assert result.returncode == 0, result.stderr.decode()
    (record,) = map(json.loads, result.stdout.splitlines())
    assert (record["status"], record["warning"], record["target"]) == ("done", "", "out.mp4")
    before, after = (read_frames(tmp_path / name) for name in ("clip.mp4", "out.mp4"))
    assert [frame.pts for frame in after] == times
    for name in ("width", "height", "rotation", "color_range", "color_primaries", "color_trc", "colorspace"):
        assert getattr(after[0], name) == getattr(before[0], name), name
    matrices = [
        bytes(next(d for d in f[0].side_data if d.type == Type.DISPLAYMATRIX)) for f in (before, after)
    ]
    assert matrices[0] == matrices[1]
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "clip.mp4", "audio")
    changed = np.abs(after[0].to_ndarray(format="rgb24") - before[0].to_ndarray(format="rgb24").astype(float))
    assert changed.mean() > 10
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.metadata["title"] == "Pan"
        assert "location" not in file.metadata
        assert SOURCE_TYPE in file.metadata["comment"]
    assert SOURCE_TYPE.encode() in (tmp_path / "out.mp4").read_bytes()[-5000:]
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_rotation_is_undone_for_the_painter_and_done_again(tmp_path: Path) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :32] = 255
    write_clip(tmp_path / "clip.mp4", [frame] * 3, rotation=-90)
    with video.Clip(tmp_path / "clip.mp4") as clip:
        assert clip.layout.upright_size == (48, 64)
        upright = clip.rgb(next(clip.frames())[0], (64, 48))
        assert upright.shape == (64, 48, 3)
        assert upright[:30].mean() > 240  # turned clockwise by a quarter, left is up
        assert upright[34:].mean() < 10


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    """Without painting, colours stay: the right matrix and range, there and back; odd sides, 10 bits too."""
    for pixels, size in (("yuv420p", (64, 48)), ("yuv444p", (63, 47)), ("yuv420p10le", (64, 48))):
        source, target = tmp_path / f"{pixels}.mp4", tmp_path / f"{pixels}.out.mp4"
        smooth = 60 + np.asarray(scene(16, 12).resize(size, Image.Resampling.BICUBIC)) // 3  # no clipping
        write_clip(source, [smooth] * 3, pixels=pixels)
        none = Stylizer.__new__(Stylizer)
        order = Order(source, target, "x", quality=100)
        paint_clip(order, FilmStylizer(none), lambda rgb, brush: rgb, lambda done, total: None)
        before, after = read_frames(source)[0], read_frames(target)[0]
        assert (after.width, after.height) == size
        assert after.format.components[0].bits == before.format.components[0].bits
        levels = [f.to_ndarray(format="rgb24").astype(float) for f in (before, after)]
        assert np.abs(levels[0] - levels[1]).mean() < 1.5
        assert np.abs((levels[0] - levels[1]).mean(axis=(0, 1))).max() < 0.7


def test_a_transport_stream_becomes_an_mp4(tmp_path: Path, stylizer: Stylizer, code: torch.Tensor) -> None:
    write_clip(tmp_path / "clip.ts", frames_of_a_pan(8), sound=True)
    assert paint(Order(tmp_path / "clip.ts", tmp_path / "out.mp4", "x"), stylizer, code) == []
    sounds = []
    for name in ("clip.ts", "out.mp4"):
        with av.open(str(tmp_path / name)) as file:
            sounds.append(
                [(frame.pts * frame.time_base, frame.to_ndarray()) for frame in file.decode(audio=0)]
            )
    starts = [
        float(read_frames(tmp_path / name)[0].time - sounds[i][0][0])
        for i, name in enumerate(("clip.ts", "out.mp4"))
    ]
    assert abs(starts[0] - starts[1]) < 0.001  # picture and sound are as far apart as they were
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(*sounds, strict=True))


@pytest.mark.parametrize("suffix", ["mkv", "mov", "webm"])
def test_other_containers(tmp_path: Path, stylizer: Stylizer, code: torch.Tensor, suffix: str) -> None:
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(5), sound=True)
    order = Order(
        tmp_path / "clip.mp4", tmp_path / f"out.{suffix}", "x", tags={"comment": "made"}, xmp=b"<x/>"
    )
    notes = paint(order, stylizer, code)
    assert len(read_frames(order.target)) == 5
    with av.open(str(order.target)) as file:
        assert {k.lower(): v for k, v in file.metadata.items()}["comment"] == "made"
        assert len(file.streams.audio) == (suffix != "webm")
    assert [".mkv" in note for note in notes] == [True] * (suffix == "webm")
    if suffix != "webm":
        sounds = [[data for _, data in packets(p, "audio")] for p in (order.clip, order.target)]
        assert sounds[0] == sounds[1]


def test_subtitles_are_kept_where_they_fit(tmp_path: Path, stylizer: Stylizer, code: torch.Tensor) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nA word.\n")
    write_clip(tmp_path / "bare.mp4", frames_of_a_pan(4))
    with (
        av.open(str(tmp_path / "bare.mp4")) as picture, av.open(str(tmp_path / "words.srt")) as words,
        av.open(str(tmp_path / "clip.mkv"), "w") as file,
    ):  # fmt: skip
        copies = [file.add_stream_from_template(f.streams[0]) for f in (picture, words)]
        copies[1].metadata["language"] = "eng"
        for source, copy in zip((picture, words), copies, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copy
                    file.mux(packet)
    for suffix in ("mkv", "mp4"):
        notes = paint(Order(tmp_path / "clip.mkv", tmp_path / f"out.{suffix}", "x"), stylizer, code)
        assert ["subtitles" in note and ".mkv" in note for note in notes] == [True] * (suffix == "mp4")
    assert packets(tmp_path / "out.mkv", "subtitles") == packets(tmp_path / "clip.mkv", "subtitles")
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.subtitles[0].language == "eng"


# -- steadiness -------------------------------------------------------------------------------------


def test_what_moves_is_followed_and_a_cut_is_seen() -> None:
    a, b = frames_of_a_pan(2, 160, 120)
    moved = change(a, b)
    assert not moved.cut
    assert moved.places is not None
    inside = moved.places[20:-20, 20:-20, 0] - np.arange(20, 140)
    assert abs(np.median(inside) - 2) < 0.3
    assert change(a, frames_of_a_pan(1, 160, 120, seed=5)[0][:, ::-1][::-1].copy() // 2 + 90).cut
    assert change(None, a).cut
    assert change(a, a.copy()).same


def test_painting_follows_slowly_and_a_cut_begins_anew(stylizer: Stylizer, code: torch.Tensor) -> None:
    first, second, third = (torch.from_numpy(f).permute(2, 0, 1) for f in frames_of_a_pan(3, 128, 128))
    third = 255 - third // 3
    fresh, brush = FilmStylizer(stylizer), FilmStylizer(stylizer)
    alone = fresh.paint(third, code, ONE_PASS)
    brush.paint(first, code, ONE_PASS)
    grid = np.stack(np.meshgrid(np.arange(128.0), np.arange(128.0)), -1).astype(np.float32)
    brush.follow(Change(places=grid, trust=np.zeros((128, 128), np.float32)), 0.04)
    followed = brush.paint(third, code, ONE_PASS)
    assert not torch.equal(followed, alone)  # the statistics are still those of before
    brush.follow(Change(places=grid, trust=np.ones((128, 128), np.float32)), 0.04)
    kept = brush.paint(second, code, ONE_PASS)
    assert (kept.float() - followed.float()).abs().mean() > 0
    brush.follow(Change(same=True), 0.04)
    assert torch.equal(brush.paint(second, code, ONE_PASS), kept)
    brush.follow(Change(), 0.04)
    assert torch.equal(brush.paint(third, code, ONE_PASS), alone)


def test_noise_dances_less(stylizer: Stylizer, code: torch.Tensor) -> None:
    """A still photograph under noise: the paintings differ less than one by one."""
    photo, random = np.asarray(scene(128, 96)).astype(float), np.random.default_rng(0)
    noisy = [(photo + random.normal(0, 3, photo.shape)).clip(0, 255).astype(np.uint8) for _ in range(6)]
    tensors = [torch.from_numpy(f).permute(2, 0, 1) for f in noisy]
    alone = [stylizer.paint(t, code, ONE_PASS).float() for t in tensors]
    brush, steady, before = FilmStylizer(stylizer), [], None
    for frame, tensor in zip(noisy, tensors, strict=True):
        brush.follow(change(before, frame), 0.04)
        steady.append(brush.paint(tensor, code, ONE_PASS).float())
        before = frame

    def flicker(paintings: list[torch.Tensor]) -> float:
        return float((paintings[-1] - paintings[-2]).abs().mean())

    assert flicker(steady) < 0.6 * flicker(alone)


def test_a_painter_goes_on_from_what_it_saved(stylizer: Stylizer, code: torch.Tensor) -> None:
    frames = frames_of_a_pan(4, 128, 96)
    tensors = [torch.from_numpy(f).permute(2, 0, 1) for f in frames]

    def step(brush: FilmStylizer, i: int) -> torch.Tensor:
        brush.follow(change(frames[i - 1] if i else None, frames[i]), 0.04)
        return brush.paint(tensors[i], code, ONE_PASS, 0.6)

    brush, other = FilmStylizer(stylizer), FilmStylizer(stylizer)
    for i in (0, 1):
        step(brush, i)
    other.load(brush.tensors())
    for i in (2, 3):
        assert torch.equal(step(other, i), step(brush, i))


# -- stopping, going on, memory ---------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    tmp_path: Path, stylizer: Stylizer, code: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filming, "SEGMENT", 6)
    times = write_clip(
        tmp_path / "clip.mp4", frames_of_a_pan(20), [2977 * i + i % 2 for i in range(20)], sound=True
    )
    whole = Order(tmp_path / "clip.mp4", tmp_path / "whole.mp4", "x")
    order = Order(tmp_path / "clip.mp4", tmp_path / "out.mp4", "x", resume=True)
    paint(whole, stylizer, code)
    for stop in (10, 17):
        with pytest.raises(KeyboardInterrupt):
            paint(order, stylizer, code, stop)
        assert not order.target.exists()
    kept = sorted((tmp_path / ".out.mp4.segments").glob("*.mp4"))
    stamps = [path.stat().st_mtime_ns for path in kept[:2]]
    assert len(kept) >= 2
    assert [frame.pts for frame in read_frames(whole.target)] == times  # to the tick, over all segments
    seen: list[int] = []
    paint_clip(
        order,
        FilmStylizer(stylizer),
        lambda rgb, brush: brush.paint(rgb, code, ONE_PASS),
        lambda n, _: seen.append(n),
    )
    assert seen[0] > 6
    assert [path.stat().st_mtime_ns for path in kept[:2] if path.exists()] in ([], stamps)
    assert order.target.read_bytes() == whole.target.read_bytes()
    assert not (tmp_path / ".out.mp4.segments").exists()


def test_what_was_begun_otherwise_is_begun_anew(
    tmp_path: Path, stylizer: Stylizer, code: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filming, "SEGMENT", 3)
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(10))
    with pytest.raises(KeyboardInterrupt):
        paint(Order(tmp_path / "clip.mp4", tmp_path / "out.mp4", "x"), stylizer, code, 7)
    notes = paint(Order(tmp_path / "clip.mp4", tmp_path / "out.mp4", "y", resume=True), stylizer, code)
    assert "another way" in notes[0]
    assert len(read_frames(tmp_path / "out.mp4")) == 10
    for state in (b"", b"\x08\0\0\0\0\0\0\0{}      junk"):
        folder = tmp_path / ".b.mp4.segments"
        folder.mkdir()
        (folder / "000002.safetensors").write_bytes(state)
        paint(Order(tmp_path / "clip.mp4", tmp_path / "b.mp4", "x", resume=True), stylizer, code)
        assert len(read_frames(tmp_path / "b.mp4")) == 10


def test_ctrl_c_and_resume_through_a_process(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(30), sound=True)
    short = "import sys, stylize.filming as f; f.SEGMENT = 5; from stylize.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", short, "apply", "clip.mp4", "-s", "ink-wash", "-o", "out.mp4"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.mp4.segments/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told.decode()
    assert b"--resume" in told
    assert not (tmp_path / "out.mp4").exists()
    kept = list(tmp_path.glob(".out.mp4.segments/*.safetensors"))
    assert kept
    again = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, timeout=120)
    assert again.returncode == 0, again.stderr.decode()
    assert b"another way" not in again.stderr
    assert len(read_frames(tmp_path / "out.mp4")) == 30
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "clip.mp4", "audio")
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_few_frames_are_in_memory(
    tmp_path: Path, stylizer: Stylizer, code: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow painter or encoder, the decoder is only a few frames ahead."""
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(40))
    read, painted, written, ahead = [], [], [], queue.SimpleQueue()
    frames, write = video.Clip.frames, video.Segment.write

    def counted(self: video.Clip) -> Iterator[object]:
        for frame in frames(self):
            read.append(None)
            yield frame

    def slow(self: video.Segment, *arguments: object) -> None:
        time.sleep(0.005)
        write(self, *arguments)  # pyright: ignore
        written.append(None)
        ahead.put(len(read) - len(written))

    monkeypatch.setattr(video.Clip, "frames", counted)
    monkeypatch.setattr(video.Segment, "write", slow)

    def compose(rgb: torch.Tensor, brush: FilmStylizer) -> torch.Tensor:
        painted.append(None)
        return rgb

    order = Order(tmp_path / "clip.mp4", tmp_path / "out.mp4", "x")
    paint_clip(order, FilmStylizer(stylizer), compose, lambda done, total: None)
    assert len(written) == 40
    assert max(ahead.get() for _ in range(40)) <= 2 * filming.AHEAD + 3


# -- what goes wrong --------------------------------------------------------------------------------


def test_a_broken_frame_does_not_stop_the_rest(run: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(30), sound=True)
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    with av.open(str(tmp_path / "clip.mp4")) as file:
        places = [(p.pos, p.size) for p in file.demux(video=0) if p.dts is not None]
    for start, size in places[13:16]:
        content[start + 4 : start + size] = bytes(size - 4)
    (tmp_path / "broken.mp4").write_bytes(content)
    (tmp_path / "short.mp4").write_bytes(content)
    result = run("apply", "broken.mp4", "-s", "ink-wash", "--json")
    assert result.returncode == 0, result.stderr.decode()
    record = json.loads(result.stdout)
    assert record["status"] == "done"
    assert "damaged" in record["warning"]
    after = read_frames(tmp_path / "broken.ink-wash.mp4")
    assert 20 <= len(after) <= 30
    assert packets(tmp_path / "broken.ink-wash.mp4", "audio") == packets(tmp_path / "clip.mp4", "audio")


def test_a_clip_that_is_cut_off(tmp_path: Path, stylizer: Stylizer, code: torch.Tensor) -> None:
    write_clip(tmp_path / "clip.mkv", frames_of_a_pan(30), sound=True)
    content = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "short.mkv").write_bytes(content[: len(content) // 2])
    paint(Order(tmp_path / "short.mkv", tmp_path / "out.mkv", "x"), stylizer, code)
    assert 1 <= len(read_frames(tmp_path / "out.mkv")) < 30


def test_what_is_no_clip(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "good.mp4", frames_of_a_pan(4))
    with av.open(str(folder / "sound.mp4"), "w") as file:
        add_sound(file, file.add_stream("aac", rate=44_100), 0.3)
    with av.open(str(folder / "empty.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        stream.codec_context.open()
        file.start_encoding()
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    (folder / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    (folder / "nothing.mov").write_bytes(b"")
    scene(40, 30).save(folder / "photo.jpg")
    result = run("apply", "in", "-s", "ink-wash", "-o", "out", "--json", "--report", "sheet.html")
    assert result.returncode == 1
    records = {Path(r["source"]).name: r for r in map(json.loads, result.stdout.splitlines())}
    assert {name for name, r in records.items() if r["status"] == "done"} == {"good.mp4", "photo.jpg"}
    assert "no video stream" in records["sound.mp4"]["error"]
    for name, record in records.items():
        if record["status"] == "failed":
            assert name in record["error"]
            assert "mistake" not in record["error"], record["error"]
    assert sorted(os.listdir(tmp_path / "out")) == ["good.mp4", "photo.jpg"]
    assert (tmp_path / "sheet.html").read_text().count('class="pair"') == 2


def test_wrong_targets_and_options(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(3))
    for arguments, code, word in (
        (["clip.mp4", "-o", "out.png"], 2, ".png"),
        (["photo.jpg", "-o", "out.mp4"], 2, "photo.jpg"),
        (["clip.mp4", "-o", "-"], 2, "pipe"),
        (["clip.mp4", "--format", "png"], 2, "--format"),
        (["clip.mp4", "--explain"], 1, "--explain"),
        (["clip.mp4", "--mask", "photo.jpg"], 1, "mask"),
        (["clip.mp4", "--force", "--resume"], 2, "--resume"),
    ):
        assert main(["apply", *arguments, "-s", "ink-wash"]) == code, arguments
        assert word in one_sentence(capsys.readouterr().err.encode())
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "photo.jpg"]


def test_without_the_extra_the_way_to_get_it_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames_of_a_pan(3))
    (tmp_path / "none").mkdir()
    (tmp_path / "none/av.py").write_text("raise ModuleNotFoundError('no', name='av')")
    path = os.pathsep.join([str(tmp_path / "none"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "stylize", "apply", "clip.mp4", "-s", "ink-wash"]
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert result.returncode == 1
    assert "pip install av opencv-python-headless" in one_sentence(result.stderr)


def test_a_missing_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(video._CODECS, "mp4", "no_such_codec")
    with pytest.raises(PictureError, match="no_such_codec"):
        video.check_encoder("mp4")


def test_names_of_results(tmp_path: Path) -> None:
    (tmp_path / "a.avi").touch()
    (tmp_path / "b.MOV").touch()
    jobs, _ = plan_jobs([tmp_path], Naming(tmp_path / "out", "ink", "webp"))
    assert [job.target.name for job in jobs] == ["a.mp4", "b.MOV"]
    with pytest.raises(UsageError):
        plan_jobs([tmp_path / "a.avi"], Naming(tmp_path / "x.jpg", "ink"))


def test_pictures_need_no_video_library() -> None:
    code = "import sys, stylize.painting; sys.exit('av' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
