"""How the emulator misbehaves when it is told to."""

from __future__ import annotations

import random
from collections.abc import Iterable

from attrs import field, frozen

from kochava_segment.errors import ConfigurationError, Problem

OK = "ok"
RESET_BEFORE_READING = "reset-before-reading"
RESET_AFTER_READING = "reset-after-reading"
HALF_ANSWER = "half-answer"
TRICKLE = "trickle"
SUCCESS_ZERO = "success-zero"

# The names of faults and the fields of Faults that hold their rates.
_RATES = {
    RESET_BEFORE_READING: "reset_before_reading",
    RESET_AFTER_READING: "reset_after_reading",
    HALF_ANSWER: "half_answer",
    TRICKLE: "trickle",
    SUCCESS_ZERO: "success_zero",
}


def _words(words: Iterable[str]) -> tuple[str, ...]:
    """A tuple; type checkers cannot tell what `tuple` alone takes."""
    return tuple(words)


@frozen(kw_only=True)
class Faults:
    """What goes wrong, and how often. Rates are from 0 to 1, and shares of all requests.

    Attributes:
        latency: Seconds before each answer.
        error_rate: How often `error_status` is answered, without looking at the request.
        error_status: That HTTP status.
        retry_after: The header `Retry-After` of these answers: seconds, or an HTTP date as text.
        reset_before_reading: How often the connection is reset before the request is read.
        reset_after_reading: How often it is reset after the request was read and counted.
        half_answer: How often the answer breaks off; the request was counted.
        trickle: How often the answer comes byte by byte; the request was counted.
        trickle_delay: Seconds between these bytes.
        success_zero: How often the answer is 200 with `{"success": "0"}`.
        script: What happens to the first requests, one after the other, before the rates apply:
            `ok`, an HTTP status such as `503`, or `reset-before-reading`, `reset-after-reading`,
            `half-answer`, `trickle`, `success-zero`.
        seed: Makes the choice of what goes wrong repeatable.

    Raises:
        ConfigurationError: with everything that is wrong.
    """

    latency: float = 0.0
    error_rate: float = 0.0
    error_status: int = 503
    retry_after: float | str | None = None
    reset_before_reading: float = 0.0
    reset_after_reading: float = 0.0
    half_answer: float = 0.0
    trickle: float = 0.0
    trickle_delay: float = 0.2
    success_zero: float = 0.0
    script: tuple[str, ...] = field(default=(), converter=_words)
    seed: int | None = None

    def __attrs_post_init__(self) -> None:
        rates = {name: getattr(self, name) for name in ("error_rate", *_RATES.values())}
        problems = [
            Problem(name, "must be a rate from 0 to 1")
            for name, rate in rates.items()
            if not 0 <= rate <= 1
        ]
        if not problems and sum(rates.values()) > 1:
            problems.append(Problem("error_rate", "and the other rates are more than 1 together"))
        problems += [
            Problem("script", "has an entry that is neither a status nor the name of a fault")
            for fault in self.script
            if fault != OK and fault not in _RATES and not _is_status(fault)
        ]
        if not _is_status(str(self.error_status)):
            problems.append(Problem("error_status", "must be an HTTP status from 200 to 599"))
        if self.latency < 0 or self.trickle_delay < 0:
            problems.append(Problem("latency", "and trickle_delay must not be negative"))
        if problems:
            raise ConfigurationError(problems)


def _is_status(text: str) -> bool:
    return text.isdecimal() and 200 <= int(text) <= 599


class FaultChooser:
    """Chooses the fault of each request; one for each value of Faults. Not for several threads."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._script = iter(faults.script)
        self._random = random.Random(faults.seed)  # noqa: S311  # no secret hangs on it

    def next(self) -> str:
        """The name of a fault, a status, or "ok"."""
        scripted = next(self._script, None)
        if scripted is not None:
            return scripted
        drawn = self._random.random()
        drawn -= self.faults.error_rate
        if drawn < 0:
            return str(self.faults.error_status)
        for fault, name in _RATES.items():
            drawn -= getattr(self.faults, name)
            if drawn < 0:
                return fault
        return OK
