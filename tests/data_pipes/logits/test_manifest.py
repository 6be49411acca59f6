"""Manifests of caches: their content, and refusals of another identity, shape or format and of damage."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import InputError, UsageError
from data_pipes.logits import cache as logit_cache
from data_pipes.logits import codec as logit_codec
from data_pipes.logits import manifest as logit_manifest
from data_pipes.logits.cache import LogitCache
from small_cache import BLOCKS, CODECS, IDENTITY, OTHER_SHA, SHA, changed, create, tree


def test_the_manifest_says_what_it_is(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    shape = {name: manifest[name] for name in ("format", "samples", "classes", "codec", "rows_per_block")}
    codec = {"kind": "float16", "k": 0}
    assert shape == {"format": 1, "samples": 50, "classes": 7, "codec": codec, "rows_per_block": 16}
    assert manifest["identity"]["teacher"] == IDENTITY["teacher"]
    view = json.loads((folder / "view-0001.json").read_text())
    assert view["view"] == 1 and view["key"] == manifest["key"] and len(view["crc_32"]) == BLOCKS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"rows_per_block": 5}, "rows_per_block is 5"),
        ({"classes": 3}, "classes is 3"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        create(tmp_path, CODECS[2], **change)
    assert tree(tmp_path) == {}


# ---- identities


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (changed(plan__seed=8), "plan.seed: the cache has 7, this run has 8."),
        (changed(plan__spec__mixup=0.4), "plan.spec.mixup: the cache has 0.2, this run has 0.4."),
        (changed(plan__spec__flip=1), "plan.spec.flip: the cache has true, this run has 1."),
        (changed(plan__crc_32=[1, 5, 6]), "plan.crc_32[1]: the cache has 2, this run has 5."),
        (changed(plan__crc_32=[1, 2]), "plan.crc_32[2]: the cache has 3, this run has nothing."),
        (changed(plan__new="x"), "plan.new: the cache has nothing, this run has 'x'."),
        (changed(teacher__dtype="bfloat16"), "teacher.dtype: the cache has null, this run has 'bfloat16'."),
        (
            changed(teacher__sha256=OTHER_SHA),
            "teacher.sha256: the cache has '3f2a9c1b2d3e…', this run has '99e1c0ffee11…'.",
        ),
        (
            changed(teacher__sha256=SHA[:-3] + "abc"),
            "teacher.sha256: the cache has '…000', this run has '…abc'.",
        ),
        (
            changed(classes=["Bread", "Dairy", "Egg", "Dessert", "Fried", "Meat", "Rice"]),
            "classes[2]: the cache has 'Dessert', this run has 'Egg'.",
        ),
        (changed(teacher=None), 'teacher: the cache has {"architectu…, this run has null.'),
        (
            changed(plan__seed=8, teacher__architecture="vit"),
            "plan.seed: the cache has 7, this run has 8; "
            "teacher.architecture: the cache has 'resnet18', this run has 'vit'.",
        ),
    ],
)
@pytest.mark.parametrize("use", [LogitCache.open, create])
def test_another_identity_is_refused_field_by_field(folder, identity, message, use):
    with pytest.raises(InputError) as refusal:
        use(folder, identity=identity)
    start, end = f"{folder} holds teacher logits of something else; ", " Choose another folder, or delete this one and "
    assert str(refusal.value).startswith(f"{start}{message}{end}")


def test_equal_identities_are_equal_however_they_are_written(folder):
    same = changed(plan__seed=7.0)
    same["plan"]["spec"]["zoom"] = [1.0, 1]
    for identity in (IDENTITY, same, dict(reversed(same.items()))):
        assert LogitCache.open(folder, identity).damage([0]) == {} == create(folder, identity=identity).damage([0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"samples": 51}, "samples: the cache has 50, this run has 51"),
        ({"classes": 8}, "classes: the cache has 7, this run has 8"),
        ({"codec": CODECS[0]}, "codec.kind: the cache has 'float16', this run has 'float32'"),
        ({"codec": CODECS[2]}, "codec.kind: the cache has 'float16', this run has 'top_k'; codec.k: the cache has 0"),
    ],
)
def test_another_shape_is_refused(folder, shape, message):
    with pytest.raises(InputError, match=re.escape(message)):
        create(folder, **shape)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50)
@given(JSON, JSON)
def test_differences_are_empty_for_equal_values_only(one, other):
    assert logit_manifest.differences(one, json.loads(json.dumps(one))) == []
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert same or one == other or logit_manifest.differences(one, other) != []


# ---- manifests


def without_manifest(path: Path) -> str:
    path.unlink()
    return "holds no cache of teacher logits; `python -m train.cache` makes one"


def truncated(path: Path) -> str:
    os.truncate(path, path.stat().st_size - 5)
    return "manifest.json is damaged: cannot be read .*Delete it and run"


def emptied(path: Path) -> str:
    os.truncate(path, 0)
    return "manifest.json is damaged: cannot be read"


def endless(path: Path) -> str:
    path.write_text("[" * 100_000)
    return "manifest.json is damaged: cannot be read"


def a_list(path: Path) -> str:
    path.write_text("[1]")
    return "manifest.json is damaged: a list instead of a JSON object"


def rewritten(**values):
    def damage(path: Path) -> str:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        if "format" in values:
            return f"manifest.json has format {values['format']!r} and this version reads 1; choose another folder"
        return "manifest.json is damaged"

    return damage


MANIFEST_DAMAGE = [
    without_manifest,
    truncated,
    emptied,
    endless,
    a_list,
    rewritten(format=2),
    rewritten(format=None),
    rewritten(samples=52),
    rewritten(samples=-1),
    rewritten(classes="7"),
    rewritten(codec={"kind": "float32", "k": 0}),
    rewritten(codec={"sort": "float32"}),
    rewritten(codec=5),
    rewritten(identity={}),
    rewritten(rows_per_block=18),
    rewritten(key="00" * 32),
    rewritten(more=1),
]


@pytest.mark.parametrize("damage", MANIFEST_DAMAGE)
def test_a_manifest_that_is_missing_damaged_or_newer_is_refused(folder, damage):
    LogitCache.open(folder, IDENTITY)  # negative control
    expected = damage(folder / "manifest.json")
    with pytest.raises(InputError, match=expected):
        LogitCache.open(folder, IDENTITY)
    if damage is not without_manifest:
        with pytest.raises(InputError, match=expected):
            create(folder)


def test_every_wrong_byte_of_a_manifest_is_refused(folder):
    data = (folder / "manifest.json").read_bytes()
    for at in range(len(data)):
        if chr(data[at]).isspace():
            continue
        (folder / "manifest.json").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(InputError):
            LogitCache.open(folder, IDENTITY)


@pytest.mark.parametrize("place", ["nowhere", "file/below"])
def test_where_nothing_is_the_command_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{place} holds no cache of teacher logits; `python -m train.cache` makes"):
        LogitCache.open(tmp_path / place, IDENTITY)


def test_another_format_of_blocks_is_another_cache(folder, monkeypatch):
    for module in (logit_cache, logit_codec, logit_manifest):
        monkeypatch.setattr(module, "FORMAT", 2)
    with pytest.raises(InputError, match="has format 1 and this version reads 2"):
        create(folder)


@pytest.mark.parametrize("change", [{"samples": 10**12}, {"samples": 5.0}, {"samples": 2**31 - 1, "rows_per_block": 2}])
def test_an_absurd_number_of_samples_is_refused_before_it_is_counted_out(change):
    shape = {"identity": {}, "samples": 50, "classes": 7, "codec": CODECS[0], "rows_per_block": 16}
    logit_manifest.Layout(**shape)
    with pytest.raises(UsageError, match=r"samples is .*; it must be"):
        logit_manifest.Layout(**shape | change)
