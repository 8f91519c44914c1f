"""The rules of the window's guard, without a window."""

import shutil
from pathlib import Path

import pytest

from stylize.errors import UsageError

pytest.importorskip("starlette", reason="the extra ui is not installed")

from stylize.guard import Rules, checked_name, host_name, is_local


def asked(rules: Rules, host: str, method: str = "GET", path: str = "/", **headers: str) -> int:
    """The status of a refusal; 200 if there is none."""
    named = {"host": host, **{name.replace("_", "-").lower(): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b""}
    refusal = rules.refusal(scope)
    return refusal[0] if refusal else 200


@pytest.mark.parametrize(
    ("host", "more", "known", "strange"),
    [
        ("127.0.0.1", (), ["127.0.0.1:7860", "localhost:7860", "LOCALHOST"], ["127.0.0.2", "a.org", "[::1]"]),
        ("::1", (), ["[::1]:7860", "localhost"], ["[::2]", "a.org"]),
        ("127.0.0.2", (), ["127.0.0.2:7860"], ["127.0.0.1", "localhost", "a.org"]),
        ("0.0.0.0", (), ["127.0.0.1", "192.168.1.7:7860", "[fe80::1]", "localhost"], ["a.org", "host"]),
        ("0.0.0.0", ("A.org",), ["a.org", "a.org:443", "10.0.0.1"], ["b.a.org", "a.org.b", "a.org:x"]),
        ("mine.lan", (), ["mine.lan:7860"], ["10.0.0.1", "localhost", "lan"]),
    ],
)  # fmt: skip
def test_names_that_the_window_goes_by(
    host: str, more: tuple[str, ...], known: list[str], strange: list[str], tmp_path: Path
) -> None:
    rules = Rules.of(host, more, tmp_path)
    assert [asked(rules, name) for name in known] == [200] * len(known)
    assert [asked(rules, name) for name in strange] == [400] * len(strange)


def test_an_origin_is_the_window_s_own(tmp_path: Path) -> None:
    rules = Rules.of("0.0.0.0", ("a.org",), tmp_path)
    assert asked(rules, "a.org", Origin="https://a.org") == 200  # a proxy in front of it
    assert asked(rules, "10.0.0.1:7860", Origin="http://10.0.0.1:7860") == 200
    for origin in ("http://10.0.0.1:7861", "http://10.0.0.1", "ftp://10.0.0.1:7860", "null", "http://[", "a"):
        assert asked(rules, "10.0.0.1:7860", Origin=origin) == 403, origin


def test_after_the_start_nothing_asks_for_it_again(tmp_path: Path) -> None:
    rules = Rules.of("127.0.0.1", (), tmp_path)
    assert asked(rules, "localhost", path="/gradio_api/startup-events") == 200
    rules.starting = False
    assert asked(rules, "localhost", path="/gradio_api/startup-events") == 404


def test_an_upload_that_leaves_no_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules.of("127.0.0.1", (), tmp_path / "uploads")
    rooms = shutil.disk_usage(tmp_path)._replace(free=2 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: rooms)
    wanted = {"100": 200, str(1 << 30): 200, str((1 << 30) + 1): 507, "": 411, "x": 411, "-1": 411}
    for length, status in wanted.items():
        found = asked(rules, "localhost", "POST", "/gradio_api/upload", Content_Length=length)
        assert found == status, length


def test_uploads_are_files_in_their_folder(tmp_path: Path) -> None:
    uploads = tmp_path.resolve() / "uploads"
    uploads.mkdir()
    mine, other = uploads / "a.jpg", tmp_path / "b.jpg"
    for path in (mine, other):
        path.write_bytes(b"x")
    (uploads / "link.jpg").symlink_to(other)
    rules = Rules.of("127.0.0.1", (), uploads)
    assert rules.is_upload(str(mine))
    for path in (
        other,
        uploads,
        uploads / "link.jpg",
        uploads / "../b.jpg",
        f"{mine}\0",
        "a.jpg",
        "",
        None,
        3,
    ):
        assert not rules.is_upload(path if path is None or isinstance(path, int) else str(path)), path


@pytest.mark.parametrize(
    "name", ["http://a.org", "a.org:80", "a.org/", "*", "", "*.a.org", "a org", "-", "a\n"]
)
def test_what_is_no_name_is_told(name: str) -> None:
    with pytest.raises(UsageError, match="without http"):
        checked_name(name)


def test_hosts_are_read_as_browsers_write_them() -> None:
    assert host_name("A.org:80") == "a.org"
    assert host_name("[::1]:7860") == "::1"
    for text in ("", "a.org:", "a.org:x", "[::1", "a.org@b", "a.org/", "a b", "a.org:80:80", "a.org\n"):
        assert host_name(text) is None
    assert is_local("127.0.0.9")
    assert is_local("::1")
    assert not is_local("0.0.0.0")
