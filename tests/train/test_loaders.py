"""How samples are shared out over processes, and who chooses the executor."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import forked
import reference
from configs.errors import InputError, UsageError
from data_pipes.executors.choice import Choice
from data_pipes.sources.source import Source
from data_pipes.spec import AugmentSpec, DataSpec
from train.loaders import EVAL_BATCH, FEW_IMAGES, evaluation_loader, load_splits, say, training_layout

CPU = "import os; os.environ |= {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}"
DIGITS = Path(__file__).parents[2] / "configs" / "digits" / "teacher.yaml"
SPEC = DataSpec(
    source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,), threads=1, augment=AugmentSpec(rotation=45)
)


def world(processes: int, rank: int = 0) -> SimpleNamespace:
    return SimpleNamespace(num_processes=processes, process_index=rank, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("processes", "micro", "expected"),
    [(1, None, (12, 1)), (2, None, (6, 1)), (2, 3, (3, 2)), (1, 3, (3, 4)), (3, 4, (4, 1))],
)
def test_the_global_batch_is_dealt_out(processes, micro, expected):
    layout = training_layout(world(processes, processes - 1), 12, micro)
    assert (layout.micro_batch_size, layout.accumulation) == expected
    assert (layout.batch_size, layout.world_size, layout.rank) == (12, processes, processes - 1)


@pytest.mark.parametrize(("processes", "batch_size", "micro"), [(5, 12, None), (2, 12, 5), (3, 2, None), (1, 4, 8)])
def test_a_batch_that_cannot_be_dealt_out_is_refused(processes, batch_size, micro):
    with pytest.raises(UsageError, match=rf"batch_size {batch_size} cannot be divided among {processes} processes"):
        training_layout(world(processes), batch_size, micro)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize("batch_size", [1, 4, EVAL_BATCH])
def test_over_all_processes_each_sample_is_evaluated_once(processes, size, batch_size):
    samples = reference.in_memory([reference.noise(8, 8, 1, seed=i) for i in range(size)])
    seen = []
    for rank in range(processes):
        loader = evaluation_loader(
            world(processes, rank), samples, SPEC, FEW_IMAGES, torch.float64, batch_size=batch_size
        )
        for batch in loader.epoch(0):
            assert batch.view == -1 and batch.image_BCHW.dtype == torch.float64 and len(batch.index_B) <= batch_size
            seen += batch.index_B[batch.weight_B > 0].tolist()
        loader.close()
    assert sorted(seen) == list(range(size))


def test_evaluation_views_have_nothing_random_in_them_and_come_in_order():
    samples = reference.in_memory([reference.noise(8, 8, 1, seed=i) for i in range(6)])
    loader = evaluation_loader(world(1), samples, SPEC, FEW_IMAGES)
    (batch,) = loader.epoch(0)
    (again,) = loader.epoch(1)
    loader.close()
    assert batch.index_B.tolist() == list(range(6)) and torch.equal(batch.image_BCHW, again.image_BCHW)
    pixels = torch.from_numpy(samples.read(3, channels=1)).permute(2, 0, 1) / 255
    torch.testing.assert_close(batch.image_BCHW[3], (pixels - 0.3) / 0.4)


def test_the_executor_that_was_chosen_is_the_one_that_is_built():
    """Whatever data.executor says by then: the loader does not choose again."""
    samples = reference.in_memory([reference.noise(8, 8, 1, seed=i) for i in range(3)])
    resident = Choice(name="resident", feed="canvas", reason="a test")
    kinds = []
    for chosen in (FEW_IMAGES, resident):
        loader = evaluation_loader(world(1), samples, replace(SPEC, executor="auto"), chosen)
        kinds.append(type(loader._executor._samples.images) is type(samples.images))
        loader.close()
    assert kinds == [True, False]


COUNTED = """
import os
from data_pipes.executors import build
real = build.choose
def counted(*args):
    with open("chosen", "a") as file:
        file.write(os.environ["RANK"])
    return real(*args)
build.choose = counted
"""


@pytest.mark.launcher
def test_the_main_process_chooses_once_for_all_loaders_of_a_run(tmp_path):
    words = ["--config", str(DIGITS), "--run_dir", "run", "--epochs", "1", "--model.depth", "8"]
    words += ["--model.widths", "[2, 4, 8]", "--data.image_size", "[8, 8]", "--data.threads", "1"]
    ended = forked.run_world(2, "train.teacher", *words, prelude=COUNTED, cwd=tmp_path)
    assert [process.code for process in ended] == [0, 0], ended[0].stderr[-3000:]
    # The pictures at the end are drawn on the CPU by an executor of their own.
    assert (tmp_path / "chosen").read_text() == "00" and "executor: resident" in ended[0].stderr


def test_the_line_about_the_data_names_classes_and_counts(caplog):
    caplog.set_level("INFO")
    samples = replace(reference.in_memory([reference.noise(2, 2, 1)] * 3), classes=tuple("abcdefgh"))
    say(samples, replace(samples, split="validation"), None)
    say(samples, replace(samples, split="test"))
    assert caplog.messages == [
        "data: 8 classes (a, b, c, d, e and 3 more), 3 train, 3 validation images",
        "data: 8 classes (a, b, c, d, e and 3 more), 3 train, 3 test images",
    ]


def test_one_class_alone_is_refused_before_its_images_are_read(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="has one class alone, cat"):
        load_splits(Accelerator(cpu=True), Source(replace(SPEC, source="folder", root=str(tmp_path))))


@pytest.mark.launcher
def test_two_processes_share_the_examination_of_files_and_only_one_looks_at_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    for i in range(40):
        path = tmp_path / "set" / ("test" if i % 4 == 0 else "train") / "ab"[i // 4 % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 300), (i, i, i)).save(path)
    script = str(Path(__file__).with_name("file_ranks.py"))
    found = []
    for cache in ("first", "again"):
        prelude = CPU + f"; os.environ['HEARTCUT_CACHE'] = {str(tmp_path / 'cache')!r}"
        ended = forked.run_world(2, script, str(tmp_path / "set"), prelude=prelude)
        assert [one.code for one in ended] == [0, 0], (cache, ended[0].stderr[-2000:], ended[1].stderr[-2000:])
        found.append([json.loads(one.stdout.splitlines()[-1]) for one in ended])
    (main, other), (main_again, other_again) = found
    assert main["walks"] == 1 and main["looks"] == 2 and other["walks"] == other["looks"] == 0
    assert main["examined"] + other["examined"] == 40 and main["data"] == other["data"] == main_again["data"]
    assert main["pixels"] == other["pixels"] and main_again["examined"] == other_again["examined"] == 0
