"""What the adaptive concurrency finds, against simulated servers and a clock of their own."""

from __future__ import annotations

import heapq
import random
import statistics

import pytest

from kochava_segment import ConfigurationError
from kochava_segment.delivery.concurrency import (
    AdaptiveConcurrency,
    PinnedConcurrency,
    make_concurrency,
)


class Simulation:
    """A client that keeps as many requests under way as it is told, and a server that answers them.

    The server works on `rate` requests a second, one after the other; an answer then takes `latency`
    more, and by chance up to some times `jitter` of that. More than `refuse_over` at once are refused.
    """

    def __init__(
        self, latency, rate=float("inf"), *, jitter=0.0, refuse_over=None, pace=None, seed=7
    ):
        self.now = 0.0
        self.latency, self.rate, self.jitter = latency, rate, jitter
        self.refuse_over, self.pace = refuse_over, pace
        self.concurrency = AdaptiveConcurrency(clock=lambda: self.now)
        self._random = random.Random(seed)
        self._under_way = []
        self._count = 0
        self._free_at = self._next_slot = 0.0

    def run(self, seconds):
        """The mean limit, and the accepted requests a second, of the last half of some seconds."""
        until, half = self.now + seconds, self.now + seconds / 2
        limits, accepted = [], 0
        while self.now < until:
            refused = self._step()
            if self.now > half:
                limits.append(self.concurrency.limit)
                accepted += not refused
        return statistics.mean(limits), accepted / (seconds / 2)

    def rounds_to(self, limit, most=30):
        """After how many times the latency the limit is so large."""
        while self.concurrency.limit < limit and self.now < most * self.latency:
            self._step()
        return self.now / self.latency

    def highest(self, seconds):
        """The highest limit of some seconds."""
        until, limits = self.now + seconds, []
        while self.now < until:
            self._step()
            limits.append(self.concurrency.limit)
        return max(limits)

    def _step(self):
        """Wait for the next answer; whether it is a refusal."""
        while len(self._under_way) < self.concurrency.limit:
            self._send()
        self.now, _, began, refused = heapq.heappop(self._under_way)
        self.concurrency.observe(self.now - began, refused=refused)
        return refused

    def _send(self):
        began = self.now
        if self.pace:
            began = self._next_slot = max(self._next_slot + 1 / self.pace, self.now)
        ends = began + self.latency * (1 + self.jitter * self._random.expovariate(1))
        refused = self.refuse_over is not None and len(self._under_way) >= self.refuse_over
        if not refused:
            self._free_at = max(self._free_at, began) + 1 / self.rate
            ends += self._free_at - began
        self._count += 1
        heapq.heappush(self._under_way, (ends, self._count, began, refused))


@pytest.mark.parametrize("seconds", [8, 60])
def test_it_finds_what_a_server_can_work_on_at_once(seconds):
    limit, rate = Simulation(0.05, 640).run(seconds)
    assert 30 < limit < 48  # 32 of them, and some that wait
    assert rate > 0.93 * 640


def test_answers_that_vary_do_not_mislead_it():
    _, rate = Simulation(0.05, 640, jitter=0.5).run(20)
    assert rate > 0.9 * 640


@pytest.mark.parametrize("latency", [0.03, 0.05, 0.2])
def test_each_round_trip_doubles_it_until_there_is_a_queue(latency):
    assert Simulation(latency).rounds_to(32) < 3.5
    assert Simulation(latency).rounds_to(64) < 4.5
    assert Simulation(latency).rounds_to(128) < 5.5


@pytest.mark.parametrize("seed", range(10))
def test_it_is_quick_too_where_answers_vary(seed):
    assert Simulation(0.05, jitter=0.3, seed=seed).rounds_to(128) < 20


def test_two_rounds_with_a_queue_end_the_doubling_about_where_it_pays_off():
    simulation = Simulation(0.05, 640)
    assert simulation.highest(0.8) <= 128  # answers tell of when their requests were sent
    assert 25 < simulation.concurrency.limit < 48


def test_doubling_ends_where_it_brings_no_more_answers_though_most_are_quick():
    now, limits = 0.0, []
    concurrency = AdaptiveConcurrency(clock=lambda: now)
    for number in range(60):  # 80 a second, so that 4 at once are enough
        now += 1 / 80
        slow = 4 * concurrency.limit / 80 - 3 * 0.04  # as many are under way as it says
        concurrency.observe(slow if number % 4 == 3 else 0.04, refused=False)
        limits.append(concurrency.limit)
    assert max(limits) == 16  # the first window has no rate before it to compare
    assert limits[-1] < 10


def test_one_slow_round_does_not_end_the_doubling():
    simulation = Simulation(0.05)
    simulation.rounds_to(16)
    simulation.latency = 0.2
    simulation.run(0.15)
    simulation.latency = 0.05
    simulation.run(0.8)
    assert simulation.concurrency.limit == 256


def test_where_a_server_becomes_larger_it_doubles_again():
    simulation = Simulation(0.05, 400)
    before, _ = simulation.run(6)
    assert before < 32
    simulation.rate = float("inf")
    simulation.run(0.6)
    assert simulation.concurrency.limit > 128


def test_a_server_without_limits_gets_the_most():
    limit, _ = Simulation(0.05).run(1)
    assert limit > 200
    limit, _ = Simulation(0.05, jitter=0.8).run(16)
    assert limit > 150


def test_where_the_processor_is_the_limit_few_threads_are_enough():
    limit, rate = Simulation(0.00001, 25_000).run(0.6)
    assert 1 <= limit <= 7
    assert rate > 0.95 * 25_000


def test_refusals_make_it_back_off():
    limit, rate = Simulation(0.05, refuse_over=20).run(20)
    assert 10 < limit < 21
    assert rate > 0.5 * 20 / 0.05


def test_the_first_refusal_ends_the_doubling_at_once():
    simulation = Simulation(0.05, refuse_over=40)
    simulation.rounds_to(64)
    simulation.run(0.06)  # a round trip, until the first is heard of
    assert simulation.concurrency.limit < 48
    assert simulation.highest(10) < 48


def test_one_refusal_is_no_reason_to_stop():
    simulation = Simulation(0.05, 640)
    simulation.run(4)
    before = simulation.concurrency.limit
    simulation.concurrency.observe(0.05, refused=True)
    assert 0.65 * before < simulation.concurrency.limit < 0.75 * before
    for _ in range(10):  # under way at the same time
        simulation.concurrency.observe(0.05, refused=True)
    assert 0.65 * before < simulation.concurrency.limit
    limit, _ = simulation.run(6)
    assert limit > 0.8 * before


def test_a_server_that_becomes_slower_for_good_does_not_starve():
    simulation = Simulation(0.01, 3200)
    simulation.run(4)
    simulation.latency = 0.05
    _, rate = simulation.run(40)
    assert rate > 0.9 * 3200


def test_it_does_not_grow_where_something_else_is_the_limit():
    limit, _ = Simulation(0.05, pace=100).run(12)
    assert limit < 32


def test_it_is_never_more_than_it_may_be():
    simulation = Simulation(0.05)
    simulation.concurrency = AdaptiveConcurrency(9, clock=lambda: simulation.now)
    assert simulation.run(3)[0] == 9
    assert AdaptiveConcurrency(1).limit == 1


def test_answers_that_take_no_time_at_all_do_no_harm():
    concurrency = AdaptiveConcurrency(clock=iter(range(1000)).__next__)
    for _ in range(300):
        concurrency.observe(0.0, refused=False)
    assert 1 <= concurrency.limit <= 256


def test_a_pinned_number_learns_nothing():
    pinned = PinnedConcurrency(16)
    for _ in range(1000):
        pinned.observe(9.0, refused=True)
    assert pinned.limit == 16


def test_a_caller_pins_a_number_or_leaves_it_open():
    assert make_concurrency(7).limit == 7
    assert isinstance(make_concurrency(None), AdaptiveConcurrency)
    with pytest.raises(ConfigurationError, match="concurrency"):
        make_concurrency(0)
