"""Mistakes, disagreements and the contact sheet in a page."""

from __future__ import annotations

from pathlib import Path

from report_runs import chain, distilled
from train.report import examples
from train.report.elements import Picture
from train.report.facts import Record
from train.report.folder import RunFolder
from train.report.networks import subject

TOP = [{"class": "<b>", "probability": 0.75}, {"class": "two", "probability": 0.25}]
SHOWN = {"image": "a.jpg", "label": "two", "network": TOP, "teacher": TOP}
ANSWERS = {
    "samples": 10, "split": "validation", "network": {"correct": 9}, "teacher": {"correct": 8}, "agreed": 7,
    "mistakes": [SHOWN], "disagreements": [],
}  # fmt: skip


def section(folder: Path, values: dict, thumbnails: examples.Thumbnails | None = None) -> examples.Section:
    record = Record(folder / "report.json", values)
    return examples.section(subject(RunFolder(folder)), record, thumbnails or {})


def test_a_mistake_has_its_thumbnail_and_both_answers(tmp_path: Path) -> None:
    found = section(chain(tmp_path / "c"), {"answers": ANSWERS}, {"a.jpg": (b"\x89PNG", 8, 6)})
    own = "Of 10 validation images, the network is right on 9."
    assert str(found.text).startswith(f"{own} Its teacher is right on 8; both give the same answer on 7. They were")
    assert [part.key for part in found.parts] == ["mistakes"]
    ((one,),) = [part.extra for part in found.parts]
    assert one.picture.alt == "a.jpg, labelled two" and one.picture.uri.startswith("data:image/png")
    assert [who for who, _ in one.answers] == ["network", "teacher"]
    assert [(name, str(share), right) for name, share, right in one.answers[0][1]] == [
        ("<b>", "75 %", False), ("two", "25 %", True),
    ]  # fmt: skip


def test_no_mistake_no_teacher_and_no_answer_are_said(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    none = section(run, {"answers": ANSWERS | {"mistakes": [], "teacher": None, "agreed": None}})
    assert str(none.parts[0].text) == "No image is mistaken." and "is not here: it is not asked" in none.missing[0].text
    assert section(run, {"answers": None, "answers_missing": "no images"}).missing[0].text == "no images"


def test_the_contact_sheet_is_that_of_the_student_or_missing(tmp_path: Path) -> None:
    found = examples.sheet(subject(RunFolder(chain(tmp_path / "c")))).extra
    assert isinstance(found, Picture) and (found.width, found.height) == (40, 30) and "student" in found.alt
    run = distilled(tmp_path / "d", 280)
    (run / "images.png").write_bytes(b"no image")
    assert "There is no contact sheet" in examples.sheet(subject(RunFolder(run))).missing[0].text
