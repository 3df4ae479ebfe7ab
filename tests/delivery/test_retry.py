from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochava_segment import ConfigurationError, RetryPolicy
from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Attempt
from kochava_segment.delivery.retry import Attempts


def an_attempt(**changes):
    return Attempt(verdict=Verdict.RETRY, **changes)


def failures(policy, *attempts):
    failed = Attempts(policy)
    for attempt in attempts:
        failed = failed.after(attempt)
    return failed


def highest(_low, high):
    return high


def lowest(low, _high):
    return low


def test_without_a_word_it_is_five_attempts_within_a_minute():
    assert attrs.asdict(RetryPolicy()) == {
        "max_attempts": 5,
        "base": 0.5,
        "cap": 30.0,
        "deadline": 60.0,
        "retry_after_cap": 60.0,
        "maybe_sent": "retry",
    }


def test_one_attempt_may_be_all():
    assert failures(RetryPolicy(max_attempts=1), an_attempt()).wait(0) is None


def test_the_bound_of_the_wait_doubles_up_to_the_cap():
    policy = RetryPolicy(max_attempts=99, base=0.5, cap=3.0, deadline=1000)
    bounds = [
        failures(policy, *[an_attempt()] * count).wait(0, uniform=highest) for count in range(1, 6)
    ]
    assert bounds == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_jitter_is_full():
    assert failures(RetryPolicy(), an_attempt()).wait(0, uniform=lowest) == 0.0


@given(
    count=st.integers(1, 3000),
    base=st.floats(0, 100),
    cap=st.floats(0, 1000),
)
def test_a_wait_is_never_above_the_cap(count, base, cap):
    policy = RetryPolicy(max_attempts=5000, base=base, cap=cap, deadline=1e6)
    wait = failures(policy, *[an_attempt()] * min(count, 50)).wait(0)
    assert 0 <= wait <= cap


def test_a_great_many_attempts_do_not_overflow():
    policy = RetryPolicy(max_attempts=5000, base=0.5, cap=30, deadline=1e9)
    assert Attempts(policy, (an_attempt(),) * 4000).wait(0, uniform=highest) == 30


def test_the_last_attempt_is_the_last():
    policy = RetryPolicy(max_attempts=3)
    assert failures(policy, an_attempt(), an_attempt()).wait(0) is not None
    assert failures(policy, an_attempt(), an_attempt(), an_attempt()).wait(0) is None


def test_no_attempt_begins_after_the_deadline():
    policy = RetryPolicy(base=4, cap=4, deadline=10)
    assert failures(policy, an_attempt()).wait(6.0, uniform=highest) == 4.0
    assert failures(policy, an_attempt()).wait(6.001, uniform=highest) is None


def test_retry_after_is_honoured_instead_of_the_jitter():
    policy = RetryPolicy(deadline=100)
    assert failures(policy, an_attempt(retry_after=7.0)).wait(0) == 7.0


def test_retry_after_is_capped():
    policy = RetryPolicy(deadline=100, retry_after_cap=9)
    assert failures(policy, an_attempt(retry_after=3600.0)).wait(0) == 9.0


def test_retry_after_that_is_later_than_the_deadline_ends_it():
    assert failures(RetryPolicy(deadline=5), an_attempt(retry_after=6.0)).wait(0) is None


def test_an_answer_that_says_when_is_no_attempt():
    policy = RetryPolicy(max_attempts=2, deadline=1000)
    asked = [an_attempt(retry_after=1.0)] * 10
    assert failures(policy, *asked, an_attempt()).wait(0) is not None
    assert failures(policy, an_attempt(), *asked, an_attempt()).wait(0) is None


def test_a_server_that_says_at_once_is_not_hammered():
    policy = RetryPolicy(deadline=1000)
    at_once = an_attempt(retry_after=0.0)
    waits = [failures(policy, *[at_once] * count).wait(0) for count in (1, 2, 3, 200)]
    assert waits == [0.5, 1.0, 1.5, 60.0]


def test_one_attempt_that_may_have_been_counted_is_remembered():
    failed = failures(RetryPolicy(), an_attempt(maybe_sent=True), an_attempt(status=503))
    assert failed.maybe_sent
    assert not failures(RetryPolicy(), an_attempt(status=503)).maybe_sent


def test_a_failure_gives_a_new_value():
    before = failures(RetryPolicy(), an_attempt())
    after = before.after(an_attempt())
    assert (len(before.history), len(after.history)) == (1, 2)


@pytest.mark.parametrize(
    ("setting", "action", "what"),
    [
        ("retry", "event", "retry"),
        ("give_up", "install", "give_up"),
        ({"event": "give_up"}, "event", "give_up"),
        ({"event": "give_up"}, "install", "retry"),
        ({}, "event", "retry"),
    ],
)
def test_what_to_do_after_a_lost_answer_is_a_setting_of_the_action(setting, action, what):
    assert RetryPolicy(maybe_sent=setting).after_maybe_sent(action) == what


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(
            max_attempts=0,
            base=-1,
            cap=float("inf"),
            deadline="1",
            retry_after_cap=True,
            maybe_sent={"event": "perhaps"},
        )
    assert [problem.path for problem in caught.value.problems] == [
        "retry.max_attempts",
        "retry.base",
        "retry.cap",
        "retry.deadline",
        "retry.retry_after_cap",
        "retry.maybe_sent",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 1.0),
        ("max_attempts", True),
        ("max_attempts", None),
        ("base", float("nan")),
        ("base", 10**400),
        ("maybe_sent", "perhaps"),
        ("maybe_sent", {"purchase": "retry"}),
        ("maybe_sent", None),
    ],
)
def test_a_wrong_value_is_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"retry.{name}"):
        RetryPolicy(**{name: value})


def test_a_policy_is_made_of_text_too():
    texts = {"max_attempts": "3", "base": "0.1", "deadline": 5, "maybe_sent": "give_up"}
    assert RetryPolicy.from_mapping(texts) == RetryPolicy(
        max_attempts=3, base=0.1, deadline=5, maybe_sent="give_up"
    )


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"attempts": 3}, "retry.attempts"),
        ({"max_attempts": "many"}, "retry.max_attempts"),
        ({"base": "1s"}, "retry.base"),
    ],
)
def test_text_that_makes_no_policy_is_refused(values, path):
    with pytest.raises(ConfigurationError, match=path):
        RetryPolicy.from_mapping(values)


def test_a_policy_never_changes():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryPolicy().base = 1.0


def test_fields_that_a_mapping_leaves_out_are_those_of_the_default():
    default = RetryPolicy(max_attempts=1_000, deadline=3_600.0)
    policy = RetryPolicy.from_mapping({"base": "2"}, default)
    assert policy == RetryPolicy(max_attempts=1_000, deadline=3_600.0, base=2.0)
