"""What may be said about filling a cache: any config that training takes, and every refusal names its key."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from configs import reader
from configs.errors import UsageError
from configs.schema import attribute_docs
from train.cache.config import CacheConfig
from train.config import DistillConfig
from train.loss.config import DistillSpec
from train.prune.config import PruneConfig

ROOT = Path(__file__).parents[3]
PRUNE, DISTILL = (str(ROOT / "configs" / "digits" / f"{name}.yaml") for name in ("prune", "distill"))
CACHE = ["--distill.cache", "cache"]
PAIR = (("layer1", "layer2"),)


def read(*words: str, cls=CacheConfig):
    return reader.read(cls, words, prog="x", description="x", other_sections=cls is CacheConfig)


def test_a_config_of_distillation_says_all_that_a_cache_needs():
    config = read("--config", DISTILL, *CACHE, "--views", "3")
    assert config.view_numbers == range(3) and (config.verify, config.repair, config.dry_run) == (0, False, False)
    own = read("--config", DISTILL, *CACHE, "--views", "3", cls=DistillConfig)
    assert all(getattr(config, field.name) == getattr(own, field.name) for field in fields(own))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*/distill.yaml")) + sorted((ROOT / "configs").glob("*/prune*.yaml"))
)
def test_shipped_files_are_taken_as_they_are(path):
    """Those of train.prune have sections that a cache does not know."""
    assert read("--config", str(path), *CACHE).distill.cache == "cache"


def test_a_key_that_looks_like_one_of_its_own_is_no_other_section(tmp_path):
    file = tmp_path / "more.yaml"
    file.write_text("something_else: 1\n")
    read("--config", DISTILL, "--config", str(file), *CACHE)
    file.write_text("view: 4\n")
    with pytest.raises(UsageError, match=r"more\.yaml, line 1: unknown key view; did you mean views\?"):
        read("--config", DISTILL, "--config", str(file), *CACHE)
    file.write_text("distill:\n  stor: float16\n")
    with pytest.raises(UsageError, match=r"unknown key distill\.stor; did you mean distill\.store\?"):
        read("--config", DISTILL, "--config", str(file), *CACHE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "distill.cache is None; it must be a folder: the one that training will read"),
        (["--distill.cache", ""], "distill.cache is ''; it must be a folder"),
        ([*CACHE, "--distill.alpha", "0"], "distill.alpha is 0.0; it must be above 0, or no logits are asked for"),
        ([*CACHE, "--verify", "-1"], "verify is -1; it must be at least 0"),
        ([*CACHE, "--verify", "1", "--repair", "true"], "repair is True; it must be left out with verify"),
        ([*CACHE, "--views", "0"], "views is 0; it must be at least 1, or null"),
        ([*CACHE, "--view_seed", "-1"], "view_seed is -1; it must be in [0, 2^63)"),
        ([*CACHE, "--first_epoch", "-1"], "first_epoch is -1; it must be at least 0"),
        ([*CACHE, "--teacher", "null"], "teacher is None; it must be a .safetensors file"),
        ([*CACHE, "--distill.store", "float8"], "distill.store"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        read("--config", DISTILL, *words)


@pytest.mark.parametrize("way", ["cached", "write_through"])
def test_logits_that_are_not_online_need_a_folder_and_a_loss_of_logits_alone(way):
    DistillSpec(teacher_logits=way, cache="folder")
    with pytest.raises(
        UsageError, match=r"distill\.cache is None; it must be a folder, unless teacher_logits is online"
    ):
        DistillSpec(teacher_logits=way)
    for loss in ("hint", "attention"):
        DistillSpec(**{loss: 1.0}, layers=PAIR, cache="folder")
        with pytest.raises(
            UsageError, match=rf"distill\.teacher_logits is '{way}'; it must be online where .*features are"
        ):
            DistillSpec(**{loss: 1.0}, layers=PAIR, teacher_logits=way, cache="folder")
    with pytest.raises(UsageError, match=r"distill\.verify is -1; it must be at least 0"):
        DistillSpec(teacher_logits=way, cache="folder", verify=-1)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], [range(0, 4), range(4, 8), range(8, 12), range(12, 24)]),
        (["--first_epoch", "5"], [range(5, 9), range(9, 13), range(13, 17), range(17, 29)]),
        (["--views", "3"], [range(3)] * 4),
    ],
)
def test_a_chain_of_cuts_shows_these_views(words, shown):
    chain = read("--config", PRUNE, *words, cls=PruneConfig)
    steps = [chain.after_cut(number, run_dir="r", student="s.safetensors") for number in (1, 2, 3, 4)]
    assert [step.view_numbers for step in steps] == shown
    assert [step.first_epoch for step in steps] == [chain.first_epoch + 4 * number for number in range(4)]


def test_every_key_of_its_own_has_help():
    docs = attribute_docs(CacheConfig)
    assert all(docs.get(name) for name in ("verify", "repair", "dry_run"))


def test_no_torch_is_loaded_for_it():
    code = (
        "import sys, train.cache, train.cache.config; sys.exit('torch' in sys.modules or 'accelerate' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
