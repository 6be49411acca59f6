"""Points of a sweep: all of a grid, the first of a random stream, ids that depend on the values alone."""

import itertools
import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import reader
from configs.errors import UsageError
from launch.commands import COMMANDS
from launch.points import grid, sweep_file
from launch.points.grid import Point

BASE = ["--config", "configs/digits/distill.yaml"]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Read `parameters`, and further lines, of a sweep file."""
    path = tmp_path / "s.yaml"

    def reading(space: str, *lines: str, method: str = "grid") -> sweep_file.Sweep:
        indented = "\n".join(f"  {line}" for line in space.strip().splitlines())
        head = "\n".join(["program: train.distill", f"method: {method}", *lines])
        path.write_text(f"{head}\nparameters:\n{indented}\n")
        return sweep_file.read(str(path))

    return reading


def id_of(sweep, text: str) -> str:
    return grid.expand(sweep(f"a: {{value: {text}}}")).points[0].id


def values(points) -> list[tuple[str, ...]]:
    return [tuple(point.overrides.values()) for point in points]


def test_a_grid_is_the_full_product_in_the_order_of_the_file(sweep):
    found = grid.expand(sweep("b: {values: [2, 1]}\na: {values: [x, y, z]}\nc: {value: 7}"))
    assert values(found.points) == [(b, a, "7") for b in "21" for a in "xyz"]
    assert list(found.points[0].overrides) == ["b", "a", "c"] and (found.folded, found.notes) == (0, ())


def test_duplicates_are_left_out_and_counted(sweep):
    found = grid.expand(sweep("a: {values: [1e-3, 0.001, 1.0e-3, 2]}\nb: {values: [1, 2]}"))
    assert values(found.points) == [("0.001", "1"), ("0.001", "2"), ("2", "1"), ("2", "2")]
    assert found.folded == 4 and found.notes == ("4 duplicates left out",)
    assert grid.expand(sweep("a: {values: [1, 1]}")).notes == ("1 duplicate left out",)


def test_a_grid_too_long_to_run_is_refused(sweep):
    space = "\n".join(f"k{i}: {{min: 0, max: 99}}" for i in range(5))
    with pytest.raises(UsageError, match=r"s.yaml: the grid has 10,000,000,000 points; at most 10,000 are taken"):
        grid.expand(sweep(space))


def test_run_cap_keeps_the_first_and_what_has_no_effect_is_named(sweep):
    found = grid.expand(sweep("a: {min: 1, max: 9}", "run_cap: 2"))
    assert values(found.points) == [("1",), ("2",)] and found.notes == ("run_cap: the first 2 of 9 points",)
    assert grid.expand(sweep("a: {min: 1, max: 2}", "run_cap: 2")).notes == ()
    (note,) = grid.expand(sweep("a: {value: 1}", "early_terminate: {type: hyperband, min_iter: 3}")).notes
    assert note.startswith("early_terminate has no effect")


def test_bayes_is_sent_to_the_agents(sweep):
    with pytest.raises(
        UsageError, match=r"method is bayes, which needs wandb's agents: launch.sweep; here: grid, random"
    ):
        grid.expand(sweep("a: {values: [1, 2]}", method="bayes"))


@pytest.mark.parametrize(
    ("method", "count", "message"),
    [
        ("grid", 3, "method is grid, which has its own number of points; 3 were asked for"),
        ("random", None, "a random sweep needs a number of points, 1 to 10,000, or run_cap"),
        ("random", 0, "needs a number of points"),
        ("random", 10_001, "needs a number of points"),
    ],
)
def test_the_number_of_points_is_asked_for_where_it_is_open(sweep, method, count, message):
    with pytest.raises(UsageError, match=message):
        grid.expand(
            sweep("a: {min: 1, max: 50000}" if method == "random" else "a: {value: 1}", method=method), count=count
        )


SPACE = """\
optim.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-1}
distill.temperature: {values: [1, 2, 4, 8]}
batch_size: {distribution: q_uniform, min: 16, max: 128, q: 16}
"""


def test_the_first_random_points_do_not_depend_on_how_many(sweep):
    made = sweep(SPACE, method="random")
    sixteen, eight = grid.expand(made, count=16).points, grid.expand(made, count=8).points
    assert sixteen[:8] == eight and len({point.id for point in sixteen}) == 16
    assert grid.expand(made, count=8, seed=1).points != eight and grid.expand(made, count=8).points == eight


def test_random_points_are_the_same_in_every_version_and_on_every_machine(sweep):
    found = grid.expand(sweep(SPACE, method="random"), count=3, seed=7).points
    assert values(found) == [
        ("0.0002041879", "1", "48"),
        ("0.00039853716", "1", "96"),
        ("0.00070207365", "4", "48"),
    ]


def test_run_cap_is_the_number_of_random_points(sweep):
    assert len(grid.expand(sweep(SPACE, "run_cap: 5", method="random")).points) == 5
    assert len(grid.expand(sweep(SPACE, "run_cap: 5", method="random"), count=2).points) == 2


def test_a_parameter_draws_the_same_whatever_stands_beside_it(sweep):
    lines = SPACE.strip().splitlines()
    alone = grid.expand(sweep(lines[0], method="random"), count=6).points
    beside = grid.expand(
        sweep("\n".join([*reversed(lines), "seed: {min: 0, max: 9}"]), method="random"), count=6
    ).points
    assert [p.overrides["optim.lr"] for p in alone] == [p.overrides["optim.lr"] for p in beside]
    twins = grid.expand(sweep("a: {min: 0, max: 999}\nb: {min: 0, max: 999}", method="random"), count=6).points
    assert all(p.overrides["a"] != p.overrides["b"] for p in twins)


def test_duplicates_of_a_random_sweep_are_drawn_again(sweep):
    made = sweep("a: {values: [1, 2, 3]}\nb: {values: [x, y]}", method="random")
    six = grid.expand(made, count=6)
    assert set(values(six.points)) == set(itertools.product("123", "xy")) and six.folded > 0
    assert grid.expand(made, count=4).points == six.points[:4]


def test_more_points_than_there_are_end_in_a_message(sweep, monkeypatch):
    monkeypatch.setattr(grid, "FRUITLESS_DRAWS", 500)
    with pytest.raises(UsageError, match=r"s.yaml: 7 points are wanted; its parameters have only 6"):
        grid.expand(sweep("a: {values: [1, 2, 3]}\nb: {values: [x, y]}", method="random"), count=7)


def test_the_seed_is_a_seed(sweep):
    with pytest.raises(UsageError, match=r"seed is -1; it must be in \[0, 2\^63\)"):
        grid.expand(sweep(SPACE, method="random"), count=1, seed=-1)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=4), PLAIN, min_size=1, max_size=4), st.randoms())
def test_an_id_does_not_depend_on_the_order_of_keys(overrides, shuffle: random.Random):
    items = list(overrides.items())
    shuffle.shuffle(items)
    assert Point.of(dict(items)).id == Point.of(overrides).id
    assert re.fullmatch("[0-9a-f]{12}", Point.of(overrides).id)


@pytest.mark.parametrize(
    ("one", "two"), [("1e-3", "0.001"), ("1", "1.0"), ("[1, 2e1]", "[1.0, 20]"), ("3e6", "3000000")]
)
def test_an_id_does_not_depend_on_how_a_number_is_written(sweep, one, two):
    assert id_of(sweep, one) == id_of(sweep, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [("1", "true"), ("0", "false"), ("1", "2"), ("'a'", "'b'"), ("null", "''"), ("[1, 2]", "[2, 1]"), ("'1.0'", "'1'")],
)
def test_other_values_have_other_ids(sweep, one, two):
    assert id_of(sweep, one) != id_of(sweep, two)


def test_an_id_depends_on_the_key_and_never_changes(sweep):
    assert Point.of({"optim.lr": 0.001, "seed": 3}).id == "29dea2dc4db8"
    assert Point.of({"a": 1}).id != Point.of({"b": 1}).id
    dotted, nested = sweep("optim.lr: {value: 1}"), sweep("optim: {parameters: {lr: {value: 1}}}")
    assert grid.expand(dotted).points == grid.expand(nested).points


def test_an_id_does_not_depend_on_other_points(sweep):
    few = grid.expand(sweep("a: {values: [1, 2]}")).points
    many = grid.expand(sweep("a: {values: [0, 2, 3, 1]}")).points
    assert {p.id for p in few} < {p.id for p in many}


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("optim.lr", "1e-5", 1e-5),
        ("test", "false", False),
        ("micro_batch_size", "null", None),
        ("data.image_size", "[16, 16]", [16, 16]),
        ("data.augment.crop_padding", "2", 2),
        ("student.name", "'8'", "8"),
        ("track.project", "'--x = y'", "--x = y"),
        ("track.project", '"[a\\nb"', "[a\nb"),
        ("track.project", "'true'", "true"),
        ("optim.clip_norm", ".inf", math.inf),
        ("track.group", "''", ""),
        ("track", "{project: a b, every: 3}", "a b"),
    ],
)
def test_words_are_read_back_to_the_values_of_the_file(sweep, key, text, expected):
    (point,) = grid.expand(sweep(f"{key}: {{value: {text}}}")).points
    config = reader.read(COMMANDS["train.distill"].config, [*BASE, *point.words], prog="x", description="x")
    assert reader.flat(config)[key if key != "track" else "track.project"] == expected


def judge(made: sweep_file.Sweep, base=BASE) -> None:
    grid.check(grid.expand(made).points, COMMANDS[made.command].config, base, made.places)


def test_points_that_hold_pass(sweep):
    judge(sweep("optim.lr: {values: [0.1, 0.01]}\ndata: {parameters: {augment.crop_padding: {values: [0, 1]}}}"))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("seed: {value: 1}\noptim.lrr: {value: 1}", r"line 5: unknown option --optim.lrr; did you mean --optim.lr\?"),
        ("seed: {value: 1}\nepochs: {values: [3, few]}", r"line 5: --epochs is few; expected int"),
        ("optim.lr: {value: 0.1}\nepochs: {value: 0}", r"line 5: epochs is 0; it must be at least 1"),
        ("distill: {parameters: {alpha: {values: [0.5, 2]}}}", r"line 4: distill.alpha is 2.0; it must be in \[0, 1\]"),
        ("seed: {value: 1}\ndistill.soft: {value: kdd}", r"line 5: --distill.soft is kdd; expected kd\|dkd"),
    ],
)
def test_the_config_of_the_command_judges_every_point(sweep, space, message):
    with pytest.raises(UsageError, match=rf"s.yaml, {message} \(point [0-9a-f]{{12}}: --"):
        judge(sweep(space))


def test_a_key_is_not_taken_for_another_that_ends_alike(sweep):
    with pytest.raises(UsageError, match=r"s.yaml, line 5: optim.step_epochs is 0.0; it must be positive"):
        judge(sweep("epochs: {value: 5}\noptim.step_epochs: {value: 0}"))


def test_a_fault_of_the_words_before_is_named_with_the_point(sweep):
    with pytest.raises(UsageError, match=r"^config file no.yaml: No such file.*\(point .*--seed=1\)"):
        judge(sweep("seed: {value: 1}"), ["--config", "no.yaml"])


@pytest.mark.parametrize("word", ["--help", "-h", "--print_config"])
def test_words_that_would_end_the_check_as_if_all_were_well_are_refused(sweep, word):
    with pytest.raises(UsageError, match="have no place in a sweep"):
        judge(sweep("epochs: {value: many}" if "config" not in word else "epochs: {value: 1}"), [*BASE, word])
