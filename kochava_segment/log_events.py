"""What the package logs: each record is declared once, with its level, its sentence and its fields.

A record's fields are attributes of the LogRecord whose names begin with `kochava_`, so that JSON
formatters write them and nobody has to take sentences apart. The prefix keeps them from meaning
something else to those who read logs: some take `status` for a severity and `event` for the message.
No field has content of a message, personal data or a secret.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from attrs import field, frozen

from kochava_segment.printable import printable

PREFIX = "kochava_"
"""What the names of all fields begin with."""

FIELDS = {
    "event": "Which record it is. It stays the same where the sentence changes.",
    "action": "What was sent: `event`, `install`, `update`, `identity_link` or `deletion` to Kochava, "
    "`track` to Segment.",
    "app": "The first characters of the App GUID, enough to tell two apps apart.",
    "attempt": "The number of the attempt, from 1; where a delivery has ended, how many it took.",
    "client": "The address that an HTTP request came from; behind a proxy, the proxy's.",
    "count": "How many messages or requests it is about.",
    "elapsed": "Seconds that it took.",
    "endpoint": "Where an HTTP request went: `segment`, `postback`, `healthz`, `readyz`, `metrics`, "
    "`console`, or `elsewhere`.",
    "hook": "The class of a hook.",
    "message_id": "The Segment message's `messageId`.",
    "options": "The options that are to be mended.",
    "outcome": "`accepted`, or the name of the delivery error.",
    "peer": "Who refused: `Kochava` or `Segment`.",
    "rate": "Messages a second.",
    "reason": "Why, in words.",
    "relay": "A relay, as `HOST:PID`.",
    "status": "The HTTP status: of Kochava's answer, none where there was none; in the receiver's "
    "records, of its own answer.",
    "wait": "Seconds: until the next attempt, for which nothing is sent, or of a lease.",
    "worker": "A worker process of Beam, by its number.",
}
"""What each field means, by its name without the prefix."""

_PLACE = re.compile(r"%\((\w+)\)")
_APP_SHOWN = 6  # characters


@frozen(kw_only=True)
class LogEvent:
    """One kind of record.

    Attributes:
        name: Its name: what the field `event` says.
        logger: The logger that it goes to, below `kochava_segment`.
        level: Its level.
        text: The sentence, with `%(field)s` for its fields.
        others: Fields that do not stand in the sentence.
        meaning: When it is written, and what to do.
    """

    name: str
    logger: str
    level: int
    text: str
    others: tuple[str, ...] = ()
    meaning: str
    fields: tuple[str, ...] = field(init=False)

    @fields.default
    def _fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*_PLACE.findall(self.text), *self.others)))

    def log(self, logger: logging.Logger | None = None, /, **fields: Any) -> None:
        """Write a record.

        Args:
            logger: Another logger than its own.
            **fields: A value for each of its fields.
        """
        logger = logger or logging.getLogger(f"kochava_segment.{self.logger}")
        if logger.isEnabledFor(self.level):
            extra = {f"{PREFIX}{name}": value for name, value in fields.items()}
            extra[f"{PREFIX}event"] = self.name
            shown = {name: _shown(value) for name, value in fields.items()}
            values = (shown,) if shown else ()
            logger.log(self.level, self.text, *values, extra=extra, stacklevel=2)


def _shown(value: Any) -> Any:
    """A field in the sentence, in which nothing of strangers may begin a line; fields are data."""
    if value is None:
        return "none"
    return printable(value) if isinstance(value, str) else value


class Throttle:
    """Lets one of a kind through in some seconds, and counts those that it holds back.

    Threads share it without a lock, which a fork could leave locked: of what is only shown, one may
    be lost.

    Args:
        seconds: How long others of a kind are held back after one.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._kinds: dict[object, tuple[float, int]] = {}

    def take(self, kind: object) -> int:
        """For how many of its kind this one stands; 0 if it is to be held back."""
        now = time.monotonic()
        until, held = self._kinds.get(kind, (0.0, 0))
        if now < until <= now + self._seconds:  # later ones are of another machine's clock
            self._kinds[kind] = until, held + 1
            return 0
        self._kinds[kind] = now + self._seconds, 0
        return held + 1


def app_in_brief(guid: str | None) -> str | None:
    """So much of an App GUID as tells two apps apart, and not enough to send in their name."""
    return None if guid is None else guid[: min(_APP_SHOWN, len(guid) // 2)]


# Deliveries

ATTEMPT = LogEvent(
    name="attempt",
    logger="delivery",
    level=logging.DEBUG,
    text="%(action)s %(message_id)s: attempt %(attempt)d %(reason)s "
    "(answer: %(status)s, %(elapsed).3f s)",
    others=("app",),
    meaning="An attempt has ended.",
)
RETRY = LogEvent(
    name="retry",
    logger="delivery",
    level=logging.WARNING,
    text="%(action)s %(message_id)s: attempt %(attempt)d failed (answer: %(status)s), "
    "next in %(wait).2f s; %(count)d such since the last line",
    others=("app",),
    meaning="An attempt failed, and another follows. Some are usual; many are Kochava in trouble. Of each "
    "status it is written every 10 s at most, and `count` says how many there were.",
)
DELIVERED = LogEvent(
    name="delivered",
    logger="delivery",
    level=logging.DEBUG,
    text="%(action)s %(message_id)s: %(outcome)s at attempt %(attempt)d "
    "(answer: %(status)s, %(elapsed).3f s)",
    others=("app",),
    meaning="Kochava took it.",
)
NOT_DELIVERED = LogEvent(
    name="not_delivered",
    logger="delivery",
    level=logging.ERROR,
    text="%(action)s %(message_id)s: %(outcome)s at attempt %(attempt)d "
    "(answer: %(status)s, %(elapsed).3f s)",
    others=("app",),
    meaning="A delivery has failed for good; `outcome` is the error: `kochava-segment why` explains it.",
)
APP_LEFT_ALONE = LogEvent(
    name="app_left_alone",
    logger="delivery",
    level=logging.ERROR,
    text="app %(app)s…: its credentials were refused %(count)d times in a row; nothing is sent for "
    "%(wait).0f s. Mend api_key and api_secret",
    meaning="Without an outbox: to go on would be hammering.",
)
HOOK_FAILED = LogEvent(
    name="hook_failed",
    logger="delivery",
    level=logging.ERROR,
    text="the hook %(hook)s raised %(reason)s; delivery goes on",
    meaning="A hook of yours has a bug. Written once for each hook.",
)

# Outbox and relay

OUTBOX_FULL = LogEvent(
    name="outbox_full",
    logger="outbox",
    level=logging.ERROR,
    text="the outbox is full and takes nothing: let a relay drain it, discard what failed, or raise "
    "max_size",
    meaning="Written once; what is refused until there is room is told to whoever offers it.",
)
OUTBOX_NOT_PRIVATE = LogEvent(
    name="outbox_not_private",
    logger="outbox",
    level=logging.WARNING,
    text="%(reason)s: it has device ids, addresses and user ids. Give it to the user of this process "
    "alone, or name another file",
    meaning="The file was not made by this library, or its owner or permissions were changed since.",
)
OUTBOX_HAS_ROOM = LogEvent(
    name="outbox_has_room",
    logger="outbox",
    level=logging.WARNING,
    text="the outbox has room again",
    meaning="After `outbox_full`.",
)
OUTBOX_FORGETS_EARLY = LogEvent(
    name="outbox_forgets_early",
    logger="outbox",
    level=logging.WARNING,
    text="the outbox is full and forgets what was delivered before dedup_window is over: raise max_size",
    meaning="A message that Segment repeats may be sent again. Written once an hour at most.",
)
RELAY_STARTED = LogEvent(
    name="relay_started",
    logger="relay",
    level=logging.INFO,
    text="the relay runs",
    others=("relay",),
    meaning="This process sends what the outbox holds.",
)
RELAY_STOPPED = LogEvent(
    name="relay_stopped",
    logger="relay",
    level=logging.INFO,
    text="the relay has stopped",
    others=("relay",),
    meaning="All that was under way is finished.",
)
RELAY_CUT_SHORT = LogEvent(
    name="relay_cut_short",
    logger="relay",
    level=logging.WARNING,
    text="the relay was stopped with requests under way, which may have been sent: %(count)d",
    others=("relay",),
    meaning="There was no time to finish. They are sent again when their lease has run out.",
)
RELAY_WAITS = LogEvent(
    name="relay_waits",
    logger="relay",
    level=logging.ERROR,
    text="the relay waits: %(reason)s",
    others=("relay",),
    meaning="The outbox cannot be written, so that nothing is sent. It tries again each second.",
)
RELAY_GOES_ON = LogEvent(
    name="relay_goes_on",
    logger="relay",
    level=logging.WARNING,
    text="the relay goes on: the outbox can be written again",
    others=("relay",),
    meaning="After `relay_waits`.",
)
RELAY_DIED = LogEvent(
    name="relay_died",
    logger="relay",
    level=logging.WARNING,
    text="relay %(relay)s died; requests that it may have sent: %(count)d",
    meaning="Another process ended without stopping its relay. This one takes over.",
)
LEASE_LOST = LogEvent(
    name="lease_lost",
    logger="relay",
    level=logging.WARNING,
    text="the lease had run out: this process stood still for over %(wait)s s",
    others=("relay",),
    meaning="The machine is overloaded or was suspended, or `lease` is too short.",
)
SENT_TWICE = LogEvent(
    name="sent_twice",
    logger="relay",
    level=logging.WARNING,
    text="requests sent twice, since the lease had run out: %(count)d",
    others=("relay",),
    meaning="Kochava may have counted them twice.",
)
APP_PAUSED = LogEvent(
    name="app_paused",
    logger="relay",
    level=logging.ERROR,
    text="app %(app)s… is paused: %(peer)s refused its credentials (status %(status)s). Nothing is "
    "lost: mend %(options)s and restart the relay",
    meaning="Its messages wait; those of other apps go on.",
)
APP_STILL_PAUSED = LogEvent(
    name="app_still_paused",
    logger="relay",
    level=logging.ERROR,
    text="app %(app)s… is paused: %(peer)s refused these very credentials. Mend them, or say "
    "that they are right now: kochava-segment outbox retry --state paused",
    meaning="A relay was started, and the credentials are those that were refused.",
)
APP_RESUMED = LogEvent(
    name="app_resumed",
    logger="relay",
    level=logging.WARNING,
    text="app %(app)s… goes on: %(reason)s",
    meaning="After `app_paused`.",
)

# Receiver, console, Functions, Beam

REFUSED = LogEvent(
    name="refused",
    logger="server",
    level=logging.WARNING,
    text="%(endpoint)s: %(status)d to %(client)s: %(reason)s",
    meaning="A request was not taken, or messages in it were not. 401 is a wrong secret or somebody else.",
)
TAKES_NOTHING = LogEvent(
    name="takes_nothing",
    logger="server",
    level=logging.ERROR,
    text="%(endpoint)s: %(status)d to %(client)s: %(reason)s; %(count)d such since the last line",
    meaning="The outbox is full, locked or broken. Segment tries again for 4 hours. Written every 10 s at "
    "most; `count` says how many requests it was.",
)
BROKEN = LogEvent(
    name="broken",
    logger="server",
    level=logging.ERROR,
    text="%(endpoint)s: %(status)d to %(client)s: %(reason)s",
    meaning="A bug, here or in a library: please report the line, which has no content of the request. "
    "Segment sends the message again.",
)
NO_SECRET = LogEvent(
    name="no_secret",
    logger="server",
    level=logging.WARNING,
    text="no secret is set: everybody on this machine can post to /segment. Set "
    "KOCHAVA_SEGMENT_WEBHOOK_SECRET, here and in Segment; `openssl rand -hex 20` makes a good one",
    meaning="When the receiver starts. On another address than the machine's own it does not start without.",
)
SHORT_SECRETS = LogEvent(
    name="short_secrets",
    logger="server",
    level=logging.WARNING,
    text="%(options)s: fewer than %(count)d characters can be guessed; `openssl rand -hex 20` makes good "
    "ones",
    meaning="Nothing but these keeps strangers out.",
)
WRONG_TOKEN = LogEvent(
    name="wrong_token",
    logger="console",
    level=logging.WARNING,
    text="%(client)s gave a wrong token",
    meaning="Somebody tried to log in to the console.",
)
CONSOLE_USED = LogEvent(
    name="console_used",
    logger="console",
    level=logging.INFO,
    text="%(client)s %(reason)s",
    meaning="A person sent, retried, discarded, revealed, exported or forgot something in the console.",
)
FILTERED = LogEvent(
    name="filtered",
    logger="segment",
    level=logging.INFO,
    text="events of a batch that were filtered: %(count)d, %(reason)s",
    meaning="In a Segment Function, whose answer has no room for it.",
)
BEAM_PROGRESS = LogEvent(
    name="beam_progress",
    logger="beam",
    level=logging.INFO,
    text="kochava-segment worker %(worker)d: %(reason)s; %(rate).0f a second",
    meaning="How far a worker of Beam is.",
)

LOG_EVENTS = tuple(value for value in tuple(globals().values()) if isinstance(value, LogEvent))
"""All of them, in the order of this file."""
