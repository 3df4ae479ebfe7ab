"""The cases: what is measured, in which settings, and who takes part."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from attrs import evolve

from benchmarks.case import Case, Contender, Setting

_AIOHTTP, _PYCURL = ("aiohttp",), ("pycurl",)
_ASYNC = ("aiohttp", "kochava_segment.async_destination")
_CLI = ("click", "rich")

SESSION_POST = Contender(name="requests: Session.post", make="bare:session_post")
ADAPTER_SEND = Contender(name="requests: HTTPAdapter.send", make="bare:adapter_send")
PYCURL = Contender(name="pycurl", make="bare:pycurl_perform", needs=_PYCURL)
PYCURL_MULTI = Contender(name="pycurl, one thread", make="bare:pycurl_multi", needs=_PYCURL)
AIOHTTP = Contender(name="aiohttp", make="bare:aiohttp_post", needs=_AIOHTTP)
RAW = Contender(name="raw sockets", make="bare:raw_sockets")
SEGMENT = Contender(
    name="segment-analytics-python", make="rivals:segment", needs=("segment.analytics",)
)
POSTHOG = Contender(name="posthog", make="rivals:posthog", needs=("posthog",))


def _with(name: str, make: str, transport: str, **keywords: object) -> Contender:
    needs = _PYCURL if transport == "pycurl" else ()
    cli = _CLI if make.endswith("send_outbox") else ()
    arguments = {"transport": transport, **keywords}
    return Contender(
        name=f"{name}, {transport}", make=make, arguments=arguments, needs=(*needs, *cli)
    )


MANY_PYCURL = _with("send_many", "ours:send_many", "pycurl")
MANY_REQUESTS = _with("send_many", "ours:send_many", "requests")
MANY_MAPPED = _with("send_many of requests", "ours:send_many", "pycurl", mapped_before=True)
MANY_ADAPTIVE = _with("send_many, adaptive", "ours:send_many", "pycurl", pinned=False)
MANY_ASYNC = Contender(
    name="AsyncKochavaDestination", make="ours:send_many_asynchronously", needs=_ASYNC
)
ASYNC_MAPPED = Contender(
    name="AsyncKochavaDestination of requests",
    make="ours:send_many_asynchronously",
    arguments={"mapped_before": True},
    needs=_ASYNC,
)
TRANSPORT_PYCURL = _with("transport alone", "ours:transport_alone", "pycurl")
TRANSPORT_REQUESTS = _with("transport alone", "ours:transport_alone", "requests")
RELAY_PYCURL = _with("relay", "durable:relay", "pycurl")
RELAY_REQUESTS = _with("relay", "durable:relay", "requests")
FILE_PYCURL = _with("send --outbox", "durable:send_outbox", "pycurl")
FILE_REQUESTS = _with("send --outbox", "durable:send_outbox", "requests")
ONE_RELAY = _with("one process", "durable:relays", "pycurl", processes=1)
TWO_RELAYS = _with("two processes", "durable:relays", "pycurl", processes=2)

_FULL = {"durability": "full"}
ENQUEUE = Contender(name="enqueue", make="durable:enqueue", posts=False)
ENQUEUE_FULL = Contender(
    name="enqueue, full durability", make="durable:enqueue", arguments=_FULL, posts=False
)
ENQUEUE_MANY = Contender(name="enqueue_many", make="durable:enqueue_many", posts=False)
ENQUEUE_MANY_FULL = Contender(
    name="enqueue_many, full durability", make="durable:enqueue_many", arguments=_FULL, posts=False
)

MAP_ORJSON = Contender(name="map, orjson", make="ours:map_vectors", needs=("orjson",), posts=False)
MAP_STDLIB = Contender(
    name="map, standard library", make="ours:map_vectors", without=("orjson",), posts=False
)
READ_AND_WRITE = Contender(
    name="json.loads and json.dumps alone", make="ours:read_and_write", posts=False
)


ONE_PYCURL = _with("send", "ours:send", "pycurl")
ONE_REQUESTS = _with("send", "ours:send", "requests")


def _start(name: str, *arguments: str, needs: Iterable[str] = ()) -> Contender:
    return Contender(
        name=name,
        make="starting:start",
        arguments={"arguments": arguments},
        needs=tuple(needs),
        posts=False,
    )


START_PYTHON = _start("python", "-c", "pass")
START_REQUESTS = _start("import requests", "-c", "import requests")
START_PACKAGE = _start("import kochava_segment", "-c", "import kochava_segment")
START_DESTINATION = _start(
    "import KochavaDestination", "-c", "from kochava_segment import KochavaDestination"
)
START_HELP = _start("kochava-segment --help", "-m", "kochava_segment", "--help", needs=_CLI)
START_SEND_HELP = _start(
    "kochava-segment send --help", "-m", "kochava_segment", "send", "--help", needs=_CLI
)

LATENCIES = (0.0, 0.005, 0.05, 0.2)
CONCURRENCIES = (1, 4, 16, 64, 256)
SIZES = (512, 2048, 8192, 32768)
COUNTS = (1_000, 10_000, 100_000)
MILLION = 1_000_000


def all_cases(*, quick: bool = False) -> list[Case]:
    """The cases, in the order in which they are run.

    Args:
        quick: With the outermost settings only, for a look at whether all works.
    """
    cases = [
        Case(
            name="throughput",
            title="Post over loopback as fast as it goes, 16 at once",
            contenders=(
                *(RAW, PYCURL, PYCURL_MULTI, TRANSPORT_PYCURL),
                *(MANY_MAPPED, MANY_PYCURL, MANY_ADAPTIVE),
                *(AIOHTTP, ASYNC_MAPPED, MANY_ASYNC),
                *(ADAPTER_SEND, TRANSPORT_REQUESTS, MANY_REQUESTS, SESSION_POST),
                *(RELAY_PYCURL, RELAY_REQUESTS, SEGMENT, POSTHOG),
            ),
            seconds=1.5,
            rounds=7,
            budget=150,
        ),
        Case(
            name="file",
            title="A file of messages, from its first line to the last acknowledgement, 16 at once",
            contenders=(FILE_PYCURL, FILE_REQUESTS, MANY_PYCURL, MANY_REQUESTS),
            settings=(Setting(count=20_000),),
            rounds=3,
            budget=80,
        ),
        Case(
            name="one",
            title="One request after the other",
            contenders=(
                *(ONE_PYCURL, TRANSPORT_PYCURL, PYCURL),
                *(ONE_REQUESTS, TRANSPORT_REQUESTS, ADAPTER_SEND, SESSION_POST),
            ),
            settings=(Setting(concurrency=1),),
            seconds=1.0,
            budget=40,
        ),
        Case(
            name="enqueue",
            title="Store messages in an outbox, mapping included",
            contenders=(ENQUEUE, ENQUEUE_MANY, ENQUEUE_FULL, ENQUEUE_MANY_FULL),
            seconds=1.0,
            budget=30,
        ),
        Case(
            name="mapping",
            title="Map the test vectors, JSON bytes in, JSON bytes out",
            unit="messages",
            contenders=(MAP_ORJSON, MAP_STDLIB, READ_AND_WRITE),
            seconds=1.0,
            budget=20,
        ),
        Case(
            name="slow_server",
            title="A server that answers after 50 ms",
            contenders=(
                MANY_PYCURL,
                MANY_ADAPTIVE,
                MANY_ASYNC,
                MANY_REQUESTS,
                RELAY_PYCURL,
                RELAY_REQUESTS,
            ),
            settings=_concurrencies(0.05, (32,) if quick else (32, 128, 256)),
            seconds=2.0,
            rounds=3,
            budget=120,
        ),
        Case(
            name="two_relays",
            title="Relays on one outbox: two processes against one",
            contenders=(ONE_RELAY, TWO_RELAYS),
            settings=_concurrencies(0.0, (16,)) + _concurrencies(0.05, (32,)),
            seconds=5.0,
            rounds=3,
            budget=70,
        ),
        Case(
            name="ordering",
            title="What the order of a device's events costs: ten events a device against one",
            contenders=(MANY_PYCURL, RELAY_PYCURL),
            settings=tuple(Setting(events_per_device=number) for number in (1, 10)),
            seconds=1.5,
            rounds=5,
            budget=60,
        ),
        Case(
            name="tls",
            title="Post over TLS, 16 at once",
            contenders=(
                *(PYCURL, MANY_PYCURL, AIOHTTP, MANY_ASYNC),
                *(ADAPTER_SEND, MANY_REQUESTS, SESSION_POST, SEGMENT, POSTHOG),
            ),
            settings=(Setting(tls=True),),
            seconds=1.0,
            rounds=5,
            budget=70,
        ),
        Case(
            name="sizes",
            title="Bodies of several sizes, 16 at once",
            contenders=(PYCURL, MANY_PYCURL, MANY_ASYNC, MANY_REQUESTS, SEGMENT),
            settings=tuple(Setting(size=size) for size in (SIZES[:1] if quick else SIZES)),
            seconds=0.7,
            rounds=3,
            budget=70,
        ),
        Case(
            name="concurrency",
            title="Throughput by concurrency and the server's latency",
            contenders=(PYCURL, MANY_PYCURL, MANY_ASYNC, MANY_REQUESTS, SEGMENT),
            settings=tuple(
                Setting(latency=latency, concurrency=concurrency)
                for latency, concurrency in (
                    ((0.005, 4),) if quick else product(LATENCIES, CONCURRENCIES)
                )
            ),
            seconds=0.5,
            rounds=3,
            budget=210,
        ),
        Case(
            name="startup",
            title="Start a program",
            unit="starts",
            contenders=(
                *(START_PYTHON, START_REQUESTS, START_PACKAGE),
                *(START_DESTINATION, START_HELP, START_SEND_HELP),
            ),
            settings=(Setting(concurrency=1),),
            seconds=1.0,
            rounds=5,
            budget=30,
        ),
        Case(
            name="receiver",
            title="The receiver: signed events in, answered when they are durable",
            contenders=(
                Contender(
                    name="serve, without a relay",
                    make="receiving:receive",
                    arguments={"relay": False},
                    needs=("uvicorn", "starlette"),
                    posts=False,
                ),
            ),
            settings=(Setting(concurrency=64),),
            seconds=2.0,
            rounds=3,
            budget=30,
        ),
        Case(
            name="scale",
            title="Cost and memory by the number of events, 16 at once",
            contenders=(FILE_PYCURL, MANY_PYCURL, ENQUEUE_MANY),
            settings=tuple(Setting(count=count) for count in (COUNTS[:1] if quick else COUNTS)),
            rounds=2,
            budget=150,
        ),
        Case(
            name="million",
            title="A million events, 16 at once",
            contenders=(FILE_PYCURL, ENQUEUE_MANY, MANY_PYCURL),
            settings=(Setting(count=MILLION),),
            rounds=1,
            budget=900,
        ),
    ]
    return _shortened(cases) if quick else cases


def _shortened(cases: Iterable[Case]) -> list[Case]:
    """The cases with two contenders each, and those that no case before has had."""
    seen: set[str] = set()
    shortened = []
    for case in cases:
        names = [contender.name for contender in case.contenders]
        kept = {*names[:2], *(name for name in names if name not in seen)}
        seen.update(names)
        contenders = [contender for contender in case.contenders if contender.name in kept]
        shortened.append(evolve(case, contenders=contenders))
    return shortened


def _concurrencies(latency: float, concurrencies: Iterable[int]) -> tuple[Setting, ...]:
    return tuple(Setting(latency=latency, concurrency=number) for number in concurrencies)
