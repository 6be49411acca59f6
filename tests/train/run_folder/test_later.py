"""Runs of before a config key: what it has for them, and that no key is without."""

from __future__ import annotations

import os
from pathlib import Path

from configs import reader
from train.compress.config import CompressConfig
from train.config import DistillConfig, TeacherConfig
from train.prune.config import PruneConfig
from train.run_folder.later import LATER, known, without_later
from train.run_folder.run_dir import FREE_KEYS, differing_keys

DIGITS = Path(__file__).parents[3] / "configs" / "digits"
FIRST = Path(__file__).parent / "first_keys.txt"
"""Keys that configs of all run folders have."""


def test_a_key_that_a_run_of_before_does_not_know_is_what_it_did_then():
    old, new = {"distill": {"alpha": 0.5}}, {"distill": {"alpha": 0.5, "teacher_size": "student"}}
    assert differing_keys(old, new, FREE_KEYS) == []
    new["distill"]["teacher_size"] = "own"
    assert differing_keys(old, new, FREE_KEYS) == ["distill.teacher_size was student, is now own"]


def keys() -> set[str]:
    """Keys of the configs of all training commands that matter to what is trained."""
    shipped = {"teacher": TeacherConfig, "distill": DistillConfig, "prune": PruneConfig, "compress": CompressConfig}
    found: set[str] = set()
    for name, cls in shipped.items():
        config = reader.read(cls, ["--config", str(DIGITS / f"{name}.yaml")], prog="x", description="x")
        found |= {key for key in reader.flat(config) if differing_keys({}, nested(key, "other"), FREE_KEYS)}
    return found


def nested(key: str, value: object) -> dict:
    """{"a": {"b": value}} of a.b."""
    *outer, last = key.split(".")
    made = {last: value}
    for name in reversed(outer):
        made = {name: made}
    return made


def test_every_key_has_been_there_from_the_beginning_or_has_a_value_for_the_runs_before_it():
    """RECORD=1 adds keys without which earlier runs are to be refused."""
    if os.environ.get("RECORD"):
        FIRST.write_text("".join(f"{key}\n" for key in sorted(keys() - LATER.keys())))
    first = set(FIRST.read_text().split())
    assert keys() <= first | LATER.keys() and not first & LATER.keys()


def test_a_key_that_is_not_there_has_the_value_of_the_runs_before_it_or_none():
    assert known({"epoch_share": 0.5}, "epoch_share", "") == 0.5
    assert known({}, "epoch_share", "cut.") == 1.0 and known({}, "epochs", "cut.") is None


def test_newer_keys_are_left_out_where_they_say_what_earlier_runs_did():
    config = {"epochs": 2, "epoch_share": 1.0, "cut": {"epoch_share": 0.5}, "model": {"name": "nin", "kwargs": {}}}
    assert without_later(config) == {"epochs": 2, "cut": {"epoch_share": 0.5}, "model": {"name": "nin"}}
    assert config["epoch_share"] == 1.0 and without_later(without_later(config)) == without_later(config)
