"""Real runs that keep wandb files, read back: killed and stopped on the way, without a server, on two processes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import forked
import tiny_digits
from train.track.tracker import CURVES, CUT_CURVES, CUT_TABLE, PICTURES
from wandb_offline import files, records, rows, runs

CANARY = "0123456789abcdef0123456789abcdef01234567"
FEW = ["--epochs", "2", "--checkpoint_steps", "2", "--distill.alpha", "0", "--distill.teacher_check", "0"]
SECONDS = "from train.track import wandb_start; wandb_start.ANSWER_SECONDS = wandb_start.INIT_SECONDS = 2\n"
STOP = forked.KILL.replace("SIGKILL", "SIGTERM")
COMPRESS = ["--config", str(tiny_digits.DIGITS / "compress.yaml"), "--onnx", "false", "--track.wandb", "offline"]
COMPRESS += ["--data.image_size", "[8, 8]", "--data.augment.rotation", "0", "--data.threads", "1"]
COMPRESS += ["--track.pictures", "false"]
COMPRESS += ["--teacher_training.model.widths", "[4, 8, 8]", "--student.model.widths", "[2, 4, 8]"]
COMPRESS += ["--cut.prune.steps", "2", "--cut.prune.budget.parameters", "500", "--cut.recalibration", "2"]
for section in ("teacher_training", "student", "cut"):
    COMPRESS += [f"--{section}.epochs", "1", f"--{section}.batch_size", "256", f"--{section}.optim.warmup_epochs", "0"]


def variables(**own: str) -> str:
    """A prelude: wandb's variables, no key but ours, and no terminal."""
    kept = {"NETRC": "/nonexistent", "WANDB_CONFIG_DIR": "/tmp/nonexistent"} | own
    return f"import os\nos.environ.update({kept!r})\n"


def distil(home: Path, prelude: str, *options: str, mode: str = "offline", processes: int = 1) -> list[forked.Ended]:
    if not (home / "teacher.safetensors").exists():
        tiny_digits.save(home / "teacher.safetensors")
    own = tiny_digits.words(home, "run", *FEW, *options, "--track.wandb", mode, "--track.group", "g")
    return forked.run_world(processes, "train.distill", *own, prelude=prelude)


def curves(folder: Path) -> list[dict[str, Any]]:
    """The rows of the last attempt as metrics.jsonl has them."""
    found = rows(files(folder)[-1])
    kept = [{key: value for key, value in row.items() if not key.startswith("_")} for row in found]
    return [row for row in kept if not row.keys() & {*PICTURES, "cuts"}]


def recorded(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def upload(stderr: str) -> list[str]:
    return shlex.split(re.findall(r"wandb: upload with  (.*)", stderr)[-1])


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[forked.Ended]]:
    """An offline run that is killed once, stopped once, and then ends; with a key in its environment."""
    home = tmp_path_factory.mktemp("resumed")
    with_key = variables(WANDB_API_KEY=CANARY)
    place = {"owner": "train.step:Step", "name": "__call__"}
    kill, stop = forked.KILL.format(**place, nth=5), STOP.format(**place, nth=4)
    ended = [distil(home, with_key + prelude, "--track.pictures", "true")[0] for prelude in (kill, stop, "")]
    assert [one.code for one in ended] == [-9, 75, 0], ended[-1].stderr[-3000:]
    return home / "run", ended


@pytest.mark.launcher
def test_three_attempts_are_one_run_without_a_point_twice_or_missing(
    resumed: tuple[Path, list[forked.Ended]],
) -> None:
    folder, _ = resumed
    *_, run = found = runs(files(folder))
    assert (run.job_type, run.run_group) == ("distill", "g") and "epochs=2" in run.display_name
    assert {one.run_id for one in found} == {json.loads((folder / "wandb.json").read_text())["id"]}
    last = rows(files(folder)[-1])
    steps = [row["train/step"] for row in last]
    assert steps == sorted(steps) and set(steps) == set(range(1, 2 * tiny_digits.STEPS + 1))
    assert curves(folder) == recorded(folder)
    assert set(CURVES) <= {key for row in last for key in row}


@pytest.mark.launcher
def test_pictures_and_the_result_are_in_wandb_and_in_the_run_folder(resumed: tuple[Path, list[forked.Ended]]) -> None:
    folder, _ = resumed
    last = rows(files(folder)[-1])[-1]
    for name in PICTURES:
        assert last[name]["_type"] == "image-file" and (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = [record.summary for record in records(files(folder)[-1]) if record.HasField("summary")]
    summary = {item.key or item.nested_key[0]: json.loads(item.value_json) for one in found for item in one.update}
    result = json.loads((folder / "result.json").read_text())
    assert {key: summary[key] for key in ("accuracy", "parameters", "macs")} == {
        key: result[key] for key in ("accuracy", "parameters", "macs")
    }


@pytest.mark.launcher
def test_the_last_line_uploads_the_last_attempt(resumed: tuple[Path, list[forked.Ended]]) -> None:
    folder, ended = resumed
    *_, stopped, last = (str(file.parent) for file in files(folder))
    assert upload(ended[1].stderr) == ["wandb", "sync", stopped]
    assert upload(ended[2].stderr) == ["wandb", "sync", last]


@pytest.mark.launcher
def test_no_key_in_any_file_or_line(resumed: tuple[Path, list[forked.Ended]]) -> None:
    folder, ended = resumed
    there = [path for path in folder.rglob("*") if path.is_file()]
    assert len(there) > 20 and not [path for path in there if CANARY.encode() in path.read_bytes()]
    assert not any(CANARY in one.stdout + one.stderr for one in ended)


@pytest.mark.launcher
def test_two_processes_are_one_run(tmp_path: Path) -> None:
    ended = distil(tmp_path, variables(), processes=2)
    assert [one.code for one in ended] == [0, 0], ended[0].stderr[-3000:]
    folder = tmp_path / "run"
    assert len(files(folder)) == len(runs(files(folder))) == 1 and curves(folder) == recorded(folder)
    assert "wandb" not in ended[1].stderr


OBSTACLES = {
    "no key": {"WANDB_BASE_URL": "http://127.0.0.1:{port}"},
    "refused": {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": CANARY},
    "silent": {"WANDB_BASE_URL": "http://127.0.0.1:{silent}", "WANDB_API_KEY": CANARY},
    "no wandb server": {"WANDB_BASE_URL": "http://127.0.0.1:{port}", "WANDB_API_KEY": CANARY},
}
# In the process itself: a web server that knows nothing of wandb, a port at which nobody answers, and a terminal.
SERVERS = """
import http.server, os, socket, sys, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
silent = socket.create_server(("127.0.0.1", 0))
sys.modules["kept"] = silent
ports = dict(port=server.server_port, silent=silent.getsockname()[1])
os.environ["WANDB_BASE_URL"] = os.environ["WANDB_BASE_URL"].format(**ports)
sys.stdin = type("Terminal", (), {"isatty": lambda self: True, "readline": lambda self: ""})()
os.environ["TERM"] = "xterm"
from wandb.errors import term
term._sys_stderr_isatty = lambda: True
"""


@pytest.mark.launcher
@pytest.mark.parametrize("why", OBSTACLES)
def test_online_without_a_way_there_a_run_goes_on_offline_and_says_so_once(tmp_path: Path, why: str) -> None:
    (ended,) = distil(tmp_path, variables(**OBSTACLES[why]) + SERVERS + SECONDS, mode="online")
    assert ended.code == 0, ended.stderr[-3000:]
    folder = tmp_path / "run"
    assert curves(folder) == recorded(folder) and len(runs(files(folder))) == 1
    assert len(re.findall("goes on offline", ended.stderr)) == 1 and CANARY not in ended.stderr
    assert upload(ended.stderr) == ["wandb", "sync", str(files(folder)[0].parent)]
    assert "account" not in ended.stderr + ended.stdout  # as in what wandb asks at a terminal
    assert why != "no key" or "Use `wandb login`" in ended.stderr


# At the fourth step, wandb's service dies.
SERVICE = """
import os, signal
from pathlib import Path
from train.step import Step
real, left = Step.__call__, 4
def deadly(*words):
    global left
    left -= 1
    if left == 0:
        for place in Path("/proc").glob("[0-9]*/stat"):
            name, _, rest = place.read_text().partition("(")[2].rpartition(") ")
            if name.startswith("wandb-core") and int(rest.split()[1]) == os.getpid():
                os.kill(int(place.parent.name), signal.SIGKILL)
                print("killed", flush=True)
    return real(*words)
Step.__call__ = deadly
"""


@pytest.mark.launcher
def test_a_run_survives_the_death_of_wandbs_service(tmp_path: Path) -> None:
    (ended,) = distil(tmp_path, variables() + SERVICE, "--track.pictures", "true")
    assert "killed" in ended.stdout and ended.code == 0, ended.stderr[-3000:]
    assert len(re.findall("goes on without it", ended.stderr)) == 1
    assert recorded(tmp_path / "run")[-1]["epoch"] == 2 and (tmp_path / "run" / "confusion.png").exists()


@pytest.mark.launcher
def test_a_chain_is_a_group_with_a_run_for_each_stage_and_one_for_the_sweep(tmp_path: Path) -> None:
    agent = variables(WANDB_SWEEP_ID="sweep1", WANDB_RUN_ID="run1", WANDB_PROJECT="theirs")
    folder = tmp_path / "run"
    (ended,) = forked.run_world(1, "train.compress", *COMPRESS, "--run_dir", str(folder), prelude=agent)
    assert ended.code == 0, ended.stderr[-3000:]
    places = {".": "compress", "teacher": "teacher", "student": "distill", "cut": "prune"}
    places |= {"cut/cut-01": "prune", "cut/cut-02": "prune"}
    found = {place: runs(files(folder / place))[-1] for place in places}
    assert {place: run.job_type for place, run in found.items()} == places
    assert [run.run_group for run in found.values()] == ["run"] * 6 and len({r.run_id for r in found.values()}) == 6
    assert [run.sweep_id for run in found.values()] == ["sweep1", "", "", "", "", ""]
    assert found["."].run_id == "run1" and {run.project for run in found.values()} == {"theirs"}
    assert curves(folder / "cut") == recorded(folder / "cut") and set(CUT_CURVES) < curves(folder / "cut")[0].keys()
    (table,) = (folder / "cut").glob("wandb/offline-run-*/files/media/table/cuts*.json")
    content = json.loads(table.read_text())
    ledger = json.loads((folder / "cut" / "ledger.json").read_text())
    assert content["columns"] == list(CUT_TABLE) and [row[0] for row in content["data"]] == [1, 2]
    assert [row[1] for row in content["data"]] == [entry["parameters"] for entry in ledger]
    for stage in ("teacher", "student", "cut/cut-01", "cut/cut-02"):
        assert curves(folder / stage) == recorded(folder / stage) and recorded(folder / stage)
