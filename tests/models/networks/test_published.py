"""A download without a network fails within seconds, and says how to bring the weights."""

import socket
import time

import pytest
from huggingface_hub import constants

from models.networks import published


@pytest.fixture
def silent(monkeypatch):
    """The address of a server that takes connections into its queue and answers no more of them."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(published, "PATIENCE", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_the_hub_is_asked_only_for_what_is_in_the_cache_where_it_cannot_be_reached(monkeypatch, silent):
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with published.quickly("timm/resnet18"):
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_a_server_that_answers_is_asked(monkeypatch, silent):
    """The control."""
    port = int(silent.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] != port
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with published.quickly("hf-hub:timm/resnet18"):
            assert not constants.HF_HUB_OFFLINE


def test_offline_stays_offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with published.quickly("timm/resnet18"):
        assert constants.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE


def test_torchvision_s_server_is_asked_unless_the_weights_are_there(monkeypatch, silent, tmp_path):
    monkeypatch.setattr(published, "TORCHVISION", silent)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match="cannot be reached"), published.quickly("torchvision/resnet18"):
        pytest.fail("the weights were asked for")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").touch()
    with published.quickly("torchvision/resnet18"):
        pass


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch, silent):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(1) or socket.socket())
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with published.quickly("timm/resnet18"):
        assert constants.HF_HUB_OFFLINE


def test_the_message_says_where_weights_are_looked_for_and_how_to_bring_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    text = published.missing("torchvision/resnet18", OSError("no route"))
    for part in ("OSError: no route", f"{tmp_path}/hub/checkpoints", "python -m models.adopt", "set TORCH_HOME"):
        assert part in text
    assert "set HF_HOME" in published.missing("timm/resnet18", OSError("x"))
