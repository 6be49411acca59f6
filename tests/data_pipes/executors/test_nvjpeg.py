"""The question to libnvjpeg: answers pass through, failures are named, nothing is left open."""

import sys

import pytest

from data_pipes.executors import nvjpeg


class Library:
    """Stands for libnvjpeg; statuses are those of create and of info."""

    def __init__(self, create: int = 0, info: int = 0) -> None:
        self.create, self.info, self.destroyed = create, info, 0

    def nvjpegCreateSimple(self, handle) -> int:  # noqa: N802 (the library's name)
        handle._obj.value = 42
        return self.create

    def nvjpegGetHardwareDecoderInfo(self, handle, engines, cores) -> int:  # noqa: N802
        assert handle.value == 42
        engines._obj.value, cores._obj.value = 1, 8
        return self.info

    def nvjpegDestroy(self, handle) -> None:  # noqa: N802
        self.destroyed += 1


def test_engines_and_cores():
    library = Library()
    assert nvjpeg.decoders(library) == (1, 8) and library.destroyed == 1


def test_a_call_that_fails_is_named_with_its_status():
    with pytest.raises(RuntimeError, match="nvjpegCreateSimple failed with status 6"):
        nvjpeg.decoders(Library(create=6))
    library = Library(info=9)
    with pytest.raises(RuntimeError, match="nvjpegGetHardwareDecoderInfo failed with status 9"):
        nvjpeg.decoders(library)
    assert library.destroyed == 1


def test_the_command_prints_two_numbers(monkeypatch, capsys):
    monkeypatch.setattr(nvjpeg, "library", lambda: "libnvjpeg.so")
    monkeypatch.setattr(nvjpeg.ctypes, "CDLL", lambda name: Library())
    assert nvjpeg.main() == 0 and capsys.readouterr().out == "1 8\n"


def test_without_the_library_or_with_an_old_one_the_command_says_so(monkeypatch, capsys):
    monkeypatch.setattr(nvjpeg, "library", lambda: None)
    assert nvjpeg.main() == 1 and "libnvjpeg is not installed" in capsys.readouterr().err
    monkeypatch.setattr(nvjpeg, "library", lambda: "/no/such/libnvjpeg.so")
    assert nvjpeg.main() == 1 and "libnvjpeg.so" in capsys.readouterr().err
    monkeypatch.setattr(nvjpeg, "library", lambda: "libc.so.6")
    monkeypatch.setattr(nvjpeg.ctypes, "CDLL", lambda name: object())
    assert nvjpeg.main() == 1 and "nvjpegCreateSimple" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "named"),
    [("print('1 8')", ""), ("print('0 0')", ", no JPEG hardware"), ("exit(1)", ", JPEG hardware unknown")],
)
def test_what_a_gpu_lacks_is_asked_once_in_a_process_of_its_own(monkeypatch, script, named):
    nvjpeg.hardware.cache_clear()
    monkeypatch.setattr(nvjpeg, "COMMAND", (sys.executable, "-c", script))
    assert nvjpeg.hardware() == named
    monkeypatch.setattr(nvjpeg, "COMMAND", ("/no/such/program",))
    assert nvjpeg.hardware() == named
    nvjpeg.hardware.cache_clear()
