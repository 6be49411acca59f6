"""What may be said about training: every refusal names its key and what would be right; every key has help."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from configs import reader
from configs.errors import UsageError
from configs.schema import attribute_docs
from data_pipes.spec import DataSpec
from models.spec import ModelSpec
from train.config import DistillConfig, OptimSpec, TeacherConfig, TrackSpec, TrainConfig, is_project
from train.evaluate.config import EvaluateConfig
from train.loss.config import DistillSpec
from train.predict.config import PredictConfig

DATA = DataSpec(source="digits", image_size=(16, 16), mean=(0.3,), std=(0.4,))
NET = ModelSpec(name="resnet_small", depth=8)
REQUIRED = {"run_dir": "runs/x", "data": DATA, "epochs": 1}
PAIR = (("layer1", "layer2"),)
NAN = float("nan")


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("lr", 0.0, "positive"),
        ("lr", -1e-3, "positive"),
        ("lr", NAN, "positive"),
        ("min_lr", -1e-9, "between 0 and optim.lr"),
        ("min_lr", 2e-3, "between 0 and optim.lr"),
        ("momentum", 1.0, r"in \[0, 1\)"),
        ("momentum", -0.1, r"in \[0, 1\)"),
        ("weight_decay", -1e-9, "at least 0"),
        ("weight_decay", NAN, "at least 0"),
        ("clip_norm", -1.0, "at least 0"),
        ("warmup_epochs", -0.5, "at least 0"),
        ("step_epochs", 0.0, "positive"),
        ("step_factor", 0.0, r"in \(0, 1\]"),
        ("step_factor", 1.1, r"in \(0, 1\]"),
    ],
)
def test_optim_refuses(key, value, valid):
    with pytest.raises(UsageError, match=rf"optim\.{key} is {value}; it must be {valid}"):
        OptimSpec(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("run_dir", "", "a folder"),
        ("epochs", 0, "at least 1"),
        ("batch_size", 0, "from 1 to 1,048,576"),
        ("batch_size", 10**12, "from 1 to 1,048,576"),
        ("patience", -1, "at least 0"),
        ("checkpoint_steps", -1, "at least 0"),
        ("checkpoint_minutes", -1, "from 0 to 10,000"),
        ("seed", -1, r"in \[0, 2\^63\)"),
        ("seed", 2**63, r"in \[0, 2\^63\)"),
        ("label_smoothing", 1.0, r"in \[0, 1\)"),
        ("label_smoothing", -0.1, r"in \[0, 1\)"),
        ("ema", 1.0, r"in \[0, 1\)"),
        ("ema", NAN, r"in \[0, 1\)"),
        ("micro_batch_size", 0, "at least 1, or null"),
    ],
)
@pytest.mark.parametrize("cls", [TeacherConfig, DistillConfig])
def test_both_training_commands_refuse(cls, key, value, valid):
    own = {"model": NET} if cls is TeacherConfig else {"student": NET, "teacher": "t.safetensors"}
    with pytest.raises(UsageError, match=rf"^{key} is {value!r}; it must be {valid}"):
        cls(**{**REQUIRED, **own, key: value})


@pytest.mark.parametrize("name", ["a/b", "50%", "why?", "a:b", "#1", "back\\slash", "x" * 129, "", "  "])
def test_a_project_that_wandb_would_refuse_is_refused_before_the_run(monkeypatch, name):
    with pytest.raises(UsageError, match=r"track\.project is .*; it must be a name of 1 to 128 characters, none of / "):
        TrackSpec(project=name)
    if name:
        monkeypatch.setenv("WANDB_PROJECT", name)
        assert TrackSpec().wandb == "disabled"
        with pytest.raises(UsageError, match="WANDB_PROJECT is"):
            TrackSpec(wandb="offline")


def test_the_rules_for_a_project_are_wandbs_own():
    wandb = pytest.importorskip("wandb")
    for name in [*(f"a{chr(code)}b" for code in range(32, 127)), "x" * 128, "x" * 129, "größe"]:
        try:
            wandb.Settings(project=name)
        except wandb.errors.UsageError:
            assert not is_project(name), name
        else:
            assert is_project(name), name


def test_track_refuses_a_window_of_no_steps():
    with pytest.raises(UsageError, match=r"track\.every is 0; it must be at least 1"):
        TrackSpec(every=0)


def test_the_edges_of_every_range_are_allowed():
    OptimSpec(lr=1e-3, min_lr=1e-3, momentum=0.0, weight_decay=0.0, warmup_epochs=0.0, step_factor=1.0)
    TeacherConfig(**REQUIRED, model=NET, label_smoothing=0.0, ema=0.0, micro_batch_size=1, batch_size=1)
    for alpha in (0.0, 1.0):
        DistillSpec(alpha=alpha, teacher_check=0)


@pytest.mark.parametrize(
    "loss", [DistillSpec(alpha=0.1), DistillSpec(alpha=0.0, hint=1.0, layers=PAIR), DistillSpec(alpha=1.0)]
)
def test_a_loss_that_asks_a_teacher_needs_one(loss):
    assert loss.needs_teacher
    with pytest.raises(UsageError, match=r"teacher is None; it must be a \.safetensors file.*distill\.alpha to 0"):
        DistillConfig(**REQUIRED, student=NET, distill=loss)
    assert DistillConfig(**REQUIRED, student=NET, distill=loss, teacher="t.safetensors").trained is NET


def test_the_control_without_a_teacher_needs_none():
    config = DistillConfig(**REQUIRED, student=NET, distill=DistillSpec(alpha=0.0))
    assert not config.distill.needs_teacher and config.teacher is None


def test_a_config_never_changes():
    config = TeacherConfig(**REQUIRED, model=NET)
    with pytest.raises(FrozenInstanceError):
        config.epochs = 2
    assert config.trained is NET


@pytest.mark.parametrize(
    "cls",
    [OptimSpec, TrackSpec, TrainConfig, TeacherConfig, DistillSpec, DistillConfig, EvaluateConfig, PredictConfig],
    ids=lambda cls: cls.__name__,
)
def test_every_key_has_help(cls):
    docs = attribute_docs(cls)
    assert [field.name for field in fields(cls) if len(docs.get(field.name, "")) < 5] == []
    assert all(text.endswith((".", ".)")) for text in docs.values())


MINIMAL = [
    "--run_dir", "r", "--data.source", "digits", "--data.image_size", "[16, 16]", "--data.mean", "[0.3]",
    "--data.std", "[0.4]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "more"),
    [
        (TeacherConfig, ["--epochs", "1", "--model.name", "nin"]),
        (DistillConfig, ["--epochs", "1", "--student.name", "nin", "--teacher", "t.safetensors"]),
        (EvaluateConfig, []),
        (PredictConfig, []),
    ],
)
def test_defaults_load_and_come_back_from_their_own_file(cls, more, tmp_path):
    config = reader.read(cls, [*MINIMAL, *more], prog="p", description="d")
    (tmp_path / "c.yaml").write_text(reader.dump(config))
    assert reader.read(cls, ["--config", str(tmp_path / "c.yaml")], prog="p", description="d") == config


def test_refusals_reach_the_user_with_file_and_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("optim:\n  lr: -1\n")
    argv = ["--config", str(path), *MINIMAL, "--epochs", "1", "--model.name", "nin"]
    with pytest.raises(UsageError, match=r"c\.yaml, line 2: optim\.lr is -1.0; it must be positive"):
        reader.read(TeacherConfig, argv, prog="p", description="d")


def test_layer_pairs_are_read_from_the_command_line():
    argv = [*MINIMAL, "--epochs", "1", "--student.name", "nin", "--teacher", "t.safetensors"]
    config = reader.read(
        DistillConfig, [*argv, "--distill.hint=1", "--distill.layers=[[a.0, b], [c, d]]"], prog="p", description="d"
    )
    assert config.distill.layers == (("a.0", "b"), ("c", "d"))
    assert config.distill.student_layers == ("a.0", "c")


@pytest.mark.parametrize(
    "name",
    ["teacher", "distill", *(f"{room}.__main__" for room in ("cache", "compress", "evaluate", "predict", "prune"))],
)
def test_a_command_loads_torch_only_for_a_config_that_holds(name):
    code = (
        f"import sys; import train.{name} as command\n"
        "try: command.main()\n"
        "except ValueError: print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, "--no_such_key", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "False"
