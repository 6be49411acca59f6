"""Whether there is a key for a wandb server."""

from __future__ import annotations

import pytest

from configs.errors import UsageError
from launch.sweep import command, server


def test_without_a_key_the_way_out_is_said(site):
    with pytest.raises(UsageError, match=r"there is no key for .*; run `wandb login`, or set WANDB_API_KEY"):
        command.main(["w.yaml"])


def test_offline_the_way_out_is_said(site, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(UsageError, match=r"WANDB_MODE is offline, and a sweep lives on a server; --check needs none"):
        command.main(["w.yaml"])


def test_a_key_in_netrc_is_enough(site, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    server.wandb.setup().settings.base_url = "https://wandb.example.org"
    site.write(".netrc", "machine wandb.example.com login user password secret\n")
    with pytest.raises(UsageError, match=r"there is no key for wandb.example.org"):
        server.require_login()
    site.write(".netrc", "machine wandb.example.org login user password secret\n")
    server.require_login()
