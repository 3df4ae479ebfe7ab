"""What the library is to reach, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import sub, truediv
from typing import Any

from attrs import frozen

from benchmarks import cases
from benchmarks.case import Contender
from benchmarks.results import Found, Spread, of_pairs


@frozen
class Goal:
    """A figure to reach.

    Attributes:
        what: What is measured.
        bound: What it is to reach.
        unit: How it is written: a key of `UNITS`.
        measured: Takes it from the results; None if it was not measured.
        at_least: Whether more is better.
    """

    what: str
    bound: float
    unit: str
    measured: Callable[[Found], Spread | None]
    at_least: bool = True

    def holds(self, found: Spread) -> bool:
        """Whether the median reaches it."""
        return found.median >= self.bound if self.at_least else found.median <= self.bound


UNITS: dict[str, Callable[[float], str]] = {
    "/s": lambda value: f"{value:,.0f}/s",
    "%": lambda value: f"{100 * value:.0f} %",
    "times": lambda value: f"{value:.2f} times",
    "µs": lambda value: f"{value:.0f} µs",
    "MB": lambda value: f"{value:.0f} MB",
}


def _rate(case: str, contender: Contender, **dimensions: Any) -> Callable[[Found], Spread | None]:
    return lambda found: found.spread(case, contender, **dimensions)


def _ratio(
    case: str, one: Contender, other: Contender, **dimensions: Any
) -> Callable[[Found], Spread | None]:
    return lambda found: found.ratio(case, one, other, **dimensions)


def _of_possible(contender: Contender, concurrency: int) -> Callable[[Found], Spread | None]:
    """The share of what the server's latency lets through."""

    def measured(found: Found) -> Spread | None:
        rate = found.spread("slow_server", contender, concurrency=concurrency)
        return rate and rate.times(0.05 / concurrency)

    return measured


def _added(sent: Contender, alone: Contender) -> Callable[[Found], Spread | None]:
    """Microseconds that `send` adds to its transport."""
    return lambda found: of_pairs(
        found.values("one", sent, "median_us"), found.values("one", alone, "median_us"), sub
    )


def _order(contender: Contender) -> Callable[[Found], Spread | None]:
    """Throughput with ten events a device by that with one."""
    return lambda found: of_pairs(
        found.values("ordering", contender, events_per_device=10),
        found.values("ordering", contender, events_per_device=1),
        truediv,
    )


def _growth(contender: Contender, of: int, to: int) -> Callable[[Found], Spread | None]:
    """The cost of an event among many by that among fewer."""

    def measured(found: Found) -> Spread | None:
        few = found.spread("scale", contender, count=of)
        many = found.spread("million" if to == cases.MILLION else "scale", contender, count=to)
        if few is None or many is None:
            return None
        return Spread.of([few.median / many.median])

    return measured


GOALS = (
    Goal("`send_many`, pycurl", 5000, "/s", _rate("throughput", cases.MANY_PYCURL)),
    Goal(
        "`send_many`, pycurl, by bare pycurl",
        0.75,
        "%",
        _ratio("throughput", cases.MANY_PYCURL, cases.PYCURL),
    ),
    Goal(
        "`send_many` of requests mapped before, pycurl, by bare pycurl",
        0.75,
        "%",
        _ratio("throughput", cases.MANY_MAPPED, cases.PYCURL),
    ),
    Goal(
        "`send_many`, pycurl, by segment-analytics-python",
        9,
        "times",
        _ratio("throughput", cases.MANY_PYCURL, cases.SEGMENT),
    ),
    Goal(
        "`send --outbox`, pycurl, file to acknowledged, by `send_many`",
        0.7,
        "%",
        _ratio("file", cases.FILE_PYCURL, cases.MANY_PYCURL),
    ),
    Goal(
        "RequestsTransport by bare `HTTPAdapter.send`",
        0.9,
        "%",
        _ratio("throughput", cases.TRANSPORT_REQUESTS, cases.ADAPTER_SEND),
    ),
    Goal(
        "`send_many`, requests, by bare `HTTPAdapter.send`",
        0.9,
        "%",
        _ratio("throughput", cases.MANY_REQUESTS, cases.ADAPTER_SEND),
    ),
    Goal(
        "`send_many`, requests, by `Session.post` in threads",
        1.8,
        "times",
        _ratio("throughput", cases.MANY_REQUESTS, cases.SESSION_POST),
    ),
    Goal(
        "50 ms, 32 at once: `send_many`, pycurl, of what is possible",
        0.95,
        "%",
        _of_possible(cases.MANY_PYCURL, 32),
    ),
    Goal(
        "50 ms, 32 at once: relay, requests, of what is possible",
        0.9,
        "%",
        _of_possible(cases.RELAY_REQUESTS, 32),
    ),
    Goal(
        "50 ms, 128 at once: `send_many`, pycurl",
        2000,
        "/s",
        _rate("slow_server", cases.MANY_PYCURL, concurrency=128),
    ),
    Goal(
        "50 ms, 128 at once: relay, pycurl",
        2000,
        "/s",
        _rate("slow_server", cases.RELAY_PYCURL, concurrency=128),
    ),
    Goal(
        "AsyncKochavaDestination by bare aiohttp",
        0.8,
        "%",
        _ratio("throughput", cases.MANY_ASYNC, cases.AIOHTTP),
    ),
    Goal(
        "AsyncKochavaDestination, requests mapped before, by bare aiohttp",
        0.8,
        "%",
        _ratio("throughput", cases.ASYNC_MAPPED, cases.AIOHTTP),
    ),
    Goal("Mapping, orjson", 40_000, "/s", _rate("mapping", cases.MAP_ORJSON)),
    Goal("Mapping, standard library", 20_000, "/s", _rate("mapping", cases.MAP_STDLIB)),
    Goal(
        "`send` of one message, pycurl: added to the transport",
        150,
        "µs",
        _added(cases.ONE_PYCURL, cases.TRANSPORT_PYCURL),
        at_least=False,
    ),
    Goal(
        "`send` of one message, requests: added to the transport",
        150,
        "µs",
        _added(cases.ONE_REQUESTS, cases.TRANSPORT_REQUESTS),
        at_least=False,
    ),
    Goal(
        "Two relay processes on one outbox, 50 ms, by one",
        1.7,
        "times",
        _ratio("two_relays", cases.TWO_RELAYS, cases.ONE_RELAY, latency=0.05),
    ),
    Goal(
        "`enqueue`, durable, mapping included",
        150,
        "µs",
        lambda found: found.spread("enqueue", cases.ENQUEUE, "median_us"),
        at_least=False,
    ),
    Goal(
        "`enqueue_many`, durable, mapping included",
        20_000,
        "/s",
        _rate("enqueue", cases.ENQUEUE_MANY),
    ),
    Goal("Relay, requests", 1300, "/s", _rate("throughput", cases.RELAY_REQUESTS)),
    Goal(
        "Relay, requests, by segment-analytics-python",
        2.4,
        "times",
        _ratio("throughput", cases.RELAY_REQUESTS, cases.SEGMENT),
    ),
    Goal(
        "Ten events a device, in their order, by one a device: relay",
        0.8,
        "%",
        _order(cases.RELAY_PYCURL),
    ),
    Goal(
        "Ten events a device, in their order, by one a device: `send_many`",
        0.8,
        "%",
        _order(cases.MANY_PYCURL),
    ),
    Goal(
        "A file of a million events through `send --outbox`: most memory",
        120,
        "MB",
        lambda found: found.spread("million", cases.FILE_PYCURL, "peak_mb"),
        at_least=False,
    ),
    Goal(
        "`send --outbox`: cost of one of a million events by one of 100,000",
        1.1,
        "times",
        _growth(cases.FILE_PYCURL, 100_000, cases.MILLION),
        at_least=False,
    ),
    Goal(
        "`send_many`: cost of one of 100,000 events by one of 10,000",
        1.1,
        "times",
        _growth(cases.MANY_PYCURL, 10_000, 100_000),
        at_least=False,
    ),
)


def rows(found: Found) -> Iterator[tuple[str, str, str, str]]:
    """For each goal: what, the bound, what was measured, whether it holds."""
    for goal in GOALS:
        write = UNITS[goal.unit]
        bound = f"{'at least' if goal.at_least else 'at most'} {write(goal.bound)}"
        measured = goal.measured(found)
        if measured is None:
            yield goal.what, bound, "not measured", ""
        else:
            spread = f"{write(measured.median)} ({write(measured.low)} to {write(measured.high)})"
            yield goal.what, bound, spread, "yes" if goal.holds(measured) else "**no**"
