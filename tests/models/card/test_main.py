"""The command models.card."""

import shutil
import subprocess
import sys

import pytest

from configs.errors import UserError
from models.card.__main__ import main


@pytest.fixture
def folder(handed, tmp_path):
    return shutil.copytree(handed, tmp_path / "run")


def test_a_card_beside_a_file_or_elsewhere(folder, tmp_path, capsys):
    main(["--model", str(folder), "--license", "MIT"])
    assert capsys.readouterr().out == f"written: {folder / 'README.md'}\n"
    assert "\nlicense: mit\n" in (folder / "README.md").read_text()
    main(["--model", str(folder / "model.safetensors"), "--output", str(tmp_path / "new")])
    assert (tmp_path / "new" / "README.md").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 64, "required: --model"),
        (["--model", "gone.safetensors"], 66, "there is no file gone.safetensors"),
        (["--model", "gone.safetensors", "--license", "my own"], 64, "--license is 'my own'"),
        (["--model", __file__], 66, "not a safetensors file"),
    ],
)
def test_user_errors(words, code, message):
    with pytest.raises(UserError, match=message) as refused:
        main(words)
    assert refused.value.exit_code == code


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\nfrom models.card.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--license" in shown.stdout
