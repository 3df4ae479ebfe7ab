"""Run where the wheel is installed, bare or with one extra: does it do what it is for?

    python check_install.py [EXTRA[,EXTRA]]

What the extra is for is really done. What other extras are for is tried as well: it must work, or
name the extra that is missing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution, distributions
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import kochava_segment
from kochava_segment import AsyncKochavaDestination, DryRunTransport, KochavaDestination
from kochava_segment.emulator import KochavaEmulator

APP = "koexample-app-guid"
MESSAGE = {
    "type": "track",
    "event": "Level Complete",
    "messageId": "m-1",
    "anonymousId": "a-1",
    "context": {"device": {"id": "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10", "type": "ios"}},
}
FILES = (
    "py.typed",
    "cli/demo_messages.jsonl",
    "server/console/templates/base.html",
    "server/console/static/htmx.min.js",
)
LICENCES = ("LICENSE", "licenses/htmx.txt")
# What a bare installation brings: the three dependencies, and those of requests.
BASE = {
    *("kochava-segment", "attrs", "requests", "typing-extensions"),
    *("certifi", "charset-normalizer", "idna", "urllib3"),
    *("pip", "setuptools"),  # of the environment
}
PATIENCE = 30  # seconds for what happens on this machine


class Part(NamedTuple):
    """What an extra is for."""

    needs: tuple[str, ...]
    """The distributions that it brings."""
    use: Callable[[Path], object]
    """Uses it, in a directory of its own; raises or exits with a text if that cannot be done."""
    named: str
    """What stands in that text where the extra is missing."""


def command(*arguments: str, directory: Path, given: object = None) -> str:
    """What the command line says; exits with its complaint if it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "kochava_segment", *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=directory,
    )
    if process.returncode != 0:
        sys.exit(process.stderr)
    return process.stdout


def send_with(transport: Literal["requests", "pycurl"]) -> None:
    """Send a message over real HTTP."""
    with (
        KochavaEmulator() as kochava,
        KochavaDestination(APP, endpoint=kochava.url, transport=transport) as destination,
    ):
        destination.send(MESSAGE)
        assert kochava.counted == 1


def use_base(_: Path) -> None:
    """Send a message with the three dependencies."""
    send_with("requests")


def use_command_line(directory: Path) -> None:
    """Map a message, with an option from a TOML file."""
    config = directory / "kochava.toml"
    config.write_text(f'app_guid = "{APP}"\n', encoding="utf-8")
    assert APP in command("map", "--config", str(config), directory=directory, given=MESSAGE)


def use_asyncio(_: Path) -> None:
    """Send a message over aiohttp."""

    async def send(url: str) -> None:
        async with AsyncKochavaDestination(APP, endpoint=url) as destination:
            await destination.send(MESSAGE)

    with KochavaEmulator() as kochava:
        asyncio.run(send(kochava.url))
        assert kochava.counted == 1


def use_libcurl(_: Path) -> None:
    """Send a message over libcurl, and write JSON with orjson."""
    from kochava_segment import json_codec

    send_with("pycurl")
    assert json_codec.orjson is not None


def use_prometheus(_: Path) -> None:
    """Count a delivery."""
    from kochava_segment.delivery.prometheus import PrometheusHook

    hook = PrometheusHook(app_guids=[APP])
    from prometheus_client import generate_latest  # after ours, which says what it lacks

    with KochavaDestination(APP, hooks=[hook], transport=DryRunTransport()) as destination:
        destination.send(MESSAGE)
    assert b'outcome="accepted"} 1.0' in generate_latest(hook.registry)


def use_opentelemetry(_: Path) -> None:
    """Make a span of an attempt, for whatever provider there is."""
    from kochava_segment.delivery.opentelemetry import OpenTelemetryHook

    spans: list[str] = []
    from opentelemetry import trace  # after ours, which says what it lacks

    class Tracer(trace.NoOpTracer):
        def start_span(self, name: str, *arguments: Any, **more: Any) -> trace.Span:
            spans.append(name)
            return super().start_span(name, *arguments, **more)

    class Provider(trace.NoOpTracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
            return Tracer()

    hook = OpenTelemetryHook(Provider())
    with KochavaDestination(APP, hooks=[hook], transport=DryRunTransport()) as destination:
        destination.send(MESSAGE)
    assert len(spans) == 1, spans


@contextmanager
def segment_api() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes what Segment's HTTP API takes: its URL, and the batches."""
    batches: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            batches.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", batches
        finally:
            server.shutdown()
            thread.join()


def use_tracking(directory: Path) -> None:
    """Send a message towards Segment."""
    from kochava_segment.segment.tracking import SegmentTracking

    with (
        segment_api() as (url, batches),
        SegmentTracking(directory / "segment.sqlite3", "write-key", url) as tracking,
    ):
        tracking.enqueue(MESSAGE)
        wait_for(lambda: batches)
    assert batches[0]["batch"][0]["messageId"] == "m-1"


def use_receiver(directory: Path) -> None:
    """Receive a message from Segment and deliver it, in an application of one's own."""
    from kochava_segment.server import create_app

    with (
        KochavaEmulator() as kochava,
        KochavaDestination(APP, endpoint=kochava.url, outbox=directory / "outbox") as destination,
        served(create_app(destination, console_token="a-token")) as url,
    ):
        head = {"Content-Type": "application/json"}
        body = json.dumps(MESSAGE).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{url}/segment", body, head)) as answer:
            assert answer.status == 202, answer.status
        with urllib.request.urlopen(f"{url}/console/login") as page:
            assert b"htmx" in page.read()
        wait_for(lambda: kochava.counted)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An application behind uvicorn, in a thread: its URL."""
    from uvicorn import Config, Server

    from kochava_segment.server.running import bind, url_of

    server = Server(Config(app, lifespan="on", log_level="warning"))
    bound = bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield url_of(bound, "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join()


def use_pipeline(directory: Path) -> None:
    """Map an archive with a pipeline of Apache Beam."""
    from kochava_segment.beam import ReadFromSegmentArchive, WriteToKochava

    archive = directory / "archive.jsonl"
    archive.write_text(json.dumps(MESSAGE) + "\n", encoding="utf-8")
    import apache_beam  # after ours, which says what it lacks

    with KochavaEmulator() as kochava:
        with apache_beam.Pipeline("FnApiRunner") as pipeline:
            read = pipeline | ReadFromSegmentArchive(str(archive))
            read | WriteToKochava(app_guid=APP, endpoint=kochava.url)
        assert kochava.counted == 1


def wait_for(condition: Callable[[], object]) -> None:
    """Until a condition holds; fails if it takes too long."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


PARTS = {
    "cli": Part(("click", "rich"), use_command_line, "kochava-segment[cli]"),
    "async": Part(("aiohttp",), use_asyncio, "kochava-segment[async]"),
    "fast": Part(("orjson", "pycurl"), use_libcurl, "kochava-segment[fast]"),
    "metrics": Part(("prometheus-client",), use_prometheus, "kochava-segment[metrics]"),
    "opentelemetry": Part(
        ("opentelemetry-api",), use_opentelemetry, "kochava-segment[opentelemetry]"
    ),
    "segment": Part(("segment-analytics-python",), use_tracking, "kochava-segment[segment]"),
    "server": Part(
        ("httptools", "jinja2", "prometheus-client", "starlette", "uvicorn"),
        use_receiver,
        "kochava-segment[server]",
    ),
    "beam": Part(("apache-beam",), use_pipeline, "kochava-segment[beam]"),
}


class Command(NamedTuple):
    """A command that needs more than the command line."""

    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    """The extras without which it does not come as far as that."""
    lacks: str
    """The extra that is missing."""
    named: str
    """What it says then."""


_SERVE = ("serve", "--app-guid", APP, "--outbox", "outbox", "--port", "0")
_POSTBACKS = ("--segment-write-key", "a-key", "--postback-secret", "a-long-random-word")
COMMANDS = (
    Command(_SERVE, ("cli",), "server", "kochava-segment[cli,server]"),
    Command((*_SERVE, *_POSTBACKS), ("cli", "server"), "segment", "kochava-segment[segment]"),
    Command(("replay", "--app-guid", APP, "x.gz"), ("cli",), "beam", "kochava-segment[beam]"),
)


def distributions_here() -> set[str]:
    """The names of what is installed."""
    return {item.name.lower().replace("_", "-") for item in distributions()}


def complaint(use: Callable[[Path], object], directory: Path) -> str:
    """What is said where something is missing."""
    try:
        use(directory)
    except (ImportError, ValueError, SystemExit) as error:
        return str(error)
    return "(nothing: it worked)"


def check_contents() -> None:
    """Is everything in the wheel, and nothing else?"""
    package = files("kochava_segment")
    missing = [name for name in FILES if not package.joinpath(name).is_file()]
    this = distribution("kochava-segment")
    texts = [str(path) for path in this.files or ()]
    missing += [name for name in LICENCES if not any(t.endswith(f"licenses/{name}") for t in texts)]
    assert not missing, f"the wheel lacks {missing}"
    strangers = {t.split("/")[0] for t in texts if not t.startswith(("kochava_segment", "../"))}
    assert not strangers, f"the wheel brings {strangers} along"
    for name in kochava_segment.__all__:
        getattr(kochava_segment, name)


def check_extras(wanted: set[str], directory: Path) -> set[str]:
    """Use what is there; what is not must say so. Gives the extras that could be used."""
    extras = set(distribution("kochava-segment").metadata.get_all("Provides-Extra") or ())
    assert extras == {*PARTS, "all", "test"}, f"not all are tried: {extras ^ set(PARTS)}"
    here = distributions_here()
    usable = set()
    for name, part in PARTS.items():
        own = directory / name
        own.mkdir()
        if here.issuperset(part.needs):
            part.use(own)
            usable.add(name)
        else:
            text = complaint(part.use, own)
            assert part.named in text, f"without {name} it says: {text}"
    assert wanted <= usable, f"{wanted - usable} do not bring what they need"
    return usable


def check_commands(usable: set[str], directory: Path) -> None:
    """Commands that need another extra name it."""
    for arguments, needs, lacks, named in COMMANDS:
        if usable.issuperset(needs) and lacks not in usable:
            text = complaint(lambda _, a=arguments: command(*a, directory=directory), directory)
            assert named in text, f"{arguments[0]} without {lacks} says: {text}"


def main() -> None:
    """Fail with the first thing that is wrong."""
    wanted = set(filter(None, "".join(sys.argv[1:]).split(",")))
    check_contents()
    found = distributions_here()
    assert wanted or found <= BASE, f"a bare installation brings {found - BASE} along"
    with TemporaryDirectory() as name:
        directory = Path(name)
        use_base(directory)
        usable = check_extras(wanted, directory)
        check_commands(usable, directory)
    sys.stdout.write(
        f"{len(found)} distributions; usable: {', '.join(sorted(usable)) or 'the base'}\n"
    )


if __name__ == "__main__":
    main()
