"""One file and one photograph in an empty folder: no run, no config, no cache, no home."""

from __future__ import annotations

import re

import cv2
import pytest

import forked
import reference
import tiny_digits

pytestmark = pytest.mark.launcher
BARE = (
    "import os; [os.environ.pop(k, None) for k in ('HEARTCUT_CACHE', 'XDG_CACHE_HOME')]; "
    "os.environ['HOME'] = '/proc/none'; os.environ['COLUMNS'] = '100'"
)


def test_a_photograph_and_a_file_are_enough(tmp_path):
    tiny_digits.save(tmp_path / "net.safetensors")
    cv2.imwrite(str(tmp_path / "photo.JPG"), reference.picture(90, 120, 3))
    words = ["--weights", "net.safetensors", "--images", "photo.JPG"]
    shown = forked.run("train.predict", *words, prelude=BARE, cwd=tmp_path)
    assert shown.code == 0, shown.stderr
    assert len(re.findall(r"\d+\.\d %", shown.stdout)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "photo.JPG"]
    cv2.imwrite(str(tmp_path / "two.png"), reference.picture(90, 120, 1))
    folder = forked.run("train.predict", "--weights", "net.safetensors", "--images", ".", prelude=BARE, cwd=tmp_path)
    assert folder.code == 0 and "cannot be kept in /proc/none" in folder.stderr, folder.stderr
    assert re.fullmatch(r"Id,Category\nphoto,\d\ntwo,\d\n", (tmp_path / "predictions.csv").read_text())


@pytest.mark.parametrize(
    ("module", "words", "code", "message"),
    [
        ("train.evaluate", ["--run_dir", "nowhere"], 66, "run_dir nowhere does not exist"),
        ("train.predict", ["--weights", "gone.safetensors"], 66, "there is no file gone.safetensors"),
        ("train.predict", ["--images", "."], 64, "weights is None"),
        ("train.evaluate", ["--weights", "net.safetensors"], 64, "data.root is not set"),
        ("train.predict", ["--weights", "net.safetensors"], 66, "give --images FOLDER_OR_FILE"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, module, words, code, message):
    tiny_digits.save(tmp_path / "net.safetensors")
    refused = forked.run(module, *words, cwd=tmp_path)
    assert refused.code == code and message in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
