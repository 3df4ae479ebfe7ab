"""The pace, with a clock that the tests move."""

from __future__ import annotations

import threading

import pytest

from kochava_segment.delivery.rate import RateLimiter


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_without_a_limit_nobody_waits(clock):
    limiter = RateLimiter(None, clock)
    assert [limiter.reserve() for _ in range(1000)] == [0.0] * 1000
    assert limiter.rate is None


def test_requests_are_spread_at_the_rate(clock):
    limiter = RateLimiter(10.0, clock)
    assert [limiter.reserve() for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    clock.now += 0.2  # two slots have passed
    assert limiter.reserve() == pytest.approx(0.2)


def test_what_was_not_used_is_not_saved_up(clock):
    limiter = RateLimiter(10.0, clock)
    limiter.reserve()
    clock.now += 60
    assert [limiter.reserve() for _ in range(4)] == pytest.approx([0.0, 0.0, 0.1, 0.2])


def test_threads_share_one_pace(clock):
    limiter = RateLimiter(100.0, clock)
    waits = []

    def reserve_some():
        waits.extend(limiter.reserve() for _ in range(50))

    threads = [threading.Thread(target=reserve_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([slot / 100 for slot in range(400)])


def test_a_429_halves_the_rate_once_a_second(clock):
    limiter = RateLimiter(80.0, clock)
    limiter.slow_down()
    limiter.slow_down()
    assert limiter.rate == 40.0
    clock.now += 0.99
    limiter.slow_down()
    assert limiter.rate == 40.0
    clock.now += 0.02
    limiter.slow_down()
    assert limiter.rate == 20.0


def test_the_rate_never_falls_below_one_a_second(clock):
    limiter = RateLimiter(4.0, clock)
    for _ in range(10):
        limiter.slow_down()
        clock.now += 1
    assert limiter.rate == 1.0


def test_success_raises_the_rate_by_a_tenth_of_the_ceiling_a_second_up_to_it(clock):
    limiter = RateLimiter(100.0, clock)
    limiter.slow_down()
    clock.now += 1
    limiter.speed_up()
    assert limiter.rate == pytest.approx(60.0)
    clock.now += 0.5
    limiter.speed_up()
    assert limiter.rate == pytest.approx(65.0)
    clock.now += 100  # without a success, time alone teaches no more than a second of it
    limiter.speed_up()
    assert limiter.rate == pytest.approx(75.0)
    for _ in range(10):
        clock.now += 1
        limiter.speed_up()
    assert limiter.rate == 100.0


def test_without_a_limit_a_429_sets_one_at_half_the_measured_pace_until_it_is_reached(clock):
    limiter = RateLimiter(None, clock)
    for _ in range(400):
        clock.now += 0.01
        limiter.reserve()
    limiter.slow_down()
    assert limiter.rate == pytest.approx(50.0, rel=0.05)
    assert limiter.reserve() == 0.0
    assert limiter.reserve() == pytest.approx(1 / 50, rel=0.05)
    for _ in range(6):
        clock.now += 1
        limiter.speed_up()
    assert limiter.rate is None
    assert limiter.reserve() == 0.0


def test_a_429_to_one_of_the_first_requests_says_little(clock):
    limiter = RateLimiter(None, clock)
    limiter.reserve()
    clock.now += 2
    limiter.slow_down()
    assert limiter.rate == 10.0


def test_the_pace_is_measured_anew_every_few_seconds(clock):
    limiter = RateLimiter(None, clock)
    for _ in range(1000):  # long ago, and fast
        limiter.reserve()
    clock.now += 60
    for _ in range(100):
        clock.now += 0.02
        limiter.reserve()
    limiter.slow_down()
    assert limiter.rate == pytest.approx(25.0, rel=0.05)


def test_success_without_a_429_changes_nothing(clock):
    limited, unlimited = RateLimiter(5.0, clock), RateLimiter(None, clock)
    limited.speed_up()
    unlimited.speed_up()
    assert (limited.rate, unlimited.rate) == (5.0, None)


@pytest.mark.parametrize("what", ["reserve", "speed_up"])
def test_a_limit_that_another_thread_lifts_meanwhile_limits_nobody(clock, what):
    limiter = RateLimiter(None, clock)
    limiter.slow_down()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(getattr(limiter, what)()))
    with limiter._lock:
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        limiter._rate = None
    waiting.join(5)
    assert answers == [0.0 if what == "reserve" else None]
    assert limiter.rate is None
