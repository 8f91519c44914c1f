"""Clips as files: frames in and out by PyAV, and sound, subtitles, times, rotation and colour tags kept.

What is read is never trusted: only known containers are tried, no other file is opened on their behalf, and
any damage becomes one sentence or is left out.
"""

import heapq
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream

from stylize.errors import PictureError
from stylize.marking import Metadata
from stylize.paths import CLIP_FORMATS

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg"
_SAFE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
"""A playlist or a reference in a file must not make us read another."""

LARGEST_FRAME = 50_000_000
"""Pixels of a frame; 8K has 33 million."""

_CODECS = {"webm": "libvpx-vp9"}
_USUAL_CODEC = "libx264"

_ADOBE_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""The name of the box that holds XMP in an MP4 (XMP specification, part 3)."""

_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "statistics")
_PRIVATE = ("location", "gps", "xyz", "serial", "uuid", "identifier")
"""Parts of the names of tags that are true of one file only, and of those that tell where and by whom."""

_MATRIX = "DISPLAYMATRIX"
_UNKNOWN = 2
"""The colour tag that means untagged."""


@dataclass(frozen=True)
class Layout:
    """How the frames of a clip are stored. Sizes are those of the file, before any rotation."""

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    """Frames per second, about."""
    deep: bool = False
    """Has a colour more than 8 bits?"""
    matrix: tuple[int, ...] | None = None
    """The display matrix, which says how players turn the picture."""
    turns: int = 0
    """Quarter turns, counter-clockwise, that make it upright."""
    aspect: Fraction | None = None
    """Width of a pixel in its height."""
    range: int = 0
    primaries: int = _UNKNOWN
    transfer: int = _UNKNOWN
    space: int = _UNKNOWN
    """Colour tags, as numbers of ITU-T H.273."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as they are seen."""
        return (self.height, self.width) if self.turns % 2 else (self.width, self.height)

    @property
    def space_used(self) -> Colorspace:
        """The matrix between RGB and YUV; where none is tagged, what players take."""
        tagged = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
                  7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
        return tagged.get(self.space, Colorspace.ITU709 if self.height >= 720 else Colorspace.ITU601)


class Clip:
    """A clip that is open for reading; a context.

    Raises PictureError, with one sentence, if there are no frames that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """Packets that could not be decoded, and frames that are known to be damaged."""
        self.cut_off = False
        self._open = ExitStack()
        try:
            self.container = self._open.enter_context(_opened(path))
            self.stream = _main_stream(self.container, path)
            self._first = next(self._decoded(), None)
            if self._first is None:
                raise PictureError(f"{path} has no frames that can be read; get a whole copy of it.")
            self.layout = _layout_of(self.stream, self._first)
            if self.layout.width * self.layout.height > LARGEST_FRAME:
                size = f"{self.layout.width} x {self.layout.height} pixels"
                raise PictureError(
                    f"The frames of {path} have {size}, too many to paint; make it smaller first."
                )
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    @property
    def expected(self) -> int | None:
        """About how many frames there are, if the file says so."""
        if self.stream.frames:
            return self.stream.frames
        seconds = None
        if self.stream.duration and self.stream.time_base:
            seconds = self.stream.duration * self.stream.time_base
        elif self.container.duration:
            seconds = Fraction(self.container.duration, av.time_base)
        return max(1, round(seconds * self.layout.rate)) if seconds else None

    def frames(self) -> "Iterator[tuple[VideoFrame, int, int]]":
        """Every frame with its time and how long it is shown, in units of the time base; once."""
        assert self._first is not None
        last = None
        usual = max(1, round(1 / (self.layout.rate * self.layout.time_base)))
        for frame in self._from_the_first():
            time = frame.pts if frame.pts is not None else (0 if last is None else last + usual)
            if last is not None and time <= last:
                time = last + 1  # no player shows two frames at once
            last = time
            yield frame, time, frame.duration or usual

    def _from_the_first(self) -> Iterator[VideoFrame]:
        first, self._first = self._first, None
        assert first is not None
        yield first
        yield from self._decoded()

    def _decoded(self) -> Iterator[VideoFrame]:
        """What can be decoded; damage is counted and left out."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                self.cut_off = True
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except EndOfFile:
                return
            except FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                assert isinstance(frame, VideoFrame)
                self.damaged += frame.is_corrupt
                yield frame

    def rgb(self, frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """A frame as upright RGB (H, W, 3), of this width and height before it is turned; uint16 if the clip
        is deep."""
        same = (frame.width, frame.height) == size
        scaled = frame.reformat(
            *size, "rgb48le" if self.layout.deep else "rgb24",
            src_colorspace=self.layout.space_used,
            src_color_range=self.layout.range or None,
            interpolation=_SMOOTH if same else _SHARP,
        )  # fmt: skip
        return np.rot90(scaled.to_ndarray(), self.layout.turns)


_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""Without these, FFmpeg makes everything darker by two levels."""
_SMOOTH, _SHARP = Interpolation.BICUBIC | _EXACT, Interpolation.LANCZOS | _EXACT


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """The file, if it is a clip; PictureError if not."""
    try:
        container = av.open(f"file:{path}", options=_SAFE)
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}; check the path.") from None
    except PermissionError:
        raise PictureError(f"{path} may not be read; change its permissions.") from None
    except (FFmpegError, ValueError) as error:
        raise PictureError(f"{path} is no clip, or damaged or cut off; get a whole copy of it.") from error
    with container:
        yield container


def _main_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures: a cover is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise PictureError(
                    f"{path} is in a format that this PyAV cannot decode; convert it to H.264."
                )
            return stream
    raise PictureError(
        f"{path} has no video stream, so there is nothing to paint; name a clip with pictures."
    )


def _layout_of(stream: VideoStream, first: VideoFrame) -> Layout:
    """How the frames are stored: what the file says, and the first frame where only it knows."""
    matrix, side_data = None, cast(Any, first.side_data)
    with suppress(KeyError):
        matrix = struct.unpack("=9i", bytes(side_data[_MATRIX]))
    return Layout(
        first.width,
        first.height,
        first.time_base or stream.time_base or Fraction(1, 90_000),
        stream.guessed_rate or stream.average_rate or Fraction(25),
        first.format.components[0].bits > 8,
        matrix,
        round(first.rotation / 90) % 4,
        stream.sample_aspect_ratio,
        first.color_range,
        first.color_primaries,
        first.color_trc,
        first.colorspace,
    )


# -- writing --------------------------------------------------------------------------------------


def check_encoder(suffix: str) -> None:
    """Raises PictureError if this PyAV cannot write clips of this kind."""
    name = _CODECS.get(suffix, _USUAL_CODEC)
    try:
        av.Codec(name, "w")
    except (FFmpegError, ValueError) as error:  # ValueError: there is none of this name
        other = "mp4" if name == _CODECS["webm"] else "webm"
        raise PictureError(
            f"This PyAV has no encoder {name}; run: pip install -U av, or write .{other}."
        ) from error


class Segment:
    """A part of a clip that is being written: its pictures, without sound. A context.

    There are no frames that refer to later ones (B-frames), so that segments can be joined as they are.
    """

    def __init__(self, path: Path, layout: Layout, size: tuple[int, int], suffix: str, quality: int) -> None:
        """`size` is width and height as they are stored; `quality` is from 1 to 100."""
        self._layout = layout
        ticks = _ticks(layout.time_base)
        options = {"video_track_timescale": ticks, "movie_timescale": ticks}
        self._file = av.open(f"file:{path}", "w", format="mp4", options=options)
        codec = _CODECS.get(suffix, _USUAL_CODEC)
        stream = self._file.add_stream(codec, rate=layout.rate, options=_options(codec, quality))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = _pixel_format(codec, size, layout.deep)
        stream.codec_context.time_base = stream.time_base = layout.time_base
        if layout.aspect:
            stream.codec_context.sample_aspect_ratio = layout.aspect
        context: Any = stream.codec_context
        context.color_range, context.color_primaries = layout.range, layout.primaries
        context.color_trc, context.colorspace = layout.transfer, layout.space
        stream.set_display_matrix(layout.matrix)
        self._stream = stream
        self._durations: dict[int, int] = {}

    def write(self, rgb: np.ndarray, time: int, duration: int) -> None:
        """Add an upright frame, uint8 or uint16 (H, W, 3)."""
        layout = self._layout
        stored = np.ascontiguousarray(np.rot90(rgb, -layout.turns))
        name = "rgb24" if stored.dtype == np.uint8 else "rgb48le"
        frame = VideoFrame.from_ndarray(stored, format=name).reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=layout.space_used,
            dst_color_range=layout.range or 1,
            interpolation=_SMOOTH,
        )
        frame.colorspace, frame.color_range = layout.space, layout.range
        frame.color_primaries, frame.color_trc = layout.primaries, layout.transfer
        frame.pts, frame.time_base = time, layout.time_base
        self._durations[time] = duration
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None
            packet.duration = self._durations.pop(packet.pts, 0)
            self._file.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        with self._file:
            self._mux(self._stream.encode(None))

    def drop(self) -> None:
        """Leave the file unfinished, in whatever state."""
        with suppress(Exception):
            self._file.close()


def _ticks(time_base: Fraction) -> str:
    """Ticks in a second, so that an MP4 rounds no time."""
    return str(time_base.denominator)


def _options(codec: str, quality: int) -> dict[str, str]:
    """Quality 92, the default, is CRF 18 of H.264: next to no loss that is seen."""
    crf = round(48 - 0.33 * quality)
    if codec == "libx264":
        return {"crf": str(crf), "preset": "fast", "bf": "0"}
    return {"crf": str(round(crf * 63 / 51)), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}


def _pixel_format(codec: str, size: tuple[int, int], deep: bool) -> str:
    """Colours at half the size, as all players take them, unless an odd side forbids it."""
    odd = codec == "libx264" and (size[0] % 2 or size[1] % 2)
    chroma = "444" if odd else "420"
    return f"yuv{chroma}p" + ("10le" if deep and codec == "libx264" else "")


def join(
    segments: Sequence[Path], clip: Path, target: Path, suffix: str, tags: Mapping[str, str],
    xmp: bytes, metadata: Metadata,
) -> list[str]:  # fmt: skip
    """Write segments, and the sound and subtitles of a clip, as one file; nothing is encoded anew.

    `tags` and `xmp` become metadata, beside what is kept of the clip's own. Returns a sentence for each
    stream that this kind of file cannot hold.
    """
    name = CLIP_FORMATS[suffix]
    with ExitStack() as stack:
        source = stack.enter_context(_opened(clip))
        first = stack.enter_context(_opened(segments[0]))
        options = {}
        if name in {"mp4", "mov"}:
            ticks = _ticks(first.streams.video[0].time_base or Fraction(1, 90_000))
            options = {"movflags": "+faststart", "movie_timescale": ticks}
        output = stack.enter_context(av.open(f"file:{target}", "w", format=name, options=options))
        _keep_tags(source, output, tags, xmp if name == "mov" else b"", metadata)
        picture = output.add_stream_from_template(first.streams.video[0])
        _describe(_main_stream(source, clip), picture, metadata)
        others, left_out = _other_streams(source, output, suffix, metadata)
        pictures = _packets_of(segments, picture)
        sound = _copied(source, others)
        for packet in heapq.merge(pictures, sound, key=_moment):
            output.mux(packet)
    if xmp and name == "mp4":
        _append_xmp(target, xmp)
    return left_out


def _keep_tags(
    source: InputContainer, output: OutputContainer, tags: Mapping[str, str], xmp: bytes, metadata: Metadata
) -> None:
    output.metadata.update(_kept_tags(source.metadata, metadata))
    if metadata != "none":
        output.set_chapters(source.chapters())
    for key, text in tags.items():
        earlier = output.metadata.get(key, "")
        output.metadata[key] = f"{earlier}\n{text}" if earlier and text not in earlier else text
    if xmp:
        output.metadata["xmp"] = xmp.decode()


def _kept_tags(tags: Mapping[str, str], metadata: Metadata) -> dict[str, str]:
    """What of a container's or a stream's tags goes into the result. The language of a sound always does."""
    if metadata == "none":
        return {key: text for key, text in tags.items() if key == "language"}
    leave = _OF_THE_FILE if metadata == "all" else (*_OF_THE_FILE, *_PRIVATE)
    return {key: text for key, text in tags.items() if not any(part in key.lower() for part in leave)}


def _describe(source: Stream, copy: Stream, metadata: Metadata) -> None:
    """Language, title and role of a stream."""
    copy.disposition = source.disposition
    copy.metadata.update(_kept_tags(source.metadata, metadata))


def _other_streams(
    source: InputContainer, output: OutputContainer, suffix: str, metadata: Metadata
) -> tuple[dict[int, Stream], list[str]]:
    """Copies of the sound, subtitles and covers by their index, and a sentence for each that is left out."""
    main, copies, left_out = _main_stream(source, Path()), {}, []
    for stream in source.streams:
        if stream.index == main.index or stream.type == "data":
            continue
        try:
            copies[stream.index] = copy = output.add_stream_from_template(stream)
            _describe(stream, copy, metadata)
        except (ValueError, FFmpegError):
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            what = {"audio": "sound", "subtitle": "subtitles"}.get(stream.type, stream.type)
            left_out.append(
                f"The {what} ({codec}) cannot be in a .{suffix}; name the result .mkv to keep it."
            )
    return copies, left_out


def _packets_of(segments: Sequence[Path], stream: VideoStream) -> Iterator[Packet]:
    """The pictures of all segments, in order."""
    for path in segments:
        with _opened(path) as container:
            for packet in container.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    yield packet


def _copied(source: InputContainer, copies: dict[int, Stream]) -> Iterator[Packet]:
    """The packets of these streams, as far as they can be read."""
    if not copies:
        return
    last: dict[int, int] = {}
    with suppress(FFmpegError):  # a clip that is cut off: what came before is there
        for packet in source.demux([source.streams[index] for index in copies]):
            index = packet.stream.index
            if packet.dts is not None and packet.dts >= last.get(index, packet.dts):  # else it is damaged
                last[index] = packet.dts
                packet.stream = copies[index]
                yield packet


def _moment(packet: Packet) -> Fraction:
    """When a packet is due, in seconds."""
    return (packet.dts or 0) * (packet.time_base or Fraction(0))


def _append_xmp(target: Path, xmp: bytes) -> None:
    """Add the box with XMP at the end of an MP4."""
    with target.open("ab") as file:
        file.write(struct.pack(">I", 24 + len(xmp)) + b"uuid" + _ADOBE_XMP + xmp)
