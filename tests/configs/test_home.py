"""Users without a home: no $HOME, and no entry among the users of the system."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from configs import home
from configs.errors import UsageError

NOBODY = 54321


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """As it is for a number that the system has no name for."""
    for name in ("HOME", "HEARTCUT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(tmp_path))
    home._temporary.cache_clear()
    yield
    home._temporary.cache_clear()


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTCUT_CACHE", "/a")
    assert home.cache_folder() == Path("/a")
    monkeypatch.delenv("HEARTCUT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert home.cache_folder() == Path("/b/heartcut")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home.cache_folder() == tmp_path / ".cache/heartcut"


def test_without_a_home_the_cache_is_a_temporary_folder_of_ones_own(homeless, tmp_path, caplog):
    with pytest.raises((RuntimeError, KeyError)):
        Path.home()  # the control
    folder = home.cache_folder()
    assert folder == home.cache_folder() == tmp_path / f"heartcut-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [str(folder) in r.message and "HEARTCUT_CACHE" in r.message for r in caplog.records] == [True]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_temporary_folder_that_another_may_have_made_is_refused(homeless, tmp_path, kind):
    folder = tmp_path / f"heartcut-{os.getuid()}"
    if kind == "link":
        (tmp_path / "theirs").mkdir()
        folder.symlink_to(tmp_path / "theirs")
    else:
        folder.touch()
    with pytest.raises(UsageError, match="set HEARTCUT_CACHE"):
        home.cache_folder()


@pytest.mark.parametrize("path", ["~/images", "~nobody-of-this-name/images"])
def test_a_tilde_that_means_nothing_is_the_users_to_mend(homeless, path):
    assert home.expand("/images") == Path("/images")
    with pytest.raises(UsageError, match=f"{path}: there is no home folder"):
        home.expand(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_process_of_a_user_without_an_entry_has_a_cache(tmp_path):
    with pytest.raises(KeyError):
        pwd.getpwuid(NOBODY)
    tmp_path.chmod(0o777)
    code = f"import os; from configs import home; os.setuid({NOBODY}); print(home.cache_folder(), home.home())"
    kept = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "HEARTCUT_CACHE", "XDG_CACHE_HOME")
    }
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, check=False, cwd=root)
    folder = Path(done.stdout.decode().split()[0])
    assert done.stdout.decode().split()[1] == "None" and folder.stat().st_uid == NOBODY, done.stderr
    folder.rmdir()
