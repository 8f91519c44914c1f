"""Shared fixtures: pictures made on the spot, and the command line as a process."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

# The tests themselves run on all cores; more threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background of a shell, processes ignore Ctrl-C, and so would those that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # the same under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import numpy as np
import pytest
from nursery import Nursery
from object_store import endpoint, store  # noqa: F401 - fixtures
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A server that starts commands quickly."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def run(tmp_path: Path, nursery: Nursery) -> Run:
    """Run `stylize ...` as a real process in an empty folder."""

    def call(*arguments: object, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        settings = {"COLUMNS": "100", "NO_COLOR": "1", "STYLIZE_HOME": str(tmp_path / "home")}
        return nursery.run(
            [str(argument) for argument in arguments], tmp_path, {**os.environ, **settings, **env}, stdin, 120
        )

    return call


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with flat areas, edges and texture."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    sky = np.stack([x / max(width, 2), y / max(height, 2), 0 * x + 0.7], axis=2) * 200
    hill = y > height * (0.6 + 0.2 * np.sin(x / max(width, 2) * 6))
    sky[hill] = random.uniform(20, 120, size=(height, width, 3))[hill]
    return Image.fromarray(sky.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small JPEG with odd sides."""
    path = tmp_path / "photo.jpg"
    scene(157, 101).save(path, quality=95)
    return path
