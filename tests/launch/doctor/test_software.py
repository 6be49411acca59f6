"""Packages that are missing, broken or there; where a key for wandb is, and never what it is."""

import importlib
import json
import os
import sys

import pytest

from launch.doctor import software
from launch.doctor.software import Package

CANARY = "canary0000000000000000000000000000000000"
NEEDED = Package("json", "no-such-distribution")
OPTIONAL = Package("nvidia.dali", "nvidia-dali-cuda120", "data.executor dali")


@pytest.fixture
def broken(monkeypatch):
    """Makes one module fail to import with a given error."""
    real = importlib.import_module

    def breaks(module: str, error: Exception) -> None:
        def load(name):
            if name == module:
                raise error
            return real(name)

        monkeypatch.setattr(software.importlib, "import_module", load)

    return breaks


def test_sound_packages_share_a_line_with_their_versions():
    (line,) = software.packages((Package("yaml", "pyyaml"), Package("numpy", "numpy")))
    versions = [importlib.metadata.version(name) for name in ("pyyaml", "numpy")]
    assert (line.level, line.found) == ("ok", f"yaml {versions[0]}, numpy {versions[1]}")


def test_a_module_from_another_distribution_is_sound_though_its_version_is_unknown():
    assert software.packages((NEEDED,))[0].found == "json (version unknown)"


def test_a_missing_package_stops_everything_or_costs_what_it_is_for(broken):
    broken("json", ModuleNotFoundError("No module named 'json'", name="json"))
    (needed,) = software.packages((NEEDED,))
    assert needed.level == "problem" and needed.found == "not installed; nothing runs without it"
    assert "pip install no-such" in needed.advice
    (optional,) = software.packages((Package("json", "x", "data.executor dali"),))
    assert optional.level == "warning" and "no data.executor dali" in optional.found
    assert software.packages((OPTIONAL._replace(module="yaml"),))[0].level == "ok"


def test_a_package_that_is_installed_but_does_not_load_is_as_good_as_missing(broken):
    broken("json", OSError("libcudart.so.13: cannot open shared object file\nmore"))
    (found,) = software.packages((NEEDED,))
    assert found.level == "problem"
    assert found.found.startswith("does not load: libcudart.so.13: cannot open shared object file; ")


def test_a_package_that_lacks_another_is_not_called_missing(broken):
    broken("json", ModuleNotFoundError("No module named 'torchvision'", name="torchvision"))
    assert software.packages((NEEDED,))[0].found.startswith("does not load: No module named 'torchvision'; ")


def test_torchvision_of_another_torch_is_recognised(broken):
    wanted = tuple(package for package in software.PACKAGES if package.module == "torchvision")
    broken("torchvision", RuntimeError("operator torchvision::nms does not exist"))
    (found,) = software.packages(wanted)
    assert found.level == "problem" and "do not belong together" in found.advice
    broken("torchvision", ImportError("something else"))
    assert "do not belong together" not in software.packages(wanted)[0].advice


def test_without_dali_the_line_says_what_is_lost(broken):
    broken("nvidia.dali", ModuleNotFoundError("No module named 'nvidia'", name="nvidia"))
    (found,) = [check for check in software.packages((Package("json", "x"), OPTIONAL)) if check.level != "ok"]
    assert (found.name, found.level) == ("DALI", "warning") and found.found.startswith("not installed; ")
    assert "nvidia-dali-cuda120" in found.advice


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_dali_is_not_asked_for_where_there_is_none(monkeypatch, platform):
    asked = []
    monkeypatch.setattr(software, "packages", lambda wanted: asked.extend(p.module for p in wanted) or [])
    monkeypatch.setattr(software.sys, "platform", platform)
    software.checks({})
    assert ("nvidia.dali" in asked) == (platform == "linux") and "torch" in asked


@pytest.mark.parametrize(("version", "level"), [((3, 10), "problem"), ((3, 11), "ok"), ((3, 14), "ok")])
def test_python(version, level):
    assert software.python(version).level == level


def netrc(folder, host):
    file = folder / "netrc"
    file.write_text(f"machine {host}\n  login user\n  password {CANARY}\n")
    return {"NETRC": str(file)}


def text(check) -> str:
    return json.dumps([check.name, check.level, check.found, check.advice])


def test_a_key_in_the_environment_or_in_netrc_is_found_and_not_shown(tmp_path):
    places = [{"WANDB_API_KEY": CANARY}, netrc(tmp_path, "api.wandb.ai")]
    for environment, place in zip(places, ("WANDB_API_KEY", str(tmp_path)), strict=True):
        found = software.wandb(environment)
        assert place in found.found and CANARY not in text(found)


def test_a_key_for_another_server_is_none(tmp_path):
    environment = netrc(tmp_path, "wandb.example.org")
    assert software.wandb(environment).found.startswith("none")
    own = software.wandb({**environment, "WANDB_BASE_URL": "https://wandb.example.org/"})
    assert own.found.startswith("key for wandb.example.org") and CANARY not in text(own)


def test_a_netrc_that_cannot_be_read_is_no_login_and_its_content_is_not_quoted(tmp_path):
    file = tmp_path / "netrc"
    file.write_text(f"machine api.wandb.ai {CANARY} password\n")
    found = software.wandb({"NETRC": str(file)})
    assert found.found.startswith("none") and CANARY not in text(found)


def test_no_key_is_fine_and_says_how_to_get_one(tmp_path):
    found = software.wandb({"NETRC": str(tmp_path / "none"), "WANDB_API_KEY": ""})
    assert found.level == "ok" and "wandb login" in found.found


def test_another_opencv_over_ours_is_a_problem_with_the_line_that_mends_it(monkeypatch):
    """As notebooks install it; its module is imported under the name of ours."""
    import cv2

    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    monkeypatch.delitem(sys.modules, "data_pipes.sources.images", raising=False)
    (found,) = [check for check in software.packages(software.PACKAGES) if check.name == "OpenCV"]
    assert found.level == "problem" and "OpenCV 4.12.0 is installed" in found.found
    assert found.advice.startswith("pip uninstall opencv-python")


def test_slurm(monkeypatch):
    monkeypatch.setattr(software.shutil, "which", lambda name: None)
    assert software.slurm({}).found == "no sbatch here"
    monkeypatch.setattr(software.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(software.queue, "silent", lambda: None)
    assert "srun python -m launch.doctor" in software.slurm({}).found
    assert software.slurm({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}).found == "inside job 7 on 2 nodes"
    assert software.slurm({"SLURM_JOB_ID": "7"}).found == "inside job 7 on 1 node"


@pytest.mark.parametrize(
    ("said", "code", "silent"),
    [
        ("Slurmctld(primary) at head is UP", 0, None),
        ("Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP", 0, None),
        ("Slurmctld(primary) at head is DOWN", 1, "Slurmctld(primary) at head is DOWN"),
        ("", 1, "no answer"),
    ],
)
def test_a_slurm_whose_controller_does_not_answer_is_a_warning(tmp_path, monkeypatch, said, code, silent):
    for name in ("sbatch", "scontrol"):
        (tmp_path / name).write_text(f"#!/bin/sh\n[ \"$1\" = ping ] && printf '%s\\n' '{said}'\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = software.slurm({})
    assert found.level == ("ok" if silent is None else "warning")
    assert silent is None or found.found.endswith(f"does not answer: {silent}")
