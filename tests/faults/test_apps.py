"""Apps whose credentials are refused or that are slowed down: no other app notices."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.judging import TOKEN_EXPIRED
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.emulator import KochavaEmulator
from tests.cli.process import run
from tests.faults.processes import drained, eventually
from tests.faults.sender import DAY
from tests.faults.traffic import Arrived, message

_BAD, _GOOD = "kobad-app", "kogood-app"
_CREDENTIALS = {"api_key": "key", "api_secret": "s3cr3t"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # all workers connect at once


class ByApp:
    """A Kochava that answers each app in its own way: a status, or the headers of one.

    Attributes:
        answers: By App GUID, (status, headers); others get 200.
        asked: When each app posted, in monotonic seconds.
        keys: The API keys that came, by app.
    """

    def __init__(self):
        self.answers, self.asked, self.keys = {}, {}, {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                app = payload["kochava_app_id"]
                outer.asked.setdefault(app, []).append(time.monotonic())
                outer.keys.setdefault(app, Counter())[self.headers["Kochava-Api-Key"]] += 1
                status, headers = outer.answers.get(app, (200, {}))
                body = b'{"success":"1"}' if status == 200 else b"{}"
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, app):
        return len(self.asked.get(app, ()))


@pytest.fixture
def kochava():
    with ByApp() as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


def _for(app, number):
    return message(number, integrations={"Kochava": {"app_guid": app}})


def _states(path):
    """How many requests are in each state, by app."""
    box = Outbox(path)
    counted = Counter((entry.app_guid, entry.state) for entry in entries(box, EntryFilter()))
    box.close()
    return dict(counted)


def test_refused_credentials_pause_one_app_loudly_and_mended_ones_resume_it(path, kochava, caplog):
    kochava.answers[_BAD] = (401, {})
    with KochavaDestination(
        endpoint=kochava.url, outbox=path, api_key="old", api_secret="s3cr3t"
    ) as destination:
        destination.enqueue_many(
            [_for(app, number) for number in range(100, 150) for app in (_BAD, _GOOD)]
        )
        status = destination.flush(20)
        assert status.paused == (_BAD,)
        # What was in flight when the first was refused is given back a moment later.
        paused = {(_GOOD, "delivered"): 50, (_BAD, "paused"): 50}
        eventually(lambda: _states(path) == paused)
        refused = kochava.count(_BAD)
        assert refused <= 16  # what was on its way when the first was refused
        destination.enqueue_many([_for(app, 200) for app in (_BAD, _GOOD)])
        destination.flush(20)
        assert _states(path) == {(_GOOD, "delivered"): 51, (_BAD, "paused"): 51}
        assert kochava.count(_BAD) == refused
    loud = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(loud) == 1
    assert "is paused" in loud[0].getMessage()
    assert "s3cr3t" not in caplog.text

    # The same credentials again: it stays paused, and says so.
    caplog.clear()
    with KochavaDestination(
        endpoint=kochava.url, outbox=path, api_key="old", api_secret="s3cr3t"
    ) as destination:
        assert destination.flush(20).paused == (_BAD,)
    assert kochava.count(_BAD) == refused
    assert "is paused" in caplog.text

    kochava.answers.clear()
    with KochavaDestination(
        endpoint=kochava.url, outbox=path, api_key="new", api_secret="s3cr3t"
    ) as destination:
        status = destination.flush(20)
    assert status.paused == ()
    assert _states(path) == {(_GOOD, "delivered"): 51, (_BAD, "delivered"): 51}
    # Signed when they are sent, not when they were put in.
    assert kochava.keys[_BAD] == {"old": refused, "new": 51}
    box = Outbox(path)
    assert all(entry.attempts == 1 for entry in entries(box, EntryFilter()))
    box.close()


def test_a_person_can_resume_an_app_whose_credentials_were_right(path, kochava):
    kochava.answers[_BAD] = (403, {})
    with KochavaDestination(endpoint=kochava.url, outbox=path, **_CREDENTIALS) as destination:
        destination.enqueue(_for(_BAD, 0))
        eventually(lambda: outbox_status(destination.outbox).paused)
        kochava.answers.clear()
        time.sleep(0.5)
        assert outbox_status(destination.outbox).paused == (_BAD,)
        done = run("outbox", "retry", "--state", "paused", "--outbox", path)
        assert done.returncode == 0, done.stderr
        assert destination.flush(10).states == {"delivered": 1}


def test_429_slows_the_whole_app_and_no_other(path, kochava):
    kochava.answers[_BAD] = (429, {"Retry-After": "2"})
    with KochavaDestination(endpoint=kochava.url, outbox=path) as destination:
        destination.enqueue_many(
            [_for(app, number) for number in range(30) for app in (_BAD, _GOOD)]
        )
        eventually(lambda: kochava.count(_GOOD) == 30)
        time.sleep(0.3)  # others may have been on their way when the first was refused
        refused_at = kochava.asked[_BAD][0]
        refused = kochava.count(_BAD)
        assert refused <= 16
        kochava.answers.clear()
        status = destination.flush(20)
    assert status.states == {"delivered": 60}
    after = kochava.asked[_BAD][refused:]
    assert len(after) == 30
    # None of its ten devices had a request while the app had to rest, and the other's had theirs.
    assert min(after) - refused_at >= 1.95
    assert max(kochava.asked[_GOOD]) < min(after)
    assert max(after) - min(after) > 1  # it goes on, but not at the pace that was too much


def test_installs_go_first_and_each_device_keeps_its_order(path):
    with KochavaEmulator(require_install=True) as kochava:
        with KochavaDestination(
            "koapp", endpoint=kochava.url, outbox=path, relay=False
        ) as destination:
            # Every event is put in before every install.
            destination.enqueue_many([message(number) for number in range(10, 100)])
            destination.enqueue_many([message(number) for number in range(10)])
        assert drained(path, kochava.url, workers=1).states == {"delivered": 100}
        arrived = Arrived(kochava)
    assert sorted(arrived.numbers[:10]) == list(range(10))
    arrived.assert_in_order()


def test_a_token_older_than_a_day_is_sent_and_flagged(path, monkeypatch):
    true = time.time
    installs = [
        message(
            number,
            timestamp=true() - age,
            integrations={"Kochava": {"ad_services_token": "dG9rZW4="}},
        )
        for number, age in enumerate((60, 2 * DAY, 60))
    ]
    with KochavaEmulator() as kochava:
        with KochavaDestination(
            "koapp", endpoint=kochava.url, outbox=path, relay=False
        ) as destination:
            destination.enqueue_many(installs[:2])
        status = drained(path, kochava.url)
        assert status.states == {"delivered": 2}
        assert status.reasons == {("delivered", TOKEN_EXPIRED): 1}
        # One that was fresh when it was put in, and waited for more than a day.
        with KochavaDestination(
            "koapp", endpoint=kochava.url, outbox=path, relay=False
        ) as destination:
            destination.enqueue(installs[2])
        monkeypatch.setattr(time, "time", lambda: true() + 1.5 * DAY)
        status = drained(path, kochava.url, dedup_window=30 * DAY)
        assert status.reasons == {("delivered", TOKEN_EXPIRED): 2}
