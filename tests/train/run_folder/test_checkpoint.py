"""A checkpoint is whole or it is not loaded: every kind of damage is found, named, and passed over."""

import json
import logging
import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from configs.errors import InputError
from train.run_folder import checkpoint

FILES = ("state.safetensors", "state.json", "MANIFEST.json")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"student/w": torch.full((3, 2), float(step)), "optimizer/0/step": torch.tensor(float(step))}


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save(folder, step, tensors(step), {"progress": {"total_steps": step}})


def loaded_step(folder: Path) -> int:
    found = checkpoint.load_newest(folder)
    assert found is not None
    kept, record = found
    step = record["progress"]["total_steps"]
    assert all(torch.equal(kept[name], value) for name, value in tensors(step).items())
    return step


def at(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


# ---- round trip


def test_every_bit_comes_back(tmp_path):
    torch.manual_seed(0)
    kept = {str(dtype): (100 * torch.randn(5, 3)).to(dtype) for dtype in DTYPES}
    kept |= {"scalar": torch.tensor(7.0), "empty": torch.zeros(0, 3), "odd": torch.tensor([0.1, -0.0, float("inf")])}
    kept["strided"] = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    kept["slice"] = torch.randn(6, 6)[::2, 1:3]
    kept["parameter"] = torch.nn.Parameter(torch.randn(3))
    record = {"progress": {"epoch": 3, "pixels": None, "seconds": 0.1 + 0.2}, "scaler": None}
    checkpoint.save(tmp_path, 12, kept, record)
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found[1] == record and found[0].keys() == kept.keys()
    for name, value in kept.items():
        assert found[0][name].dtype == value.dtype and torch.equal(found[0][name], value), name
    assert torch.signbit(found[0]["odd"][1])


def test_no_checkpoint_is_none_and_not_an_error(tmp_path):
    assert checkpoint.load_newest(tmp_path) is None
    assert checkpoint.load_newest(tmp_path / "missing") is None


def test_the_newest_two_are_kept_in_the_order_of_numbers(tmp_path):
    save(tmp_path, 5, 9, 10, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    assert loaded_step(tmp_path) == 100


def test_folders_that_are_not_ours_are_neither_counted_nor_removed_nor_loaded(tmp_path):
    for name in ("step-keep", "step-00000001.bak", "step-1", "step-99999999-copy"):
        (tmp_path / name).mkdir()
    save(tmp_path, 5, 9, 100)
    own = {path.name for path in tmp_path.iterdir()}
    assert own == {"step-keep", "step-00000001.bak", "step-1", "step-99999999-copy", "step-00000009", "step-00000100"}
    assert loaded_step(tmp_path) == 100


def test_a_save_that_fails_leaves_nothing_and_the_checkpoint_before_it(tmp_path):
    save(tmp_path, 5)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*state\.safetensors'"):
            save(tmp_path, 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"] and loaded_step(tmp_path) == 5


def test_the_same_step_again_is_left_as_it_is(tmp_path):
    save(tmp_path, 5)
    before = {name: (at(tmp_path, 5) / name).stat().st_mtime_ns for name in FILES}
    save(tmp_path, 5)
    assert {name: (at(tmp_path, 5) / name).stat().st_mtime_ns for name in FILES} == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


# ---- damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path, bit: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    bit = len(data) * 4 if bit is None else bit
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def swap_with_the_older_steps(path: Path) -> None:
    shutil.copy(at(path.parents[1], 1) / path.name, path)


@pytest.mark.parametrize("damage", [truncate, empty, flip, zero, Path.unlink, swap_with_the_older_steps])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_never_loaded(tmp_path, caplog, name, damage):
    save(tmp_path, 1, 2)
    damage(at(tmp_path, 2) / name)
    with caplog.at_level(logging.WARNING, "train.run_folder.checkpoint"):
        assert loaded_step(tmp_path) == 1
    assert "step-00000002 is passed over" in caplog.text
    found = "belongs to step 1" if damage is swap_with_the_older_steps and name == "MANIFEST.json" else name
    assert found in caplog.text
    assert loaded_step(tmp_path) == 1


def test_a_whole_folder_under_another_steps_name_is_not_loaded(tmp_path, caplog):
    save(tmp_path, 1, 2)
    at(tmp_path, 2).rename(at(tmp_path, 3))
    assert loaded_step(tmp_path) == 1
    assert "it belongs to step 2" in caplog.text


def test_a_newer_format_is_not_guessed_at(tmp_path, caplog):
    save(tmp_path, 1, 2)
    manifest = json.loads((at(tmp_path, 2) / "MANIFEST.json").read_text())
    (at(tmp_path, 2) / "MANIFEST.json").write_text(json.dumps(manifest | {"format": checkpoint.FORMAT + 1}))
    assert loaded_step(tmp_path) == 1
    assert f"its format is {checkpoint.FORMAT + 1}, this version reads {checkpoint.FORMAT}" in caplog.text


def test_a_run_with_checkpoints_of_the_format_before_is_refused_and_left_alone(tmp_path):
    save(tmp_path, 1, 2)
    for step in (1, 2):
        manifest = json.loads((at(tmp_path, step) / "MANIFEST.json").read_text())
        (at(tmp_path, step) / "MANIFEST.json").write_text(json.dumps(manifest | {"format": 1}))
    for load in (checkpoint.load_newest, checkpoint.newest_record):
        with pytest.raises(InputError, match=r"have format 1, and this version reads format 2: finish .* --run_dir"):
            load(tmp_path)
    assert at(tmp_path, 1).exists() and at(tmp_path, 2).exists()


def test_no_single_flipped_bit_of_the_tensors_or_the_record_is_loaded(tmp_path):
    save(tmp_path / "whole", 1, 2)
    for name in FILES[:2]:
        bits = 8 * (at(tmp_path / "whole", 2) / name).stat().st_size
        for bit in range(0, bits, 37):
            shutil.copytree(tmp_path / "whole", tmp_path / "hurt")
            flip(at(tmp_path / "hurt", 2) / name, bit)
            assert loaded_step(tmp_path / "hurt") == 1, (name, bit)
            shutil.rmtree(tmp_path / "hurt")


def test_no_single_flipped_bit_of_the_manifest_ends_in_a_traceback(tmp_path):
    save(tmp_path, 2)
    path = at(tmp_path, 2) / "MANIFEST.json"
    whole, failed = path.read_bytes(), []
    for bit in range(0, 8 * len(whole), 5):
        flip(path, bit)
        try:
            assert checkpoint._problem(at(tmp_path, 2)), bit
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # which should have been a warning
            failed.append(f"{error!r}")
        path.write_bytes(whole)
    assert failed[:3] == []


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format": 1}', '{"format": 1, "step": "2", "sha256": {}}'])
def test_a_manifest_of_other_json_is_passed_over(tmp_path, text):
    save(tmp_path, 1, 2)
    (at(tmp_path, 2) / "MANIFEST.json").write_text(text)
    assert loaded_step(tmp_path) == 1


def test_when_all_are_damaged_it_says_so_and_how_to_start_afresh(tmp_path):
    save(tmp_path, 1, 2)
    for step in (1, 2):
        flip(at(tmp_path, step) / "state.safetensors")
    with pytest.raises(InputError, match=r"all checkpoints in .* are damaged; delete the folder to start afresh"):
        checkpoint.load_newest(tmp_path)


def test_when_all_are_damaged_a_second_start_does_not_begin_afresh_in_silence(tmp_path):
    """A requeued job starts the same command again: it must not lose the run because it was told once."""
    save(tmp_path, 1)
    flip(at(tmp_path, 1) / "state.safetensors")
    for _ in range(2):
        with pytest.raises(InputError, match="are damaged"):
            checkpoint.load_newest(tmp_path)


def test_the_same_step_may_be_damaged_twice(tmp_path):
    save(tmp_path, 1)
    for _ in range(2):
        save(tmp_path, 2)
        flip(at(tmp_path, 2) / "state.safetensors")
        assert loaded_step(tmp_path) == 1


# ---- kills


def test_leftovers_of_a_killed_save_are_cleaned(tmp_path):
    save(tmp_path, 1)
    for name in (".tmp-2-4711", ".trash-step-00000000"):
        shutil.copytree(at(tmp_path, 1), tmp_path / name)
        (tmp_path / name / "MANIFEST.json").unlink()
    assert loaded_step(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_failed_save_leaves_the_older_one_and_no_valid_name(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    assert not at(tmp_path, 2).exists() and loaded_step(tmp_path) == 1


def test_everything_is_on_disk_before_the_name_appears(tmp_path, monkeypatch):
    events: list[str] = []
    flush, rename = os.fsync, Path.rename

    def noted_flush(descriptor: int) -> None:
        events.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        flush(descriptor)

    def noted_rename(path: Path, to: Path) -> Path:
        events.append(f"name {to.name}")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(Path, "rename", noted_rename)
    save(tmp_path / "checkpoints", 3)
    *before, named, after = events
    assert (named, after) == ("name step-00000003", "flush checkpoints")
    for name in FILES:
        assert any(event.startswith(f"flush .{name}.") for event in before), f"{name} was not flushed"
    assert before[-1] == f"flush .tmp-3-{os.getpid()}"


# ---- nothing is executed


def test_a_hostile_pickle_is_not_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    save(tmp_path, 1, 2)
    for name in FILES:
        (at(tmp_path, 2) / name).write_bytes(pickle.dumps(Hostile()))
    assert loaded_step(tmp_path) == 1
    assert not (tmp_path / "executed").exists()


def test_even_with_a_right_checksum_only_safetensors_are_read(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    save(tmp_path, 1)
    torch.save({"student/w": Hostile()}, at(tmp_path, 1) / "state.safetensors")
    manifest = json.loads((at(tmp_path, 1) / "MANIFEST.json").read_text())
    manifest["sha256"]["state.safetensors"] = checkpoint._sha256(at(tmp_path, 1) / "state.safetensors")
    (at(tmp_path, 1) / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(Exception, match=r"(?i)header|safetensors"):
        checkpoint.load_newest(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_nothing_in_train_uses_pickle():
    for path in (Path(__file__).parents[3] / "train").rglob("*.py"):
        text = path.read_text()
        assert "pickle" not in text.replace("unpickle", "") and "torch.load" not in text, path


def test_loading_calls_no_unpickler(tmp_path):
    save(tmp_path, 1)
    code = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "from train.run_folder import checkpoint\n"
        "def refuse(*_, **__): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "print(checkpoint.load_newest(Path(sys.argv[1]))[1]['progress']['total_steps'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
