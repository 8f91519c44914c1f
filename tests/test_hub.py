"""The Hub: the real client against a server of our own that speaks its protocol."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import Run, scene
from hub_server import Hub
from safetensors.torch import save_file
from test_model import TINY, rewrite

from stylize import bundled, hub, model, studio
from stylize.cards import StyleCard, read_card
from stylize.cli import main
from stylize.errors import UsageError, WeightsError
from stylize.hub import Reference
from stylize.model import Style
from stylize.perceptual import VGG19
from stylize.publishing import licence_name, metrics_of

Command = Callable[..., tuple[int, str, str]]
INK = bundled.style_paths()["ink-wash"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that the client in this process talks to, with an empty cache, no token, an empty folder."""
    from huggingface_hub import constants

    with Hub() as server:
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf/token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("STYLIZE_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert code == 0 or len(err.strip().splitlines()) == 1, err
        return code, out, err

    return call


def tiny_style(folder: Path, own_networks: bool, **card: str) -> Path:
    """A style of a base that is not the bundled one, with that base beside it or inside."""
    torch.manual_seed(0)
    base = model.new_base(TINY)
    model.save_base(folder / "base.safetensors", base)
    path = folder / "tiny.safetensors"
    style = Style(torch.randn(1, 8), StyleCard("tiny", **card), base.identity, base if own_networks else None)
    model.save_style(path, style)
    return path


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("org/name", Reference("org/name")),
        ("org/name@v1.0", Reference("org/name", "v1.0")),
        ("org/name@refs/pr/3/a.safetensors", Reference("org/name", "refs/pr/3", "a.safetensors")),
        ("hf://org/name/sub/a.safetensors", Reference("org/name", None, "sub/a.safetensors")),
        ("hf://org/name", Reference("org/name")),
        ("org/name/../../etc/x.safetensors", None),
        ("org/name/.ssh/x.safetensors", None),
        ("ink-wash", None),
        ("a/b/c", None),
        ("/org/name", None),
        ("./name", None),
        ("../name", None),
        ("org/näme", None),
        ("org/name\n", None),
    ],
)
def test_references_are_read(text: str, reference: Reference | None) -> None:
    assert hub.parse(text) == reference
    if reference is not None:
        assert hub.parse(str(reference)) == reference


def test_paths_are_never_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "works").mkdir()
    for text in ("works", "works/monett", "ink-wash", "a/b.png", "a/b.JPG", "a/b.safetensors"):
        assert hub.reference_of(text) is None
    assert hub.reference_of("x" * 5000) is None
    assert hub.reference_of("hf://works/monet") == Reference("works/monet")
    for text in ("a/b.pth", "x.ckpt", "hf://a/b/c.pt"):
        with pytest.raises(WeightsError, match=r"torch\.load"):
            hub.reference_of(text)
    with pytest.raises(UsageError, match="hf://"):
        hub.reference_of("hf://name")


def test_a_style_is_fetched_once_and_then_known_offline(server: Hub, command: Command) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    scene(64, 48).save("photo.png")
    assert command("apply", "photo.png", "-s", "org/mine")[0] == 0
    assert command("apply", "photo.png", "-s", "ink-wash")[0] == 0
    assert Path("photo.mine.png").exists()
    assert server.asked["GET /cdn"] == 1
    assert any("stylize/" in agent for agent in server.agents)
    assert command("apply", "photo.png", "-s", "org/mine:0.5", "-s", "ink-wash:0.5")[0] == 0
    assert Path("photo.mine+ink-wash.png").exists()
    assert server.asked["GET /cdn"] == 1
    server.stop()
    before = server.asked.copy()
    for text in ("org/mine", "org/mine@main", "hf://org/mine/mine.safetensors"):
        assert command("apply", "photo.png", "-s", text, "--offline", "-f")[0] == 0
        assert command("apply", "photo.png", "-s", text, "-f")[0] == 0
    assert server.asked == before


def test_revisions(server: Hub) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    other = bundled.style_paths()["ukiyo-e"].read_bytes()
    server.add("org/mine", "mine.safetensors", other, revision="v2")
    first, second = (hub.fetch(Reference("org/mine", revision)) for revision in (None, "v2"))
    assert (first.read_bytes(), second.read_bytes()) == (INK.read_bytes(), other)
    commit = second.parent.name
    assert hub.fetch(Reference("org/mine", commit)) == second


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("org/none", 2, "HF_TOKEN"),
        ("org/mine@v9", 2, "no revision 'v9'"),
        ("org/mine/other.safetensors", 2, "it holds mine.safetensors"),
        ("org/two", 2, "org/two/a.safetensors"),
        ("org/two/a.safetensors", 1, "no safetensors file"),
        ("org/empty", 2, "no .safetensors file"),
        ("org/pickle", 1, "torch.load"),
        ("org/private", 2, "HF_TOKEN"),
        ("org/large", 1, "300 MiB"),
        ("org/tiny", 1, "another base"),
        ("org/mine.", 2, "org/name"),
        ("org/-", 2, "check the path"),
        ("hf://x", 2, "hf://"),
        ("x" * 5000, 2, "There is no style"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    server: Hub, command: Command, tmp_path: Path, text: str, code: int, words: str
) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.add("org/two", "a.safetensors", b"x" * 300)
    server.add("org/two", "b.safetensors", b"y" * 300)
    server.add("org/empty", "README.md", b"# Nothing")
    server.add("org/pickle", "style.pth", b"PK")
    server.add("org/private", "x.safetensors", INK.read_bytes(), private=True)
    server.add("org/tiny", "tiny.safetensors", tiny_style(tmp_path, False).read_bytes())
    if text == "org/large":
        server.add("org/large", "x.safetensors", bytes(300 << 20))
    found, out, err = command("styles", "show", text)
    assert (found, out) == (code, "")
    assert words in err, err


def test_a_private_style_needs_a_token(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("org/private", "x.safetensors", INK.read_bytes(), private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UsageError, match="HF_TOKEN"):
        hub.fetch(Reference("org/private"))
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert hub.fetch(Reference("org/private")).read_bytes() == INK.read_bytes()


def test_offline_and_unreachable_are_told_apart(server: Hub, command: Command) -> None:
    assert "without --offline" in command("styles", "pull", "org/mine", "--offline")[2]
    assert sum(server.asked.values()) == 0
    server.stop()
    assert server.endpoint in command("styles", "pull", "org/mine")[2]


def test_a_cut_connection_is_taken_up_where_it_broke(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    content = bundled.base_path().read_bytes()
    server.add("org/base", "base.safetensors", content)
    server.cut_after = len(content) // 2
    path = hub.fetch(Reference("org/base", file="base.safetensors"))
    assert path.read_bytes() == content
    assert server.asked["GET /cdn"] == 2
    (taken_up,) = server.ranges
    assert 0 < int(taken_up.removeprefix("bytes=").rstrip("-")) <= len(content) // 2
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.cut_after = 1000
    assert hub.fetch(Reference("org/mine")).read_bytes() == INK.read_bytes()


def test_a_connection_that_does_not_come_back(
    server: Hub, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.gone_after = 2
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert "run the command again" in command("styles", "pull", "org/mine")[2]
    server.portal, server.gone_after = True, None
    assert "log-in" in command("styles", "pull", "org/mine")[2]


def test_a_wrong_checksum_is_refused_and_forgotten(server: Hub, command: Command) -> None:
    content = bundled.style_paths()["ukiyo-e"].read_bytes()
    server.add("org/mine", "mine.safetensors", content)
    from hub_server import etag_of

    flipped = content[:-1] + bytes([content[-1] ^ 1])
    server.replaced[etag_of("x.safetensors", content)] = flipped
    for _ in range(2):
        code, _, err = command("styles", "pull", "org/mine")
        assert (code, "checksum" in err) == (1, True)
    server.replaced.clear()
    assert command("styles", "pull", "org/mine")[0] == 0


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "told",
    [
        {"X_Linked_ETag": '"../../../../escaped"'},
        {"X_Linked_ETag": '"../../../../../../../../tmp/stylize-escaped"'},
        {"X_Linked_ETag": '"/tmp/stylize-escaped"'},
        {"X_Linked_ETag": '"' + "0" * 64 + '"'},
        {"X_Linked_ETag": '"W/x"'},
        {"X_Linked_ETag": ""},
        {"X_Repo_Commit": "../../../escaped"},
        {"X_Repo_Commit": "0" * 40},
        {"X_Repo_Commit": ""},
    ],
)
def test_an_answer_about_another_file_is_refused_and_nothing_is_written(
    server: Hub, command: Command, tmp_path: Path, told: dict[str, str]
) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.told = told
    code, _, err = command("styles", "pull", "org/mine")
    assert code == 1
    assert "run the command again" in err or "is not the Hub" in err, err
    beyond = {name for name in everything_below(tmp_path) if "escaped" in name}
    beyond |= {name for name in everything_below(tmp_path) if name.endswith((".safetensors", ".lock"))}
    assert beyond == set()
    assert not Path("/tmp/stylize-escaped").exists()
    assert server.asked["GET /cdn"] == 0
    server.told = {}
    assert command("styles", "pull", "org/mine")[0] == 0


def test_a_file_that_is_not_there_makes_no_folder_elsewhere(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    found = hub._listing(Reference("org/mine"))
    assert found is not None
    found.files["gone.safetensors"] = found.files["mine.safetensors"]
    monkeypatch.setattr(hub, "_listing", lambda reference: found)
    server.told = {"X_Repo_Commit": "../../../../escaped"}
    with pytest.raises(WeightsError, match="run the command again"):
        hub.fetch(Reference("org/mine", file="gone.safetensors"))
    assert not [name for name in everything_below(tmp_path) if "escaped" in name]


@pytest.mark.parametrize(
    "listed",
    [
        {"size": 1000}, {"size": None}, {"size": "x"}, {"size": -1}, {"blobId": None, "lfs": None},
        {"lfs": {"sha256": "../x", "size": 1, "pointerSize": 1}}, {"blobId": "x", "lfs": None},
    ],
)  # fmt: skip
def test_a_listing_that_is_not_true_is_refused_before_the_download(
    server: Hub, command: Command, listed: dict[str, object]
) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.listed = listed
    code, _, err = command("styles", "pull", "org/mine")
    assert code == 1
    assert "sends more" in err or "damaged" in err or "not the Hub" in err, err
    assert server.asked["GET /cdn"] == 0


def test_a_file_without_end_is_stopped_where_it_should_end(
    server: Hub, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    server.endless = True
    before = shutil.disk_usage(tmp_path).used
    code, _, err = command("styles", "pull", "org/mine")
    assert (code, "sends more, so that was stopped" in err) == (1, True), err
    assert shutil.disk_usage(tmp_path).used - before < 50 << 20
    assert not [name for name in everything_below(tmp_path) if name.endswith(".incomplete")]


def test_pulling_makes_a_style_known_by_name(server: Hub, command: Command) -> None:
    server.add("org/mine", "mine.safetensors", INK.read_bytes())
    code, out, _ = command("styles", "pull", "org/mine")
    assert code == 0
    assert Path(out.strip()).read_bytes() == INK.read_bytes()
    scene(64, 48).save("photo.png")
    assert command("apply", "photo.png", "-s", "mine")[0] == 0
    assert "--force" in command("styles", "pull", "org/mine")[2]
    assert command("styles", "pull", "org/mine", "--force")[0] == 0
    assert command("styles", "pull", "org/mine", "--name", "other")[0] == 0
    for name in ("ink-wash", "../x", "a/b", ".x"):
        assert "--name" in command("styles", "pull", "org/mine", "--name", name)[2]
    assert "org/name" in command("styles", "pull", "mine")[2]
    Path(out.strip()).write_bytes(b"no longer good")
    code, out, err = command("styles", "list")
    assert (code, "mine.safetensors" in err, "other" in out, "ukiyo-e" in out) == (0, True, True, True)


def test_a_style_comes_with_the_base_that_it_needs(server: Hub, command: Command, tmp_path: Path) -> None:
    path = tiny_style(tmp_path, own_networks=False)
    server.add("org/tiny", "tiny.safetensors", path.read_bytes())
    server.add("org/tiny", "base.safetensors", (tmp_path / "base.safetensors").read_bytes())
    scene(64, 48).save("photo.png")
    assert command("apply", "photo.png", "-s", "org/tiny")[0] == 0
    assert command("apply", "photo.png", "-s", "org/tiny", "--offline", "-f")[0] == 0
    code, out, err = command("styles", "pull", "org/tiny")
    assert code == 0, err
    pulled = model.load_style(Path(out.strip()))
    assert pulled.base is not None
    assert pulled.base_identity == model.load_style(path).base_identity


FULL_CARD = {
    field: f"some {field}"
    for field in ("title", "tradition", "period", "technique", "description", "cultural_note", "avoid")
} | {
    "works": "two | works", "limits": "some", "licence": "CC BY-SA 4.0",
    "metrics": "closed 0.71, edge SSIM 0.42",
}  # fmt: skip


@pytest.mark.parametrize("own_networks", [False, True])
def test_a_style_is_shared_and_comes_back(
    server: Hub, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_networks: bool
) -> None:
    path = tiny_style(tmp_path, own_networks, **FULL_CARD)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    code, out, err = command("styles", "push", path, "me/tiny", "--private", "--base-model", "me/base")
    assert code == 0, err
    assert out.startswith(server.endpoint + "/me/tiny/commit/")
    files = server.repositories["me/tiny"].revisions["main"]
    names = {"README.md", "config.json", "preview.jpg", "tiny.safetensors"}
    assert set(files) == (names if own_networks else names | {"base.safetensors"})
    assert server.repositories["me/tiny"].private
    readme = files["README.md"].decode()
    for line in (
        "license: cc-by-sa-4.0", "library_name: stylize", "pipeline_tag: image-to-image",
        "- style-transfer", "base_model: me/base", "- edge SSIM", "--style me/tiny", "two \\| works",
    ):  # fmt: skip
        assert line in readme
    config = json.loads(files["config.json"])
    assert config["style"] == "tiny.safetensors"
    assert config["generator"]["half_width"] == TINY.half_width
    assert files["preview.jpg"].startswith(b"\xff\xd8")
    assert server.asked["PUT /upload"] == len(files) - 2
    assert read_card(hub.fetch_style(Reference("me/tiny"))) == read_card(path)


def test_what_keeps_a_style_from_being_shared(
    server: Hub, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_style(tmp_path, own_networks=True)
    assert "lacks title" in command("styles", "push", path, "me/tiny")[2]
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in FULL_CARD.items())
    Path("cards.toml").write_text(f"[tiny]\n{keys}\n")
    push = ("styles", "push", path, "me/tiny", "--cards", "cards.toml")
    code, out, _ = command(*push, "--dry-run")
    assert (code, out.startswith("---\n")) == (0, True)
    assert sum(server.asked.values()) == 0
    assert "hf auth login" in command(*push)[2]
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert "token" in command(*push)[2]
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    server.add("me/tiny", "README.md", b"old")
    code, _, err = command(*push, "--private")
    assert (code, "is public" in err) == (2, True)
    assert set(server.repositories["me/tiny"].revisions["main"]) == {"README.md"}
    assert command(*push)[0] == 0
    for arguments in ([path, "tiny"], [path, "me/tiny@v1"], [path, "me/tiny", "--base-model", "x"]):
        assert command("styles", "push", *arguments)[0] == 2
    server.stop()
    assert "connection" in command(*push)[2]


def test_licences_and_metrics_of_cards_are_understood() -> None:
    assert licence_name("Weights: MIT. Works: CC BY 4.0.") == "mit"
    assert licence_name("CC BY-NC-SA 4.0") == "cc-by-nc-sa-4.0"
    assert licence_name("CC BY 4.0, or MIT") == "cc-by-4.0"
    assert licence_name("ask grandma; permitted") is None
    assert metrics_of(StyleCard("x", metrics="closed 0.71, edge SSIM -0.42")) == {
        "closed": 0.71, "edge SSIM": -0.42,
    }  # fmt: skip


def vgg_file(path: Path, **changes: torch.Tensor | None) -> Path:
    """A VGG19 of random weights in torchvision's names, deeper layers included."""
    torch.manual_seed(0)
    shapes = {**VGG19("relu4_2").torchvision_shapes(), "classifier.0.bias": (7,)}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    save_file({n: t for n, t in {**tensors, **changes}.items() if t is not None}, path)
    return path


def test_a_vgg19_from_the_hub(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = vgg_file(tmp_path / "vgg.safetensors").read_bytes()
    default = hub.parse(studio.VGG19_ON_THE_HUB)
    assert default is not None
    assert default.file is not None
    server.add(default.repo, default.file, content)
    server.add("me/vgg", "small.safetensors", content)
    server.cut_after = len(content) * 3 // 4  # the client keeps whole pieces of 10 MiB
    picture = torch.rand(1, 3, 32, 32)
    seen = []
    for choice in ("vgg19", "me/vgg/small.safetensors", str(tmp_path / "vgg.safetensors"), "vgg19"):
        network = studio.load_vgg(choice)
        assert network is not None
        seen.append(network(picture)["relu3_4"])
    assert all(torch.equal(seen[0], other) for other in seen)
    assert server.asked["GET /cdn"] == 3
    assert len(server.ranges) == 1
    server.stop()
    assert studio.load_vgg("vgg19") is not None
    assert studio.load_vgg("bundled") is None
    shutil.rmtree(tmp_path / "hf")
    with pytest.raises(WeightsError, match="cannot be reached"):
        studio.load_vgg("vgg19")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="online"):
        studio.load_vgg("vgg19")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features.2.weight": None}, "lacks features.2.weight"),
        ({"features.0.weight": torch.zeros(64, 3, 5, 5)}, "features.0.weight"),
        ({"features.0.bias": torch.full((64,), torch.nan)}, "not finite"),
    ],
)
def test_a_vgg19_that_is_none(tmp_path: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        studio.load_vgg(str(vgg_file(tmp_path / "vgg.safetensors", **changes)))
    for name, word in (("none.safetensors", "no file"), ("vgg19.pth", "torch.load")):
        with pytest.raises(WeightsError, match=word):
            studio.load_vgg(str(tmp_path / name))


def test_the_environment_is_honoured_and_nobody_asked_without_need(
    run: Run, tmp_path: Path, photo: Path
) -> None:
    with Hub() as server:
        server.add("org/mine", "mine.safetensors", INK.read_bytes(), private=True)
        environment = {
            "HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_reader",
            "STYLIZE_HOME": str(tmp_path / "home"),
        }  # fmt: skip
        assert run("apply", photo, "-s", "org/mine", "-n", **environment).stdout.endswith(b"photo.mine.jpg\n")
        assert sum(server.asked.values()) == 0
        assert not (tmp_path / "hf").exists()
        result = run("styles", "pull", "org/mine", **environment)
        assert result.returncode == 0, result.stderr.decode()
        assert (tmp_path / "hf/hub/models--org--mine").is_dir()
        assert b"Traceback" not in result.stderr


def test_a_card_cannot_command_the_terminal(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "s.safetensors"
    shutil.copy(INK, path)
    card = {"name": "x", "title": "[red]T[/red]", "works": "a\x1b[2J\u202eb\ud800", "region": "नि\u200cक"}
    rewrite(path, card=json.dumps(card))
    code, out, _ = command("styles", "show", path)
    assert code == 0
    assert "\x1b[2J" not in out
    assert "\u202e" not in out
    assert "[red]T[/red]" in out
    assert "नि\u200cक" in out
