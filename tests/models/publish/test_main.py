"""The command, from what is typed to what is loaded again."""

import shutil

import pytest
import torch

import heartcut
import hub_stub
from models.publish.__main__ import main


@pytest.fixture
def there(tmp_path):
    with hub_stub.in_place(tmp_path) as server:
        yield server


def test_a_dry_run_asks_nobody_and_lists_all_with_sizes(handed, there, capsys):
    main(["--model", str(handed), "--repo", "alice/boots", "--dry_run"])
    said = capsys.readouterr().out
    assert said.startswith("to alice/boots, private:\n  README.md ") and "model.safetensors  1" in said
    assert said.endswith("nothing was sent (--dry_run)\n") and not there.asked and not there.repos


def test_what_was_published_is_loaded_again(handed, there, capsys):
    words = ["--model", str(handed / "model.safetensors"), "--repo", "alice/boots"]
    main(words)
    said = capsys.readouterr()
    assert f"sent to {there.url}/alice/boots (new, private)" in said.out
    assert 'heartcut.load("hf-hub:alice/boots")' in said.out and hub_stub.TOKEN not in said.out + said.err
    again, ours = heartcut.load("hf-hub:alice/boots"), heartcut.load(handed / "model.safetensors")
    assert again.classes == ours.classes and again.card.scores == ours.card.scores
    image = torch.zeros(1, 1, 12, 12)
    assert torch.equal(again.net(image), ours.net(image))
    main([*words, "--public"])
    assert "it was private and stays so" in capsys.readouterr().out


def test_names_are_shown_as_they_are_spelt(handed, tmp_path, capsys):
    folder = shutil.copytree(handed, tmp_path / "run")
    (folder / "\x1b[31mnet.py").write_text("x")
    main(["--model", str(folder), "--repo", "a/b", "--dry_run", "--add", "\x1b[31mnet.py"])
    said = capsys.readouterr().out
    assert "\x1b" not in said and r"\x1b[31mnet.py" in said
