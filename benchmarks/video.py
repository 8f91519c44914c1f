"""How steady painted clips are, and how fast they are painted.

Clips with known motion are made from photographs: a pan, a zoom, and something that moves before what stands
still; all with a little noise and changing light. One of them goes through an MP4 encoder first, as real
clips do. Each is painted frame by frame, as pictures are, and as a film.

    python benchmarks/video.py --data PHOTOS
    python benchmarks/video.py --data PHOTOS --speed
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylize.devices import choose_device, choose_dtype, peak_memory
from stylize.encoder import ENCODER_LAYERS
from stylize.film import FilmStylizer
from stylize.filming import Order, paint_clip
from stylize.flow import change
from stylize.images import read_rgb
from stylize.judging import perceptual_distance
from stylize.perceptual import fit_to_network
from stylize.pixels import to_image
from stylize.strokes import Stroke
from stylize.styles import perceptual_network, resolve_style
from stylize.stylizer import Stylizer
from stylize.tensors import to_float

STYLES = ("ink-wash", "van-gogh", "ukiyo-e", "engraving")
KINDS = ("pan", "zoom", "object", "pan, MP4")
SIZE = (640, 360)
FRAMES = 16
NOISE, LIGHT = 2.0, 0.03
"""Deviation of the noise in grey levels; how much brighter and darker the light becomes."""


@dataclass
class Scene:
    """Frames uint8 (H, W, 3); where each pixel of frames 1, 2, ... was in the one before, (H, W, 2); and
    where that is known, (H, W)."""

    frames: list[np.ndarray]
    places: list[np.ndarray]
    known: list[np.ndarray]


def make_scene(kind: str, photo: np.ndarray, thing: np.ndarray, size: tuple[int, int] = SIZE) -> Scene:
    """A camera moves over `photo`; in all but the zoom, an ellipse of `thing` moves before it."""
    random, (width, height) = np.random.default_rng(0), size
    scene, before = Scene([], [], []), None
    fit = 0.75 * min(photo.shape[1] / width, photo.shape[0] / height)
    left, top = (photo.shape[1] - width * fit) / 2, (photo.shape[0] - height * fit) / 2
    ellipse = np.zeros((height // 3, width // 4), np.uint8)
    cv2.ellipse(ellipse, (width // 8, height // 6), (width // 9, height // 7), 0, 0, 360, 1, -1)
    patch = cv2.resize(thing, (ellipse.shape[1], ellipse.shape[0]), interpolation=cv2.INTER_AREA)
    for t in range(FRAMES):
        zoom = fit * (1 - 0.006 * t) if kind == "zoom" else fit
        shift = (fit * (2.7 * t - 30), fit * 0.8 * t) if kind.startswith("pan") else (0.0, 0.0)
        x0, y0 = left + shift[0] + width * (fit - zoom) / 2, top + shift[1] + height * (fit - zoom) / 2
        camera = np.array([[zoom, 0, x0], [0, zoom, y0], [0, 0, 1]])
        frame = cv2.warpAffine(photo, camera[:2], size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                               borderMode=cv2.BORDER_REFLECT)  # fmt: skip
        mask, at = np.zeros((height, width), np.uint8), (20 + 7 * t, height // 4 + 3 * t)
        if kind != "zoom":
            place = (slice(at[1], at[1] + ellipse.shape[0]), slice(at[0], at[0] + ellipse.shape[1]))
            mask[place] = ellipse
            frame[place][ellipse > 0] = patch[ellipse > 0]
        light = 1 + LIGHT * np.sin(t / 7 * 2 * np.pi)
        noisy = frame * light + random.normal(0, NOISE, frame.shape)
        scene.frames.append(noisy.round().clip(0, 255).astype(np.uint8))
        if before is not None:
            _add_motion(scene, np.linalg.inv(before[0]) @ camera, mask, before[1])
        before = (camera, mask)
    return scene


def _add_motion(scene: Scene, motion: np.ndarray, mask: np.ndarray, mask_before: np.ndarray) -> None:
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = np.stack([x * motion[0, 0] + motion[0, 2], y * motion[1, 1] + motion[1, 2]], -1)
    places[mask > 0] = np.stack([x - 7, y - 3], -1)[mask > 0]
    same = moved(mask_before * 255, places) == mask * 255
    known = cv2.erode(same.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    inside = (places >= 0).all(-1) & (places[..., 0] <= width - 1) & (places[..., 1] <= height - 1)
    scene.places.append(places.astype(np.float32))
    scene.known.append(known & inside)


def moved(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A picture carried along with the known motion."""
    x, y = np.ascontiguousarray(places[..., 0], np.float32), np.ascontiguousarray(places[..., 1], np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def through_mp4(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The frames as they come out of an H.264 encoder of usual quality."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "clip.mp4", frames)
        with av.open(str(path)) as file:
            return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def write_mp4(path: Path, frames: list[np.ndarray]) -> Path:
    """Write frames at 25 a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(25), options={"crf": "23"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def warping_error(frames: list[np.ndarray], scene: Scene) -> float:
    """Mean difference in grey levels of a frame to the one before, moved to where its pixels should be."""
    errors = []
    for i, (places, known) in enumerate(zip(scene.places, scene.known, strict=True)):
        came = moved(frames[i].astype(np.float32), places)
        errors.append(np.abs(frames[i + 1] - came).mean(-1)[known].mean())
    return float(np.mean(errors))


def distances(frames: list[np.ndarray]) -> dict[int, float]:
    """Perceptual distance of frames that are 1 and 10 apart."""
    network = perceptual_network()
    with torch.inference_mode():
        seen = [network(fit_to_network(to_float(as_tensor(f))[None]), ENCODER_LAYERS) for f in frames]
    return {
        lag: float(np.mean([perceptual_distance(a, b) for a, b in zip(seen, seen[lag:], strict=False)]))
        for lag in (1, 10)
    }


def detail(frames: list[np.ndarray]) -> float:
    """Mean of the absolute Laplacian: how much fine structure there is."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames[-8:]]
    return float(np.mean([np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() for grey in greys]))


def as_tensor(frame: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)


def as_array(rgb: Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)."""
    return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy())


def paint_as_film(
    stylizer: Stylizer, frames: list[np.ndarray], code: Tensor, stroke: Stroke
) -> list[np.ndarray]:
    """The frames one after the other, as `stylize apply` paints a clip."""
    brush, painted, before = FilmStylizer(stylizer), [], None
    for frame in frames:
        brush.follow(change(before, frame), 1 / 25)
        painted.append(as_array(brush.paint(as_tensor(frame), code, stroke)))
        before = frame
    return painted


def photographs(data: Path, count: int) -> list[np.ndarray]:
    """Photographs spread over a folder."""
    paths = sorted(data.glob("*.jpg"))
    return [as_array(read_rgb(paths[i * len(paths) // count])) for i in range(count)]


def steadiness(data: Path, keep: Path | None) -> None:
    """Print a table of how steady results are."""
    device = choose_device("auto")
    photos = photographs(data, 2 * len(KINDS))
    print("| clip | style | input | frame by frame | film | relative | lag 1 | lag 10 | detail |")
    print("|---|---|---|---|---|---|---|---|---|")
    excess = np.zeros(2)
    for i, kind in enumerate(KINDS):
        scene = make_scene(kind, photos[2 * i], photos[2 * i + 1])
        frames = through_mp4(scene.frames) if kind.endswith("MP4") else scene.frames
        own = warping_error(frames, scene)
        for name in STYLES:
            style = resolve_style(name)
            stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
            alone = [as_array(stylizer.paint(as_tensor(frame), style.code, style.stroke)) for frame in frames]
            film = paint_as_film(stylizer, frames, style.code, style.stroke)
            errors = [warping_error(painted, scene) for painted in (alone, film)]
            excess += np.array(errors) - own
            relative = f"{(errors[1] - own) / (errors[0] - own):.2f}" if errors[0] > own + 1 else ""
            before, after = distances(alone), distances(film)
            lags = " | ".join(f"{before[lag]:.3f} -> {after[lag]:.3f}" for lag in (1, 10))
            print(
                f"| {kind} | {name} | {own:.2f} | {errors[0]:.2f} | {errors[1]:.2f} | {relative} "
                f"| {lags} | {detail(film) / detail(alone):.2f} |", flush=True,
            )  # fmt: skip
            if keep:
                for label, painted in (("alone", alone), ("film", film)):
                    for t in (FRAMES - 2, FRAMES - 1):
                        to_image(as_tensor(painted[t])).save(keep / f"{kind[:3]}{i}-{name}-{label}-{t}.png")
    print(f"\nwarping error beyond the input's own, film to frame by frame: {excess[1] / excess[0]:.2f}")


def speed(data: Path) -> None:
    """Print frames per second and core-seconds per frame at 720p, of the network alone and from file to file,
    and peak memory."""
    device = choose_device("auto")
    photos = [np.asarray(Image.fromarray(p).resize((1920, 1080))) for p in photographs(data, 2)]
    frames = make_scene("pan", photos[0], photos[1], (1280, 720)).frames
    style = resolve_style("ink-wash")
    stylizer = Stylizer(style.base, perceptual_network, device, choose_dtype("auto", device))
    stylizer.paint(as_tensor(frames[0]), style.code, style.stroke)
    clock = _clock()
    for frame in frames:
        stylizer.paint(as_tensor(frame), style.code, style.stroke)
    print(f"1280 x 720, network alone: {_rate(clock, FRAMES)}", flush=True)
    for times in (1, 3):
        with tempfile.TemporaryDirectory() as folder:
            clip = write_mp4(Path(folder) / "clip.mp4", times * frames)
            order = Order(clip, Path(folder) / "out.mp4", "speed")
            clock, brush = _clock(), FilmStylizer(stylizer)
            paint_clip(order, brush, lambda rgb, brush: brush.paint(rgb, style.code, style.stroke), _no_one)
            rate = _rate(clock, times * FRAMES)
        peak = (peak_memory(device) or 0) >> 20
        print(f"clip to clip, {times * FRAMES} frames: {rate}, {peak} MiB at most", flush=True)


def _clock() -> tuple[float, float]:
    """Seconds on the wall, and of all cores."""
    return time.monotonic(), time.process_time()


def _rate(since: tuple[float, float], frames: int) -> str:
    wall, cores = (now - then for now, then in zip(_clock(), since, strict=True))
    return f"{frames / wall:.2f} frames/s, {cores / frames:.2f} core-seconds per frame"


def _no_one(done: int, total: int | None) -> None:
    """Nobody listens."""


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for the last two frames of everything")
    arguments = parser.parse_args()
    if arguments.speed:
        speed(arguments.data)
    else:
        steadiness(arguments.data, arguments.keep)


if __name__ == "__main__":
    main()
