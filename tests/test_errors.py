import copy
import pickle

import pytest

from kochava_segment import errors
from kochava_segment.errors import (
    AmbiguousDelivery,
    ConfigurationError,
    CredentialsRejected,
    DeliveryError,
    EventFiltered,
    EventNotSupported,
    FilterReason,
    InvalidEventPayload,
    KochavaSegmentError,
    MappingError,
    Problem,
    Rejected,
    RetriesExhausted,
)

PROBLEMS = (Problem("context.device.id", "must be a string"), Problem("event", "is missing"))
EXAMPLES = [
    ConfigurationError(PROBLEMS),
    InvalidEventPayload(PROBLEMS, "m-1"),
    InvalidEventPayload(PROBLEMS),
    EventNotSupported("group messages are not supported", "m-1"),
    EventFiltered(FilterReason.CONSENT, "no consent", "m-1"),
    *(
        kind("it failed", message_id="m-1", attempts=3, status=503)
        for kind in (Rejected, CredentialsRejected, RetriesExhausted, AmbiguousDelivery)
    ),
]


def everything_of(error):
    return type(error), str(error), error.args, vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_cross_process_boundaries(error):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert everything_of(again) == everything_of(error)
    assert everything_of(copy.copy(error)) == everything_of(error)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_of_the_tree_and_drawn_in_it(name):
    exported = getattr(errors, name)
    assert exported.__doc__
    if isinstance(exported, type) and issubclass(exported, Exception):
        assert issubclass(exported, KochavaSegmentError)
        assert name in errors.__doc__


def test_the_tree():
    assert issubclass(ConfigurationError, ValueError)
    for kind in (InvalidEventPayload, EventNotSupported, EventFiltered):
        assert issubclass(kind, MappingError)
    for kind in (Rejected, CredentialsRejected, RetriesExhausted, AmbiguousDelivery):
        assert issubclass(kind, DeliveryError)
        assert not issubclass(kind, MappingError)


@pytest.mark.parametrize("kind", [ConfigurationError, InvalidEventPayload])
def test_problems_are_all_told(kind):
    error = kind(PROBLEMS)
    assert error.problems == PROBLEMS
    assert str(error) == "context.device.id: must be a string; event: is missing"


def test_problems_may_come_one_by_one():
    assert ConfigurationError(problem for problem in PROBLEMS).problems == PROBLEMS


@pytest.mark.parametrize("kind", [ConfigurationError, InvalidEventPayload])
@pytest.mark.parametrize("problems", ["device.id: is missing", ["is missing"], [*PROBLEMS, None]])
def test_problems_say_where_they_are(kind, problems):
    """Not so the letters of a sentence."""
    with pytest.raises(TypeError, match=r"^problems must be a list of Problem\(path, detail\)$"):
        kind(problems)


@pytest.mark.parametrize("reason", list(FilterReason))
def test_a_reason_may_be_given_as_its_word(reason):
    assert EventFiltered(reason.value, "").reason is reason


@pytest.mark.parametrize("reason", ["secret@example.com", "loop", None, 1])
def test_a_reason_is_none_of_one_s_own(reason):
    with pytest.raises(ValueError, match=r"^reason must be a FilterReason: FILTERED_BY_") as caught:
        EventFiltered(reason, "")
    assert "secret" not in str(caught.value)


def test_a_reason_is_segment_s_word():
    error = EventFiltered(FilterReason.INTEGRATIONS, "it says so", "m-1")
    assert error.reason == "FILTERED_BY_INTEGRATIONS_OBJECT"
    assert str(error) == "FILTERED_BY_INTEGRATIONS_OBJECT: it says so"
    assert {str(reason) for reason in FilterReason} == {
        "FILTERED_BY_INTEGRATIONS_OBJECT",
        "FILTERED_BY_END_USER_CONSENT",
        "LOOP",
        "SCREENS_OFF",
        "NOTHING_TO_LINK",
    }


@pytest.mark.parametrize(
    ("attempts", "status", "text"),
    [
        (1, 400, "it failed (1 attempt, last status 400)"),
        (3, None, "it failed (3 attempts, no answer)"),
        (0, None, "it failed (0 attempts, no answer)"),
    ],
)
def test_a_delivery_error_tells_attempts_and_status(attempts, status, text):
    assert str(Rejected("it failed", attempts=attempts, status=status)) == text


def test_a_mapping_error_may_have_no_message_id():
    assert EventNotSupported("no").message_id is None
    assert MappingError.message_id is None
