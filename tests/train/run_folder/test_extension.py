"""A finished run is trained on from its last state, and what it had reached is kept until the extension is finished."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import reader
from configs.errors import InputError, UsageError
from configs.stopping import StoppedError
from models import artefact
from tiny_digits import SMALL_DATA, losses, save, sha, train
from train.config import TeacherConfig
from train.loop import Loop
from train.prune.config import PruneConfig
from train.run_folder import checkpoint, extension, status
from train.run_folder.run_dir import RunDir
from train.stage import run as stage_run

DIGITS = Path(__file__).parents[3] / "configs" / "digits"
LR, STEPS = 0.01, 5
MORE = ("--extend", "true", "--epochs", "4", "--optim.lr", "0.004")


def teach(folder: Path, *options: str) -> dict[str, Any]:
    words = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", str(folder), "--model.depth", "8"]
    words += ["--model.widths", "[2, 4, 8]", "--epochs", "2", "--batch_size", "64", "--ema", "0.8", "--test", "false"]
    words += [*SMALL_DATA, "--optim.lr", str(LR), "--optim.warmup_epochs", "0", "--track.every", "1"]
    words += ["--track.pictures", "false", *options]
    stage_run.run(reader.read(TeacherConfig, words, prog="x", description="x"), "teacher")
    return dict(json.loads((folder / "result.json").read_text()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    teach(folder / "run")
    return folder / "run"


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / "run"))


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As SIGTERM does, but at a known place: in the middle of an epoch, counted from 0."""
    from train import loop

    def asked(accelerator: Any) -> str | None:
        return "for a test" if current and current[0].state.progress.epoch == number else None

    current: list[Loop] = []
    micro_step = Loop._micro_step

    def watched(self: Loop, *batch: Any) -> Any:
        current[:] = [self]
        return micro_step(self, *batch)

    monkeypatch.setattr(Loop, "_micro_step", watched)
    monkeypatch.setattr(loop, "asked_to_stop", asked)


def files(folder: Path) -> dict[str, bytes]:
    """What a finished run must not lose."""
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "result.json")}


# ---- what is trained


def test_it_goes_on_from_the_last_state_with_a_schedule_over_what_is_added(finished: Path) -> None:
    first, before = losses(finished), json.loads((finished / "result.json").read_text())
    weights = sha(finished)
    result = teach(finished, *MORE)
    both = losses(finished)
    assert both[: 2 * STEPS] == first and [line["train/step"] for line in both] == [*range(1, 4 * STEPS + 1)]
    expected = [0.004 * (1 + math.cos(math.pi * i / (2 * STEPS))) / 2 for i in range(2 * STEPS)]
    assert [line["step/lr"] for line in both[2 * STEPS :]] == pytest.approx(expected)
    assert result["epochs"] == 4
    [recorded] = result["extensions"]
    assert [asdict(one) for one in extension.read(RunDir(finished))] == [recorded]
    assert (recorded["from_epoch"], recorded["from_step"]) == (2, 2 * STEPS)
    assert recorded["before"]["epochs"] == 2 and recorded["before"]["optim"]["lr"] == LR
    assert recorded["after"]["epochs"] == 4 and recorded["after"]["optim"]["lr"] == 0.004
    assert recorded["result"]["validation_accuracy"] == before["validation_accuracy"]
    assert recorded["result"]["sha256"] == weights
    card = artefact.read_card(finished / "model.safetensors")
    assert card.lineage["extended"] == "at epoch 2, to 4, cosine from lr 0.004"
    assert yaml.safe_load((finished / "config.yaml").read_text())["epochs"] == 4
    assert status.read(finished)["state"] == "done" and (finished / "done").exists()


def test_a_constant_rate_extended_ends_with_the_bits_of_one_long_run(finished: Path, tmp_path: Path) -> None:
    """Weights, moments, moving average, best epoch, order and views all go on; only a schedule could tell."""
    constant = ("--optim.schedule", "constant")
    teach(tmp_path / "long", "--epochs", "4", *constant)
    teach(tmp_path / "short", *constant)
    teach(tmp_path / "short", *constant, "--extend", "true", "--epochs", "4")
    assert losses(tmp_path / "short") == losses(tmp_path / "long")
    cards = [artefact.load(tmp_path / name / "model.safetensors")[0].state_dict() for name in ("long", "short")]
    assert all(value.equal(cards[1][name]) for name, value in cards[0].items())


def test_a_distillation_is_extended_likewise(tmp_path: Path) -> None:
    save(tmp_path / "teacher.safetensors")
    train(tmp_path, "run", "--epochs", "1")
    run = train(tmp_path, "run", "--epochs", "2", "--extend", "true")
    assert len(losses(run)) == 2 * STEPS and len(json.loads((run / "result.json").read_text())["extensions"]) == 1


def test_the_best_epoch_of_before_is_kept_where_none_is_better(tmp_path: Path) -> None:
    known = ("--ema", "0", "--data.augment", "{}")
    best = teach(tmp_path, *known, "--epochs", "4", "--optim.lr", "0.05")
    assert best["validation_accuracy"] > 0.15
    net = artefact.load(tmp_path / "model.safetensors")[0].state_dict()
    result = teach(tmp_path, *known, "--extend", "true", "--epochs", "5", "--optim.lr", "5")  # spoils it
    assert [result[key] == best[key] for key in ("best_epoch", "validation_accuracy", "epochs")] == [True, True, False]
    again = artefact.load(tmp_path / "model.safetensors")[0].state_dict()
    assert all(value.equal(again[name]) for name, value in net.items())


def test_it_can_be_extended_again(finished: Path) -> None:
    teach(finished, *MORE)
    result = teach(finished, "--extend", "true", "--epochs", "5")
    assert [one["from_epoch"] for one in result["extensions"]] == [2, 4] and result["epochs"] == 5


def test_patience_counts_anew(tmp_path: Path) -> None:
    still = ("--patience", "1", "--optim.lr", "1e-9", "--ema", "0", "--epochs", "9")
    ended = teach(tmp_path, *still)
    assert ended["epochs"] == ended["best_epoch"] + 1 < 9
    longer = teach(tmp_path, *still, "--extend", "true")  # the same epochs: it had not trained them all
    assert ended["epochs"] < longer["epochs"] < 9
    assert teach(tmp_path, *still, "--extend", "true") == longer  # and this extension is over
    assert teach(tmp_path, *still, "--extend", "true", "--epochs", "8")["epochs"] > longer["epochs"]


# ---- again, and interrupted


def test_the_same_command_after_the_end_trains_nothing(finished: Path) -> None:
    teach(finished, *MORE)
    before = files(finished), (finished / "metrics.jsonl").read_bytes()
    teach(finished, *MORE)
    assert (files(finished), (finished / "metrics.jsonl").read_bytes()) == before


def test_interrupted_it_loses_nothing_and_goes_on_with_the_same_bits(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(tmp_path / "whole")
    teach(tmp_path / "whole", *MORE)
    before = files(finished)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(StoppedError, match="step 1 of epoch 3"):
            teach(finished, *MORE)
    assert files(finished) == before and not (finished / "done").exists()
    assert status.read(finished)["state"] == "preempted"
    teach(finished, *MORE)
    assert sha(finished) == sha(tmp_path / "whole") and losses(finished) == losses(tmp_path / "whole")


@pytest.mark.parametrize("last", ["extensions.json", "config.yaml"])
def test_killed_while_it_begins_it_begins_again(finished: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Killed after either file: the run is still done, and the same command extends it once."""

    class Killed(BaseException):
        pass

    def killing(write: Any) -> Any:
        def then(path: Path, content: Any) -> None:
            write(path, content)
            if path.name == last:
                raise Killed

        return then

    before = files(finished)
    with monkeypatch.context() as patch:
        for name in ("write_json", "write_atomically"):
            patch.setattr(extension, name, killing(getattr(extension, name)))
        with pytest.raises(Killed):
            teach(finished, *MORE)
    assert files(finished) == before and (finished / "done").exists()
    result = teach(finished, *MORE)
    assert result["epochs"] == 4 and len(result["extensions"]) == 1


def test_an_interrupted_extension_may_go_on_with_other_settings(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out of one that diverged: from its last state, and recorded as another extension."""
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(StoppedError):
            teach(finished, *MORE)
    result = teach(finished, *MORE[:-1], "0.002")
    assert [(one["from_epoch"], one["from_step"]) for one in result["extensions"]] == [(2, 10), (2, 11)]
    assert [one["after"]["optim"]["lr"] for one in result["extensions"]] == [0.004, 0.002]
    rate = [line["step/lr"] for line in losses(finished)]
    assert (
        rate[10] == 0.004 and rate[11] == 0.002 and rate[-1] == pytest.approx(0.001 * (1 + math.cos(math.pi * 8 / 9)))
    )


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "2"), r"has trained 2 epochs; epochs is 2, and must be more"),
        (("--epochs", "1"), r"has trained 2 epochs; epochs is 1, and must be more"),
        (("--epochs", "4", "--batch_size", "32"), "nothing else; batch_size was 64, is now 32"),
        (("--epochs", "4", "--data.augment.mixup", "0.9"), r"data\.augment\.mixup was 0\.4, is now 0\.9"),
        (("--epochs", "4", "--optim.name", "sgd"), r"optim\.name was adamw, is now sgd"),
        (("--epochs", "4", "--patience", "3"), "patience was 0, is now 3"),
    ],
)
def test_what_may_not_differ_is_named_and_nothing_changes(
    finished: Path, options: tuple[str, ...], message: str
) -> None:
    before = files(finished), (finished / "config.yaml").read_bytes()
    with pytest.raises(InputError, match=message):
        teach(finished, "--extend", "true", *options)
    assert (files(finished), (finished / "config.yaml").read_bytes()) == before and (finished / "done").exists()


def test_what_never_changes_results_may_differ(finished: Path) -> None:
    assert teach(finished, *MORE, "--track.every", "2", "--data.threads", "2", "--checkpoint_steps", "3")["epochs"] == 4


def test_without_a_finished_run_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds no finished run to extend: train it to its end first, without --ext"):
        teach(tmp_path / "none", *MORE)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(StoppedError):
            teach(tmp_path / "run")
    with pytest.raises(InputError, match="holds no finished run to extend"):
        teach(tmp_path / "run", *MORE)
    assert teach(tmp_path / "run")["epochs"] == 2


def test_without_extend_a_finished_run_names_it(finished: Path) -> None:
    with pytest.raises(InputError, match=r"epochs was 2, is now 4.*or train this one on with --extend true"):
        teach(finished, "--epochs", "4")
    with pytest.raises(InputError, match=r"seed was 0, is now 1; .*\. Choose another --run_dir, or delete [a-z ]*$"):
        teach(finished, "--epochs", "4", "--seed", "1")


def test_a_run_whose_checkpoints_are_gone_is_refused(finished: Path) -> None:
    for path in finished.glob("checkpoints/*/*"):
        path.unlink()
    for path in finished.glob("checkpoints/*"):
        path.rmdir()
    with pytest.raises(InputError, match="holds no checkpoint, so that the last state of the run is gone"):
        teach(finished, *MORE)


def test_an_older_checkpoint_than_its_beginning_is_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stage_run, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            teach(finished, *MORE)
    newest = sorted(finished.glob("checkpoints/step-*"))[-1]
    (newest / "state.json").write_text("{}")
    assert checkpoint.newest_record(finished / "checkpoints")["progress"]["epoch"] == 1
    with pytest.raises(InputError, match="begins at step 10, and its newest sound checkpoint is of step 5"):
        teach(finished, *MORE)


@pytest.mark.parametrize("above", [True, False])
def test_chains_and_their_stages_are_refused(finished: Path, above: bool) -> None:
    chain = finished.parent if above else finished
    (chain / "config.yaml").write_text((finished / "config.yaml").read_text() + "\ncut: {}\n")
    with pytest.raises(InputError, match=r"it cannot be extended.*--student\.name .*model\.safetensors"):
        teach(finished, *MORE)


def test_train_prune_does_not_extend(tmp_path: Path) -> None:
    words = ["--config", str(DIGITS / "prune.yaml"), "--run_dir", str(tmp_path), "--extend", "true"]
    with pytest.raises(UsageError, match=r"extend is True; it must be left out: train\.distill"):
        reader.read(PruneConfig, words, prog="x", description="x")
