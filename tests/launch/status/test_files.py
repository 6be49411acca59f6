"""Files of run folders that are damaged or cannot be read."""

from __future__ import annotations

import os
import platform

import pytest

from launch.status import command
from run_folders import make, printed


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"state": NaN, "epoch": 1e999}'])
@pytest.mark.parametrize("name", ["status.json", "result.json", "metrics.jsonl", "config.yaml", "sweep.json"])
def test_damaged_files_hide_no_other_run(tmp_path, capsys, name, content):
    make(tmp_path / "good", "done", {})
    bad = make(tmp_path / "bad", "running", {}, host="elsewhere", epoch=3, epochs=4, seconds=1.0)
    (bad / "cut-01").mkdir()
    (bad / name).write_bytes(content)
    found = {run.path.name: run for run in command.look(tmp_path, None).rows}
    assert found["good"].validation == 0.91
    if name in ("status.json", "result.json") and not content.startswith(b'{"state"'):
        assert found["bad"].fault == f"{name} is damaged"
    assert "good" in printed(capsys, tmp_path)


@pytest.mark.parametrize("value", ["true", "-1", '"3"', "1" + "0" * 400, "NaN", "{}", "null"])
def test_values_that_are_no_numbers_say_nothing(tmp_path, capsys, value):
    folder = make(tmp_path / "a")
    keys = ("epochs", "epoch", "pid", "starts", "exit_code", "parameters", "macs", "seconds", "accuracy")
    wrong = ", ".join(f'"{key}": {value}' for key in keys)
    (folder / "status.json").write_text(f'{{"state": "running", "host": "{platform.node()}", {wrong}}}')
    (folder / "result.json").write_text(f"{{{wrong}}}")
    (folder / "metrics.jsonl").write_text(f'{{"train/step": {value}, "epoch": {value}}}\n')
    assert "1 run" in printed(capsys, tmp_path)


def test_what_is_no_file_and_no_folder_that_may_be_read_is_named(tmp_path, capsys):
    make(tmp_path / "a", "done")
    (tmp_path / "a" / "result.json").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        tmp_path_readable = os.access(tmp_path, os.R_OK, effective_ids=True)
        found = command.look(tmp_path, None) if tmp_path_readable else None
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    text = printed(capsys, tmp_path)
    assert "a: result.json: Is a directory" in text and "1 run: 1 done" in text
    assert found is None or found.faults == [f"{closed}: Permission denied"]
