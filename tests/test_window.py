"""The window itself: in a real browser, and against what a browser would never ask."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
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

pytest.importorskip("gradio", reason="Gradio is not installed")


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

    def act(self, number: int, data: list[Any], session: str | None = None) -> dict[str, Any]:
        """Do what an event of this number does; what became of it."""
        session = session or uuid.uuid4().hex
        order = {"data": data, "fn_index": number, "session_hash": session, "event_data": None}
        status, _ = self.post("gradio_api/queue/join", json.dumps(order).encode(), "application/json")
        assert status == 200
        with urlopen(f"{self.address}gradio_api/queue/data?session_hash={session}", timeout=60) as lines:
            for line in lines:
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the event was not completed")

    def config(self) -> dict[str, Any]:
        """What the page knows of its components and events."""
        page = self.get("")[1].decode()
        return json.loads(re.search(r"window\.gradio_config = (.*?);</script>", page)[1])  # pyright: ignore

    def event(self, name: str, kind: str) -> int:
        """The number of what follows when this happens to the component of this name."""
        known = self.config()
        wanted = next(c["id"] for c in known["components"] if c["props"].get("elem_id") == name)
        return next(e["id"] for e in known["dependencies"] if (wanted, kind) in map(tuple, e["targets"]))

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def raw(self, text: str) -> int:
        """The status of the answer to a request that is written out, as no library would send it."""
        host = self.address.split("/")[2].rpartition(":")[0]
        with socket.create_connection((host, self.port), timeout=20) as line:
            line.sendall(text.encode())
            return int(line.recv(12).split()[1])


def opened_window(folder: Path, *options: str) -> Served:
    """A window of its own process, with its files in a folder."""
    environment = {**os.environ, "STYLIZE_HOME": str(folder / "home"), "TMPDIR": str(folder), "NO_COLOR": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment |= {"GRADIO_ALLOWED_PATHS": "/", "GRADIO_SHARE": "True"}  # for another program
    process = subprocess.Popen(
        [sys.executable, "-m", "stylize", "ui", *options], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://[\w.]+:\d+/", address), process.communicate(timeout=10)
    return Served(address, folder, process)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("window")
    (folder / "beside.txt").write_text("not for the page")
    served = opened_window(folder, "--max-upload", "1")
    assert served.address.startswith("http://127.0.0.1:")
    yield served
    served.process.send_signal(signal.SIGINT)
    _, errors = served.process.communicate(timeout=30)
    assert served.process.returncode == 0, errors
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
    refused: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    photo = tmp_path / "garden.jpg"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    scene(320, 200).save(photo, exif=exif)
    page.goto(served.address)
    expect(page.locator("#about")).to_contain_text("Ink wash")
    expect(page.locator("#styles button")).to_have_count(18)
    expect(page.locator("#styles button.selected")).to_have_text("ink-wash")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"none")
    page.set_input_files("#photo input[type=file]", bad)
    expect(page.locator("body")).to_contain_text("bad.jpg is not a picture")
    expect(page.locator("#photo")).not_to_contain_text("bad")
    page.set_input_files("#photo input[type=file]", photo)
    expect(page.locator("#photo")).to_have_count(0)

    # A sample is there at first; then all styles on this photo
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

    # Colours of another style, and only half of the picture
    page.get_by_role("button", name="Colours of another style").click()
    before = page.locator("#stage img").last.get_attribute("src")
    mask = Image.new("L", (160, 100))
    mask.paste(255, (0, 0, 80, 100))
    mask.save(tmp_path / "mask.png")
    page.set_input_files("#mask input[type=file]", tmp_path / "mask.png")
    expect(page.locator("#stage img").last).not_to_have_attribute("src", before)
    page.locator("#mask").get_by_role("button", name="Clear").click()
    page.set_input_files("#mask input[type=file]", bad)
    expect(page.locator("body")).to_contain_text("bad.jpg is not a picture")
    expect(page.locator("#mask")).not_to_contain_text("bad")

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
    assert refused == []
    assert {url for url in elsewhere if not url.startswith((served.address, "data:", "blob:"))} == set()


@pytest.mark.long
@pytest.mark.parametrize("width", [1300, 420])
def test_the_picture_is_in_view_and_the_gallery_fills(served: Served, page: Any, width: int) -> None:
    expect = sys.modules["playwright.sync_api"].expect
    expect.set_options(timeout=20_000)
    page.set_viewport_size({"width": width, "height": 860})
    page.goto(served.address)
    counts: set[int] = set()
    deadline = time.monotonic() + 60
    while (count := page.locator("#styles button img").count()) < 18 and time.monotonic() < deadline:
        counts.add(count)
    assert count == 18
    assert len(counts) > 3
    across = page.evaluate("document.documentElement.scrollWidth")
    assert across <= width
    page.mouse.move(width / 2, 800)
    page.mouse.wheel(0, 500)
    page.wait_for_timeout(500)
    if width < 800:
        place = page.locator("#stage").bounding_box()
        assert place["y"] >= -1
        assert place["height"] < 430
    page.get_by_role("tab", name="Variations").click()
    expect(page.locator("#name")).to_contain_text("Letters, digits")


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
    for path in ("gradio_api/proxy=http://127.0.0.1:9/", "gradio_api/file/etc/passwd"):
        assert served.get(path)[0] in {403, 404}, path
    for path in ("static/../../etc/passwd", "assets/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "theme.css/"):
        head = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert served.raw(head) == 404, path
    status, body = served.upload(f"{up}/escaped.txt", b"x")
    if status == 200:
        assert Path(json.loads(body)[0]).is_relative_to(Path(mine).parents[1])
    assert not list(served.home.glob("escaped.txt"))


def test_no_event_takes_a_path_that_was_not_uploaded(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    scene(64, 64).save(secret)
    manner = [1, False, "As the photo", "As the photo", False, "the style itself", None]
    number = served.event("photo", "upload")

    def order(file: object) -> bytes:
        data = [None, file, *manner]
        return json.dumps(
            {"data": data, "fn_index": number, "session_hash": "x", "event_data": None}
        ).encode()

    def file(path: object, **more: object) -> dict[str, object]:
        return {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png", **more}

    (mine,) = json.loads(served.upload("secret.png", secret.read_bytes())[1])
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(1)
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/x.png"
        paths = [secret, "/etc/passwd", tmp_path / "none.png", url, "https://example.invalid/x.png"]
        paths += ["data:image/png;base64,AAAA", "beside.txt", "", Path(mine).parent, f"{mine}/../../../x"]
        for path in paths:
            for one in (file(path), {"path": str(path)}, [file(path)], [file(mine), file(path)]):
                assert served.post("gradio_api/queue/join", order(one), "application/json")[0] == 403, one
        for body in (b"", b"{", b"[" * 100_000, b"1" * 5_000_000, b'{"data": [NaN]}'):
            assert served.post("gradio_api/queue/join", body, "application/json")[0] in {400, 413}
        for text in (url, str(secret)):
            assert not served.act(number, [None, text, *manner])["success"]
        assert served.act(number, [None, file(mine, url=url), *manner])["success"]
        with pytest.raises(TimeoutError):
            elsewhere.accept()


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


def test_no_route_of_gradio_is_open_but_those_that_the_page_needs(served: Served) -> None:
    script = served.home / "routes.py"
    script.write_text(
        "import json, gradio\n"
        "with gradio.Blocks() as blocks: gradio.File()\n"
        "app = gradio.routes.App.create_app(blocks)\n"
        "def walk(routes, before=''):\n"
        "    for route in routes:\n"
        "        if hasattr(route, 'original_router'):\n"
        "            yield from walk(route.original_router.routes, before)\n"
        "        elif hasattr(route, 'path'):\n"
        "            yield [before + route.path, sorted(getattr(route, 'methods', 0) or ['GET'])]\n"
        "print(json.dumps(list(walk(app.routes))))\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, check=True).stdout
    routes: dict[str, set[str]] = {}
    for path, methods in json.loads(told.splitlines()[-1]):
        routes.setdefault(path, set()).update(methods)
    assert len(routes) > 60
    needed = {
        "/", "/assets/{path:path}", "/static/{path:path}", "/theme.css", "/favicon.ico", "/gradio_api/upload",
        "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data",
        "/gradio_api/heartbeat/{session_hash}", "/gradio_api/file={path_or_url:path}",
    }  # fmt: skip
    assert needed <= set(routes)
    (mine,) = json.loads(served.upload("hello.txt", b"hello")[1])
    for path, methods in routes.items():
        filled = re.sub(r"\{.*?\}", lambda match: mine if "path" in match[0] else "0", path)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"):
            if path in needed and method in methods:
                continue
            head = f"{method} {filled} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            head += "Content-Length: 0\r\n\r\n"
            assert served.raw(head) in {403, 404, 405}, (method, filled)
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + playlist
    kind = "multipart/form-data; boundary=x"
    assert served.post("gradio_api/process_recording", form + b"\r\n--x--\r\n", kind)[0] == 404


def test_only_the_page_of_the_window_itself_may_ask(served: Served) -> None:
    own, photo = served.address.rstrip("/"), b"--x--\r\n"

    def asked(path: str = "gradio_api/upload", body: bytes | None = photo, **headers: str) -> int:
        kind = {"Content-Type": "multipart/form-data; boundary=x"} if body is not None else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return served.ask(Request(served.address + path, body, {**kind, **named}))[0]

    assert asked(Origin=own, Sec_Fetch_Site="same-origin") == 200
    assert asked(Origin=own.replace("127.0.0.1", "localhost"), Host=f"localhost:{served.port}") == 200
    strangers = (
        "http://example.org",
        "null",
        "http://127.0.0.1:1",
        f"{own}.example.org",
        "http://127.0.0.1",
        "",
    )
    for origin in strangers:
        assert asked(Origin=origin) == 403, origin
        assert asked("gradio_api/queue/join", b"{}", Origin=origin) == 403
    for site in ("cross-site", "same-site", "anything"):
        assert asked(Sec_Fetch_Site=site) == 403
        assert asked("", None, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script") == 403
        assert asked("", None, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe") == 403
        assert (
            asked("", None, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document") == 200
        )
    for host in ("example.org", "", "127.0.0.1.example.org", "127.0.0.1@example.org", "127.0.0.2", "[::1]"):
        for method in ("GET", "OPTIONS"):
            head = f"{method} / HTTP/1.1\r\nHost: {host}\r\nOrigin: {own}\r\nConnection: close\r\n"
            asking = "Access-Control-Request-Method: POST\r\n\r\n"
            assert served.raw(head + asking) == 400, host
    head = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
    assert served.raw(head) == 400
    with urlopen(Request(served.address, headers={"X-Forwarded-Host": "example.org"})) as answer:
        assert b"example.org" not in answer.read()


# -- its end ---------------------------------------------------------------------------------------


def children_of(process: subprocess.Popen[str]) -> list[Any]:
    psutil = pytest.importorskip("psutil")
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds_whatever_it_does(tmp_path: Path, number: int) -> None:
    served = opened_window(tmp_path)
    content = tmp_path / "large.png"
    scene(2000, 1500).save(content, compress_level=1)
    (mine,) = json.loads(served.upload("large.png", content.read_bytes())[1])
    file = {"path": mine, "meta": {"_type": "gradio.FileData"}, "orig_name": "large.png"}
    manner = [1, False, "4096 pixels", "As the photo", False, "the style itself", None]
    session = uuid.uuid4().hex
    for name, kind, data in (
        ("photo", "upload", [None, file, *manner]),
        ("download", "click", [None, *manner]),
    ):
        order = {"data": data, "fn_index": served.event(name, kind), "session_hash": session}
        body = json.dumps(order | {"event_data": None}).encode()
        assert served.post("gradio_api/queue/join", body, "application/json")[0] == 200
        if name == "photo":
            with urlopen(
                f"{served.address}gradio_api/queue/data?session_hash={session}", timeout=60
            ) as lines:
                assert any(b"process_completed" in line for line in lines)
    time.sleep(2)  # it paints in full size
    children = children_of(served.process)
    assert any(child.cpu_times().user > 1 for child in children)
    started = time.monotonic()
    served.process.send_signal(number)
    served.process.wait(timeout=30)
    assert time.monotonic() - started < 2
    served.process.communicate(timeout=30)
    assert served.process.returncode == 0
    assert not list(tmp_path.glob("stylize-ui-*"))
    deadline = time.monotonic() + 3
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_asks_for_too_much_is_told_and_stops_nobody(tmp_path: Path) -> None:
    served = opened_window(tmp_path, "--max-seconds", "1")
    content = tmp_path / "large.png"
    scene(1600, 1200).save(content, compress_level=1)
    (mine,) = json.loads(served.upload("large.png", content.read_bytes())[1])
    file = {"path": mine, "meta": {"_type": "gradio.FileData"}, "orig_name": "large.png"}
    manner = [1, False, "4096 pixels", "As the photo", False, "the style itself", None]
    session = uuid.uuid4().hex
    opened = served.act(served.event("photo", "upload"), [None, file, *manner], session)
    assert opened["success"], opened
    asked = time.monotonic()
    painted = served.act(served.event("download", "click"), [None, *manner], session)
    assert not painted["success"]
    assert "took more than 1 seconds and was stopped" in painted["output"]["error"]
    assert time.monotonic() - asked < 30
    assert served.act(served.event("strength", "input"), [None, *manner], session)["success"]
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=30)


# -- by another address ----------------------------------------------------------------------------


def test_another_address_is_guarded_as_well(tmp_path: Path) -> None:
    served = opened_window(tmp_path, "--host", "127.0.0.2", "--allow-host", "studio.example.org")
    assert served.address.startswith("http://127.0.0.2:")

    def status(host: str) -> int:
        return served.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")

    for host in (f"127.0.0.2:{served.port}", "studio.example.org", "Studio.Example.org:443"):
        assert status(host) == 200, host
    for host in ("example.org", "evil.studio.example.org", "127.0.0.1", "localhost"):
        assert status(host) == 400, host
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=30)


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
    assert "run: pip install gradio\n" in result.stderr
    assert "Traceback" not in result.stderr
