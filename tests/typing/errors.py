"""Never run: type checkers read it. Errors and outcomes, taken apart."""

from typing_extensions import assert_type

from kochava_segment import (
    AmbiguousDelivery,
    ConfigurationError,
    DeliveryError,
    EventFiltered,
    FilterReason,
    InvalidEventPayload,
    KochavaDestination,
    KochavaSegmentError,
    MappingError,
    MappingWarning,
    Outcome,
    OutcomeKind,
    Problem,
    Receipt,
    Rejected,
)


def send(kochava: KochavaDestination) -> None:
    """All errors of a delivery."""
    try:
        kochava.send({})
    except EventFiltered as error:
        assert_type(error.reason, FilterReason)
        assert_type(error.message_id, str | None)
    except InvalidEventPayload as error:
        assert_type(error.problems, tuple[Problem, ...])
        assert_type(error.problems[0].path, str)
    except MappingError as error:
        assert_type(error.message_id, str | None)
    except (AmbiguousDelivery, Rejected) as error:
        assert_type(error.attempts, int)
        assert_type(error.status, int | None)
    except DeliveryError as error:
        assert_type(error.detail, str)
    except KochavaSegmentError:
        pass


def configure() -> None:
    """A wrong option is a ValueError as well."""
    try:
        KochavaDestination()
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            assert_type(error.problems, tuple[Problem, ...])


def judge(outcome: Outcome) -> None:
    """An outcome's parts."""
    assert_type(outcome.index, int)
    assert_type(outcome.kind, OutcomeKind)
    assert_type(outcome.receipt, Receipt | None)
    assert_type(outcome.error, KochavaSegmentError | None)
    assert_type(outcome.reason, str | None)
    assert_type(outcome.warnings, tuple[MappingWarning, ...])
