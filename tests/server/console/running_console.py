"""A receiver with its console in a thread, and people who visit it."""

import asyncio
import html
import re
import threading
import time
from contextlib import contextmanager

import requests
import uvicorn

from kochava_segment import KochavaDestination
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.server import create_app, running
from kochava_segment.server.console.history import DeliveryHistory
from kochava_segment.server.http_protocol import PatientProtocol

TOKEN = "console-token-of-the-tests"
APP = "koexample"


class RunningConsole:
    """What runs, and where."""

    def __init__(self, destination, kochava, app, url):
        self.destination = destination
        self.kochava = kochava
        self.app = app
        self.url = url

    def receive(self, *messages):
        """Take messages as the receiver does, and let them be sent as far as they can be."""
        outcomes = self.destination.enqueue_many(messages)
        self.app.state.metrics.received(outcomes)
        self.destination.flush(10)
        return outcomes


@contextmanager
def running_console(folder, token=TOKEN, **options):
    """A console, its outbox and the emulator that stands for Kochava."""
    with (
        KochavaEmulator() as kochava,
        KochavaDestination(
            **{
                "app_guid": APP,
                "endpoint": kochava.url,
                "outbox": folder / "outbox.sqlite3",
                "hooks": [DeliveryHistory()],
                "outbox_retry": {"max_attempts": 1},
                **options,
            }
        ) as destination,
    ):
        app = create_app(destination, console_token=token)
        with served(app) as url:
            yield RunningConsole(destination, kochava, app, url)


class _Server(uvicorn.Server):
    """Looks often whether it is to end: tests start and end many."""

    async def main_loop(self):
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110  # another thread sets it
            await asyncio.sleep(0.005)


@contextmanager
def served(app):
    """An application over real HTTP."""
    bound = running.bind("127.0.0.1", 0)
    server = _Server(
        uvicorn.Config(app, http=PatientProtocol, ws="none", lifespan="on", log_config=None)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        yield running.url_of(bound, "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()


class Visitor:
    """Somebody with a browser that has no JavaScript."""

    def __init__(self, url, prefix="/console"):
        self.url = url
        self.prefix = prefix
        self.session = requests.Session()
        self.session.trust_env = False
        self.csrf = ""

    def get(self, path, **how):
        return self._seen(self.session.get(self.url + self.prefix + path, timeout=10, **how))

    def post(self, path, fields=(), *, csrf=None, origin=None, **how):
        """Post a form of the page that was seen last; fields are a mapping or pairs."""
        pairs = list(dict(fields).items()) if isinstance(fields, dict) else list(fields)
        headers = {"Origin": self.url if origin is None else origin, **how.pop("headers", {})}
        return self._seen(
            self.session.post(
                self.url + self.prefix + path,
                data=[("csrf", self.csrf if csrf is None else csrf), *pairs],
                headers={name: value for name, value in headers.items() if value},
                timeout=10,
                **how,
            )
        )

    def log_in(self, token=TOKEN):
        answer = self.post("/login", {"token": token})
        assert answer.url.endswith("/tester"), answer.status_code
        return self

    def close(self):
        self.session.close()

    def _seen(self, answer):
        found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
        if found:
            self.csrf = found[1]
        return answer


def text_of(answer):
    """What a page says, without its markup."""
    text = re.sub(r"<(style|script)\b.*?</\1>", "", answer.text, flags=re.DOTALL)
    text = re.sub(r"</?(code|wbr|span|strong|a|b)\b[^>]*>", "", text)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
