"""Runs side by side: seeds become one row with mean and sample standard deviation; what is missing is named."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import run_folders
from configs.errors import InputError
from train import table
from train.run_folder import readings
from train.run_folder.readings import Reading

RESULT = run_folders.RESULT | {"teacher": None}


def run(folder: Path, name: str, config=None, **result) -> table.Run:
    path = folder / name
    path.mkdir()
    own = {"run_dir": str(path), "seed": 0, "epochs": 16, "optim": {"lr": 0.1}}
    (path / "config.yaml").write_text(yaml.safe_dump(own | (config or {})))
    (path / "result.json").write_text(json.dumps(RESULT | result))
    return table.load(path)


def rows(built) -> list[dict[str, str]]:
    """The cells of a rich table by the name of their column."""
    columns = {str(column.header): list(column.cells) for column in built.columns}
    return [{name: str(cells[i]) for name, cells in columns.items()} for i in range(built.row_count)]


def test_runs_that_differ_in_seed_and_folder_only_are_one_group(tmp_path):
    runs = [
        run(tmp_path, "a-0"),
        run(tmp_path, "b", {"optim": {"lr": 0.2}}),
        run(tmp_path, "a-1", {"seed": 1}),
        run(tmp_path, "c", {"seed": 1, "teacher": "t.safetensors"}),
    ]
    assert [[r.path.name for r in group] for group in table.groups(runs)] == [["a-0", "a-1"], ["b"], ["c"]]


def test_the_order_of_keys_in_a_file_does_not_matter(tmp_path):
    one, two = run(tmp_path, "a-0"), run(tmp_path, "a-1")
    text = (two.path / "config.yaml").read_text().splitlines()
    (two.path / "config.yaml").write_text("epochs: 16\n" + "\n".join(line for line in text if "epochs" not in line))
    assert len(table.groups([one, table.load(two.path)])) == 1


def test_mean_and_sample_standard_deviation_over_seeds(tmp_path):
    accuracies, validation, seconds = [0.90, 0.92, 0.97], [0.8, 0.9, 0.85], [10.0, 20.0, 33.0]
    runs = [
        run(
            tmp_path,
            f"small-{i}",
            {"seed": i},
            accuracy=accuracies[i],
            validation_accuracy=validation[i],
            seconds=seconds[i],
        )
        for i in range(3)
    ]
    (row,) = rows(table.build(runs))
    assert (row["run"], row["seeds"], row["parameters"], row["epochs"]) == ("small", "3", "5,142", "16")
    assert row["test %"] == f"{100 * statistics.fmean(accuracies):.2f} ± 3.61"  # sqrt(((3)^2 + 1 + 4^2) / 2), n - 1
    assert row["validation %"] == "85.00 ± 5.00" and row["time"] == "21 s"
    assert row["MACs"].startswith("1.5")


def test_one_run_has_no_deviation(tmp_path):
    (row,) = rows(table.build([run(tmp_path, "alone")]))
    assert (row["test %"], row["validation %"], row["seeds"], row["run"]) == ("90.00", "91.00", "1", "alone")
    assert table.spread([0.5]) == "50.00" and table.spread([0.4, 0.6]) == "50.00 ± 14.14"


def test_runs_of_which_test_was_read_again_are_shown(tmp_path):
    runs = [run(tmp_path, f"a-{seed}", {"seed": seed}, test_reads=1) for seed in (0, 1)]
    old = run(tmp_path, "old", {"epochs": 3})
    assert "reads" not in rows(table.build([*runs, old]))[0]  # once each, as it should be
    for _ in range(2):
        readings.record(runs[1].path, Reading(weights="w", data="d"))
    built = table.build([*(table.load(one.path) for one in runs), old])
    assert [row["reads"] for row in rows(built)] == ["2+", "?"]  # of the first seed, the lines are gone


def test_a_run_without_test_labels_says_so(tmp_path):
    (row,) = rows(table.build([run(tmp_path, "food", accuracy_split="validation")]))
    assert row["test %"] == "no labels" and row["validation %"] == "91.00"
    (row,) = rows(table.build([run(tmp_path, "kept", {"test": False}, accuracy_split="validation")]))
    assert row["test %"] == "not read"


def test_sizes_of_seeds_that_differ_are_the_largest(tmp_path):
    sizes = [{"parameters": 900, "macs": 2_000_000, "epochs": 9}, {"parameters": 1000, "macs": 1_000_000, "epochs": 8}]
    runs = [run(tmp_path, f"cut-{seed}", {"seed": seed}, **size) for seed, size in enumerate(sizes)]
    (row,) = rows(table.build(runs))
    assert (row["parameters"], row["MACs"], row["epochs"]) == ("1,000", "2.0 M", "9")


def test_runs_of_before_a_key_belong_to_those_that_have_the_earlier_behaviour(tmp_path):
    runs = [
        run(tmp_path, "old"),
        run(tmp_path, "new", {"seed": 1, "epoch_share": 1.0}),
        run(tmp_path, "short", {"seed": 2, "epoch_share": 0.5}),
    ]
    assert [[r.path.name for r in group] for group in table.groups(runs)] == [["old", "new"], ["short"]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["distilled-0", "distilled-1"], "distilled"),
        (["small_s0", "small_s1"], "small_s"),
        (["3", "4"], "3"),
        (["teacher"], "teacher"),
    ],
)
def test_a_group_is_called_what_its_folders_have_in_common(tmp_path, names, expected):
    assert table.name([run(tmp_path, name, {"seed": i}) for i, name in enumerate(names)]) == expected


@pytest.mark.parametrize("name", ["config.yaml", "result.json"])
def test_a_run_that_is_not_finished_is_named_with_what_it_lacks(tmp_path, name):
    path = run(tmp_path, "half").path
    (path / name).unlink()
    with pytest.raises(InputError, match=rf"{path} holds no finished run: it has no {name}"):
        table.load(path)


def command(*words: object) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "train.table", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_the_command_prints_the_table_and_names_what_is_left_out(tmp_path):
    path = run(tmp_path, "one").path
    damaged = run(tmp_path, "two").path
    (damaged / "result.json").write_text('{"accuracy": "high"}')
    done = command(tmp_path / "none", damaged, path)
    assert done.returncode == 0 and "resnet_small" in done.stdout and "90.00" in done.stdout
    first, second = done.stderr.splitlines()
    assert first.endswith("none holds no finished run: it has no config.yaml")
    assert second.endswith("two/result.json is damaged: accuracy is 'high'; float is right")


def test_without_any_finished_run_or_any_folder_it_is_an_error(tmp_path):
    none = command(tmp_path / "none")
    assert none.returncode == 66 and "holds no finished run: it has no config.yaml" in none.stderr
    bare = command()
    assert bare.returncode == 64 and "RUN_DIR; see python -m train.table --help" in bare.stderr
    assert "Traceback" not in none.stderr + bare.stderr


def test_the_table_does_not_load_torch():
    code = "import sys, train.table; print({'torch', 'timm', 'cv2', 'accelerate'} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()"
