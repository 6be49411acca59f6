"""Every promise of the reader, on small dataclasses of its own and on the real DataSpec."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import InputError, UsageError
from configs.reader import command, dump, flat, read
from data_pipes.spec import AugmentSpec, DataSpec
from models.spec import ModelSpec
from train.config import DistillConfig

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """How the weights are stepped."""

    lr: float = 0.1
    """Peak learning rate; 100 % of it after warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's two."""
    warmup: int | Literal["auto"] = "auto"

    def __post_init__(self):
        if self.lr <= 0:
            raise UsageError(f"optim.lr is {self.lr}; it must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """Whom to copy."""

    path: str
    temperature: float = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run."""

    name: str
    """What it is called."""
    resume: str | None = None
    epochs: int = 10
    ema: bool = False
    sizes: tuple[int, int] = (224, 224)
    tags: tuple[str, ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    weights: dict[str, float] = field(default_factory=dict)
    optim: Optim = field(default_factory=lambda: Optim(lr=0.2))
    """The optimizer."""
    teacher: Teacher | None = None
    """The teacher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlyData:
    """What evaluation needs."""

    data: DataSpec


def run(*words, cls=Run, **kwargs):
    return read(cls, words, prog="python -m train.run", description="Run.", **kwargs)


def message(*words, **kwargs):
    with pytest.raises(UsageError) as caught:
        run(*words, **kwargs)
    return str(caught.value)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _write(text, name="x.yaml"):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
        return name

    return _write


DATA = """\
data:
  source: cifar10
  root: data/cifar
  image_size: [32, 32]
  mean: [0.5, 0.5, 0.5]
  std: [0.25, 0.25, 0.25]
  augment: {crop_padding: 4, horizontal_flip: 0.5}
"""


# values and layers


def test_defaults_are_the_dataclass():
    assert run("--name", "a") == Run(name="a")


def test_section_default_is_the_owners_not_the_class_s():
    assert run("--name=a", "--optim.betas=[0.5, 0.6]").optim == Optim(lr=0.2, betas=(0.5, 0.6))


def test_data_spec_from_a_file(write):
    spec = DataSpec(
        source="cifar10",
        root="data/cifar",
        image_size=(32, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        augment=AugmentSpec(crop_padding=4, horizontal_flip=0.5),
    )
    assert run("--config", write(DATA), cls=OnlyData) == OnlyData(data=spec)


def test_later_files_win_and_options_win_wherever_they_stand(write):
    first = write("name: first\nepochs: 1\noptim: {lr: 1, betas: [0, 0]}\n", "a.yaml")
    second = write("epochs: 2\noptim:\n  lr: 2\n", "b.yaml")
    config = run("--optim.lr", "3", "--config", first, f"--config={second}")
    assert config == Run(name="first", epochs=2, optim=Optim(lr=3.0, betas=(0.0, 0.0)))


def test_last_option_wins():
    assert run("--name=a", "--epochs=1", "--epochs", "2").epochs == 2


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--resume=None"], "resume", None),
        (["--resume=null"], "resume", None),
        (["--resume", "last"], "resume", "last"),
        (["--resume=2024"], "resume", "2024"),
        (["--resume=[draft]"], "resume", "[draft]"),
        (["--resume=[oops"], "resume", "[oops"),
        (["--resume=no"], "resume", "no"),
        (["--resume=a #1: b"], "resume", "a #1: b"),
        (["--resume="], "resume", ""),
        (["--sizes=[192, 192]"], "sizes", (192, 192)),
        (["--sizes=(192, 192)"], "sizes", (192, 192)),
        (["--tags=['a', 'b']"], "tags", ("a", "b")),
        (["--tags=[a, 1]"], "tags", ("a", "1")),
        (["--tags=[]"], "tags", ()),
        (["--tags=(a,)"], "tags", ("a",)),
        (["--ema=False"], "ema", False),
        (["--ema=True"], "ema", True),
        (["--ema", "true"], "ema", True),
        (["--weights={'kd': 1, 'ce': 0.5}"], "weights", {"kd": 1.0, "ce": 0.5}),
        (["--optim={'lr': 0.1, 'betas': [0.5, 0.5]}"], "optim", Optim(lr=0.1, betas=(0.5, 0.5))),
        (["--optim.lr", "1e-3"], "optim", Optim(lr=0.001)),
        (["--optim.warmup=5"], "optim", Optim(lr=0.2, warmup=5)),
        (["--teacher={'path': 'a', 'temperature': 1}"], "teacher", Teacher(path="a", temperature=1.0)),
        (["--teacher.path=a", "--teacher=None"], "teacher", None),
        (["--_wandb={'x': 1}", "--epochs=10"], "epochs", 10),
        (["--_wandb", "{}", "--epochs=10"], "epochs", 10),
    ],
)
def test_values_as_people_and_sweep_agents_send_them(words, key, value):
    found = getattr(run("--name=a", *words), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("resume: None", "resume", None),
        ("resume: ~", "resume", None),
        ("resume:", "resume", None),
        ("resume: 'None'", "resume", "None"),
        ("resume: 'Null'", "resume", "Null"),
        ('resume: "no"', "resume", "no"),
        ("resume: 1.10", "resume", "1.10"),
        ("resume: 2024-01-02", "resume", "2024-01-02"),
        ("resume: 12:30", "resume", "12:30"),
        ("ema: True", "ema", True),
        ("optim: {lr: 1e-3}", "optim", Optim(lr=0.001)),
        ("optim.lr: 1e-3", "optim", Optim(lr=0.001)),
        ("optim:", "optim", Optim(lr=0.2)),
        ("teacher:\n  path: a", "teacher", Teacher(path="a")),
        ("teacher: null", "teacher", None),
        ("weights: {2: 1}", "weights", {"2": 1.0}),
        ("sizes: &s [1, 2]", "sizes", (1, 2)),
    ],
)
def test_values_in_files(write, line, key, value):
    found = getattr(run("--config", write(f"name: a\n{line}\n")), key)
    assert found == value
    assert type(found) is type(value)


def test_null_section_gives_way_to_a_later_key_and_the_other_way_round(write):
    closed = write("name: a\nteacher: null\n")
    assert run("--config", closed, "--teacher.path=b").teacher == Teacher(path="b")
    opened = write("name: a\nteacher: {path: b}\n")
    assert run("--config", opened, "--teacher=null").teacher is None


def test_empty_file_says_nothing(write):
    assert run("--config", write("# nothing yet\n"), "--name=a") == Run(name="a")


# errors in files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\noptim:\n  lrr: 1\n", "x.yaml, line 3: unknown key optim.lrr; did you mean optim.lr?"),
        ("name: a\nlr: 1\n", "x.yaml, line 2: unknown key lr; did you mean optim.lr?"),
        ("name: a\noptm:\n  lr: 1\n", "x.yaml, line 2: unknown key optm; did you mean optim?"),
        ("temprature: 1\n", "x.yaml, line 1: unknown key temprature; did you mean teacher.temperature?"),
        ("optim: {qq: 1}\n", "x.yaml, line 1: unknown key optim.qq; valid here: optim.lr, optim.betas, optim.warmup"),
        ("\nepochs: thirty\n", "x.yaml, line 2: epochs is thirty; expected int"),
        ("epochs: 3.0\n", "x.yaml, line 1: epochs is 3.0; expected int"),
        ("epochs: 1:30\n", "x.yaml, line 1: epochs is 1:30; expected int"),
        ("epochs: 010\n", "x.yaml, line 1: epochs is 010; expected int"),
        ("epochs: true\n", "x.yaml, line 1: epochs is true; expected int"),
        ("epochs:\n", "x.yaml, line 1: epochs is empty; expected int"),
        ("epochs: '3'\n", "x.yaml, line 1: epochs is '3'; expected int"),
        ("optim: {lr: .nan}\n", "x.yaml, line 1: optim.lr is .nan; expected float"),
        ("ema: 1\n", "x.yaml, line 1: ema is 1; expected true|false"),
        ('ema: "no"\n', 'x.yaml, line 1: ema is "no"; expected true|false'),
        ("resume: true\n", 'x.yaml, line 1: resume is true; expected text|null; quote it if it is text: "true"'),
        ("mode: quick\n", "x.yaml, line 1: mode is quick; expected fast|slow"),
        ("sizes: [1, 2, 3]\n", "x.yaml, line 1: sizes is [1, 2, 3]; expected [int, int]"),
        ("sizes: 3\n", "x.yaml, line 1: sizes is 3; expected [int, int]"),
        ("weights: {kd: much}\n", "x.yaml, line 1: weights is {kd: much}; expected {key: float}"),
        ("optim:\n  warmup: soon\n", "x.yaml, line 2: optim.warmup is soon; expected int|auto"),
        ("optim: fast\n", "x.yaml, line 1: optim is fast; expected a section with keys such as optim.lr"),
        ("a: 1\na: 2\n", "x.yaml, line 2: a is a duplicate key; line 1 has it already"),
        ("optim:\n  lr: 1\n  lr: 2\n", "x.yaml, line 3: optim.lr is a duplicate key; line 2 has it already"),
        (
            "optim.lr: 1\noptim:\n  lr: 2\n",
            "x.yaml, line 3: optim.lr is a duplicate key; x.yaml, line 1 has it already",
        ),
        ("- a\n", "x.yaml, line 1: the file must hold `key: value` lines"),
        ("just text\n", "x.yaml, line 1: the file must hold `key: value` lines"),
        ("name: !!python/object/apply:os.getcwd []\n", "x.yaml, line 1: name is []; expected text"),
        (
            "name: !!python/name:os.getcwd\n",
            "x.yaml, line 1: name has the tag tag:yaml.org,2002:python/name:os.getcwd;",
        ),
        ("epochs: !!int many\n", "x.yaml, line 1: epochs is many, which is not a int"),
        ("weights: &w {a: *w}\n", "x.yaml, line 1: weights.a contains itself"),
        ("? [a]\n: 1\n", "x.yaml, line 1: a key must be a word"),
        ("name: a\nepochs: [1\n", "x.yaml, line 3: not valid YAML: while parsing a flow sequence"),
        ("optim:\n\tlr: 1\n", "x.yaml, line 2: not valid YAML: while scanning for the next token"),
        ("name: a\n---\nname: b\n", "x.yaml, line 2: not valid YAML: expected a single document"),
        ("name: a\nresume: \x07\n", r"x.yaml, line 2: the character '\x07' is not allowed"),
        (b"name: \xff\n", "config file x.yaml is not UTF-8 text"),
        ("name: a\noptim:\n  lr: -1\n", "x.yaml, line 3: optim.lr is -1.0; it must be positive"),
    ],
)
def test_errors_in_files_name_place_key_and_the_way_out(write, text, expected):
    assert message("--config", write(text)).startswith(expected)


def test_tabs_are_named(write):
    assert "spaces, not tabs" in message("--config", write("optim:\n\tlr: 1\n"))


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "No", "ON"])
@pytest.mark.parametrize("key", ["resume", "ema", "name"])
def test_words_that_some_readers_take_for_booleans(write, word, key):
    text = message("--config", write(f"epochs: 1\n{key}: {word}\n"))
    assert text.startswith(f"x.yaml, line 2: {key} is {word}, which")
    assert f'quote it if it is text: "{word}"' in text


def test_missing_file(write):
    assert message("--config", "gone.yaml") == "config file gone.yaml: No such file or directory"


def test_missing_keys_are_all_named_with_the_way_to_give_them(write):
    text = message("--config", write("data: {source: digits}\n"), cls=OnlyData)
    assert text.splitlines() == [
        "data.image_size is missing: give --data.image_size int|[int, int], or set it in a file",
        "data.mean is missing: give --data.mean [float, ...], or set it in a file",
        "data.std is missing: give --data.std [float, ...], or set it in a file",
    ]


def test_optional_section_is_required_in_full_once_touched():
    assert message("--name=a", "--teacher.temperature=2").startswith("teacher.path is missing")


def test_message_of_the_dataclass_is_kept_and_finds_its_line(write):
    text = message("--config", write(DATA + "  eval_crop: 2\n"), cls=OnlyData)
    assert text == "x.yaml, line 8: data.eval_crop is 2.0; it must be in (0, 1]"
    text = message("--config", write(DATA), "--data.augment.mixup=3", cls=OnlyData)
    assert text == "data.augment.mixup is 3.0; it must be in [0, 2]"


# errors on the command line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optim.lrr=1"], "unknown option --optim.lrr; did you mean --optim.lr?"),
        (["--epoch", "1"], "unknown option --epoch; did you mean --epochs?"),
        (["--optim.lr", "fast"], "--optim.lr is fast; expected float"),
        (["--ema=no"], "--ema is no; expected true|false"),
        (["--epochs=None"], "--epochs is None; expected int"),
        (["--name=None"], "--name is None; expected text"),
        (["--optim=None"], "--optim is None; expected a section with keys such as optim.lr"),
        (["--optim={'lrr': 1}"], "--optim: unknown key optim.lrr; did you mean optim.lr?"),
        (["--optim=3"], "--optim is 3; expected a section"),
        (["--sizes=[1, 2"], "--sizes is [1, 2; expected [int, int]"),
        (["--epochs"], "--epochs needs a value; expected int"),
        (["--epochs", "--ema", "true"], "--epochs needs a value; expected int"),
        (["--config"], "--config needs a value; expected FILE"),
        (["--print_config=x"], "unknown option --print_config"),
        (["stray"], "unexpected argument stray;"),
        (["--name", "a", "stray"], "unexpected argument stray;"),
        (["-e", "3"], "unexpected argument -e;"),
        (["--", "x"], "unexpected argument --;"),
        (["--name=a", "--optim.lr=0"], "optim.lr is 0.0; it must be positive"),
        ([], "name is missing: give --name text, or set it in a file"),
    ],
)
def test_errors_on_the_command_line(words, expected, capsys):
    assert message(*words).startswith(expected)
    assert capsys.readouterr() == ("", "")  # no usage dump


# lists on the command line


@pytest.mark.parametrize("words", [["9", "19"], ["9,19"], ["9,", "19"], ["[9,19]"], ["[9,", "19]"], ["(9, 19)"]])
def test_a_list_is_given_in_words_or_with_commas_in_brackets_or_without(words):
    assert run("--name", "a", "--sizes", *words, "--epochs", "3") == Run(name="a", sizes=(9, 19), epochs=3)


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (["ice cream", "7"], ("ice cream", "7")),
        (["ice cream,tea"], ("ice cream", "tea")),
        (["one"], ("one",)),
        (["true", "null"], ("true", None)),
    ],
)
def test_a_list_of_text_keeps_its_words(words, tags):
    if None in tags:
        assert message("--name=a", "--tags", *words) == "--tags is true null; expected [text, ...]"
    else:
        assert run("--name=a", "--tags", *words).tags == tags


def test_a_list_of_pairs_is_pairs_with_commas():
    words = ["--config", str(ROOT / "configs" / "digits" / "distill.yaml"), "--distill.layers", "a,b", "c,d"]
    assert read(DistillConfig, words, prog="x", description="").distill.layers == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize("words", [["9"], ["9", "19", "29"], ["9", "x"], ["9,1.5"]])
def test_a_list_of_another_length_or_type_is_refused(words):
    assert message("--name=a", "--sizes", *words) == f"--sizes is {' '.join(words)}; expected [int, int]"


def test_only_a_list_takes_several_words(write):
    assert message("--name=a", "--epochs", "3", "4").startswith("unexpected argument 4;")
    assert message("--name=a", "--sizes=9", "19").startswith("unexpected argument 19;")
    assert message("--config", write("name: a\n"), "b.yaml").startswith("unexpected argument b.yaml;")


def test_one_number_is_both_sides_of_an_image_and_of_nothing_else(write):
    path = write(DATA)
    for words in (["--data.image_size", "96"], ["--data.image_size=96"], ["--data.image_size", "[96,", "96]"]):
        assert run("--config", path, *words, cls=OnlyData).data.image_size == (96, 96)
    assert run("--config", write(DATA.replace("[32, 32]", "48")), cls=OnlyData).data.image_size == (48, 48)
    assert "--data.image_size is true; expected int|[int, int]" in message(
        "--config", path, "--data.image_size", "true", cls=OnlyData
    )
    assert "crop_scale" in message("--config", path, "--data.augment.crop_scale", "0.5", cls=OnlyData)


# a command that reads part of a config


def test_other_sections_are_ignored_only_when_asked(write):
    path = write(DATA + "optim: {lr: 0.1}\nepochs: 3\n")
    assert run("--config", path, cls=OnlyData, other_sections=True).data.source == "cifar10"
    assert "unknown key optim" in message("--config", path, cls=OnlyData)


@pytest.mark.parametrize(
    ("extra", "words", "expected"),
    [
        ("dat: {root: x}\n", [], "unknown key dat; did you mean data?"),
        ("", ["--optim.lr=1"], "unknown option --optim.lr"),
        ("  rot: x\n", [], "unknown key data.rot; did you mean data.root?"),
        ("optim: {lr: 1, lr: 2}\n", [], "optim.lr is a duplicate key"),
    ],
)
def test_other_sections_forgive_no_typo(write, extra, words, expected):
    path = write(DATA + extra)
    assert expected in message("--config", path, *words, cls=OnlyData, other_sections=True)


# help, printing, round trips


def test_help_answers_whatever_else_is_wrong(capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--help", "--no_such_key=1")
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert text.startswith("usage: python -m train.run [--config FILE ...] [--key value ...]\n\nRun.\n")
    assert "  --optim.lr float = 0.2\n        Peak learning rate; 100 % of it after warm-up.\n" in text


def test_help_never_imports_torch():
    code = """
import sys
from configs.reader import read
from data_pipes.spec import DataSpec
try:
    read(DataSpec, ["--help"], prog="p", description="d")
except SystemExit:
    sys.exit(sorted({"torch", "numpy", "cv2"} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--image_size" in done.stdout


def test_print_config_is_a_config(write, capsys):
    words = ["--config", write(DATA), "--data.image_size=(28, 28)"]
    with pytest.raises(SystemExit) as stopped:
        run(*words, "--print_config", cls=OnlyData)
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "  image_size: [28, 28]\n" in printed
    assert run("--config", write(printed, "again.yaml"), cls=OnlyData) == run(*words, cls=OnlyData)


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=12
) | st.sampled_from(
    [
        "no",
        "None",
        "Null",
        "null",
        "~",
        "1e-3",
        "010",
        "1_000",
        "true",
        "[a]",
        "a: b",
        " x ",
        "# x",
        "2024-01-02",
        "1:30",
        ".inf",
    ]
)
numbers = st.floats(allow_nan=False, width=64)
runs = st.builds(
    Run,
    name=texts,
    resume=st.none() | texts,
    epochs=st.integers(),
    ema=st.booleans(),
    sizes=st.tuples(st.integers(), st.integers()),
    tags=st.lists(texts, max_size=3).map(tuple),
    mode=st.sampled_from(["fast", "slow"]),
    weights=st.dictionaries(texts, numbers, max_size=3),
    optim=st.builds(Optim, lr=st.floats(min_value=1e-12), betas=st.tuples(numbers, numbers)),
    teacher=st.none() | st.builds(Teacher, path=texts, temperature=numbers),
)


@settings(deadline=None, max_examples=60)
@given(runs)
def test_round_trip(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("round") / "config.yaml"
    path.write_text(dump(config), encoding="utf-8")
    assert run("--config", str(path)) == config


def test_dump_is_readable():
    lines = dump(Run(name="no", optim=Optim(lr=1e-5))).splitlines()
    assert lines[:3] == ["name: 'no'", "resume: null", "epochs: 10"]
    assert "sizes: [224, 224]" in lines
    assert "  lr: 1.0e-05" in lines


def test_flat_names_are_the_options():
    config = Run(name="a", teacher=Teacher(path="b"))
    values = flat(config)
    assert values["optim.betas"] == [0.9, 0.999]
    assert values["teacher.path"] == "b"
    assert flat(Run(name="a"))["teacher"] is None
    assert run(*(f"--{key}={value}" for key, value in values.items())) == config


# ends


@pytest.mark.parametrize(
    ("failure", "code", "stderr"),
    [
        (UsageError("lr is 0"), 64, "error: lr is 0\n"),
        (InputError("no teacher"), 66, "error: no teacher\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 74, "error: [Errno 28] No space left on device\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.bin"),
            74,
            "error: a.bin: No such file or directory\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(75), 75, ""),
        (None, 0, ""),
    ],
)
def test_command_ends_with_the_code_of_the_cause(failure, code, stderr, capsys):
    def main():
        if failure is not None:
            raise failure

    with pytest.raises(SystemExit) as stopped:
        command(main)
    assert stopped.value.code == code
    assert capsys.readouterr().err == stderr


def test_command_leaves_bugs_their_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(main)


def test_a_closed_pipe_is_no_error():
    code = """
from configs.reader import command
command(lambda: print("line\\n" * 100000))
"""
    producer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    producer.stdout.readline()
    producer.stdout.close()
    assert producer.wait(30) == 0
    assert producer.stderr.read() == ""


def test_a_switch_needs_no_value(capsys):
    for words in (["--ema", "--name", "x"], ["--name", "x", "--ema"], ["--ema=true", "--name", "x"]):
        assert read(Run, words, prog="p", description="d").ema is True
    with pytest.raises(UsageError, match="--name needs a value"):
        read(Run, ["--ema", "--name"], prog="p", description="d")


def in_ascii(code: str, *words: str | bytes, **options) -> subprocess.CompletedProcess[bytes]:
    """Python in a locale that knows ASCII only, and exists everywhere."""
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, check=False, cwd=root, **options
    )


LOCALE = "import sys; from configs import reader; reader.command(lambda: {})"


def test_printing_does_not_fail_on_a_terminal_that_lacks_a_letter():
    done = in_ascii(LOCALE.format("print('\\u2503 1.0 \\u00b1 0.1', sys.argv[1])"), "schlüssel".encode())
    assert (done.returncode, done.stdout) == (0, b"? 1.0 ? 0.1 " + "schlüssel\n".encode()), done.stderr
    control = in_ascii("print('\\u2503')")
    assert control.returncode == 1 and b"UnicodeEncodeError" in control.stderr


@pytest.mark.parametrize("name", ["schlüssel".encode(), b"b\xfcse"])
def test_a_config_with_any_name_is_printed_as_one_that_is_read_back(tmp_path, name):
    shown = in_ascii(
        "from configs import reader; from models.spec import ModelSpec\n"
        "reader.command(lambda: reader.read(ModelSpec, prog='x', description='y'))",
        "--name",
        name,
        "--print_config",
    )
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "config.yaml").write_bytes(shown.stdout)
    config = read(ModelSpec, ["--config", str(tmp_path / "config.yaml")], prog="x", description="y")
    assert os.fsencode(config.name) == name


@pytest.mark.parametrize("act", ["'\\udcfc'.encode()", "open('\\u00fc')"])
def test_a_name_that_cannot_be_written_is_the_users_to_mend(act):
    done = in_ascii(LOCALE.format(act))
    assert done.returncode == 64 and b"Traceback" not in done.stderr
    assert b"set LC_ALL=C.UTF-8" in done.stderr
