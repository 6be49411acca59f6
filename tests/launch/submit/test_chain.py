"""Which run follows which, and what each array waits for."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import UsageError
from launch.points.grid import Point
from launch.submit import chain, command
from launch.submit.chain import Place
from launch.sweep_folder import Run, SweepFolder
from submit_stubs import ROOT, SWEEP, Cluster

POINTS = [Point.of({"a": value}) for value in (1, 2)]
PARENTS = [Run(id=name, overrides={"seed": name}, inherited={"optim.lr": "0.1"}) for name in ("p", "q", "r")]


def runs(points=POINTS, parents=PARENTS) -> list[Run]:
    return chain.carry_on(points, parents, lambda run_id: f"before/runs/{run_id}")


def test_every_run_is_carried_on_by_every_point_under_an_id_of_its_own():
    found = runs()
    assert [(run.parent, run.overrides["a"]) for run in found] == [(p, a) for p in "pqr" for a in "12"]
    assert len({run.id for run in found}) == 6
    assert found[2].settings == {"optim.lr": "0.1", "seed": "q", "a": "1"}


def test_an_id_does_not_depend_on_the_others():
    alone = runs(POINTS[1:], PARENTS[2:])
    assert alone == [run for run in runs() if run in alone]


def test_words_name_the_folder_and_the_settings_of_the_run_before():
    point = Point.of({"x": "{parent}/m", "y": "{parent.seed} {parent.optim.lr}", "z": "{a: 1}"})
    assert list(runs([point])[0].overrides.values()) == ["before/runs/p/m", "p 0.1", "{a: 1}"]
    with pytest.raises(UsageError, match=r"\{parent\.b\}: the sweep .* does not override b, but optim.lr, seed"):
        runs([Point.of({"x": "{parent.b}"})])


@given(
    queued=st.dictionaries(st.sampled_from("pqr"), st.tuples(st.sampled_from(["7", "8"]), st.integers(0, 3))),
    points=st.integers(1, 3),
)
def test_each_run_is_in_one_array_and_waits_for_its_own_parent(queued, points):
    """aftercorr lets an element wait for the one of the same number."""
    taken = {name: place for name, place in queued.items() if list(queued.values()).count(place) == 1}
    places = {name: Place(job, index, alone=job == "8") for name, (job, index) in taken.items()}
    made = runs([Point.of({"a": value}) for value in range(points)])
    parts = chain.parts(made, places)
    assert sorted(run.id for part in parts for run in part.runs.values()) == sorted(run.id for run in made)
    for part in parts:
        assert list(part.runs) == sorted(part.runs)
        for index, run in part.runs.items():
            place = places.get(run.parent)
            waits = (part.afterok, part.aftercorr)
            if place is None:
                assert waits == ((), None)
            elif place.alone:
                assert waits == (("8",), None)
            else:
                assert waits == ((), "7") and index == place.index


CUTS = """\
program: train.prune
command: ["${program}", --config, prune.yaml, --student.name, "{parent}/model.safetensors", "${args}"]
method: grid
parameters: {prune.budget.parameters: {values: [2600, 2000]}}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Cluster(tmp_path).enter(monkeypatch)


@pytest.fixture
def both(site):
    """A sweep of two runs, queued, and one that carries it on."""
    site.write("sweep.yaml", SWEEP % "[1]")
    site.submit()
    site.write("prune.yaml", (ROOT / "configs/digits/prune.yaml").read_text())
    site.write("cuts.yaml", CUTS)
    site.write("queue", "101_0 RUNNING\n101_1 PENDING\n")
    return site


def carry_on(*words: str) -> list[str]:
    """Submit the cuts; what the scripts ask for."""
    places = ["--cluster", "cluster.yaml", "--folder", "cuts", "--after", "sweep"]
    command.main([*places, "--sweep", "cuts.yaml", *words])
    found = sorted(Path("cuts").glob("jobs/*/job.sbatch"))
    return [" ".join(re.findall("--(?:array|dependency)=(.*)", path.read_text())) for path in found]


def test_cuts_wait_for_the_run_that_they_cut(both, capsys):
    assert carry_on() == ["0-1%2 aftercorr:101"] * 2
    assert "throttle is 2 in each of 2 arrays" in capsys.readouterr().out
    first = Path("cuts/jobs/0001/element-0001.sh").read_text()
    assert f"sweep/runs/{both.ids[1]}/model.safetensors" in first
    assert "--kill-on-invalid-dep=yes" in Path("cuts/jobs/0001/job.sbatch").read_text()


def test_what_is_done_is_not_waited_for(both):
    both.end(both.ids[0], "done")
    assert carry_on() == ["0-1%2", "1%2 aftercorr:101", "1%2 aftercorr:101"]


def test_what_nobody_runs_is_not_carried_on(both, capsys):
    both.write("queue", "101_0 RUNNING\n")
    both.end(both.ids[1], "failed", exit_code=65)
    assert carry_on() == ["0%2 aftercorr:101"] * 2
    assert "2 runs left out: in sweep theirs is neither done nor queued" in capsys.readouterr().out


def test_all_wait_for_one_run(site):
    alone = ["train.distill", "--config", "distill.yaml"]
    command.main(["--cluster", "cluster.yaml", "--folder", "first", *alone])
    site.write("queue", "101_0 PENDING\n")
    site.submit("--after", "first")
    texts = [path.read_text() for path in sorted((site.folder / "sent").iterdir())]
    assert "--array=0-3%2\n" in texts[1] and "--dependency=afterok:101\n" in texts[1]


def test_a_cache_is_submitted_with_a_folder_for_its_status(site):
    words = ["train.cache", "--config", "distill.yaml", "--distill.cache", "logits", "--views", "2"]
    command.main(["--cluster", "cluster.yaml", "--folder", "cache", *words])
    run = SweepFolder(Path("cache")).load().runs[0]
    text = Path("cache/jobs/0001/element-0000.sh").read_text().split()
    assert text[:5] == ["words=(", "launch.run", "--processes", "1", "train.cache"]
    assert text[-2] == f"--run_dir=cache/runs/{run.id}"


def test_another_sweep_before_this_one_is_refused(both):
    carry_on()
    note = json.loads(Path("cuts/sweep.json").read_text())
    assert note["after"] == "sweep" and note["runs"][0]["parent"] == both.ids[0]
    Path("sweep").rename("moved")
    with pytest.raises(UsageError, match=r"\{parent\} needs --after"):
        command.main(["--cluster", "cluster.yaml", "--folder", "cuts", "--sweep", "cuts.yaml"])
