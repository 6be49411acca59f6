"""Where wandb would find a key, the same as wandb itself."""

from pathlib import Path

import pytest
from wandb.sdk.lib.wbauth import read_netrc_auth

from launch import wandb_key

HOST = "wandb.example.com:8080"


@pytest.mark.parametrize(
    ("url", "host"), [(None, "api.wandb.ai"), ("", "api.wandb.ai"), (f"https://{HOST}/x", HOST), ("http://h", "h")]
)
def test_the_host_of_a_server(url, host):
    assert wandb_key.host(url) == host


@pytest.mark.parametrize("name", wandb_key.VARIABLES)
def test_a_variable_comes_first_and_an_empty_one_is_none(tmp_path, name):
    nowhere = {"NETRC": str(tmp_path / "none")}
    assert wandb_key.source(nowhere | {name: "secret"}, HOST) == name
    assert wandb_key.source(nowhere | {name: ""}, HOST) is None


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"machine {HOST} login user password {40 * 'a'}\n", True),
        (f"machine wandb.example.com login user password {40 * 'a'}\n", False),
        ("machine", False),
    ],
)
def test_a_netrc_file_is_read_as_wandb_reads_it(tmp_path, monkeypatch, named, text, found):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    path = tmp_path / ("mine" if named else ".netrc")
    path.write_text(text)
    environment = {"NETRC": str(path)} if named else {}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert wandb_key.source(environment, HOST) == (str(path) if found else None)
    assert (read_netrc_auth(host=f"https://{HOST}") is not None) == found


def test_a_named_file_hides_the_usual_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path(tmp_path / ".netrc").write_text(f"machine {HOST} login user password {40 * 'a'}\n")
    assert wandb_key.source({}, HOST) is not None and wandb_key.source({"NETRC": str(tmp_path / "none")}, HOST) is None
