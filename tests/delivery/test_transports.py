"""What every transport must do, over real sockets: the same tests for all of them."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import sys
import threading
import time
import warnings
from importlib.metadata import version
from itertools import chain

import pytest

from kochava_segment import Answer, KochavaDestination, RequestsTransport, TransportFailure
from kochava_segment.delivery.aiohttp_transport import AiohttpTransport
from kochava_segment.delivery.pycurl_transport import PycurlTransport
from kochava_segment.emulator import Faults
from tests.delivery.raw_server import (
    OK,
    Certificate,
    RawServer,
    a_request,
    proxy_to,
    read_request,
    say_nothing,
    unused_port,
)
from tests.messages import ios


class AiohttpInThread:
    """An AiohttpTransport that is called from other threads than that of its event loop."""

    def __init__(self, timeout):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._transport = AiohttpTransport(timeout)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(15)

    def send(self, request):
        return self._run(self._transport.send(request))

    def close(self):
        self._run(self._transport.close())

    def end(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class ManyInOneThread:
    """The transfers of a PycurlTransport, one at a time."""

    def __init__(self, timeout):
        self._transport = PycurlTransport(timeout)
        self._lock = threading.Lock()
        self._transfers = None

    def send(self, request):
        return self.send_within(request, None)

    def send_within(self, request, seconds):
        with self._lock:
            if self._transfers is None:
                self._transfers = self._transport.transfers()
            self._transfers.start(request, request, seconds)
            over = []
            while not over:
                over = self._transfers.wait(5.0)
        ((tag, result),) = over
        assert tag is request
        if isinstance(result, TransportFailure):
            raise result
        return result

    def close(self):
        self._transport.close()

    def end(self):
        if self._transfers is not None:
            self._transfers.close()


TRANSPORTS = {
    "aiohttp": AiohttpInThread,
    "pycurl": PycurlTransport,
    "pycurl, many in one thread": ManyInOneThread,
    "requests": RequestsTransport,
}
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request, monkeypatch):
    """Makes transports of each kind, in an environment that says nothing of proxies or CAs."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    made = []

    def make_one(timeout=(2.0, 2.0)):
        made.append(TRANSPORTS[request.param](timeout=timeout))
        return made[-1]

    yield make_one
    for transport in made:
        transport.close()
        if hasattr(transport, "end"):
            transport.end()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate.of(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


def failure_of(transport, target):
    """The failure of a request, or of one to this URL."""
    request = a_request(target) if isinstance(target, str) else target
    with pytest.raises(TransportFailure) as caught:
        transport.send(request)
    assert "127.0.0.1" not in caught.value.detail
    return caught.value


# What is sent.


def test_the_bytes_of_the_body_are_those_that_arrive(make):
    body = '{"name":"Ski\\/s \\u00e4","raw":"ä"}'.encode()
    with RawServer() as server:
        answer = make().send(a_request(server.url, body, **{"Kochava-Api-Key": "k"}))
    (received,) = server.requests
    assert received.line == "POST /track/json HTTP/1.1"
    assert received.body == body
    assert received.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"kochava-segment/{version('kochava-segment')}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "kochava-api-key": "k",
    }
    assert (answer.status, answer.body) == (200, b'{"success":"1"}')
    assert answer.headers["content-type"] == "application/json"


def test_the_request_s_own_user_agent_wins(make):
    with RawServer() as server:
        make().send(a_request(server.url, **{"User-Agent": "Unknown"}))
    assert server.requests[0].headers["user-agent"] == "Unknown"


def test_a_password_file_is_not_read(make, monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password secret\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    with RawServer() as server:
        make().send(a_request(server.url))
    assert "authorization" not in server.requests[0].headers


# Never sent.


def test_a_refused_connection_was_never_sent(make):
    assert not failure_of(make(), f"http://127.0.0.1:{unused_port()}/").maybe_sent


def test_a_name_that_does_not_resolve_was_never_sent(make):
    failure = failure_of(make(), "http://kochava.invalid/track/json")
    assert not failure.maybe_sent
    assert "kochava.invalid" not in failure.detail


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse when the queue is full")
def test_a_connect_timeout_was_never_sent_and_is_kept(make):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # the queue of one takes no more of them
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        began = time.monotonic()
        failure = failure_of(make(timeout=(0.3, 5.0)), f"http://127.0.0.1:{port}/")
        elapsed = time.monotonic() - began
        for filler in fillers:
            filler.close()
    assert not failure.maybe_sent
    assert 0.25 < elapsed < 4


def test_a_certificate_that_nobody_vouches_for_was_never_sent(make, certificate):
    with RawServer(tls=certificate) as server:
        assert not failure_of(make(), server.url).maybe_sent
    assert server.requests == []


def test_a_certificate_of_another_name_was_never_sent(make, tmp_path, monkeypatch):
    other = Certificate.of(tmp_path, "DNS:kochava.invalid")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.certificate))
    with RawServer(tls=other) as server:
        assert not failure_of(make(), server.url).maybe_sent
    assert server.requests == []


def test_a_server_that_speaks_no_tls_was_never_sent(make):
    def serve(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(serve) as server:
        url = server.url.replace("http:", "https:")
        assert not failure_of(make(), url).maybe_sent


def test_a_tls_handshake_that_never_ends_was_never_sent(make):
    with RawServer(say_nothing) as server:
        url = server.url.replace("http:", "https:")
        began = time.monotonic()
        assert not failure_of(make(timeout=(0.3, 5.0)), url).maybe_sent
        assert time.monotonic() - began < 4


def test_a_closed_transport_was_never_sent(make):
    transport = make()
    with RawServer() as server:
        transport.send(a_request(server.url))
        transport.close()
        transport.close()
        assert not failure_of(transport, server.url).maybe_sent
        assert len(server.requests) == 1


# Maybe sent.


@pytest.mark.parametrize(
    "fault", ["reset-before-reading", "reset-after-reading", "half-answer", "trickle"]
)
def test_an_answer_that_is_lost_may_have_been_sent(make, kochava_emulator, fault):
    kochava_emulator.faults = Faults(script=(fault,))
    request = KochavaDestination("koapp", endpoint=kochava_emulator.url).map(ios())
    transport = make(timeout=(2.0, 0.4))
    began = time.monotonic()
    assert failure_of(transport, request).maybe_sent
    assert time.monotonic() - began < 2.5  # the whole trickle takes 3
    # And the transport is none the worse for it.
    assert transport.send(request).body == b'{"success":"1"}'


def test_no_answer_in_time_may_have_been_sent(make):
    with RawServer(say_nothing) as server:
        began = time.monotonic()
        assert failure_of(make(timeout=(8.0, 0.3)), server.url).maybe_sent
        assert 0.25 < time.monotonic() - began < 4


def test_headers_that_trickle_over_the_deadline_may_have_been_sent(make):
    def serve(connection):
        read_request(connection)
        for position in range(len(OK)):  # each byte comes well within the timeout of one read
            connection.sendall(OK[position : position + 1])
            time.sleep(0.1)

    with RawServer(serve) as server:
        began = time.monotonic()
        assert failure_of(make(timeout=(2.0, 0.5)), server.url).maybe_sent
        assert time.monotonic() - began < 4  # all of them take more than 7


def test_the_time_for_an_answer_does_not_begin_anew_with_a_part_of_it(make):
    def serve(connection):
        read_request(connection)
        time.sleep(0.9)
        connection.sendall(OK[:40])
        say_nothing(connection)

    with RawServer(serve) as server:
        began = time.monotonic()
        assert failure_of(make(timeout=(2.0, 1.0)), server.url).maybe_sent
        assert time.monotonic() - began < 1.8


def test_an_answer_that_never_begins_may_have_been_sent(make):
    def serve(connection):
        read_request(connection)
        while True:  # until the client hangs up
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with RawServer(serve) as server:
        began = time.monotonic()
        assert failure_of(make(timeout=(2.0, 0.3)), server.url).maybe_sent
        assert time.monotonic() - began < 5  # rather than never


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"220 smtp.example ESMTP\r\n\r\n"])
def test_an_answer_that_is_no_http_may_have_been_sent(make, answer):
    def serve(connection):
        read_request(connection)
        connection.sendall(answer)

    with RawServer(serve) as server:
        assert failure_of(make(), server.url).maybe_sent


def test_a_broken_page_of_an_error_is_that_error(make):
    broken = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n<html>"
    with RawServer(lambda connection: read_request(connection) and connection.sendall(broken)) as s:
        assert make().send(a_request(s.url)).status == 503


# Answered.


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 404, 429, 500, 503])
def test_every_status_is_an_answer(make, status):
    answer = f"HTTP/1.1 {status} Whatever\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".encode()
    with RawServer(answer=answer) as server:
        answered = make().send(a_request(server.url))
    assert (answered.status, answered.headers["retry-after"]) == (status, "7")


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"suc\r\na\r\ncess":"1"}\r\n0\r\n\r\n',
        b'HTTP/1.0 200 OK\r\n\r\n{"success":"1"}',
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
    ids=["chunked", "until the connection ends", "after 100"],
)
def test_however_an_answer_is_framed_it_is_read_whole(make, answer):
    with RawServer(lambda connection: read_request(connection) and connection.sendall(answer)) as s:
        assert make().send(a_request(s.url)).body == b'{"success":"1"}'


def test_a_redirect_is_not_followed(make):
    with RawServer() as elsewhere:
        answer = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        with RawServer(answer=answer.encode()) as server:
            assert make().send(a_request(server.url)).status == 307
        assert elsewhere.connections == 0


def test_a_cookie_is_not_kept(make):
    answer = OK.replace(b"\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n", 1)
    with RawServer(answer=answer) as server:
        transport = make()
        for _ in range(2):
            transport.send(a_request(server.url))
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


def test_a_big_answer_is_cut(make):
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    with RawServer(answer=big) as server:
        transport = make()
        assert transport.send(a_request(server.url)).body == b"x" * 65_536
        # What was left of it is not taken for the next answer.
        assert transport.send(a_request(server.url)).status == 200


def test_an_answer_that_was_asked_not_to_be_compressed_does_not_blow_up(make):
    bomb = gzip.compress(b" " * 20_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    with RawServer(answer=head.encode() + bomb) as server:
        assert len(make().send(a_request(server.url)).body) <= 65_536


# Connections.


def test_a_connection_is_used_again(make):
    with RawServer() as server:
        transport = make()
        for _ in range(5):
            transport.send(a_request(server.url))
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize("status", ["401 No", "429 Slow", "503 Down"])
def test_a_connection_is_used_again_after_an_error(make, status):
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nnope".encode()
    with RawServer(answer=answer) as server:
        transport = make()
        for _ in range(3):
            transport.send(a_request(server.url))
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_connection_that_the_server_closed_meanwhile_costs_no_attempt(make):
    def serve(connection):
        server.read(connection)
        connection.sendall(OK)  # and closes it without having said so

    with RawServer(serve) as server:
        transport = make()
        for _ in range(3):
            assert transport.send(a_request(server.url)).status == 200
            time.sleep(0.05)
    assert (server.connections, len(server.requests)) == (3, 3)


def test_threads_do_not_mix_up_their_answers(make):
    def serve(connection):
        while received := server.read(connection):
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(received.body)}\r\n\r\n"
            connection.sendall(head.encode() + received.body)

    def send_some(number):
        for count in range(20):
            body = f'{{"n":"{number}-{count}"}}'.encode()
            if transport.send(a_request(server.url, body)).body != body:
                wrong.append(body)

    wrong = []
    transport = make()
    with RawServer(serve) as server:
        threads = [threading.Thread(target=send_some, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(server.requests) == 160
    assert server.connections <= 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_leaves_its_parent_s_connection_alone(make):
    if isinstance(make(), AiohttpInThread):
        pytest.skip("an event loop does not outlive a fork")

    def serve(connection):
        number = server.connections
        while received := server.read(connection):
            served.setdefault(number, []).append(received.body)
            connection.sendall(OK)

    served = {}
    transport = make()
    with RawServer(serve) as server:
        transport.send(a_request(server.url, b"parent"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if not child:
            _exit_with_count_of_answers(transport, server.url)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        transport.send(a_request(server.url, b"parent"))
    assert served.pop(1) == [b"parent", b"parent"]
    assert [*chain.from_iterable(served.values())] == [b"child"] * 5


def _exit_with_count_of_answers(transport, url):
    """In the child: send from several threads at once."""
    answers = []

    def send():
        answers.append(transport.send(a_request(url, b"child")))

    try:
        send()
        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    finally:
        os._exit(sum(isinstance(answer, Answer) for answer in answers))


# Proxies and certificates.


def test_a_proxy_of_the_environment_is_used_and_looked_up_once(make, monkeypatch):
    with RawServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        transport = make()
        transport.send(a_request("http://kochava.invalid/track/json"))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
        transport.send(a_request("http://kochava.invalid/track/json"))
    lines = [request.line for request in proxy.requests]
    assert lines == ["POST http://kochava.invalid/track/json HTTP/1.1"] * 2


def test_a_host_that_needs_no_proxy_gets_none(make, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with RawServer() as server:
        assert make().send(a_request(server.url)).status == 200


def test_tls_goes_through_a_proxy_s_tunnel(make, monkeypatch, certificate):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.certificate))
    with RawServer(tls=certificate) as server, proxy_to(server.port) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        transport = make()
        assert transport.send(a_request(server.url)).status == 200
        assert transport.send(a_request(server.url)).status == 200
        transport.close()
    (tunnel,) = proxy.requests
    assert tunnel.line.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.")
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", b""])
def test_a_tunnel_that_the_proxy_refuses_was_never_sent(make, monkeypatch, answer):
    with RawServer(lambda connection: read_request(connection) and connection.sendall(answer)) as p:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{p.port}")
        failure = failure_of(make(), "https://kochava.invalid/track/json")
    assert not failure.maybe_sent


def test_a_proxy_that_nobody_runs_was_never_sent(make, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    assert not failure_of(make(), "http://kochava.invalid/track/json").maybe_sent


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment_are_trusted(make, monkeypatch, certificate, variable):
    monkeypatch.setenv(variable, str(certificate.certificate))
    with RawServer(tls=certificate) as server:
        transport = make()
        assert transport.send(a_request(server.url)).status == 200
        transport.close()


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_nothing_in_the_environment_turns_verification_off(make, monkeypatch, certificate, value):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", value)
    monkeypatch.setenv("CURL_CA_BUNDLE", value)
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    with RawServer(tls=certificate) as server:
        assert not failure_of(make(), server.url).maybe_sent
    assert server.requests == []


def test_a_bundle_that_is_not_there_was_never_sent_and_is_named(make, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    failure = failure_of(make(), f"https://127.0.0.1:{unused_port()}/")
    assert not failure.maybe_sent
    assert "REQUESTS_CA_BUNDLE" in failure.detail
    assert "gone.pem" not in failure.detail
