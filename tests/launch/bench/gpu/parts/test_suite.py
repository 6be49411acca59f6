"""The tests that need a GPU, on a tree of a few tests."""

import pytest

from gpu_parts import ROOT, column, small
from launch.bench.gpu.parts import suite
from launch.bench.work import LeftOut

CONFIG = "[tool:pytest]\nmarkers =\n    gpu: needs a GPU\n    slow: slow\naddopts = -m 'not slow'\n"
MARK = "pytest." + suite.MARK  # not spelt out: this file has no such tests
TESTS = f"""
import pytest
pytestmark = {MARK}
def test_good(): pass
def test_bad(): assert 1 == 2
@pytest.mark.skip("no GPU")
def test_skipped(): pass
"""
OTHER = "def test_of_a_cpu(): assert False\n"


@pytest.fixture
def tree(tmp_path):
    """A source tree with one file of such tests."""
    (tmp_path / "tests" / "room").mkdir(parents=True)
    (tmp_path / "setup.cfg").write_text(CONFIG)
    (tmp_path / "tests" / "room" / "test_device.py").write_text(TESTS)
    (tmp_path / "tests" / "test_other.py").write_text(OTHER)
    return tmp_path


def test_each_file_has_a_row_and_each_failure_is_a_fault(tree):
    found = suite.run(small(tree), "tests", tree)
    assert found.tables[0].rows == [["tests/room/test_device.py", 1, 1, 1]]
    assert found.faults == ["tests/room/test_device.py test_bad: assert 1 == 2"]


def test_a_file_that_cannot_be_imported_does_not_keep_the_others_from_running(tree):
    (tree / "tests" / "test_broken.py").write_text("import nothing_of_this_name\n@" + MARK)
    found = suite.run(small(tree), "tests", tree)
    assert [row[1:] for row in found.tables[0].rows if "test_device" in row[0]] == [[1, 1, 1]]
    assert len(found.faults) == 2 and any("test_broken" in fault for fault in found.faults)


def test_on_a_gpu_some_test_must_run(tree):
    (tree / "tests" / "room" / "test_device.py").write_text(TESTS.replace("def test_", "@pytest.mark.skip\ndef test_"))
    report = suite.run(small(tree), "tests", tree)
    assert not report.faults and report.tables[0].rows[0][1:] == [0, 0, 3]
    found = suite.ElementTree.parse(tree / "tests.xml").getroot()
    assert suite.summary(found, 0, device="cuda").faults == ["every test was skipped, although there is a GPU"]
    assert suite.summary(found, 2, device="cpu").faults == ["pytest ended with exit code 2"]


def test_without_tests_or_pytest_the_part_is_left_out(tmp_path, monkeypatch):
    with pytest.raises(LeftOut, match="no tests that need a GPU"):
        suite.run(small(tmp_path), "tests", tmp_path)
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    with pytest.raises(LeftOut, match="pytest is not installed"):
        suite.run(small(tmp_path), "tests", tmp_path)


def test_the_repository_has_such_tests():
    names = {path.name for path in suite.marked(ROOT / "tests")}
    assert {"test_dali.py", "test_resident.py", "test_masks.py"} <= names and not names & {
        "test_host.py",
        "test_suite.py",
    }
    assert column(suite.summary(suite.ElementTree.Element("testsuites"), 5, device="cpu"), "Tests", "file") == []
