"""The sweep of the decoder's settings, which on a CPU have no effect on what decodes."""

import pytest

from gpu_parts import column, small
from launch.bench.gpu.parts import decoder
from launch.bench.work import LeftOut


def test_each_way_is_measured(tmp_path):
    found = decoder.run(small(tmp_path), "decoder")
    assert column(found, "DALI from files", "hw_decoder_load") == [0, 0.65, 0.65]
    assert column(found, "DALI from files", "fancy_upsampling") == [True, True, False]
    assert min(column(found, "DALI from files", "images/s")) > 0


def test_without_dali_there_is_nothing_to_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder.choice, "dali_installed", lambda: False)
    with pytest.raises(LeftOut, match="NVIDIA DALI is not installed"):
        decoder.run(small(tmp_path), "decoder")
