"""What a parameter may be, as wandb has it: in a grid, at random, and refused with file and line."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import yaml_text
from configs.errors import UsageError
from launch.points.parameters import DISTRIBUTIONS, OUTDATED, Parameter, parameters

EVEN = [(i + 0.5) / 10_000 for i in range(10_000)]
"""Quantiles: drawing at each gives the distribution without any chance."""


@pytest.fixture
def read(tmp_path):
    def reading(text: str) -> list[Parameter]:
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return list(parameters(yaml_text.load(str(path)), "s.yaml"))

    return reading


@pytest.fixture
def one(read):
    return lambda text: read(f"x: {text}")[0]


def draws(parameter: Parameter) -> list:
    return [parameter.draw(uniform) for uniform in EVEN]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{value: 3}", [3]),
        ("{value: [16, 16]}", [[16, 16]]),
        ("{value: {a: 1}}", [{"a": 1}]),
        ("{values: [1e-3, no-name, true, null]}", [0.001, "no-name", True, None]),
        ("{values: [a], distribution: categorical}", ["a"]),
        ("{min: 2, max: 5}", [2, 3, 4, 5]),  # both ends
        ("{min: 0, max: 10, q: 5, distribution: q_uniform}", [0, 5]),  # wandb leaves max out
        ("{min: 0, max: 3, distribution: q_uniform}", [0, 1, 2]),
        ("{min: 0.0, max: 0.4, q: 0.1, distribution: q_uniform}", [0.0, 0.1, 0.2, 0.3]),  # not 0.30000000000000004
    ],
)
def test_values_of_a_grid(one, text, values):
    found = list(one(text).grid())
    assert found == values and [type(v) for v in found] == [type(v) for v in values]


@pytest.mark.parametrize(
    "text", ["{min: 0.0, max: 1}", "{distribution: normal}", "{values: [1, 2], probabilities: [0.5, 0.5]}"]
)
def test_what_has_no_grid_is_told_what_has(one, text):
    with pytest.raises(UsageError, match=r"^s.yaml, line 1: x is \w+; a grid takes value, values, int_uniform"):
        one(text).grid()


@pytest.mark.parametrize("text", ["{min: 0, max: 99999999999}", "{min: 0, max: 1, q: 1.0e-9, distribution: q_uniform}"])
def test_a_grid_too_long_to_run_is_refused_before_it_fills_the_memory(one, text):
    with pytest.raises(UsageError, match=r"x has more than 10,000 values"):
        one(text).grid()


@pytest.mark.parametrize(
    ("text", "low", "median", "high"),
    [
        ("{min: 2, max: 6.0}", 2, 4, 6),
        ("{min: 1.0e-4, max: 1.0e-2, distribution: log_uniform_values}", 1e-4, 1e-3, 1e-2),
        ("{min: 1.0e-4, max: 1.0e-2, distribution: inv_log_uniform_values}", 1e-4, 1e-3, 1e-2),
        ("{mu: 3, sigma: 0.5, distribution: normal}", -math.inf, 3, math.inf),
        ("{distribution: normal}", -math.inf, 0, math.inf),
        ("{mu: 3, sigma: 0.5, distribution: log_normal}", 0, math.exp(3), math.inf),
    ],
)
def test_continuous_distributions(one, text, low, median, high):
    drawn = draws(one(text))
    assert statistics.median(drawn) == pytest.approx(median, rel=1e-3, abs=1e-3)
    assert low <= min(drawn) and max(drawn) <= high and drawn == sorted(drawn)
    if math.isfinite(high):
        assert min(drawn) == pytest.approx(low, rel=1e-2) and max(drawn) == pytest.approx(high, rel=1e-2)


def test_a_normal_distribution_has_its_deviation(one):
    drawn = draws(one("{mu: 3, sigma: 0.5, distribution: normal}"))
    assert statistics.pstdev(drawn) == pytest.approx(0.5, rel=1e-2)


@pytest.mark.parametrize(
    ("text", "q"),
    [
        ("{min: 0, max: 10, q: 2, distribution: q_uniform}", 2),
        ("{min: 1, max: 1000, q: 8, distribution: q_log_uniform_values}", 8),
        ("{mu: 0, sigma: 9, q: 3, distribution: q_normal}", 3),
        ("{mu: 1, sigma: 1, q: 0.5, distribution: q_log_normal}", 0.5),
        ("{min: 0.0, max: 1, q: 0.1, distribution: q_uniform}", 0.1),
    ],
)
def test_quantised_distributions(one, text, q):
    drawn = draws(one(text))
    assert len(set(drawn)) > 3 and {type(v) for v in drawn} == {type(q)}
    assert all(v == float(f"{round(v / q) * q:.8g}") for v in drawn)


def test_integers_come_equally_often_both_ends_included(one):
    drawn = draws(one("{min: 3, max: 6}"))
    assert [drawn.count(v) for v in (3, 4, 5, 6)] == [2500] * 4 and {type(v) for v in drawn} == {int}


def test_values_come_with_their_probabilities(one):
    drawn = draws(one("{values: [a, b, c, d], probabilities: [0.25, 0, 0.6, 0.15]}"))
    assert [drawn.count(v) for v in "abcd"] == [2500, 0, 6000, 1500]
    assert [draws(one("{values: [a, b]}")).count(v) for v in "ab"] == [5000, 5000]


def test_a_value_of_probability_zero_at_the_end_never_comes(one):
    text = f"{{values: [a, b], probabilities: [{1 - 1e-10}, 0]}}"  # within the tolerance of the sum
    assert one(text).draw(1 - 2**-53) == "a"


@given(low=st.floats(1e-6, 1e6), width=st.floats(1e-12, 10), u=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_bounded_number_stays_within_its_bounds_although_it_is_rounded(low, width, u):
    high = low * (1 + width)
    if high > low:
        for distribution in ("uniform", "log_uniform_values"):
            drawn = Parameter("x", "", distribution, numbers={"min": low, "max": high}).draw(u)
            assert low <= drawn <= high


def test_numbers_read_well(one):
    assert one("{min: 0.0, max: 3, distribution: uniform}").draw(1 / 9) == 0.33333333


def test_nested_parameters_are_dotted_keys_with_their_lines(read):
    text = "optim:\n  parameters:\n    lr: {value: 1}\n    name:\n      values: [sgd]\ndata.augment.mixup: {value: 0}\n"
    found = [(p.key, p.where) for p in read(text)]
    assert found == [
        ("optim.lr", "s.yaml, line 3"),
        ("optim.name", "s.yaml, line 4"),
        ("data.augment.mixup", "s.yaml, line 6"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "line 1: x is 5; expected {value: ...}"),
        ("{}", "line 1: x says nothing; expected value, values"),
        ("{min: 1}", "line 1: x says nothing"),
        ("{valus: [1]}", "line 1: unknown key x.valus; did you mean values?"),
        ("{a: 1, distribution: beta}", "line 1: unknown key x.a; valid here: parameters, "),
        ("{distribution: unifrom, min: 1, max: 2}", "x.distribution is unifrom; did you mean uniform?"),
        ("{distribution: uniform, min: 1}", "x is uniform and lacks max"),
        ("{value: 1, values: [1]}", "x.values says nothing to constant, which takes value"),
        ("{values: [1], q: 2}", "x.q says nothing to categorical"),
        ("{values: [1], distribution: categorical, probabilities: [1]}", "x.probabilities says nothing to categorical"),
        ("{values: []}", r"x.values is \[\]; expected a list"),
        ("{values: 3}", "x.values is 3; expected a list"),
        ("{values: [a, 'null']}", "x.values has the text null, which a command line reads as null"),
        (
            "{values: [1, 2], probabilities: [0.5]}",
            "x.probabilities has 1 numbers with the sum 0.5; expected one for each",
        ),
        ("{values: [1, 2], probabilities: [0.5, 0.6]}", "with the sum 1.1; expected"),
        ("{values: [1, 2], probabilities: [2, -1]}", "expected a list of numbers of at least 0"),
        ("{min: 2, max: 2}", "x.min is 2; int_uniform needs less than max, which is 2"),
        ("{min: 0, max: 2, distribution: log_uniform_values}", "x.min is 0; log_uniform_values needs more than 0"),
        ("{min: 1.5, max: 2, distribution: int_uniform}", "x.min is 1.5; int_uniform needs an integer"),
        ("{min: 1, max: 2, q: 0, distribution: q_uniform}", "x.q is 0; q_uniform needs more than 0"),
        ("{sigma: -1, distribution: normal}", "x.sigma is -1; normal needs at least 0"),
        ("{min: one, max: 2}", "x.min is one; expected a number"),
        ("{min: '1', max: 2}", "x.min is '1'; expected a number"),
        ("{min: true, max: 2}", "x.min is true; expected a number"),
        ("{min: 1, max: .inf}", "x.max is .inf; expected a finite number"),
        ("{min: 1e-5, max: 1}", "x.min is 1e-5, which wandb does not read as this number; write 1.0e-05"),
        ("{parameters: {a: {value: 1}}, value: 1}", "x has nested parameters; expected a mapping"),
        ("{parameters: {}}", "x has nested parameters; expected a mapping"),
        ("{parameters: [1]}", "x has nested parameters; expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(one, text, message):
    with pytest.raises(UsageError, match=rf"^s.yaml, line 1: .*{message.removeprefix('line 1: ')}"):
        one(text)


@pytest.mark.parametrize("name", ["_wandb", "1x", "a b", "print_config", "help", "-x", "x=y"])
def test_keys_that_a_command_would_drop_or_end_at_are_refused(read, name):
    with pytest.raises(UsageError, match=rf"^s.yaml, line 1: {name} is not a key of a config"):
        read(f"'{name}': {{value: 1}}")


@pytest.mark.parametrize("name", OUTDATED)
def test_outdated_distributions_name_their_successors(one, name):
    with pytest.raises(UsageError, match=rf"x.distribution is {name}, whose bounds are exponents; use {name}_values"):
        one(f"{{distribution: {name}, min: -3, max: -1}}")
    assert f"{name}_values" in DISTRIBUTIONS
