"""The whole measurement on a small data set, in blocks of sixteen files."""

import pytest

from configs.errors import UsageError
from data_pipes.sources import index_work
from launch.bench.config import ScaleConfig
from launch.bench.scale import measurement


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_work, "FILES_PER_BLOCK", 16)
        config = ScaleConfig(images=200, classes=70, folder=str(folder), rounds=1)
        report = measurement.run(config, shown.append)
    return report, shown, folder


def test_every_piece_is_measured_and_nothing_stays(measured):
    report, shown, folder = measured
    rows = {row.name: row for row in report.rows}
    assert list(folder.iterdir()) == [] and len(shown) >= 10
    assert rows["start after 1 files were added"].figures["images"] == 201
    for name in ("warm start, main process, median", "samples taken over by another process"):
        assert rows[name].figures["images"] == 200 and rows[name].seconds > 0 and rows[name].peak_bytes > 10**7
    first, rest = (row for row in report.rows if row.name.startswith("index, "))
    assert first.count + rest.count == 200 and first.count % 16 in (0, 200 % 16)
    assert rows["index on disk"].figures["bytes"] > 200 * 30
    assert rows["teacher logits of a view, read"].figures["bytes"] == 200 * 70 * 2 + 64


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="folder /nowhere does not exist"):
        measurement.run(ScaleConfig(folder="/nowhere"), print)
