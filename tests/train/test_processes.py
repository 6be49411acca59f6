"""The processes of a run: what a user's accelerate config cannot change, and how they end alike."""

import os

import pytest
import torch
from PIL import Image

import forked
from configs.errors import UsageError
from fake_gpu import CUDA
from train import processes
from train.processes import dtype_of, make_accelerator


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


@pytest.mark.parametrize(("kind", "trains"), [("cuda", "cuda"), ("xpu", "xpu"), ("mps", None), (None, None)])
def test_networks_are_trained_on_accelerators_with_float64(monkeypatch, kind, trains):
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: found)
    assert processes.accelerator_type() == trains
    if trains is None:
        assert make_accelerator("float32").device.type == "cpu"


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


# ---- arithmetic


@pytest.fixture
def arithmetic(monkeypatch):
    """Settings of torch, as they are before a command and again afterwards."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.delenv(processes.WORKSPACE, raising=False)
    yield
    processes.choose_algorithms(deterministic=False)
    torch.backends.cudnn.benchmark = False
    os.environ.pop(processes.WORKSPACE, None)


def settings() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    exact = not cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, exact, not cudnn.benchmark


def test_what_is_deterministic_is_so_until_the_next_command(arithmetic):
    processes.start("float32", deterministic=True)
    assert settings() == (True, True, True, True) and os.environ[processes.WORKSPACE] == ":4096:8"
    processes.start("float32")
    assert settings() == (False, False, False, True)  # a training decides whether cuDNN searches


def test_algorithms_are_measured_for_long_trainings_alone(arithmetic):
    processes.start("float32")
    for steps, searched in ((processes.SEARCH_PAYS, True), (processes.SEARCH_PAYS - 1, False)):
        processes.search_algorithms(steps)
        assert torch.backends.cudnn.benchmark is searched
    processes.start("float32", deterministic=True)
    processes.search_algorithms(processes.SEARCH_PAYS)
    assert torch.backends.cudnn.benchmark is False


def test_a_workspace_of_ones_own_is_kept(arithmetic, monkeypatch):
    monkeypatch.setenv(processes.WORKSPACE, ":16:8")
    processes.choose_algorithms(deterministic=True)
    assert os.environ[processes.WORKSPACE] == ":16:8"


def test_after_a_gpu_was_used_it_is_too_late(arithmetic, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UsageError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8 before a GPU is used"):
        processes.choose_algorithms(deterministic=True)
    processes.choose_algorithms(deterministic=False)


def test_an_operator_that_is_not_deterministic_is_named(arithmetic):
    def put() -> None:
        with processes.refusing_other_operators():
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    processes.choose_algorithms(deterministic=True)
    with pytest.raises(UsageError, match="put_, which the network uses, has no deterministic implementation"):
        put()
    processes.choose_algorithms(deterministic=False)
    put()  # control
    with pytest.raises(RuntimeError, match="another"), processes.refusing_other_operators():
        raise RuntimeError("another")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_is_said_where_it_is_used(arithmetic, monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert processes.computes_in_tf32(CUDA) == expected and not processes.computes_in_tf32(torch.device("cpu"))
    processes.choose_algorithms(deterministic=True)
    assert not processes.computes_in_tf32(CUDA)


NODES = """
import os
from pathlib import Path

from configs import resources
from configs.errors import InputError
from train.processes import builders_first, make_accelerator

rank = int(os.environ["RANK"])
# Two nodes: the first has one process, the second two.
os.environ |= {"LOCAL_RANK": str(max(rank - 1, 0)), "LOCAL_WORLD_SIZE": "1" if rank == 0 else "2"}
resources.cores = lambda: 8
accelerator = make_accelerator("float32")


def work(name):
    with open(name, "a") as file:
        file.write(f"{rank}:{resources.thread_share()} ")
    return rank


def refused():
    if rank == 1:
        raise InputError("a bad file on the second node")


for name, cache in (("shared", "cache"), ("own", f"cache-{min(rank, 1)}")):
    os.environ["HEARTCUT_CACHE"] = str(Path(cache).resolve())
    assert builders_first(accelerator, lambda: work(name)) == rank
try:
    builders_first(accelerator, refused)
except InputError as error:
    Path(f"refused-{rank}").write_text(str(error))
"""


@pytest.mark.launcher
def test_one_process_of_those_that_share_a_cache_fills_it_first(tmp_path):
    (tmp_path / "nodes.py").write_text(NODES)
    ended = forked.run_world(3, "nodes.py", cwd=tmp_path)
    assert [process.code for process in ended] == [0, 0, 0], [process.stderr[-2000:] for process in ended]
    first, *others = (tmp_path / "shared").read_text().split()
    assert first == "0:8" and sorted(others) == ["1:4", "2:4"]  # rank 0 is alone on its node anyway
    *builders, last = (tmp_path / "own").read_text().split()
    assert sorted(builders) == ["0:8", "1:8"] and last == "2:4"
    assert {path.read_text() for path in tmp_path.glob("refused-*")} == {"a bad file on the second node"}
    assert len(list(tmp_path.glob("refused-*"))) == 3 and not list(tmp_path.glob("cache*/.seen*"))
