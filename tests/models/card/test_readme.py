"""Numbers are the header's; names are data; nobody's README.md is replaced."""

import re
import shutil
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from configs.errors import InputError
from configs.intervals import wilson
from models import artefact
from models.card import readme
from models.card.beside import Beside


@pytest.fixture
def folder(handed, tmp_path):
    return shutil.copytree(handed, tmp_path / "run")


def rows(text, heading):
    """Cells of the table under a heading."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_number_is_the_headers(folder):
    path = readme.write(folder / "model.safetensors", folder)
    card, text = artefact.read_card(folder / "model.safetensors"), path.read_text(encoding="utf-8")
    shown = {row[0]: row[1:] for row in rows(text, "Accuracy")}
    assert set(shown) == set(card.scores)
    for split, score in card.scores.items():
        low, high = wilson(score.correct, score.total)
        accuracy = f"{100 * score.correct / score.total:.2f} %"
        interval = f"{100 * low:.2f} % to {100 * high:.2f} %"
        assert shown[split] == [accuracy, interval, str(score.correct), str(score.total)]
    for label, value in (
        ("parameters", card.cost.parameters),
        ("non-zero parameters", card.cost.nonzero),
        ("MACs per image", card.cost.macs),
        ("bytes of parameters and buffers", card.cost.bytes),
    ):
        assert f"\n| {label} | {value:,} |\n" in text
    assert artefact.sha256(folder / "model.safetensors") in text
    values = {result.dataset_split: result.metric_value for result in ModelCard.load(path).data.eval_results}
    assert values == {split: score.accuracy for split, score in card.scores.items()}


def test_what_it_says_of_use_depends_on_the_files_beside(folder, tmp_path):
    text = readme.write(folder / "model.safetensors", folder, license_id="mit").read_text()
    assert 'heartcut.load("model.safetensors")' in text and "\nlicense: mit\n" in text
    assert 'InferenceSession("model.onnx")' in text and 'InferenceSession("pixels.onnx")' in text
    (tmp_path / "empty").mkdir()
    alone = readme.write(folder / "model.safetensors", tmp_path / "empty").read_text()
    assert "```" not in alone and "license" not in alone
    card = artefact.read_card(folder / "model.safetensors")
    hub = readme.build(card, "0" * 64, Beside(weights="model.safetensors"), repo="alice/boots")
    assert 'heartcut.load("hf-hub:alice/boots")' in hub and "name: boots" in hub
    own = replace(card, model=replace(card.model, name="my_net.py:Net", depth=None, widths=None))
    said = readme.build(own, "0" * 64, Beside(weights="model.safetensors"))
    assert 'heartcut.load("model.safetensors", network="my_net.py:Net")' in said


def test_names_are_data(handed):
    names = ("---\nlicense: x\n---", "{{ title }}", "<script>", "[a](http://b)")
    card = replace(artefact.read_card(handed / "model.safetensors"), classes=names)
    text = readme.build(card, "0" * 64, Beside())
    assert "<script>" not in text and "](http" not in text and r"\{\{ title \}\}" in text
    head = yaml.safe_load(text.split("---\n")[1])
    assert "license" not in head and text.count("\n---\n") == 1
    assert [row[0] for row in rows(text, "Classes")] == ["0", "1", "2", "3"]


def test_many_classes_are_folded(handed):
    card = replace(artefact.read_card(handed / "model.safetensors"), classes=tuple(map(str, range(100))))
    text = readme.build(card, "0" * 64, Beside())
    assert "<details><summary>100 classes" in text and "| 99 | 99 |" in text
    assert re.search(r"</summary>\n\n\| logit", text) and re.search(r"99 \|\n\n</details>", text)


def test_the_text_depends_on_nothing_else(folder):
    first = readme.write(folder / "model.safetensors", folder).read_bytes()
    assert readme.write(folder / "model.safetensors", folder).read_bytes() == first
    assert str(folder).encode() not in first and b"alice" not in first
    assert b"More Information Needed" not in first


@pytest.mark.parametrize(
    "content", ["# My project\n", "---\nlibrary_name: timm\n---\n", "", "library_name: heartcut\n"]
)
def test_a_readme_of_somebody_else_is_left_alone(folder, content):
    (folder / "README.md").write_text(content)
    with pytest.raises(InputError, match="is no model card of Heartcut; move it"):
        readme.write(folder / "model.safetensors", folder)
    assert (folder / "README.md").read_text() == content


def test_the_licence_of_a_card_is_read_again(folder):
    path = readme.write(folder / "model.safetensors", folder, license_id="mit")
    assert readme.license_of(path) == "mit"
    assert readme.license_of(readme.write(folder / "model.safetensors", folder)) is None
    assert readme.license_of(folder / "gone.md") is None
    path.write_text("---\nlibrary_name: heartcut\nlicense: [\n---\n")
    with pytest.raises(InputError, match=r"metadata of .* are damaged"):
        readme.license_of(path)


def test_one_that_cannot_be_read_or_written_is_an_error_of_the_user(folder, tmp_path):
    (folder / "README.md").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        readme.write(folder / "model.safetensors", folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        readme.write(folder / "model.safetensors", tmp_path / "file")
