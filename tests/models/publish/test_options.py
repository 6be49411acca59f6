import subprocess
import sys

import pytest

from configs.errors import UserError
from models.publish import options


@pytest.fixture
def run(tmp_path):
    for name in ("model.safetensors", "my_net.py", "README.md"):
        (tmp_path / name).write_text("x")
    return tmp_path


def test_what_is_typed(run):
    asked = options.parse(["--model", str(run), "--repo", "alice/flowers"])
    assert asked.weights == run / "model.safetensors" and asked.repo == "alice/flowers"
    assert (asked.public, asked.dry_run, asked.license_id, asked.added) == (False, False, None, ())
    words = ["--public", "--dry_run", "--license", "MIT", "--add", "my_net.py"]
    asked = options.parse(["--model", str(run / "model.safetensors"), "--repo", "alice/flowers", *words])
    assert (asked.public, asked.dry_run, asked.license_id, asked.added) == (True, True, "mit", (run / "my_net.py",))


@pytest.mark.parametrize("name", ["a/b", "alice/resnet-20_v1.5", "A1/9x"])
def test_names_of_repositories(name):
    options.require_repo(name)


WRONG = ["flowers", "a/b/c", "alice/", "/x", "alice/a--b", "alice/a..b", "alice/x.git", "alice/-x", "alice/x.", "a b/c"]


@pytest.mark.parametrize("name", [*WRONG, "https://huggingface.co/a/b", "alice/caf\u00e9", "alice/" + "x" * 97])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UserError, match="it must be OWNER/NAME, such as alice/flowers"):
        options.require_repo(name)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 64, "--repo"),
        (["--repo", "flowers"], 64, "--repo is 'flowers'"),
        (["--repo", "a/b", "--license", "my own"], 64, "--license is 'my own'"),
        (["--repo", "a/b", "--add", "gone.py"], 64, "--add is 'gone.py', which is not there; name a file of"),
        (["--repo", "a/b", "--add", "README.md", "--license", "mit"], 64, "leave one out"),
        (["--repo", "a/b", "--model", "gone"], 66, "there is no file gone"),
    ],
)
def test_user_errors(run, words, code, message):
    with pytest.raises(UserError, match=message) as refused:
        options.parse(["--model", str(run), *words])
    assert refused.value.exit_code == code


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\nfrom models.publish.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "private unless --public" in " ".join(shown.stdout.split())
