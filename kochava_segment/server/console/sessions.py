"""Who is logged in to the console: sessions in memory, and patience with wrong tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque

from attrs import define, field

LASTS = 12 * 3600.0
"""Seconds after which one has to log in again."""

_MOST_SESSIONS = 200
_FAILURES_OF_ONE, _FAILURES_OF_ALL = 5, 50  # wrong tokens in the last minute
_REMEMBERED_FOR = 60.0  # seconds
_MOST_CLIENTS = 1_000
_MOST_PERMITS = 20
_ALL = ""  # what the failures of all clients together are filed under


def _random() -> str:
    return secrets.token_urlsafe(32)


@define
class Session:
    """One login.

    Attributes:
        csrf: What every change must repeat, so that no other site can make one.
        expires_at: Monotonic seconds.
        notice: What the next page says at its top, once.
    """

    csrf: str = field(factory=_random, repr=False)
    expires_at: float = field(factory=lambda: time.monotonic() + LASTS)
    notice: str = ""
    _permits: deque[str] = field(factory=lambda: deque(maxlen=_MOST_PERMITS), repr=False)

    def permit(self) -> str:
        """A word with which something may be done once."""
        self._permits.append(_random())
        return self._permits[-1]

    def use_permit(self, permit: str) -> bool:
        """Use such a word up; False if there is none such any more."""
        try:
            self._permits.remove(permit)
        except ValueError:
            return False
        return True

    def take_notice(self) -> str:
        """What the page is to say."""
        notice, self.notice = self.notice, ""
        return notice


class Sessions:
    """All logins of a process.

    Args:
        token: The token that people log in with.
    """

    def __init__(self, token: str) -> None:
        self._token = _digest(token)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def log_in(self, token: str, client: str) -> str | None:
        """Give a new session's id where the token is right.

        Args:
            token: What was entered.
            client: Whose wrong tokens are counted together.
        """
        right = hmac.compare_digest(_digest(token), self._token)
        with self._lock:
            if not right:
                self._note_failure(client)
                return None
            self._failures.pop(client, None)
            number = _random()
            self._sessions[number] = Session()
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            return number

    def seconds_to_wait(self, client: str) -> int:
        """For how long a client may not try, since there were too many wrong tokens."""
        with self._lock:
            return max(
                self._wait(client, _FAILURES_OF_ONE),
                self._wait(_ALL, _FAILURES_OF_ALL),
            )

    def get(self, number: str) -> Session | None:
        """The session of an id, None where it is over."""
        with self._lock:
            session = self._sessions.get(number)
            if session is not None and time.monotonic() > session.expires_at:
                del self._sessions[number]
                return None
            return session

    def end(self, number: str) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(number, None)

    def _note_failure(self, client: str) -> None:
        for name, most in ((client, _FAILURES_OF_ONE), (_ALL, _FAILURES_OF_ALL)):
            self._failures.setdefault(name, deque(maxlen=most)).append(time.monotonic())
            self._failures.move_to_end(name)
        while len(self._failures) > _MOST_CLIENTS:
            self._failures.popitem(last=False)

    def _wait(self, client: str, most: int) -> int:
        failures = self._failures.get(client, deque())
        if len(failures) < most:
            return 0
        return max(0, int(failures[0] + _REMEMBERED_FOR - time.monotonic()) + 1)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
