"""Rounds, their order, and what becomes of laps: medians, CPU time, ratios within a round."""

import multiprocessing
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launch.bench import rounds
from launch.bench.rounds import Goal, Lap, Spread


@dataclass
class Fake:
    """Takes `seconds` per image and writes down what it was asked for."""

    name: str
    diary: list
    seconds: float = 0.01
    sizes: list = field(default_factory=list)

    def lap(self, images: int) -> Lap:
        self.diary.append(self.name)
        self.sizes.append(images)
        return Lap(images, images * self.seconds, None)

    def close(self) -> None:
        raise AssertionError("not ours to close")


def laps(*rates: float, cpu: float | None = None) -> list[Lap]:
    return [Lap(100, 100 / rate, cpu) for rate in rates]


def test_each_round_begins_with_the_next_variant():
    orders = [rounds.rotated(["a", "b", "c"], number) for number in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_variants_take_turns_and_the_warm_up_is_thrown_away():
    diary = []
    found = rounds.measure({name: Fake(name, diary) for name in "ab"}, 3, images=10, seconds=0)
    assert "".join(diary) == "ababbaab"
    assert [len(own) for own in found.values()] == [3, 3]


@pytest.mark.parametrize(("per_image", "expected"), [(0.5, 10), (0.0101, 50), (0.0099, 60)])
def test_a_lap_is_whole_passes_and_takes_about_the_time_that_was_asked_for(per_image, expected):
    fake = Fake("a", [], per_image)
    rounds.measure({"a": fake}, 2, images=10, seconds=0.5)
    assert fake.sizes == [10, expected, expected]


def test_what_is_shown_names_variant_and_round():
    shown = []
    rounds.measure({"a": Fake("a", [])}, 2, images=1, seconds=0, show=rounds.progress(shown.append, 2))
    assert shown == ["a: warm-up", "a: round 1 of 2", "a: round 2 of 2"]


def test_rates_are_median_smallest_and_largest():
    assert rounds.rates(laps(100, 400, 200)) == Spread(200, 100, 400)
    assert rounds.rates(laps(100, 400)) == Spread(250, 100, 400)


def test_cpu_time_is_per_image_and_unknown_if_it_is_unknown_once():
    assert rounds.cpu_ms(laps(1, cpu=0.2) + laps(1, cpu=0.4) + laps(1, cpu=0.3)) == pytest.approx(3.0)
    assert rounds.cpu_ms(laps(1, cpu=0.2) + laps(1)) is None


def test_ratios_are_taken_within_a_round():
    """The machine is four times slower in one round: that does not show. The ratio of the medians would be 2."""
    found = {"a": laps(300, 75, 100), "b": laps(100, 25, 50)}
    (ratio,) = rounds.ratios([Goal("a/b", "a", ("b",), 3.0)], found)
    assert ratio.spread == Spread(pytest.approx(3.0), pytest.approx(2.0), pytest.approx(3.0))
    assert rounds.rates(found["a"]).median / rounds.rates(found["b"]).median == 2.0


def test_the_best_rival_is_one_and_the_same_in_every_round():
    """In each round another one is the fastest; by the median it is b."""
    found = {"a": laps(100, 100, 100), "b": laps(50, 40, 20), "c": laps(10, 30, 90), "d": laps(1, 1, 1)}
    (ratio,) = rounds.ratios([Goal("a/best", "a", ("c", "b", "d"), 1.0)], found)
    assert ratio.against == "b"
    assert ratio.spread == Spread(pytest.approx(2.5), pytest.approx(2.0), pytest.approx(5.0))


def test_a_ratio_without_one_of_its_sides_is_not_there():
    goals = [Goal("a/b", "a", ("b",), 1.0), Goal("b/a", "b", ("a",), 1.0), Goal("a/either", "a", ("b", "c"), 1.0)]
    assert rounds.ratios(goals, {"a": laps(1)}) == []
    assert [ratio.goal.name for ratio in rounds.ratios(goals, {"a": laps(1), "c": laps(1)})] == ["a/either"]


def burn(seconds: float, started, go) -> None:
    started.set()
    go.wait()
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    started.clear()
    go.clear()
    go.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_cpu_time_of_living_workers_counts(tmp_path):
    context = multiprocessing.get_context("fork")
    started, go = context.Event(), context.Event()
    worker = context.Process(target=burn, args=(0.4, started, go), daemon=True)
    worker.start()
    try:
        started.wait()
        watch = rounds.Stopwatch(lambda: None)
        own = time.process_time()
        go.set()
        while started.is_set():
            time.sleep(0.01)
        spent, own = watch.lap(1).cpu_seconds, time.process_time() - own
        assert own < 0.2 and 0.35 < spent < 0.4 + own + 0.1
        assert rounds.cpu_seconds(tmp_path) is None, "a worker that cannot be seen is not nothing"
    finally:
        worker.kill()
        worker.join()
    assert rounds.cpu_seconds(tmp_path) == pytest.approx(time.process_time(), abs=0.1), "no worker, nothing to look for"


def test_the_stopwatch_waits_for_the_device_at_both_ends(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def settle() -> None:
        now[0] += 3

    watch = rounds.Stopwatch(settle)
    now[0] += 2
    lap = watch.lap(7)
    assert (lap.images, lap.seconds, now[0]) == (7, 5, 8)  # the first wait is no part of it, the second is
