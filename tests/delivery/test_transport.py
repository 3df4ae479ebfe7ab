"""The transports that never touch the network, and what all share."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from kochava_segment import Answer, DryRunTransport, KochavaDestination, RecordingTransport
from kochava_segment.delivery import transport as seam
from kochava_segment.delivery.make_transport import make_transport
from kochava_segment.errors import ConfigurationError
from tests.delivery.raw_server import a_request
from tests.messages import ios


def test_a_dry_run_accepts_everything_and_counts():
    transport = DryRunTransport()
    with KochavaDestination("koapp", transport=transport) as destination:
        outcomes = list(destination.send_many([ios() for _ in range(50)]))
        assert destination.send(ios()).status == 200
    assert {outcome.kind for outcome in outcomes} == {"accepted"}
    assert transport.sent == 51


def test_a_recording_keeps_the_requests_in_their_order():
    transport = RecordingTransport()
    requests = [a_request(f"http://127.0.0.1/{number}") for number in range(3)]
    for request in requests:
        assert transport.send(request).body == b'{"success":"1"}'
    assert transport.requests == tuple(requests)


def test_a_recording_answers_as_it_is_told():
    transport = RecordingTransport(lambda request: Answer(len(request.body)))
    assert transport.send(a_request("http://127.0.0.1/", b"x" * 404)).status == 404


def test_threads_may_share_a_recording():
    transport = RecordingTransport()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(transport.send, [a_request("http://127.0.0.1/")] * 500))
    assert len(transport.requests) == 500


def test_a_copy_without_metadata_still_says_who_it_is(monkeypatch):
    def missing(_name):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(seam, "version", missing)
    seam.user_agent.cache_clear()
    try:
        assert seam.user_agent() == "kochava-segment"
    finally:
        seam.user_agent.cache_clear()


def test_the_version_is_not_looked_up_at_import():
    script = (
        "from kochava_segment import KochavaDestination\n"
        "from kochava_segment.delivery.transport import user_agent\n"
        "KochavaDestination('koapp').close()\n"
        "print(user_agent.cache_info().misses)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize("kind", [DryRunTransport, RecordingTransport])
def test_closing_twice_is_harmless(kind):
    transport = kind()
    transport.close()
    transport.close()
    assert transport.send(a_request("http://127.0.0.1/")).status == 200


def test_a_pycurl_that_is_too_old_is_not_used(monkeypatch):
    pycurl = pytest.importorskip("pycurl")
    monkeypatch.delattr(pycurl, "ACTIVESOCKET")
    for name in ("handle", "transfers", "transport"):
        monkeypatch.delitem(sys.modules, f"kochava_segment.delivery.pycurl_{name}", raising=False)
    assert type(make_transport(None, (1.0, 2.0))).__name__ == "RequestsTransport"
    with pytest.raises(ConfigurationError, match=r"too old.*kochava-segment\[fast\]"):
        make_transport("pycurl", (1.0, 2.0))
