"""The file that a course takes, byte for byte as pandas writes it, and never lost."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest

import reference
from configs.errors import UsageError
from train.predict import submission
from train.predict.submission import deliver, identifiers, require_writable, text_of, warn_of_odd

SAMPLES = Path(__file__).parent / "samples"  # recorded from pandas 3.1.1, as the courses' notebooks call it


def of_keys(*keys: str):
    samples = reference.in_memory([reference.noise(2, 2, 1)] * len(keys))
    return replace(samples, key_N=keys)


@pytest.mark.parametrize(
    ("name", "columns", "ids", "keys"),
    [
        ("food11", "Id,Category", "name", [f"evaluation/{i:04}.jpg" for i in range(12)]),
        ("fashion_mnist", "id,pred", "name", [str(i) for i in range(12)]),
        ("fashion_mnist", "id,pred", "index", [f"testing/{i:04}.jpg" for i in range(12)]),
    ],
)
def test_both_courses_files_match_byte_for_byte(name, columns, ids, keys):
    recorded = (SAMPLES / f"{name}.csv").read_bytes()
    answers = [int(line.split(b",")[1]) for line in recorded.splitlines()[1:]]
    assert text_of(columns, identifiers(of_keys(*keys), ids), answers) == recorded
    assert b"\r" not in recorded and recorded.endswith(b"\n")


def test_commas_quotes_and_line_feeds_in_names_survive(tmp_path):
    names = ['a"b', "c,d", "e\nf"]
    (tmp_path / "o.csv").write_bytes(text_of(" Id , Category", names, ["hen, brown", "cat", "dog"]))
    with (tmp_path / "o.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["Id", "Category"],
            *map(list, zip(names, ["hen, brown", "cat", "dog"], strict=True)),
        ]


def test_odd_names_are_written_as_they_are_and_said(caplog):
    foreign = os.fsdecode(b"caf\xe9")
    warn_of_odd(["1", "th\u00e9"])
    assert not caplog.records
    warn_of_odd(["=1+1", "-1", foreign])
    assert "2 names begin with =, +, - or @" in caplog.text and "1 names are not UTF-8" in caplog.text
    assert text_of("a,b", ["=1+1", foreign], [0, 1]) == b"a,b\n=1+1,0\ncaf\\udce9,1\n"


def test_a_file_that_cannot_be_written_at_the_end_is_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(submission.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    require_writable(tmp_path / "deep" / "o.csv")
    (tmp_path / "deep").rmdir()
    (tmp_path / "deep").touch()
    with pytest.raises(OSError, match=r"deep/o.csv could not be written .* the predictions are in .*o.csv"):
        deliver(tmp_path / "deep" / "o.csv", b"a,b\n")
    assert (tmp_path / "o.csv").read_bytes() == b"a,b\n"


def test_an_old_file_is_replaced_whole_and_a_device_is_written_to(tmp_path):
    (tmp_path / "o.csv").write_bytes(b"old, and longer than the new one\n")
    deliver(tmp_path / "o.csv", b"a,b\n")
    assert (tmp_path / "o.csv").read_bytes() == b"a,b\n" and len(list(tmp_path.iterdir())) == 1
    deliver(Path("/dev/null"), b"a,b\n")
    assert not Path("/dev/null").is_file()


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder; give a file in it, such as .*predictions.csv"):
        require_writable(tmp_path)
