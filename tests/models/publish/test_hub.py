"""A stand-in of the hub, on this machine: what is sent, and what is refused."""

import pytest
from huggingface_hub import constants

import hub_stub
from configs.errors import UnavailableError, UsageError
from models.publish import contents, hub

CARD = b"---\nlibrary_name: heartcut\n---\nold\n"


@pytest.fixture(scope="module")
def ready(handed, tmp_path_factory):
    return contents.prepare(handed / "model.safetensors", tmp_path_factory.mktemp("ready"), repo="alice/boots")


@pytest.fixture
def there(tmp_path):
    with hub_stub.in_place(tmp_path) as server:
        yield server


def test_a_new_repository_is_private_and_holds_what_lay_ready(ready, there):
    (ready.folder / "secret.txt").write_text("not among the names")
    sent = hub.send(ready, "alice/boots", public=False)
    assert sent == hub.Sent(url=f"{there.url}/alice/boots", private=True, created=True)
    private, files = there.repos["alice/boots"]
    assert private and set(files) == {".gitattributes", *ready.names}
    assert all(files[name] == (ready.folder / name).read_bytes() for name in ready.names)


def test_public_only_when_told_to(ready, there):
    assert not hub.send(ready, "lab/boots", public=True).private
    assert there.repos["lab/boots"][0] is False
    with pytest.raises(UsageError, match="which everybody can see; give --public"):
        hub.send(ready, "lab/boots", public=False)
    there.repos["alice/old"] = (True, {"README.md": CARD, "model.safetensors": b"old"})
    sent = hub.send(ready, "alice/old", public=True)  # publishing does not change what a repository is
    assert sent.private and not sent.created and there.repos["alice/old"][1]["model.safetensors"] != b"old"


def test_a_repository_with_something_else_is_left_alone(ready, there):
    files = {"README.md": b"---\nlibrary_name: timm\n---\n", "model.safetensors": b"theirs"}
    there.repos["alice/other"] = (True, dict(files))
    with pytest.raises(UsageError, match=r"holds something else than a network of Heartcut \(README.md, model.safe"):
        hub.send(ready, "alice/other", public=False)
    assert there.repos["alice/other"] == (True, files)


@pytest.mark.parametrize("exists", [False, True])
def test_a_repository_of_somebody_else_is_refused(ready, there, exists):
    if exists:
        there.repos["bob/boots"] = (False, {"README.md": CARD})
    with pytest.raises(UnavailableError, match="does not let alice write to bob/boots") as refused:
        hub.send(ready, "bob/boots", public=True)
    assert hub_stub.TOKEN not in str(refused.value) and "You may not" in str(refused.value)


def test_without_a_token_or_with_a_wrong_one(ready, there, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UnavailableError, match="does not accept the token") as refused:
        hub.send(ready, "alice/boots", public=False)
    assert "hf_wrong" not in str(refused.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UnavailableError, match=r"there is no token .* `hf auth login` or"):
        hub.send(ready, "alice/boots", public=False)
    assert not there.repos


def test_a_hub_that_does_not_answer_or_is_out_of_order(ready, there, monkeypatch):
    there.broken.add("repos/create")
    with pytest.raises(UnavailableError, match=r"refuses with status 500 \(out of order\)"):
        hub.send(ready, "alice/boots", public=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 cannot be reached"):
        hub.send(ready, "alice/boots", public=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE is set"):
        hub.send(ready, "alice/boots", public=False)
