"""The receiver, as somebody sees it who has no secret and means harm."""

import contextlib
import gzip
import json
import logging
import select
import socket
import sys
import time
from pathlib import Path

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.server import body as bodies
from kochava_segment.server import create_app
from tests.messages import ios
from tests.server.asgi import BEARER, JSON, SECRET, TOKEN, call, encoded, signed, zipped
from tests.server.process import read_answers, request_bytes, serving

NO_SIGNATURE = {"X-Signature": "0" * 40}
FOUR_MEGABYTES = b" " * (bodies.MAX_BODY_BYTES - 1_000)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hostile") / "o.sqlite3") as receiver:
        yield receiver


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_bombs_of_strangers_on_many_connections_fill_no_memory(tmp_path):
    def memory():
        status = Path(f"/proc/{receiver.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    packed = gzip.compress(FOUR_MEGABYTES)
    head = (
        "POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-Signature: {'0' * 40}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(serving(tmp_path / "o.sqlite3"))
        before = memory()
        # All but the end has come: what was unpacked has to be kept until it comes.
        waiting = [stack.enter_context(receiver.connect()) for _ in range(120)]
        for sock in waiting:
            sock.sendall(head + packed[:-1])
        refused = _answered(waiting, 100)
        status, _ = receiver.post(ios())
        assert status == 202, "others are let in meanwhile"
        assert [read_answers(sock, 1) for sock in refused] == [[503]] * len(refused)
        assert memory() - before < 300, "120 of them unpacked have 480 MB"


def _answered(waiting, most):
    """The first of some connections on which an answer comes."""
    deadline = time.monotonic() + 8
    answered = []
    while len(answered) < most and time.monotonic() < deadline:
        answered = select.select(waiting, [], [], 1)[0]
        time.sleep(0.05)
    assert len(answered) >= most
    return answered


def test_room_that_large_bodies_took_is_given_back(app, monkeypatch):
    monkeypatch.setattr(bodies, "_room", bodies._Room(len(FOUR_MEGABYTES) * 2))
    packed, headers = zipped(FOUR_MEGABYTES, {**JSON, **NO_SIGNATURE})
    for _ in range(5):
        assert call(app, "POST", "/segment", packed, headers).status == 401
        assert call(app, "POST", "/segment", packed[:-9], headers).status == 400


def test_large_bodies_wait_for_room_unless_their_sender_is_known(app, monkeypatch):
    monkeypatch.setattr(bodies, "_room", bodies._Room(0))
    large = json.dumps([{**ios(messageId=f"m-{n}"), "x": "y" * 2000} for n in range(40)]).encode()
    refused = call(app, "POST", "/segment", large, signed(large))
    assert refused.status == 503
    assert refused.headers["retry-after"] == "5"
    assert call(app, "POST", "/segment", large, {**JSON, **BEARER}).status == 200
    small = encoded(ios(messageId="small"))
    assert call(app, "POST", "/segment", small, signed(small)).status == 202


def test_no_web_page_sends_to_a_receiver_without_a_secret(destination):
    app = create_app(destination)
    from_page = {**JSON, "Host": "rebound.example:8080", "Origin": "http://rebound.example:8080"}
    refused = call(app, "POST", "/segment", encoded(ios()), from_page)
    assert refused.status == 403
    assert not list(entries(destination.outbox, EntryFilter()))
    assert call(app, "POST", "/segment", encoded(ios()), JSON).status == 202


def test_a_form_of_a_web_page_is_no_message(destination):
    app = create_app(destination)
    for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert call(app, "POST", "/segment", encoded(ios()), {"Content-Type": simple}).status == 415


@pytest.mark.parametrize(
    "damage",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4_0\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4\r\n X-Folded: yes\r\n",
        b"Content-Length: 4\rX: y\r\n",
        b"Content-Length: 4\nX: y\n",
        b"Content-Length: 4\r\nX\x00Y: 1\r\n",
        b"Content-Length: 4\r\nX: a\x00b\r\n",
        b": no name\r\nContent-Length: 4\r\n",
    ],
)
def test_a_request_that_two_readers_could_read_in_two_ways_ends_its_connection(running, damage):
    smuggled = request_bytes(ios(messageId="smuggled"))
    with running.connect(5) as sock:
        sock.sendall(
            b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + damage
            + b"\r\n0\r\n\r\n"
            + smuggled
        )
        answers = read_answers(sock, 2)
    assert len(answers) < 2 or 202 not in answers, "what was hidden behind it was taken"
    assert "smuggled" not in running.stored()


@pytest.mark.parametrize("signature", [b"X-Signature: 0\r\n", b""], ids=["checked", "refused"])
@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"2\r\n{}\r\n0\r\n", b"X-Trailing: " + b"x" * 1000 + b"\r\n"),
        (b"2\r\n{}\r\n0\r\nX-Trailing: ", b"x" * 65_536),
        (b"2;extension=", b"x" * 65_536),
        (b"", b"0" * 65_536),
    ],
    ids=["headers behind the body", "one of them", "extension of a chunk", "length of a chunk"],
)
def test_what_belongs_to_no_body_and_never_ends_is_cut_off(running, begins, goes_on, signature):
    with running.connect(5) as sock:
        sock.sendall(
            b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + (signature + b"Transfer-Encoding: chunked\r\n\r\n" + begins)
        )
        far_more_than_the_system_keeps = goes_on * (2**26 // len(goes_on))
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            sock.sendall(far_more_than_the_system_keeps)
    status, _ = running.request("GET", "/healthz")
    assert status == 200


def test_thousands_of_requests_in_one_packet_are_not_kept(running):
    with running.connect(5) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1_500)
        assert len(read_answers(sock, 1_500)) < 1_500
    assert running.request("GET", "/healthz")[0] == 200


# The system would keep a megabyte of answers on the way.
IMPATIENT = """
import socket
from kochava_segment.server import http_protocol, running
http_protocol.READ_TIMEOUT = 1.5
bind = running.bind
def bind_narrowly(*where):
    bound = bind(*where)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    return bound
running.bind = bind_narrowly
from kochava_segment.__main__ import main
main()
"""


def test_who_takes_no_answers_is_let_go_and_who_takes_them_slowly_is_not(tmp_path):
    with serving(tmp_path / "o.sqlite3", script=IMPATIENT) as receiver:
        asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 90

        def connected(stack):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", receiver.port))
            sock.sendall(asked)
            return sock

        with contextlib.ExitStack() as stack:
            idle, slow = connected(stack), connected(stack)
            taken = b""
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                taken += slow.recv(4_000)
                time.sleep(0.02)
            slow.settimeout(10)
            while piece := slow.recv(65_536):
                taken += piece
                if taken.count(b"HTTP/1.1 200") == 90:
                    break
            assert taken.count(b"HTTP/1.1 200") == 90
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := idle.recv(65_536):
                    got += piece
            assert got.count(b"HTTP/1.1 200") < 90


def test_headers_behind_a_body_are_none(running):
    body = encoded(ios(messageId="behind"))
    head = (
        b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Trailer: X-Signature, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    trailer = "".join(f"{name}: {value}\r\n" for name, value in {**signed(body), **BEARER}.items())
    with running.connect(5) as sock:
        sock.sendall(
            head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n" + trailer.encode() + b"\r\n"
        )
        assert read_answers(sock, 1) == [401]
    assert "behind" not in running.stored()


def test_an_unexpected_error_is_answered_and_logged_without_what_it_quotes(
    destination, caplog, monkeypatch
):
    def stumble(_destination, messages):
        raise ValueError(f"could not convert {messages[0]['userId']!r}")

    monkeypatch.setattr(KochavaDestination, "enqueue_many", stumble)
    app = create_app(destination, webhook_secret=SECRET, bearer_token=TOKEN)
    body = encoded(ios(userId="ann@example.com"))
    with caplog.at_level(logging.DEBUG):
        answer = call(app, "POST", "/segment", body, signed(body))
    assert answer.status == 500
    assert b"ann@" not in answer.body
    assert "ValueError at test_hostile_senders.py" in caplog.text
    assert "ann@" not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_the_secret_of_postbacks_is_no_part_of_any_log(destination, caplog):
    app = create_app(destination, postback_secret="the-postback-secret")
    with caplog.at_level(logging.DEBUG):
        for method in ("GET", "POST", "HEAD", "DELETE"):
            call(app, method, "/kochava/postback/the-postback-secret?user_id=ann")
            call(app, method, "/kochava/postback/the-postback-guess")
    assert "the-postback" not in caplog.text
    assert "ann" not in caplog.text


@pytest.mark.parametrize("depth", [900, 1_500, 100_000])
def test_what_is_nested_deeply_is_refused_with_a_reason(destination, depth):
    app = create_app(destination)
    nested = b'{"type":"track","event":"E","properties":' + b'{"a":' * depth + b"1" + b"}" * depth
    answer = call(app, "POST", "/segment", nested + b"}", JSON)
    assert answer.status in (202, 400)
    json.loads(answer.body)


def test_a_number_of_a_million_digits_costs_nothing(destination):
    app = create_app(destination)
    body = b'{"type":"track","event":"E","properties":{"price":' + b"9" * 1_000_000 + b"}}"
    assert call(app, "POST", "/segment", body, JSON).status == 400
