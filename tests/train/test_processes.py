"""The processes of a run: what a user's accelerate config cannot change, and how they end alike."""

import pytest
import torch
from PIL import Image

import forked
from configs.errors import UsageError
from train import processes
from train.processes import dtype_of, make_accelerator


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
@pytest.mark.parametrize(
    ("precision", "mixed", "dtype"),
    [("float32", "no", torch.float32), ("float64", "no", torch.float64), ("bf16", "bf16", torch.float32)],
)
def test_precision_is_mixed_or_a_type_of_the_weights(precision, mixed, dtype):
    accelerator = make_accelerator(precision)
    assert accelerator.mixed_precision == mixed and dtype_of(precision) == dtype
    assert accelerator.device.type == "cpu" and accelerator.num_processes == 1


def test_commands_that_follow_each_other_in_a_notebook_may_differ_in_precision():
    precisions = ["float32", "bf16", "bf16", "float64"]
    assert [make_accelerator(name).mixed_precision for name in precisions] == ["no", "bf16", "bf16", "no"]


def test_a_users_default_config_does_not_choose_the_precision(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as `accelerate launch` sets it from default_config.yaml
    assert make_accelerator("float32").mixed_precision == "no"


def test_a_users_default_config_does_not_compile_the_network(monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    module = torch.nn.Linear(2, 2)
    assert make_accelerator("float32").prepare(module) is module


def test_buffers_are_not_broadcast_before_each_forward_but_by_validation():
    """69 small ones of a ResNet-18, of which training reads none."""
    assert make_accelerator("float32").ddp_handler.broadcast_buffers is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
def test_fp16_on_a_cpu_is_refused_with_what_would_work():
    with pytest.raises(UsageError, match=r"precision is fp16, which needs a GPU, .* take bf16 or float32"):
        make_accelerator("fp16")


def test_a_mixed_precision_that_the_device_has_not_is_refused(monkeypatch):
    def refusing(**_):
        raise ValueError("bf16 mixed precision requires PyTorch >= 1.10 and a supported device.")

    monkeypatch.setattr(processes, "Accelerator", refusing)  # an older GPU
    with pytest.raises(UsageError, match=r"precision bf16 is not available here \(bf16 mixed .*\); take float32"):
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
