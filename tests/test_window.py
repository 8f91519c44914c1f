"""The window itself: in a real browser, and against what a browser would never ask."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from conftest import Run, scene
from PIL import Image

from stylize.marking import SOURCE_TYPE

pytest.importorskip("gradio", reason="the extra stylize[ui] is not installed")


@dataclass
class Served:
    """A window that is open."""

    address: str
    home: Path
    process: subprocess.Popen[str]

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        return self.ask(Request(self.address + path, headers=headers))

    def ask(self, request: Request) -> tuple[int, bytes]:
        """Status and body of an answer."""
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def post(self, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        """Status and body of the answer to what is sent."""
        return self.ask(Request(self.address + path, body, {"Content-Type": kind}))

    def upload(self, name: str, content: bytes) -> tuple[int, bytes]:
        """Send a file as the page does."""
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--x--\r\n"
        return self.post("gradio_api/upload", body, "multipart/form-data; boundary=x")

    def act(self, number: int, data: list[Any]) -> dict[str, Any]:
        """Do what an event of this number does; what became of it."""
        session = uuid.uuid4().hex
        order = {"data": data, "fn_index": number, "session_hash": session, "event_data": None}
        status, _ = self.post("gradio_api/queue/join", json.dumps(order).encode(), "application/json")
        assert status == 200
        with urlopen(f"{self.address}gradio_api/queue/data?session_hash={session}", timeout=60) as lines:
            for line in lines:
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the event was not completed")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("window")
    (folder / "beside.txt").write_text("not for the page")
    environment = {**os.environ, "STYLIZE_HOME": str(folder / "home"), "TMPDIR": str(folder), "NO_COLOR": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment |= {"GRADIO_ALLOWED_PATHS": "/", "GRADIO_SHARE": "True"}  # for another program
    process = subprocess.Popen(
        [sys.executable, "-m", "stylize", "ui", "--max-upload", "1"], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), process.communicate(timeout=10)
    yield Served(address, folder, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert not list(folder.glob("stylize-ui-*"))


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def page(served: Served) -> Iterator[Any]:
    """The window in headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="light")
        page.set_default_timeout(20_000)
        yield page
        browser.close()


@pytest.mark.long
def test_paint_blend_pick_keep_and_download(served: Served, page: Any, run: Run, tmp_path: Path) -> None:
    expect = sys.modules["playwright.sync_api"].expect
    expect.set_options(timeout=20_000)
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    photo = tmp_path / "garden.jpg"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    scene(320, 200).save(photo, exif=exif)
    page.goto(served.address)
    page.set_input_files("#photo input[type=file]", photo)

    # All styles on this photo
    expect(page.locator("#styles button img")).to_have_count(18)
    expect(page.locator("#stage img")).to_have_count(2)
    expect(page.locator("#about")).to_contain_text("Ink wash")

    # One style, then a blend of two with weights
    page.locator("#styles button", has_text="stained-glass").click()
    expect(page.locator("#about")).to_contain_text("Gothic stained glass")
    page.locator("#blend input").check()
    page.locator("#styles button", has_text="great-wave").click()
    expect(page.locator("#about")).to_contain_text("Hokusai")
    before = page.locator("#stage img").last.get_attribute("src")
    weight = page.locator("#weight-1 input[type=number]")
    expect(page.locator("#weight-1")).to_contain_text("great-wave")
    weight.fill("0.25")
    weight.press("Enter")
    expect(page.locator("#stage img").last).not_to_have_attribute("src", before)

    # Download: the file that apply makes
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "garden.stained-glass+great-wave.jpg"
    painted = tmp_path / "downloaded.jpg"
    download.value.save_as(painted)
    blend = ("-s", "stained-glass:1", "-s", "great-wave:0.25")
    assert run("apply", photo, *blend, "-o", "applied.jpg").returncode == 0
    with Image.open(painted) as mine, Image.open(tmp_path / "applied.jpg") as applied:
        assert mine.size == (320, 200)
        assert mine.getexif()[0x010F] == "Maker"
        assert mine.info["xmp"] == applied.info["xmp"]
        assert SOURCE_TYPE.encode() in mine.info["xmp"]
        assert mine.tobytes() == applied.tobytes()

    # Four variations, pick one, keep it
    page.get_by_role("tab", name="Variations").click()
    page.locator("#vary").click()
    expect(page.locator("#variations button img")).to_have_count(4)
    before = page.locator("#stage img").last.get_attribute("src")
    page.locator("#variations button").nth(2).click()
    expect(page.locator("#stage img").last).not_to_have_attribute("src", before)
    expect(page.locator("#vary")).to_have_text("Four nearer to it")
    page.locator("#name input, #name textarea").fill("dusk")
    page.locator("#keep").click()
    expect(page.locator("body")).to_contain_text("--style dusk")
    page.get_by_role("tab", name="Styles").click()
    expect(page.locator("#styles button", has_text="dusk")).to_have_count(1)
    kept = run("apply", photo, "-s", "dusk", "-o", "kept.jpg", STYLIZE_HOME=str(served.home / "home"))
    assert kept.returncode == 0, kept.stderr

    # Many photos, one of which is none
    page.get_by_role("tab", name="Many photos").click()
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    for name in ("one.jpg", "two.png", "notes.txt"):
        scene(60, 40).save(holiday / name, format="PNG")
    with page.expect_file_chooser() as chooser:
        page.locator("#folder").click()
    chooser.value.set_files(holiday)
    expect(page.locator("#files")).to_contain_text("two")
    page.locator("#paint-all").click()
    expect(page.locator("#notes")).to_contain_text("2 of 2 painted.")
    page.locator("#files").get_by_role("button", name="Clear").click()
    page.set_input_files("#files input[type=file]", [photo, served.home / "beside.txt"])
    expect(page.locator("#files")).to_contain_text("beside")
    page.locator("#paint-all").click()
    expect(page.locator("#notes")).to_contain_text("1 of 2 painted.")
    expect(page.locator("#notes")).to_contain_text("beside.txt is not a picture")
    expect(page.locator("#archive")).to_contain_text("varied.zip")
    assert {url for url in elsewhere if not url.startswith((served.address, "data:", "blob:"))} == set()


# -- what must not be possible --------------------------------------------------------------------


def test_no_path_outside_what_was_uploaded_can_be_read(served: Served, tmp_path: Path) -> None:
    status, body = served.upload("hello.txt", b"hello")
    assert status == 200
    (mine,) = json.loads(body)
    assert served.get(f"gradio_api/file={mine}") == (200, b"hello")
    secret = tmp_path / "secret.png"
    scene(32, 32).save(secret)
    up = "/".join([".."] * 20)
    paths = ["/etc/passwd", secret, served.home / "beside.txt", "beside.txt", Path(mine).parents[2], __file__]
    paths += [
        f"{Path(mine).parent}/{up}/etc/passwd",
        f"{up}/etc/passwd",
        "http://127.0.0.1:9/x",
        "file:///etc",
    ]
    for path in paths:
        status, body = served.get(f"gradio_api/file={path}")
        assert status in {403, 404}, path
        assert b"root:" not in body
    for path in (
        "gradio_api/proxy=http://127.0.0.1:9/",
        "gradio_api/file/etc/passwd",
        "static/../../etc/passwd",
    ):
        assert served.get(path)[0] in {403, 404}, path
    status, body = served.upload(f"{up}/escaped.txt", b"x")
    if status == 200:
        assert Path(json.loads(body)[0]).is_relative_to(Path(mine).parents[1])
    assert not list(served.home.glob("escaped.txt"))


def test_no_event_takes_a_path_that_was_not_uploaded(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    scene(64, 64).save(secret)
    manner = [1, False, "As the photo", "As the photo", False]
    configuration = json.loads(served.get("config")[1])
    photo = next(c["id"] for c in configuration["components"] if c["props"].get("elem_id") == "photo")
    number = next(
        e["id"] for e in configuration["dependencies"] if (photo, "upload") in map(tuple, e["targets"])
    )

    def opened(path: object) -> dict[str, Any]:
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png"}
        return served.act(number, [None, file, *manner])

    for path in (secret, "/etc/passwd", tmp_path / "none.png"):
        message = opened(path)
        assert not message["success"], path
        assert "root:" not in json.dumps(message)
    (mine,) = json.loads(served.upload("secret.png", secret.read_bytes())[1])
    assert opened(mine)["success"]


def test_too_large_a_file_and_a_foreign_name_are_refused(served: Served) -> None:
    status, body = served.upload("large.png", bytes(1_200_000))
    assert status == 413
    assert b"size" in body
    assert served.get("", Host="example.org")[0] == 400
    with urlopen(served.address) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    assert policy.startswith("default-src 'self'")
    assert "http:" not in policy.replace(served.address, "")
    assert not re.search(r"<(script|link)[^>]+(src|href)=.https?://", page)


# -- on the command line --------------------------------------------------------------------------


def test_an_address_that_cannot_be_had_is_a_sentence(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("ui", "--port", taken.getsockname()[1])
    assert result.returncode == 2
    assert b"is taken; choose another with --port" in result.stderr
    result = run("ui", "--host", "192.0.2.1")
    assert result.returncode == 2
    assert b"192.0.2.1 is no address of this machine" in result.stderr
    assert run("ui", "--max-upload", 0).returncode == 2


def test_without_gradio_the_line_that_installs_it_is_told() -> None:
    code = "import sys; sys.modules['gradio'] = None; from stylize.cli import main; sys.exit(main(['ui']))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'stylize[ui]'" in result.stderr
    assert "Traceback" not in result.stderr
