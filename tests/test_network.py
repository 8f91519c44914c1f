"""No network unless asked: a process in which every socket is an error does everything that it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import scene

GUARD = """
import os, sys

def refuse(event, arguments):
    if event.startswith("socket."):
        os.write(2, f"NETWORK: {event} {arguments}\\n".encode())
        os._exit(97)

sys.addaudithook(refuse)
"""
"""Python tells hooks of every socket that is made, every connection and every name that is looked up."""


def guarded(code: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", GUARD + code, *map(str, arguments)]
    home = {**os.environ, "STYLIZE_HOME": str(folder / "home")}
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=600, env=home)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_the_guard_catches(tmp_path: Path, code: str) -> None:
    assert guarded(code, tmp_path).returncode == 97


def test_no_module_opens_a_socket_when_it_is_imported(tmp_path: Path) -> None:
    code = (
        "import pkgutil, importlib, stylize\n"
        "for module in pkgutil.walk_packages(stylize.__path__, 'stylize.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    result = guarded(code, tmp_path)
    assert result.returncode == 0, result.stderr.decode()


RUN = "from stylize.cli import main; sys.exit(main(sys.argv[1:]))"


def test_no_command_opens_a_socket(tmp_path: Path) -> None:
    """Everything with bundled weights, one after the other in one process."""
    scene(70, 50).save(tmp_path / "photo.jpg")
    scene(300, 200, seed=3).save(tmp_path / "work.png")
    lines = [
        "apply photo.jpg -s ink-wash --report sheet.html --explain",
        "apply photo.jpg -s work.png -s van-gogh:0.5 --json",
        "styles --json",
        "styles show ink-wash",
        "bench --sizes 64 --device cpu --rounds 1",
        "train work.png --name mine --steps 1 --size 64 -b 1 --device cpu -q",
    ]
    code = (
        "from stylize.cli import main\nfor line in sys.argv[1:]:\n    assert main(line.split()) == 0, line\n"
    )
    result = guarded(code, tmp_path, *lines)
    assert result.returncode == 0, result.stderr.decode()
    assert (tmp_path / "runs/mine/styles").exists()


@pytest.mark.parametrize(
    "reference", ["ink-wahs", "none.safetensors", "https://example.org/a.jpg", "file:///etc/passwd"]
)
def test_a_wrong_style_is_not_looked_for_in_the_network(tmp_path: Path, reference: str) -> None:
    scene(20, 20).save(tmp_path / "photo.jpg")
    result = guarded(RUN, tmp_path, "apply", "photo.jpg", "-s", reference)
    assert result.returncode == 2, result.stderr.decode()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 of 1"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}', 1, "a: CVE-1"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 0, "0 of 1"),
        ("", 0, "does not answer"),
    ],
)
def test_the_audit_fails_for_vulnerabilities_only(tmp_path: Path, answer: str, code: int, words: str) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\necho '{answer}'\nexit 1\n")
    program.chmod(0o755)
    audit = Path(__file__).parent.parent / ".ci/audit"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run([sys.executable, audit], capture_output=True, env=environment)
    assert result.returncode == code
    assert words in result.stdout.decode()
