"""Images of which network and teacher say something worth looking at, and the contact sheet. Free of torch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from configs.shown import printable
from train.report.elements import Missing, Picture, Section, data_uri
from train.report.facts import Fact, Record, count, line, whole_share
from train.report.folder import RunFolder
from train.report.networks import Subject

Thumbnails = Mapping[str, tuple[bytes, int, int]]
WIDEST = 1100
"""Pixels of the contact sheet in a page."""
QUALITY = 82


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One image: its label, and the best answers of both."""

    picture: Picture | None
    label: str
    image: str
    answers: Sequence[tuple[str, Sequence[tuple[str, Fact | None, bool]]]]
    """By who answers: class, probability, whether it is the label."""


def section(subject: Subject, record: Record, thumbnails: Thumbnails) -> Section:
    """Return mistakes and disagreements, as far as networks could be asked."""
    if not record.get("answers"):
        why = record.text("answers_missing") or "The networks were not asked."
        return Section(key="examples", title="Mistakes and disagreements", missing=[Missing(why)])
    missing = [] if record.get("answers", "teacher") is not None else [Missing(_without(subject))]
    parts = [
        _part(record, thumbnails, "mistakes", "The most certain mistakes", "No image is mistaken."),
        _part(record, thumbnails, "disagreements", "Other images on which it disagrees with its teacher", ""),
    ]
    text = line(
        "Of ",
        record.fact(count, "answers", "samples"),
        f" {record.text('answers', 'split')} images, the network is right on ",
        record.fact(count, "answers", "network", "correct"),
        ".",
    )
    both = line(
        " Its teacher is right on ",
        record.fact(count, "answers", "teacher", "correct"),
        "; both give the same answer on ",
        record.fact(count, "answers", "agreed"),
        ".",
    )
    told = line(text, both or "", _pixels(subject))
    shown = [part for part in parts if part is not None]
    return Section(key="examples", title="Mistakes and disagreements", text=told, parts=shown, missing=missing)


def _without(subject: Subject) -> str:
    if subject.teacher is None:
        return "There is no teacher to compare with."
    return f"The teacher {printable(str(subject.teacher.file))} is not here: it is not asked."


def _pixels(subject: Subject) -> str:
    """Say why counts may differ by a few from the run's own."""
    executor = subject.folder.settings.text("data", "executor")
    if executor == "host":
        return ""
    return " They were asked anew for this page, by the host executor on a CPU: a few answers may differ."


def _part(record: Record, thumbnails: Thumbnails, key: str, title: str, none: str) -> Section | None:
    found = record.get("answers", key)
    if not isinstance(found, list) or not found:
        return Section(key=key, title=title, text=none) if none else None
    examples = [_example(record, thumbnails, key, place, one) for place, one in enumerate(found)]
    return Section(key=key, title=title, extra=examples)


def _example(record: Record, thumbnails: Thumbnails, key: str, place: int, found: Mapping[str, object]) -> Example:
    image, label = str(found.get("image")), str(found.get("label"))
    drawn = thumbnails.get(image)
    answers = []
    for who in ("network", "teacher"):
        top = found.get(who)
        rows = []
        for rank, one in enumerate(top if isinstance(top, list) else ()):
            probability = record.fact(whole_share, "answers", key, place, who, rank, "probability")
            rows.append((printable(str(one.get("class"))), probability, one.get("class") == label))
        if rows:
            answers.append((who, rows))
    shown = None
    if drawn is not None:
        content, width, height = drawn
        kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
        alt = f"{printable(image)}, labelled {printable(label)}"
        shown = Picture(uri=data_uri(content, kind), alt=alt, width=width, height=height)
    return Example(picture=shown, label=printable(label), image=printable(image), answers=answers)


def sheet(subject: Subject) -> Section:
    """Return the contact sheet of the last training."""
    folders = [stage for stage in (subject.folder.stage("student"), subject.folder, *subject.folder.cuts) if stage]
    found = next((shown for folder in folders if (shown := _sheet(folder)) is not None), None)
    title = "What the network saw in training"
    if found is None:
        return Section(
            key="sheet",
            title=title,
            missing=[Missing("There is no contact sheet: a training that ends writes images.png.")],
        )
    return Section(key="sheet", title=title, extra=found)


def _sheet(folder: RunFolder) -> Picture | None:
    """Take images.png into the page, smaller where it is large."""
    from PIL import Image

    path = folder.path / "images.png"
    try:
        with Image.open(path) as image:
            image.thumbnail((WIDEST, 4 * WIDEST))
            content = io.BytesIO()
            image.convert("RGB").save(content, format="jpeg", quality=QUALITY)
            alt = f"Training images of {printable(str(folder.path))}, a row each: in evaluation and in random views"
            return Picture(uri=data_uri(content.getvalue(), "jpeg"), alt=alt, width=image.width, height=image.height)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
