"""The page of a chain of train.compress, from its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from report_runs import Page, chain, masked, write, wrong_figures
from train.report import page
from train.report.collection import collect
from train.report.facts import Record


def report(*paths: Path, values: dict | None = None) -> page.Report:
    record = Record(paths[0] / "report.json", values or {"answers": None})
    write(record.path, dict(record.values))
    return page.build(collect(paths), record, {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> page.Report:
    return report(chain(tmp_path_factory.mktemp("page") / "<i>run</i>"))


@pytest.fixture(scope="module")
def read(whole: page.Report) -> Page:
    return Page(page.html(whole))


def test_every_figure_of_a_chain_is_that_of_its_file(read: Page) -> None:
    assert len(read.facts) > 100 and wrong_figures(read) == []
    files = {source.rpartition("#")[0].rpartition("/")[2] for _, source, _ in read.facts}
    assert files >= {"result.json", "export.json", "ledger.json", "cut.json", "evaluation-test.json", "config.yaml"}


def test_every_figure_of_a_masked_network_too(tmp_path: Path) -> None:
    assert wrong_figures(Page(page.html(report(masked(tmp_path / "m"))))) == []


def test_the_sections_are_there_in_order(whole: page.Report) -> None:
    assert [section.key for section in whole.sections] == [
        "networks", "curves", "cuts", "layers", "classes", "examples", "sheet", "origin",
    ]  # fmt: skip


def test_names_are_data_in_html_in_svg_and_in_markdown(whole: page.Report) -> None:
    html, text = page.html(whole), page.markdown(whole)
    assert "<b>one" not in html and "&lt;b&gt;one&lt;/b&gt;" in html and "<i>run" not in html
    assert "\x1b" not in html and "\x1b" not in text and "\\x1b[31mthree" in html
    assert "\\<b\\>one" in text and "$two\\|" in text and "<i>" not in text.replace("\\<i\\>", "")


def test_headings_and_ids_are_in_order(read: Page) -> None:
    assert read.headings[0] == 1 and all(b - a <= 1 for a, b in zip(read.headings, read.headings[1:], strict=False))
    assert len(read.ids) == len(set(read.ids))


def test_markdown_has_the_verdict_and_the_tables(whole: page.Report) -> None:
    text = page.markdown(whole)
    assert text.startswith("# ") and str(whole.verdict) in text
    assert "| Parameters | 77,754 | 5,142 | 2,600 | 2,600 |" in text and "## What was not checked" in text
    assert "\n    python -m train.compress" in text and "\n\n\n" not in text


def test_damaged_and_missing_files_are_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    for name in ("export.json", "cut/ledger.json", "teacher/result.json"):
        write(run / name, "{")
    write(run / "status.json", {"state": "failed", "reason": "disk full"})
    (run / "done").unlink()
    found = report(run)
    assert "failed: disk full" in str(found.notices[0]) and len(found.faults) == 3
    read = Page(page.html(found))
    assert "Before you read on" in read.text and "No cut is finished yet" in read.text and wrong_figures(read) == []


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    write(tmp_path / "status.json", {"state": "failed", "reason": "x"})
    read = Page(page.html(report(tmp_path)))
    assert "No score yet" in read.text and not read.facts
