"""The command on real runs: what it writes, and what it says where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError, UsageError
from digit_runs import distil, teach
from report_runs import Page, distilled, wrong_figures
from train.report import command

SMALL = ["--data.image_size", "[8, 8]", "--epochs", "1", "--batch_size", "256"]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student of real digits, one epoch each."""
    home = tmp_path_factory.mktemp("runs")
    teach(home / "teacher", *SMALL)
    distil(home / "student", home / "teacher" / "model.safetensors", *SMALL[:2], "--batch_size", "256")
    return home


@pytest.fixture(scope="module")
def told(taught: Path) -> Page:
    command.main([str(taught / "student"), "--sensitivity"])
    return Page((taught / "student" / "report.html").read_text())


def test_every_figure_is_that_of_its_file(taught: Path, told: Page) -> None:
    assert len(told.facts) > 100 and wrong_figures(told) == []
    sources = " ".join(source for _, source, _ in told.facts)
    assert "The test split was read once, at the end." in told.text
    for part in ("result.json#accuracy", "report.json#answers/mistakes", "report.json#sensitivity/layers", "teacher/"):
        assert part in sources


def test_a_figure_that_is_not_its_files_is_found(taught: Path, told: Page) -> None:
    path = taught / "student" / "result.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"parameters": 5143}))
    assert any("parameters" in wrong for wrong in wrong_figures(told))
    path.write_text(before)


def test_the_page_needs_nothing_else_and_is_small(taught: Path) -> None:
    text = (taught / "student" / "report.html").read_text()
    assert "http" not in text and "<script" not in text and "@import" not in text and "url(#" in text
    assert len(text.encode()) < 2_000_000


def test_the_page_can_be_read_without_seeing_it(told: Page) -> None:
    assert told.headings[0] == 1 and told.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(told.headings, told.headings[1:], strict=False))
    assert told.images and all(image["alt"] for image in told.images)
    assert len(told.ids) == len(set(told.ids))
    charts = [value for tag, name, value in told.attributes if tag == "svg" and name == "role"]
    assert len(charts) >= 3 and set(charts) == {"img"}
    known = set(told.ids)
    for tag, name, value in told.attributes:
        if name in ("aria-labelledby", "href") and tag != "link":
            assert {word.lstrip("#") for word in str(value).split()} <= known
    assert ("html", "lang", "en") in told.attributes


def test_mistakes_have_thumbnails_and_the_best_answers_of_both(taught: Path, told: Page) -> None:
    record = json.loads((taught / "student" / "report.json").read_text())["answers"]
    assert record["samples"] == record["of"] == 145 and record["split"] == "validation"
    first = record["mistakes"][0]
    assert len(first["network"]) == len(first["teacher"]) == 3
    shown = [image for image in told.images if str(image["alt"]).endswith(f"labelled {first['label']}")]
    assert shown and all(str(image["src"]).startswith("data:image/png;base64,") for image in shown)


def test_markdown_says_the_same(taught: Path, told: Page) -> None:
    text = (taught / "student" / "report.md").read_text()
    assert [shown for _, _, shown in told.facts if shown not in text] == []


def test_without_teacher_and_images_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distilled(tmp_path / "run", 280, "--teacher", str(tmp_path / "gone.safetensors"))
    (tmp_path / "run" / "model.safetensors").unlink()
    command.main([str(tmp_path / "run"), "--output", str(tmp_path / "out.html")])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out.html'}: ")
    page = Page((tmp_path / "out.html").read_text())
    assert "model.safetensors is not there: the network cannot be asked" in page.text and wrong_figures(page) == []
    assert (tmp_path / "out.md").exists() and (tmp_path / "out.json").exists()


def test_weights_that_cannot_be_loaded_are_said(tmp_path: Path) -> None:
    distilled(tmp_path / "run", 280)  # its weights are a header alone
    command.main([str(tmp_path / "run"), "--sensitivity"])
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert page.text.count("The network cannot be asked here") == 2


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["gone"], InputError, "gone is no folder"),
        (["empty"], InputError, "empty is no run folder"),
        (["run", "--output", "nowhere/x.html"], InputError, "there is no folder nowhere; make it first"),
        (["run", "--output", "x.pdf"], UsageError, "expected a file that ends with .html"),
        (["run", "--output", "folder.html"], InputError, "which is a folder"),
        (["run", "other"], InputError, r"run and other do not belong together: their data.source are digits and idx"),
        ([], UsageError, "RUN"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, error, message) -> None:
    monkeypatch.chdir(tmp_path)
    distilled(Path("run"), 280)
    distilled(Path("other"), 280, "--data.source", "idx", "--data.root", "x")
    for name in ("empty", "folder.html"):
        Path(name).mkdir()
    with pytest.raises(error, match=message):
        command.main(words)
    assert not list(tmp_path.rglob("report.*"))
