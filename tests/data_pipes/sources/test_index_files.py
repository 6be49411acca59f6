"""Entries in the cache, and which of them serve another list of files."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np
import pytest

from data_pipes.sources import index_files
from data_pipes.sources.index_files import Entries, Entry, Place


def digest(*numbers: int) -> np.ndarray:
    return np.array([(number, number + 1) for number in numbers], np.uint64).reshape(-1, 2)


def entries(*numbers: int, bad: dict[int, str] | None = None) -> Entries:
    found = [Entry(number, number, 2, number, 6, (bad or {}).get(number, "")) for number in numbers]
    return Entries.of(digest(*numbers), found)


def same(one: Entries, other: Entries) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Entries))


@pytest.mark.parametrize("own", [entries(), entries(1, 2, 3), entries(4, 5, bad={5: "half of it\0 is gone ✂"})])
def test_what_is_written_is_read(tmp_path, own):
    own.write(tmp_path / "a.npz")
    found = index_files.read(tmp_path / "a.npz", len(own))
    assert found is not None and same(found, own) and found.reason_N.dtype == object


def test_another_number_of_files_is_damage(tmp_path, caplog):
    entries(1, 2).write(tmp_path / "a.npz")
    assert index_files.read(tmp_path / "a.npz", 3) is None and "is damaged" in caplog.text


def test_one_long_reason_does_not_take_its_length_in_every_row(tmp_path):
    own = Entries.empty(np.zeros((20_000, 2), np.uint64))
    own.reason_N[7] = "x" * 5000
    own.write(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 20_000 * 50


def test_a_list_is_filled_from_others_of_the_same_root_alone(tmp_path):
    now = Entries.empty(digest(9, 1, 2, 3, 4))
    place = Place.of(tmp_path, "root", now.digest_N2)
    assert not index_files.fill_known(now, place).any()
    for identity, own in (("root", entries(1, 2, bad={2: "bad"})), ("other root", entries(3))):
        own.write(Place.of(tmp_path, identity, own.digest_N2).file)
    unreadable = entries(3, 4, 1, bad={3: "cannot be read: no such file"})
    unreadable.write(Place.of(tmp_path, "root", unreadable.digest_N2).partial)
    assert index_files.fill_known(now, place).tolist() == [False, True, True, False, True]
    assert now.byte_N.tolist() == [0, 1, 2, 0, 4] and now.reason_N.tolist() == ["", "", "bad", "", ""]


def test_half_a_digest_is_not_enough(tmp_path):
    own = entries(1)
    own.write(Place.of(tmp_path, "root", own.digest_N2).file)
    now = Entries.empty(digest(1) + np.array([0, 1], np.uint64))
    assert not index_files.fill_known(now, Place.of(tmp_path, "root", now.digest_N2)).any()


def test_leftovers_of_others_are_removed_after_a_day(tmp_path):
    mine, old, fresh = (Place.of(tmp_path, "root", digest(number)) for number in (1, 2, 3))
    elsewhere = Place.of(tmp_path, "other", digest(4))
    for place in (mine, old, fresh, elsewhere):
        place.parts.mkdir()
        entries(1).write(place.partial)
    for path in (old.parts, old.partial, elsewhere.parts, elsewhere.partial):
        os.utime(path, (1, 1))
    mine.sweep()
    left = {path for place in (fresh, elsewhere) for path in (place.parts, place.partial)}
    assert set(tmp_path.iterdir()) == left


def test_old_lists_of_a_root_leave_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(index_files, "KEPT_LISTS", 2)
    lists = [Place.of(tmp_path, "root", digest(number)) for number in range(4)]
    for age, place in enumerate(lists):
        entries(1).write(place.file)
        os.utime(place.file, (age, age))
    other = Place.of(tmp_path, "other", digest(9))
    entries(1).write(other.file)
    lists[0].sweep()
    assert set(tmp_path.iterdir()) == {other.file, lists[2].file, lists[3].file}
