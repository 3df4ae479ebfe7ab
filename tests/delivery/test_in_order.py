from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kochava_segment.delivery import in_order
from kochava_segment.delivery.concurrency import PinnedConcurrency
from kochava_segment.delivery.workers import ThreadedWorkers
from tests.long import many


def run_in_order(items, work, *, key, concurrency, **more):
    """With a number that may be changed: `concurrency` is one, or what has a `limit`."""
    if isinstance(concurrency, int):
        concurrency = PinnedConcurrency(concurrency)

    def make_workers(done):
        return ThreadedWorkers(work, done, concurrency)

    return in_order.run_in_order(items, make_workers, key=key, concurrency=concurrency, **more)


def by_letter(item):
    """The key of "a1" is "a"; "-1" has none."""
    return None if item[0] == "-" else item[0]


def eventually(condition, seconds=5.0):
    """Whether a condition of other threads comes true."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return condition()


def our_threads():
    return [thread for thread in threading.enumerate() if thread.name == "kochava-segment"]


class Watched:
    """Work that notes what it is given, and what is worked on at once."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.order = defaultdict(list)
        self.most_at_once = 0
        self.overlaps = []
        self._active = []
        self._lock = threading.Lock()

    def __call__(self, item):
        key = by_letter(item)
        with self._lock:
            if key is not None and key in self._active:
                self.overlaps.append(item)
            self._active.append(key)
            self.most_at_once = max(self.most_at_once, len(self._active))
            self.order[key].append(item)
        time.sleep(self.seconds)
        with self._lock:
            self._active.remove(key)
        return item


@settings(max_examples=150, deadline=None)
@given(
    letters=st.lists(st.sampled_from("aab-c"), max_size=120),
    concurrency=st.integers(1, 6),
    seconds=st.sampled_from([0.0, 0.0, 0.0001]),
)
def test_each_item_is_worked_on_once_and_the_order_of_a_key_is_kept(letters, concurrency, seconds):
    items = [f"{letter}{place}" for place, letter in enumerate(letters)]
    work = Watched(seconds)
    results = list(run_in_order(items, work, key=by_letter, concurrency=concurrency))
    assert sorted(results) == sorted(items)
    assert work.overlaps == []
    assert work.most_at_once <= concurrency
    for key in set(letters) - {"-"}:
        of_key = [item for item in items if item[0] == key]
        assert work.order[key] == of_key
        assert [item for item in results if item[0] == key] == of_key
    assert our_threads() == []


@pytest.mark.slow
@settings(max_examples=many(10_000), deadline=None)
@given(letters=st.lists(st.sampled_from("aab-c"), max_size=60), concurrency=st.integers(1, 6))
def test_ten_thousand_runs_keep_the_order(letters, concurrency):
    items = [f"{letter}{place}" for place, letter in enumerate(letters)]
    results = list(run_in_order(items, lambda item: item, key=by_letter, concurrency=concurrency))
    assert sorted(results) == sorted(items)
    for key in set(letters) - {"-"}:
        of_key = [item for item in items if item[0] == key]
        assert [item for item in results if item[0] == key] == of_key


def test_items_are_worked_on_side_by_side():
    work = Watched(0.02)
    list(run_in_order([f"-{n}" for n in range(40)], work, key=by_letter, concurrency=8))
    assert work.most_at_once == 8


def test_no_more_threads_are_started_than_there_is_work():
    for item in run_in_order(["a1", "a2", "a3"], lambda item: item, key=by_letter, concurrency=64):
        assert item
        assert len(our_threads()) == 1


def test_threads_come_and_go_with_the_concurrency():
    pinned = PinnedConcurrency(2)
    work, seen = Watched(0.002), []
    items = (f"-{n}" for n in itertools.count())
    run = run_in_order(items, work, key=by_letter, concurrency=pinned)
    for limit in (2, 12, 3, 1, 6):
        pinned.limit = limit
        deque(itertools.islice(run, 80), maxlen=0)  # what was ready before is done by now
        work.most_at_once = 0
        deque(itertools.islice(run, 40), maxlen=0)
        seen.append((limit, work.most_at_once, len(our_threads())))
    run.close()
    assert [limit for limit, _, _ in seen] == [most for _, most, _ in seen]
    assert [limit for limit, _, _ in seen] == [threads for _, _, threads in seen]
    assert our_threads() == []


def test_a_busy_key_leaves_room_for_others():
    items = [f"h{n}" for n in range(200)] + ["c0"]
    results = list(run_in_order(items, Watched(0.001), key=by_letter, concurrency=16))
    assert results.index("c0") < 20


def test_a_busy_key_delays_others_only_beyond_its_room():
    concurrency, room = 2, 2 * 64
    items = [f"h{n}" for n in range(room + 50)] + ["c0"]
    results = list(run_in_order(items, Watched(0.001), key=by_letter, concurrency=concurrency))
    assert 50 <= results.index("c0") < 80


@pytest.mark.parametrize(("letter", "most"), [("h", 2 * 64 + 1), ("-", 2 * 4)])
def test_endless_input_is_taken_as_room_comes_free(letter, most):
    taken = itertools.count()
    go_on = threading.Event()
    items = (f"{letter}{next(taken)}" for _ in itertools.count())

    def work(item):
        go_on.wait(5)
        return item

    run = run_in_order(items, work, key=by_letter, concurrency=2)
    first = threading.Thread(target=lambda: next(run))
    first.start()
    time.sleep(0.1)
    so_far = next(taken)
    go_on.set()
    first.join()
    for _ in range(500):
        next(run)
    outstanding = next(taken) - 1 - 501
    run.close()
    assert so_far == most
    assert 0 <= outstanding <= 2 * (64 + 4)


def test_nothing_is_taken_before_the_first_result_is_asked_for():
    taken = []
    run = run_in_order(map(taken.append, range(10)), str, key=lambda _: None, concurrency=2)
    time.sleep(0.02)
    assert taken == []
    run.close()


def test_a_slow_consumer_loses_nothing():
    items = [f"{'ab-'[n % 3]}{n}" for n in range(600)]
    results = []
    for item in run_in_order(items, lambda item: item, key=by_letter, concurrency=4):
        if len(results) % 50 == 0:
            time.sleep(0.01)
        results.append(item)
    assert sorted(results) == sorted(items)


def test_an_error_of_the_input_is_raised_after_all_results():
    def items():
        yield from ("a1", "a2", "b1")
        raise OSError("the disk broke")

    results = []
    run = run_in_order(items(), Watched(0.01), key=by_letter, concurrency=2)
    with pytest.raises(OSError, match="the disk broke"):
        deque(map(results.append, run))
    assert sorted(results) == ["a1", "a2", "b1"]
    assert our_threads() == []


def test_an_error_of_the_work_is_raised_after_all_results():
    def work(item):
        if item == "a2":
            raise ZeroDivisionError
        return item

    results = []
    run = run_in_order(["a1", "a2", "a3", "b1"], work, key=by_letter, concurrency=2)
    with pytest.raises(ZeroDivisionError):
        deque(map(results.append, run))
    assert sorted(results) == ["a1", "a3", "b1"]


def test_an_interruption_of_the_input_ends_the_run_at_once():
    def items():
        yield "a1"
        yield "a2"
        raise KeyboardInterrupt

    work = Watched(0.05)
    with pytest.raises(KeyboardInterrupt):
        list(run_in_order(items(), work, key=by_letter, concurrency=2))
    assert work.order["a"] == ["a1"]
    assert our_threads() == []


def test_closing_early_waits_for_what_is_under_way_and_starts_nothing_more():
    started, finished, on_close = [], [], []

    def work(item):
        started.append(item)
        if item == "a0":
            assert eventually(lambda: len(started) >= 3)
        else:
            time.sleep(0.05)
        finished.append(item)
        return item

    items = [f"{'abc-'[n % 4]}{n}" for n in range(1000)]
    run = run_in_order(
        items, work, key=by_letter, concurrency=3, on_close=lambda: on_close.append(len(finished))
    )
    next(run)
    run.close()
    assert sorted(finished) == sorted(started)
    assert len(started) < 12
    assert len(on_close) == 1
    assert on_close[0] < len(finished)  # it was called before they were waited for
    assert list(run) == []
    assert our_threads() == []


def test_a_run_that_is_thrown_away_ends():
    run = run_in_order(itertools.count(), str, key=lambda _: None, concurrency=3)
    next(run)
    assert our_threads()
    del run
    assert eventually(lambda: not our_threads())
