"""What a case is: contenders that do the same work, in some settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from attrs import asdict, field, frozen


@frozen(kw_only=True)
class Setting:
    """The circumstances of a turn.

    Attributes:
        latency: Seconds after which the sink answers.
        tls: Whether it speaks TLS.
        concurrency: How many requests are under way at once.
        size: Bytes of a body; None takes an ordinary purchase.
        events_per_device: How many events each device has; those of one are sent in their order.
        count: How much is done in a turn; None finds out what fills the case's seconds.
        rounds: How many rounds at most; None takes the case's.
        url: The sink's base URL. The run sets it.
        certificate: The file with the certificate to trust. The run sets it.
    """

    latency: float = 0.0
    tls: bool = False
    concurrency: int = 16
    size: int | None = None
    events_per_device: int = 1
    count: int | None = None
    rounds: int | None = None
    url: str = ""
    certificate: str | None = None

    def dimensions(self) -> dict[str, Any]:
        """What tells it from others."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("url", "certificate")
        }


@frozen(kw_only=True)
class Work:
    """A contender that is ready.

    Attributes:
        run: Does so much work, and raises if any of it went wrong. What else it has measured, it
            returns: numbers by name. `peak` (bytes), `cpu` and `seconds` stand for those of the
            work itself, where another process did it or something else went on meanwhile.
        prepare: Called before, off the clock, with the same count.
        warm_up: Whether some of the work is done before, off the clock.
        posted: How many requests were posted to make it.
    """

    run: Callable[[int], Mapping[str, float] | None]
    prepare: Callable[[int], None] = lambda _: None
    warm_up: bool = True
    posted: int = 0


@frozen(kw_only=True)
class Contender:
    """One way of doing the work of a case, in a process of its own.

    Attributes:
        name: What the report calls it.
        make: `module:function` in `benchmarks.contenders`, which takes a setting and `arguments` and
            gives a context manager of Work.
        arguments: Keywords for it.
        needs: Modules without which it is left out.
        without: Modules that it is to find missing.
        posts: Whether each unit of work is a request that the sink must have counted.
        most: The highest concurrency in which it takes part; None takes part in all.
    """

    name: str
    make: str
    arguments: Mapping[str, Any] = field(factory=dict)
    needs: Sequence[str] = ()
    without: Sequence[str] = ()
    posts: bool = True
    most: int | None = None

    def missing(self) -> list[str]:
        """The modules that it needs and that are not there."""
        return [name for name in self.needs if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


@frozen(kw_only=True)
class Case:
    """Several ways of doing one thing.

    Attributes:
        name: What the command line calls it.
        title: What is done, as the heading of the report.
        unit: What is counted, such as `events`.
        contenders: The ways.
        settings: The circumstances.
        seconds: How long a turn should take.
        rounds: How many rounds at most.
        budget: Seconds in which another round may begin.
    """

    name: str
    title: str
    unit: str = "events"
    contenders: Sequence[Contender]
    settings: Sequence[Setting] = (Setting(),)
    seconds: float = 1.0
    rounds: int = 7
    budget: float = 60.0
