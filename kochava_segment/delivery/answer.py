"""What Kochava answered, and what that means: docs/errors.md, Answers.

Three things can come of an attempt: it was never sent, it was answered, or it may have been sent.
Only the last is ambiguous, so the difference is kept from the socket up to the caller.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import mktime_tz, parsedate_tz
from enum import Enum

from attrs import field, frozen


class Headers(Mapping[str, str]):
    """Headers of an answer, names in lower case. They are read when somebody asks, which is seldom.

    Args:
        read: Gives names and values; of a name that comes twice, the last counts.
    """

    __slots__ = ("_found", "_read")

    def __init__(self, read: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._read = read
        self._found: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._found is None:
            self._found = {name.lower(): value for name, value in self._read()}
        return self._found

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _lower_cased(headers: Mapping[str, str]) -> Headers:
    return headers if isinstance(headers, Headers) else Headers(headers.items)


@frozen
class Answer:
    """An HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: The headers; names in lower case.
        body: The body, cut off after 64 KiB.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False, converter=_lower_cased)
    body: bytes = field(default=b"", repr=False)


class TransportFailure(Exception):  # it is what happened, and no error of the caller
    """What a transport raises when no answer came.

    Attributes:
        detail: What happened, as a sentence without content.
        maybe_sent: Whether the request may have reached the server. False promises that it did not.
    """

    def __init__(self, detail: str, *, maybe_sent: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.maybe_sent = maybe_sent

    def __reduce__(self) -> tuple[object, ...]:
        return _failure, (self.detail, self.maybe_sent)


def _failure(detail: str, maybe_sent: bool) -> TransportFailure:  # noqa: FBT001  # for pickle
    return TransportFailure(detail, maybe_sent=maybe_sent)


class Verdict(str, Enum):
    """What an answer means for the request."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CREDENTIALS = "credentials rejected"
    RETRY = "to be retried"

    def __str__(self) -> str:
        return self.value


_BY_STATUS = {
    401: Verdict.CREDENTIALS,
    403: Verdict.CREDENTIALS,
    408: Verdict.RETRY,
    425: Verdict.RETRY,
    429: Verdict.RETRY,
    501: Verdict.REJECTED,
    505: Verdict.REJECTED,
}
_SUCCESS = b'{"success":"1"}'


def classify(answer: Answer) -> Verdict:
    """What an answer means: accepted, rejected for good, or to be retried."""
    if 200 <= answer.status < 300:
        return Verdict.ACCEPTED if _succeeded(answer.body) else Verdict.REJECTED
    by_class = Verdict.RETRY if 500 <= answer.status < 600 else Verdict.REJECTED
    return _BY_STATUS.get(answer.status, by_class)


def _succeeded(body: bytes) -> bool:
    """Whether a body of a 2xx answer leaves the success standing: only an explicit no takes it."""
    if body == _SUCCESS:
        return True
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return True
    if not isinstance(document, dict) or "success" not in document:
        return True
    success = document["success"]
    return success is True or success in ("1", 1)


def retry_after(answer: Answer, now: float | None = None) -> float | None:
    """The seconds that `Retry-After` asks to wait; None where it is missing or makes no sense.

    Args:
        answer: The answer.
        now: The time that an HTTP date is compared with, in epoch seconds; by default, now.
    """
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        parsed = parsedate_tz(text)
        if parsed is None:
            return None
        try:
            seconds = mktime_tz(parsed) - (time.time() if now is None else now)
        except (ValueError, OverflowError):
            return None
        return max(0.0, seconds)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
