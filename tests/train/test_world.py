"""The processes of a run: what a user's accelerate config cannot change, and how samples are dealt out."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import forked
import reference
from configs.errors import UsageError
from data_pipes.spec import AugmentSpec, DataSpec
from train import world as world_module
from train.world import EVAL_BATCH, dtype_of, evaluation_loader, make_accelerator, training_layout

SPEC = DataSpec(
    source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,), threads=1, augment=AugmentSpec(rotation=45)
)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
@pytest.mark.parametrize(
    ("precision", "mixed", "dtype"),
    [("float32", "no", torch.float32), ("float64", "no", torch.float64), ("bf16", "bf16", torch.float32)],
)
def test_precision_is_mixed_or_a_type_of_the_weights(precision, mixed, dtype):
    accelerator = make_accelerator(precision)
    assert accelerator.mixed_precision == mixed and dtype_of(precision) == dtype
    assert accelerator.device.type == "cpu" and accelerator.num_processes == 1


def test_a_users_default_config_does_not_choose_the_precision(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as `accelerate launch` sets it from default_config.yaml
    assert make_accelerator("float32").mixed_precision == "no"


def test_a_users_default_config_does_not_compile_the_network(monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    module = torch.nn.Linear(2, 2)
    assert make_accelerator("float32").prepare(module) is module


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
def test_a_batch_that_cannot_be_divided_is_refused(processes, batch_size, micro):
    with pytest.raises(UsageError, match=rf"batch_size {batch_size} cannot be divided among {processes} processes"):
        training_layout(world(processes), batch_size, micro)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize("batch_size", [1, 4, EVAL_BATCH])
def test_over_all_processes_each_sample_is_evaluated_once(processes, size, batch_size):
    samples = reference.in_memory([reference.noise(8, 8, 1, seed=i) for i in range(size)])
    seen = []
    for rank in range(processes):
        loader = evaluation_loader(world(processes, rank), samples, SPEC, torch.float64, batch_size=batch_size)
        for batch in loader.epoch(0):
            assert batch.view == -1 and batch.image_BCHW.dtype == torch.float64 and len(batch.index_B) <= batch_size
            seen += batch.index_B[batch.weight_B > 0].tolist()
        loader.close()
    assert sorted(seen) == list(range(size))


def test_evaluation_views_have_nothing_random_in_them_and_come_in_order():
    samples = reference.in_memory([reference.noise(8, 8, 1, seed=i) for i in range(6)])
    loader = evaluation_loader(world(1), samples, SPEC)
    (batch,) = loader.epoch(0)
    (again,) = loader.epoch(1)
    loader.close()
    assert batch.index_B.tolist() == list(range(6)) and torch.equal(batch.image_BCHW, again.image_BCHW)
    pixels = torch.from_numpy(samples.read(3, channels=1)).permute(2, 0, 1) / 255
    torch.testing.assert_close(batch.image_BCHW[3], (pixels - 0.3) / 0.4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
def test_fp16_on_a_cpu_is_refused_with_what_would_work():
    with pytest.raises(UsageError, match=r"precision is fp16, which needs a GPU, .* take bf16 or float32"):
        make_accelerator("fp16")


def test_a_mixed_precision_that_the_device_has_not_is_refused(monkeypatch):
    def refusing(**_):
        raise ValueError("bf16 mixed precision requires PyTorch >= 1.10 and a supported device.")

    monkeypatch.setattr(world_module, "Accelerator", refusing)  # an older GPU
    with pytest.raises(
        UsageError, match=r"precision is bf16, which cannot be had here \(bf16 mixed .*\); take float32"
    ):
        make_accelerator("bf16")


@pytest.mark.launcher
def test_all_processes_end_alike_where_the_main_one_finds_a_bad_file(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (8, 8), 40 * i).save(tmp_path / "data" / split / name / f"{i}.png")
    (tmp_path / "data" / "test" / "a" / "9.png").write_bytes(b"no image")
    (tmp_path / "c.yaml").write_text(
        "run_dir: run\nepochs: 1\nbatch_size: 4\nmodel: {name: resnet_small, depth: 8, widths: [2, 4, 8]}\n"
        "data: {source: folder, root: data, image_size: [8, 8], mean: [0.3], std: [0.4]}\n"
    )
    ended = forked.run_world(2, "train.teacher", "--config", "c.yaml", cwd=tmp_path)
    assert [process.code for process in ended] == [66, 66], ended[1].stderr[-3000:]
    assert all("test/a/9.png" in process.stderr and "Traceback" not in process.stderr for process in ended)
    ended = forked.run_world(2, "train.teacher", "--config", "c.yaml", "--data.bad_files", "skip", cwd=tmp_path)
    assert [process.code for process in ended] == [0, 0], ended[0].stderr[-3000:]
