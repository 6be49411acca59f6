"""What is said about bf16 on a CPU: by its flags, and by a step that is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.doctor import precision

FLAGS = "processor\t: 0\nflags\t\t: fpu avx512f {}\nbugs\t\t: none\n"


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("avx512_bf16 amx_bf16 amx_tile", ("AMX", "AVX512-BF16")),
        ("avx512_bf16", ("AVX512-BF16",)),
        ("avx512_bf16x", ()),
        ("", ()),
    ],
)
def test_instructions_are_read_from_the_flags(tmp_path: Path, flags: str, found: tuple[str, ...]) -> None:
    (tmp_path / "cpuinfo").write_text(FLAGS.format(flags))
    assert precision.instructions(tmp_path / "cpuinfo") == found


def test_where_the_kernel_reports_nothing_there_are_none(tmp_path: Path) -> None:
    assert precision.instructions(tmp_path / "cpuinfo") == ()
    (tmp_path / "cpuinfo").write_text("Features : fp asimd\n")
    assert precision.instructions(tmp_path / "cpuinfo") == ()


def test_without_instructions_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "time_share", lambda: pytest.fail("it was measured"))
    assert "train with precision float32" in precision.check(tmp_path / "cpuinfo").found


def test_it_is_recommended_where_a_step_is_faster_only() -> None:
    assert "try precision bf16" in precision.verdict(("AMX",), 0.5).found
    assert "does not pay" in precision.verdict(("AMX",), 0.95).found


def test_a_step_is_measured_in_both_precisions() -> None:
    assert 0.01 < precision.time_share() < 100
