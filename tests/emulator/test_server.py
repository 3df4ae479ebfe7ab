"""The emulator over raw sockets: what it answers, how it misbehaves, and that nothing kills it."""

import contextlib
import json
import os
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kochava_segment import ConfigurationError
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.emulator.faults import FaultChooser
from tests.emulator.requests import TRACK, body

ACCEPTED = b'{"success":"1"}'


def post(sent, *, path=TRACK, method="POST", headers=(), length=None):
    """The bytes of a request."""
    length = len(sent) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {length}"] if length != "" else []
    return "\r\n".join([*lines, "", ""]).encode() + sent


def connect(kochava):
    return socket.create_connection(("127.0.0.1", kochava.port), timeout=5)


def exchange(kochava, request):
    """Everything that comes back for some bytes, until the emulator closes or is done."""
    with connect(kochava) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return received(connection)


def received(connection):
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def status_and_body(answer):
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), content


def test_an_event_is_accepted(kochava_emulator):
    answer = exchange(kochava_emulator, post(body("event")))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert status_and_body(answer) == (200, ACCEPTED)
    assert b"\r\ncontent-type: application/json" in head
    assert b"\r\ndate: " in head
    [request] = kochava_emulator.accepted
    assert (request.path, request.status, request.accepted) == (TRACK, 200, True)
    assert request.body == body("event")
    assert request.payload["data"]["event_name"] == "Purchase"
    assert request.headers["Content-Type"] == "application/json"
    kochava_emulator.assert_no_complaints()


def test_a_connection_serves_several_requests(kochava_emulator):
    answer = exchange(kochava_emulator, post(body("event")) * 3)
    assert answer.count(ACCEPTED) == 3
    assert kochava_emulator.counted == 3


def test_a_refused_request_is_told_why_and_is_not_counted(kochava_emulator):
    status, content = status_and_body(
        exchange(kochava_emulator, post(body("event", data__usertime="x")))
    )
    assert status == 400
    assert json.loads(content)["success"] == "0"
    assert "data.usertime must be a whole number" in json.loads(content)["error"]
    assert kochava_emulator.accepted == ()
    assert (kochava_emulator.received, kochava_emulator.counted) == (1, 0)
    with pytest.raises(AssertionError, match=r"data\.usertime must be"):
        kochava_emulator.assert_no_complaints()


MALFORMED = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
    "another version": (b"POST /track/json HTTP/3.0\r\n\r\n", 505),
    "a version of no number": (b"POST /track/json HTTP/x\r\n\r\n", 400),
    "a long target": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    "many headers": (b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "a long header": (b"POST / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    "half a body": (post(body("event"), length=10_000), 400),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_http_is_answered_recorded_and_survived(kochava_emulator, name):
    request, expected = MALFORMED[name]
    with connect(kochava_emulator) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # what was not read resets it
            answer = received(connection)
            if answer.startswith(b"HTTP"):
                assert status_and_body(answer)[0] == expected
    _wait(lambda: kochava_emulator.received == 1)
    [complaint] = kochava_emulator.complaints
    assert complaint.code == "malformed-http"
    assert kochava_emulator.requests[0].status == expected
    assert exchange(kochava_emulator, post(body("event"))).endswith(ACCEPTED)


def test_a_connection_without_a_request_is_nothing(kochava_emulator):
    assert exchange(kochava_emulator, b"") == b""
    assert kochava_emulator.received == 0


@pytest.mark.parametrize("length", ["", "x", "-1", "1.5"])
def test_a_body_without_its_length(kochava_emulator, length):
    assert status_and_body(exchange(kochava_emulator, post(b"", length=length)))[0] == 411
    assert [complaint.code for complaint in kochava_emulator.complaints] == ["no-length"]


def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(kochava_emulator):
    answer = exchange(kochava_emulator, post(b"x" * 2_000_001))
    assert status_and_body(answer)[0] == 413
    assert [complaint.code for complaint in kochava_emulator.complaints] == ["too-large"]


def test_a_length_of_ten_thousand_digits_is_too_large(kochava_emulator):
    answer = exchange(kochava_emulator, post(b"", length="9" * 10_000))
    assert status_and_body(answer)[0] == 413


def test_a_body_of_just_two_megabytes_is_accepted(kochava_emulator):
    rest = 2_000_000 - len(body("event", data__event_data__note=""))
    sent = body("event", data__event_data__note="x" * rest)
    assert len(sent) == 2_000_000
    assert exchange(kochava_emulator, post(sent)).endswith(ACCEPTED)


@pytest.mark.parametrize("method", ["TRACE", "BREW", "PUT"])
def test_another_method_is_answered_at_once_on_a_connection_that_is_kept(kochava_emulator, method):
    with connect(kochava_emulator) as connection:
        connection.settimeout(5)
        for _ in range(2):
            connection.sendall(post(b"{}", method=method))
            assert connection.recv(65536).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "BREW"])
def test_other_methods_are_refused(kochava_emulator, method):
    status, content = status_and_body(exchange(kochava_emulator, post(b"", method=method)))
    assert status == 405
    assert (content == b"") == (method == "HEAD")
    assert [complaint.code for complaint in kochava_emulator.complaints] == ["wrong-method"]


# Faults


@pytest.mark.parametrize("status", ["204", "302", "304", "400", "429", "503", "599"])
def test_a_status_is_answered_whatever_came(kochava_emulator, status):
    kochava_emulator.faults = Faults(script=(status, status), retry_after=7)
    for sent in (body("event"), b"{"):
        answer = exchange(kochava_emulator, post(sent))
        assert status_and_body(answer)[0] == int(status)
        assert b"\r\nRetry-After: 7\r\n" in answer
    assert kochava_emulator.accepted == ()
    assert b"Retry-After" not in exchange(kochava_emulator, post(body("event")))


def test_success_zero_is_a_200_that_was_not_counted(kochava_emulator):
    kochava_emulator.faults = Faults(success_zero=1)
    status, content = status_and_body(exchange(kochava_emulator, post(body("event"))))
    assert (status, json.loads(content)["success"]) == (200, "0")
    assert kochava_emulator.accepted == ()


@pytest.mark.parametrize(("fault", "counted"), [("before", 0), ("after", 1)])
def test_a_reset_is_a_reset(kochava_emulator, fault, counted):
    kochava_emulator.faults = Faults(script=(f"reset-{fault}-reading",))
    with connect(kochava_emulator) as connection:
        connection.sendall(post(body("event")))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert kochava_emulator.counted == counted


def test_half_an_answer_breaks_off_after_it_was_counted(kochava_emulator):
    kochava_emulator.faults = Faults(half_answer=1)
    head, _, content = exchange(kochava_emulator, post(body("event"))).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(ACCEPTED)}".encode() in head
    assert content == ACCEPTED[: len(ACCEPTED) // 2]
    assert kochava_emulator.counted == 1


def test_a_trickle_is_one_byte_at_a_time(kochava_emulator):
    kochava_emulator.faults = Faults(trickle=1, trickle_delay=0.02)
    began = time.monotonic()
    answer = exchange(kochava_emulator, post(body("event")))
    assert answer.endswith(ACCEPTED)
    assert time.monotonic() - began >= 0.02 * (len(ACCEPTED) - 1)


def test_latency_is_before_each_answer(kochava_emulator):
    kochava_emulator.faults = Faults(latency=0.15)
    began = time.monotonic()
    assert exchange(kochava_emulator, post(body("event"))).endswith(ACCEPTED)
    assert time.monotonic() - began >= 0.15


def test_a_script_is_followed_and_then_the_rates(kochava_emulator):
    kochava_emulator.faults = Faults(script=("503", "ok", "success-zero"), error_rate=1)
    seen = [status_and_body(exchange(kochava_emulator, post(body("event"))))[0] for _ in range(4)]
    assert seen == [503, 200, 200, 503]
    assert kochava_emulator.counted == 1


def _chosen(**faults):
    chooser = FaultChooser(Faults(**faults))
    return [chooser.next() for _ in range(2000)]


def test_a_seed_repeats_and_rates_are_shares():
    rates = {"error_rate": 0.2, "error_status": 500, "trickle": 0.1, "half_answer": 0.05}
    chosen = _chosen(seed=1, **rates)
    assert chosen == _chosen(seed=1, **rates)
    assert chosen != _chosen(seed=2, **rates)
    shares = {fault: chosen.count(fault) / 2000 for fault in set(chosen)}
    assert shares.keys() == {"500", "trickle", "half-answer", "ok"}
    assert shares["500"] == pytest.approx(0.2, abs=0.04)
    assert shares["trickle"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("faults", "path"),
    [
        ({"error_rate": 1.5}, "error_rate"),
        ({"trickle": -0.1}, "trickle"),
        ({"trickle": 0.6, "error_rate": 0.6}, "error_rate"),
        ({"script": ("explode",)}, "script"),
        ({"script": ("99",)}, "script"),
        ({"error_status": 99}, "error_status"),
        ({"latency": -1}, "latency"),
    ],
)
def test_wrong_faults_are_named(faults, path):
    with pytest.raises(ConfigurationError) as caught:
        Faults(**faults)
    assert [problem.path for problem in caught.value.problems] == [path]


# The log, the life of it


def test_the_log_has_a_line_for_each_accepted_request(tmp_path):
    file = tmp_path / "log.jsonl"
    for _ in range(2):  # appended to, not overwritten
        with KochavaEmulator(log=file) as kochava:
            exchange(kochava, post(body("event", data__event_data__name="Š\n")))
            exchange(kochava, post(b"{"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0].keys() == {"path", "headers", "body"}
    assert lines[0]["path"] == TRACK
    assert lines[0]["headers"]["Content-Type"] == "application/json"
    assert lines[0]["body"]["data"]["event_data"]["name"] == "Š\n"


def test_the_log_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        with KochavaEmulator(log=tmp_path / "log.jsonl"):
            assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_the_log_stays_json_whatever_is_accepted(tmp_path):
    file = tmp_path / "log.jsonl"
    deep = '{"a":' * 900 + "1" + "}" * 900
    with KochavaEmulator(log=file) as kochava:
        for value in ("1e999", deep):
            sent = body("event").replace(b'{"price":1}', f'{{"x":{value}}}'.encode())
            assert exchange(kochava, post(sent)).endswith(ACCEPTED)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in file.read_text().splitlines()]
    assert "1e999" in lines[0]["body"]
    assert len(lines) == 2


def test_a_log_may_be_an_open_file(tmp_path):
    with (tmp_path / "log.jsonl").open("w+") as file:
        with KochavaEmulator(log=file) as kochava:
            exchange(kochava, post(body("event")))
        file.seek(0)
        assert json.loads(file.read())["path"] == TRACK


def test_only_so_many_requests_are_kept():
    with KochavaEmulator(keep=2) as kochava:
        exchange(kochava, post(body("event")) * 5)
        assert (len(kochava.requests), kochava.received) == (2, 5)


def test_complaints_can_be_listened_to():
    heard = []
    with KochavaEmulator(on_complaint=heard.append) as kochava:
        exchange(kochava, post(b"[]"))
    assert [complaint.code for complaint in heard] == ["not-an-object"]


def test_one_credential_alone_is_wrong():
    with pytest.raises(ConfigurationError, match="api_key"):
        KochavaEmulator(api_key="KEY")


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(kochava_emulator, tmp_path):
    with pytest.raises(OSError, match="in use"):
        KochavaEmulator(kochava_emulator.port, log=tmp_path / "log.jsonl").start()


def test_it_has_no_address_before_it_runs_and_after():
    kochava = KochavaEmulator()
    with pytest.raises(RuntimeError, match="not running"):
        _ = kochava.url
    with kochava:
        assert kochava.url == f"http://127.0.0.1:{kochava.port}"
    with pytest.raises(RuntimeError, match="not running"):
        _ = kochava.url
    kochava.close()


def test_close_ends_soon_whatever_clients_do():
    threads_before = threading.active_count()
    kochava = KochavaEmulator(faults=Faults(script=("ok",), trickle=1, trickle_delay=30)).start()
    with contextlib.ExitStack() as stack:
        idle, kept, halfway, trickled = (stack.enter_context(connect(kochava)) for _ in range(4))
        kept.sendall(post(body("event")))
        assert kept.recv(65536).endswith(ACCEPTED)
        halfway.sendall(post(body("event"))[:-10])
        trickled.sendall(post(body("event")))
        _wait(lambda: kochava.counted == 2)
        kochava.faults = Faults(latency=30)
        idle.sendall(post(body("event")))
        _wait(lambda: kochava.counted == 3)
        began = time.monotonic()
        kochava.close()
        assert time.monotonic() - began < 2
    assert threading.active_count() == threads_before


def _wait(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_fifty_threads_at_once(kochava_emulator):
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: exchange(kochava_emulator, post(body("event")) * 10), range(50))
        )
    assert sum(answer.count(ACCEPTED) for answer in answers) == 500
    assert kochava_emulator.counted == len(kochava_emulator.accepted) == 500
