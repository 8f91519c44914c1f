"""What the surroundings do to the network: variables that name nothing, proxies, read-only caches."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Run
from hub_server import Hub
from test_hub import INK, Command, command, server  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SSL_CERT_FILE", "/none.pem", "SSL_CERT_FILE names /none.pem, which is no file"),
        ("SSL_CERT_FILE", "photo.jpg", "SSL_CERT_FILE names photo.jpg, which holds no certificates"),
        ("SSL_CERT_DIR", "/none", "SSL_CERT_DIR names /none, which is no folder"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "needs the package socksio"),
        ("https_proxy", "socks5h://127.0.0.1:9", "HTTPS_PROXY"),
    ],
)
def test_a_network_that_cannot_be_used_is_one_true_sentence(
    run: Run, photo: Path, name: str, value: str, words: str
) -> None:
    if "proxy" in name.lower() and find_spec("socksio"):
        pytest.skip("the library is there")
    result = run("apply", photo, "-s", "org/name", **{name: value})
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("Error: ")
    assert words in line
    assert run("apply", photo, "-s", "ink-wash", **{name: value}).returncode == 0


@pytest.mark.parametrize("cache", ["/sys/none", "/dev/null/none"])
def test_a_cache_that_cannot_be_written(
    server: Hub,  # noqa: F811
    command: Command,  # noqa: F811
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache: str,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    server.add("org/ink", "ink.safetensors", INK.read_bytes())
    code, _, err = command("apply", photo, "-s", "org/ink", "-o", "out.png")
    assert code == 1
    assert "Cannot write org/ink to the cache: " in err
    assert "HF_HOME" in err
