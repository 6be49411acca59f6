"""A network class from a file, from training to its budget and back in a fresh process; its copy in the run folder."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

import forked
from configs.errors import InputError, UsageError
from models import artefact, counting
from models.own import code, network, registry
from models.own.registry import NotNamedError
from train.run_folder import own_code
from train.run_folder.run_dir import RunDir

ROOT = Path(__file__).parents[3]
MY_NET = ROOT / "tests" / "my_net.py"
SMALL = ["--data.image_size", "[8, 8]", "--data.augment.rotation", "0", "--data.threads", "1", "--onnx", "false"]
SMALL += ["--track.pictures", "false"]
SMALL += ["--cut.final_epochs", "1", "--cut.recalibration", "2"]
SMALL += ["--cut.prune.steps", "2", "--cut.prune.budget.parameters", "1800"]
for stage in ("teacher_training", "student", "cut"):
    SMALL += [f"--{stage}.epochs", "1", f"--{stage}.batch_size", "256", f"--{stage}.optim.warmup_epochs", "0"]
OURS = ["depth", "widths"]  # settings of the networks in the config file
NETS = [f"--teacher_training.model.{key}=null" for key in OURS] + [f"--student.model.{key}=null" for key in OURS]
NETS += ["--teacher_training.model.name", "nets/teacher_net.py:StudentNet"]
NETS += ["--student.model.name", "nets/my_net.py:StudentNet", "--student.model.kwargs", "{width: 4}"]
NETS += ["--student.distill.hint", "0.1", "--student.distill.layers", "[[stages.1, stages.1]]"]
NETS += ["--cut.distill.alpha", "0.5"]
COMPRESS = ["--config", str(ROOT / "configs" / "digits" / "compress.yaml"), "--run_dir", "run", *SMALL, *NETS]


@pytest.fixture(autouse=True)
def nothing_named():
    registry.forget()
    yield
    registry.forget()


def start(home: Path, *words: str) -> forked.Ended:
    return forked.run(*words, cwd=home)


def teacher_net(path: Path) -> None:
    path.write_text(MY_NET.read_text() + "\n\n# The teacher's.\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher and student of own code, compressed to a budget."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "nets").mkdir()
    shutil.copy(MY_NET, folder / "nets")
    teacher_net(folder / "nets" / "teacher_net.py")
    ended = start(folder, "train.compress", *COMPRESS)
    assert ended.code == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.launcher
def test_an_unmodified_class_reaches_its_budget(home):
    run = home / "run"
    card = artefact.read_card(run / "model.safetensors")
    assert card.pruned and 1500 < card.cost.parameters <= 1800
    assert (card.model.name, card.model.kwargs) == ("my_net.py:StudentNet", {"width": 4})
    assert card.code_sha256 == code.read(f"{MY_NET}:StudentNet").sha256
    for folder in (run, run / "student", run / "cut", run / "cut" / "cut-01"):
        assert (folder / "my_net.py").read_bytes() == MY_NET.read_bytes()
    assert (run / "teacher" / "teacher_net.py").exists()


@pytest.mark.launcher
def test_a_file_alone_executes_nothing_and_says_what_to_name(home, monkeypatch):
    monkeypatch.chdir(home / "nets")  # the file that the card names lies right here
    monkeypatch.setattr(network, "_module", None)  # nothing may be executed
    for load in (artefact.load, artefact.redraw):
        with pytest.raises(NotNamedError, match=r"model\.safetensors holds a network of your own code, my_net\.py:Stu"):
            load(home / "run" / "model.safetensors")
    assert artefact.read_card(home / "run" / "model.safetensors").classes


@pytest.mark.launcher
def test_the_named_file_loads_it_and_another_one_with_a_warning(home, tmp_path, caplog):
    registry.register(f"{home}/nets/my_net.py:StudentNet")
    net, card = artefact.load(home / "run" / "model.safetensors")
    assert counting.measure(net, card.input_CHW) == card.cost
    registry.forget()
    teacher_net(tmp_path / "renamed.py")
    registry.register(f"{tmp_path}/renamed.py:StudentNet")
    with caplog.at_level(logging.WARNING):
        again, _ = artefact.load(home / "run" / "model.safetensors")
    assert str(card.code_sha256) in caplog.text
    image = torch.randn(2, *card.input_CHW)
    assert torch.equal(net(image), again(image))


@pytest.mark.launcher
def test_a_fresh_process_evaluates_by_the_run_folder_even_where_the_file_is_gone_or_edited(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    before = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    for folder in ("run", "run/cut"):
        ended = start(tmp_path, "train.evaluate", "--run_dir", folder)
        assert ended.code == 0, ended.stderr[-2000:]
        found = json.loads((tmp_path / folder / "evaluation-test.json").read_text())
        assert found["confusion"] == before["confusion"]
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "my_net.py").write_text("raise SystemExit('edited')\n")
    assert start(tmp_path, "train.evaluate", "--run_dir", "run").code == 0


@pytest.mark.launcher
def test_a_file_that_changed_stops_the_same_command(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    edited = tmp_path / "home" / "nets" / "my_net.py"
    edited.write_text(edited.read_text() + "# edited\n")
    ended = start(tmp_path / "home", "train.compress", *COMPRESS)
    assert ended.code == 66, ended.stderr
    assert "nets/my_net.py is not the file that the run in run began with, of which" in ended.stderr
    assert "Traceback" not in ended.stderr
    edited.write_bytes(MY_NET.read_bytes())
    assert start(tmp_path / "home", "train.compress", *COMPRESS).code == 0


@pytest.mark.launcher
def test_later_stages_by_hand_name_the_code(home, tmp_path):
    words = ["--config", str(ROOT / "configs" / "digits" / "prune.yaml"), "--run_dir", str(tmp_path / "cut")]
    words += ["--student.name", "run/student/model.safetensors", "--teacher", "run/teacher/model.safetensors"]
    words += ["--data.image_size", "[8, 8]", "--prune.budget.parameters", "1800", "--prune.steps", "2", "--dry_run"]
    ended = start(home, "train.prune", *words)
    assert ended.code == 66 and "--network PATH/my_net.py:StudentNet" in ended.stderr
    named = "[nets/my_net.py:StudentNet, nets/teacher_net.py:StudentNet]"
    ended = start(home, "train.prune", *words, "--network", named)
    assert ended.code == 0, ended.stderr


@pytest.mark.launcher
def test_two_processes_build_the_same_network(home, tmp_path):
    words = ["--config", str(ROOT / "configs" / "digits" / "teacher.yaml"), "--model.depth=null", "--model.widths=null"]
    words += ["--model.name", "nets/my_net.py:StudentNet", "--model.kwargs", "{width: 2}", "--run_dir", str(tmp_path)]
    words += ["--data.image_size", "[8, 8]", "--epochs", "1", "--batch_size", "256", "--optim.warmup_epochs", "0"]
    ended = forked.run_world(2, "train.teacher", *words, cwd=home)
    assert [process.code for process in ended] == [0, 0], ended[0].stderr[-3000:]
    assert (tmp_path / "my_net.py").exists() and json.loads((tmp_path / "result.json").read_text())["processes"] == 2


@pytest.mark.launcher
def test_logits_of_a_teacher_are_those_of_its_code(home, tmp_path):
    shutil.copy(home / "run" / "teacher" / "model.safetensors", tmp_path / "teacher.safetensors")
    teacher_net(tmp_path / "teacher_net.py")
    words = ["--config", str(ROOT / "configs" / "digits" / "distill.yaml"), "--teacher", "teacher.safetensors"]
    words += ["--distill.cache", "cache", "--views", "1", "--data.image_size", "[8, 8]", "--run_dir", "none"]
    ended = start(tmp_path, "train.cache", *words)
    assert ended.code == 66 and "--network PATH/teacher_net.py:StudentNet" in ended.stderr
    words += ["--network", "teacher_net.py:StudentNet"]
    assert start(tmp_path, "train.cache", *words).code == 0
    (tmp_path / "teacher_net.py").write_bytes(MY_NET.read_bytes())
    ended = start(tmp_path, "train.cache", *words)
    assert ended.code == 66 and "teacher.code_sha256" in ended.stderr, ended.stderr


def test_a_copy_is_made_once_and_protects_a_run_that_has_begun(tmp_path):
    (tmp_path / "net.py").write_text("first\n")
    folder, config = RunDir(tmp_path / "run"), {"model": {"name": f"{tmp_path}/net.py:Net"}}
    own_code.keep(config, folder, Accelerator(cpu=True))
    assert (folder.path / "net.py").read_text() == "first\n"
    (tmp_path / "net.py").write_text("second\n")
    registry.forget()
    own_code.keep(config, folder, Accelerator(cpu=True))  # nothing was trained yet
    assert (folder.path / "net.py").read_text() == "second\n"
    folder.result.write_text("{}")
    (tmp_path / "net.py").write_text("third\n")
    registry.forget()
    with pytest.raises(InputError, match=r"net\.py is not the file that the run in .* began with"):
        own_code.keep(config, folder, Accelerator(cpu=True))
    (tmp_path / "net.py").unlink()
    registry.forget()
    own_code.keep(config, folder, Accelerator(cpu=True))
    assert registry.register(f"{tmp_path}/net.py:Net")[0].source == b"second\n"


def test_a_run_of_our_own_networks_needs_no_code_and_a_missing_file_is_named(tmp_path):
    own_code.register_run(str(tmp_path))
    with pytest.raises(UsageError, match=r"there is no file gone\.py"):
        own_code.register_run(str(tmp_path), "gone.py:Net")
