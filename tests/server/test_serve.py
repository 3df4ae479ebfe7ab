"""`serve` as a process: what it says, what it refuses, and how it ends."""

import concurrent.futures
import json
import signal
import socket
import subprocess
import time

import pytest

from kochava_segment.cli import cli
from kochava_segment.emulator import KochavaEmulator
from tests.cli.process import run, runner
from tests.messages import ios
from tests.server.asgi import BEARER, JSON, SECRET, TOKEN, encoded
from tests.server.process import IMPATIENT, Senders, read_answers, request_bytes, serving


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A receiver as it is by default."""
    with serving(tmp_path_factory.mktemp("patient") / "outbox.sqlite3") as running:
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """One that waits half a second for heads and bodies."""
    folder = tmp_path_factory.mktemp("impatient")
    with serving(folder / "outbox.sqlite3", script=IMPATIENT) as running:
        yield running


def alive(running):
    return running.request("GET", "/healthz")[0] == 200


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# What it says and refuses.


def test_it_says_where_it_listens_and_answers_there(patient):
    assert patient.announced == f"listening on http://127.0.0.1:{patient.port}\n"
    assert patient.post(ios(messageId="said"))[0] == 202
    assert "said" in patient.stored()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0"), "--webhook-secret or --bearer-token"),
        (("--host", "::"), "--webhook-secret or --bearer-token"),
        (("--host", "example.com"), "--webhook-secret or --bearer-token"),
        (("--host", "0.0.0.0", "--bearer-token", "t", "--console"), "--console-token"),
        (("--postback-secret", "s"), "--segment-write-key go together"),
        (("--segment-write-key", "s"), "--segment-write-key go together"),
        (("--postback-secret", "a/b", "--segment-write-key", "s"), "stands in a URL"),
        (("--segment-host", "http://api.segment.io"), "must be https"),
        (("--webhook-secret", "with space"), "visible ASCII"),
        (("--port", "70000"), "70000"),
        (("--ready-within", "0"), "ready-within"),
    ],
)
def test_what_cannot_be_served_is_a_usage_error(tmp_path, arguments, sentence):
    own = ("serve", "--outbox", str(tmp_path / "o.sqlite3"), "--app-guid", "k")
    result = runner().invoke(cli, [*own, *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in " ".join(result.stderr.split())
    assert "with space" not in result.stderr


@pytest.mark.parametrize("name", ["ENDPOINT", "CONFIG", "SEGMENT_HOST", "LOG_LEVEL"])
def test_a_variable_that_was_not_filled_in_is_a_usage_error(tmp_path, name):
    variable = f"KOCHAVA_SEGMENT_{name}"
    own = ["serve", "--outbox", str(tmp_path / "o.sqlite3"), "--app-guid", "k"]
    result = runner(env={variable: ""}).invoke(cli, own)
    assert (result.exit_code, result.stdout) == (2, "")
    option = f"--{name.lower().replace('_', '-')}"
    sentence = f"{option} is empty: fill the variable in, or unset it (from {variable})"
    assert sentence in " ".join(result.stderr.split())


def test_it_needs_an_outbox():
    result = run("serve", "--app-guid", "k")
    assert (result.returncode, "--outbox is missing" in result.stderr) == (2, True)


def test_a_port_that_is_taken_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(
            "serve", "--outbox", tmp_path / "o", "--app-guid", "k", "--port", port, timeout=20
        )
    assert result.returncode == 1
    assert "cannot be listened on" in result.stderr
    assert "Traceback" not in result.stderr


def test_secrets_of_the_environment_stay_out_of_the_help(tmp_path):
    from tests.cli.process import environment

    names = "WEBHOOK_SECRET BEARER_TOKEN POSTBACK_SECRET SEGMENT_WRITE_KEY CONSOLE_TOKEN".split()
    env = environment(**{f"KOCHAVA_SEGMENT_{name}": f"s3cr3t-{name}" for name in names})
    page = run("serve", "--help", env=env)
    assert page.returncode == 0
    assert "s3cr3t" not in page.stdout + page.stderr
    broken = run("serve", "--outbox", tmp_path, "--app-guid", "k", env=env, timeout=20)
    assert broken.returncode == 1
    assert "cannot be opened" in broken.stderr
    assert "s3cr3t" not in broken.stdout + broken.stderr
    assert "Traceback" not in broken.stderr


def test_kubernetes_names_a_variable_like_ours(tmp_path):
    variable = {"KOCHAVA_SEGMENT_PORT": "tcp://10.0.0.1:8080"}
    with serving(tmp_path / "o.sqlite3", **variable) as running:
        assert alive(running)


def test_secrets_that_could_be_guessed_are_named(tmp_path):
    log, tokens = tmp_path / "log", ("--console", "--console-token", "c" * 15)
    known = {"KOCHAVA_SEGMENT_WEBHOOK_SECRET": "w", "KOCHAVA_SEGMENT_BEARER_TOKEN": "b" * 16}
    with log.open("w") as stderr, serving(tmp_path / "o", *tokens, stderr=stderr, **known):
        pass
    said = log.read_text()
    assert "--webhook-secret, --console-token: fewer than 16 characters" in said
    assert "--bearer-token" not in said
    assert "ccc" not in said


@pytest.mark.parametrize(
    ("webhook_secret", "bearer_token", "warned"),
    [(None, None, True), ("", " ", True), (None, "b" * 16, False), ("w" * 16, "", False)],
)
def test_without_a_secret_it_says_who_can_post(tmp_path, webhook_secret, bearer_token, warned):
    given = {
        "KOCHAVA_SEGMENT_WEBHOOK_SECRET": webhook_secret,
        "KOCHAVA_SEGMENT_BEARER_TOKEN": bearer_token,
    }
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(tmp_path / "o", stderr=stderr, **given):
        pass
    lines = [line for line in log.read_text().splitlines() if "no secret is set" in line]
    assert len(lines) == warned
    assert all("Set KOCHAVA_SEGMENT_WEBHOOK_SECRET" in line for line in lines)


def test_other_addresses_are_fine_with_a_secret(tmp_path):
    with serving(tmp_path / "o.sqlite3", "--host", "0.0.0.0") as running:
        assert running.announced.startswith("listening on http://0.0.0.0:")
        assert alive(running)


def test_refusals_are_logged_without_content(tmp_path):
    with serving(tmp_path / "o.sqlite3", stderr=subprocess.PIPE) as running:
        body = encoded(ios())
        assert running.request("POST", "/segment", body, JSON)[0] == 401
        assert running.request("POST", "/segment", b"{", {**JSON, **BEARER})[0] == 400
        assert running.request("GET", "/kochava/postback/gu3ss?user_id=u-42")[0] == 404
        assert running.stop() == 0
        logged = running.process.stderr.read()
        running.process.stderr.close()
    lines = [line for line in logged.splitlines() if "kochava_segment.server" in line]
    assert len(lines) == 3
    for content in ("u-42", "gu3ss", SECRET, TOKEN, "Traceback"):
        assert content not in logged


# Slow and odd clients.


def ended_within(sock, seconds):
    """What came before the connection ended, which it must within so many seconds."""
    sock.settimeout(seconds)
    received = b""
    try:
        while piece := sock.recv(4096):
            received += piece
    except ConnectionResetError:
        pass
    return received


def drip(sock, content, every=0.1, most=200):
    """Send byte by byte until the other side has had enough; gives how many were taken."""
    for number in range(min(most, len(content))):
        try:
            sock.sendall(content[number : number + 1])
        except OSError:
            return number
        time.sleep(every)
    return most


def test_a_head_that_trickles_is_cut_off(impatient):
    with impatient.connect() as sock:
        began = time.monotonic()
        drip(sock, b"POST /segment HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 500, most=100)
        assert time.monotonic() - began < 5
    with impatient.connect() as sock:
        sock.sendall(b"POST /segment HTTP/1.1\r\nHost: x\r\n")
        assert ended_within(sock, 5).startswith(b"HTTP/1.1 408 ")
    assert alive(impatient)


def test_a_connection_on_which_nothing_comes_is_cut_off(impatient):
    with impatient.connect() as sock:
        assert ended_within(sock, 5).startswith(b"HTTP/1.1 408 ")


def test_the_second_head_on_a_connection_is_timed_as_well(impatient):
    with impatient.connect() as sock:
        sock.sendall(request_bytes(ios(messageId="first-of-two")) + b"POST /seg")
        received = ended_within(sock, 5)
        assert received.startswith(b"HTTP/1.1 202 ")
        assert b"HTTP/1.1 408 " in received


def test_a_connection_may_rest_between_requests(impatient):
    with impatient.connect() as sock:
        for number in range(3):
            if number:
                time.sleep(0.7)  # longer than a head may take
            sock.sendall(request_bytes(ios(messageId=f"rest-{number}")))
            assert read_answers(sock, 1) == [202]


def test_a_busy_connection_is_not_cut_off_for_its_age(impatient):
    with impatient.connect() as sock:
        began, number = time.monotonic(), 0
        while time.monotonic() - began < 1.2:
            # Two requests in pieces that end in the middle of the second's head.
            two = request_bytes(ios(messageId=f"a{number}")) + request_bytes(
                ios(messageId=f"b{number}")
            )
            sock.sendall(two[:-900])
            time.sleep(0.05)
            sock.sendall(two[-900:])
            assert read_answers(sock, 2) == [202, 202]
            number += 1


def test_a_body_that_trickles_is_a_408(impatient):
    request = request_bytes(ios(messageId="slow"))
    head = request.index(b"\r\n\r\n") + 4
    with impatient.connect() as sock:
        sock.sendall(request[: head + 10])
        assert ended_within(sock, 5).startswith(b"HTTP/1.1 408 ")
    assert "slow" not in impatient.stored()


def test_a_refused_body_that_never_ends_is_cut_off(impatient):
    with impatient.connect() as sock:
        sock.sendall(
            b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100000000\r\n\r\n"
        )
        assert read_answers(sock, 1) == [401]
        assert drip(sock, b"x" * 1000, most=100) < 100


def test_hundreds_of_slow_clients_keep_nobody_out(impatient):
    slow = [impatient.connect() for _ in range(200)]
    try:
        for sock in slow:
            sock.sendall(b"POST /segment HTTP/1.1\r\nHost:")
        assert impatient.post(ios(messageId="in-between"))[0] == 202
        for sock in slow:
            assert ended_within(sock, 5).startswith(b"HTTP/1.1 408 ")
    finally:
        for sock in slow:
            sock.close()


@pytest.mark.parametrize("size", [1, 3, 50, 700])
def test_a_request_in_pieces(patient, size):
    request = request_bytes(ios(messageId=f"pieces-{size}"))
    with patient.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), size):
            sock.sendall(request[start : start + size])
        assert read_answers(sock, 1) == [202]


def test_a_chunked_body(patient):
    body = json.dumps(ios(messageId="chunked")).encode()
    head = (
        "POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:]))
    with patient.connect() as sock:
        sock.sendall(head + chunks + b"0\r\n\r\n")
        assert read_answers(sock, 1) == [202]


def test_requests_in_a_pipeline_are_answered_in_order(patient):
    requests = []
    expected = []
    for number in range(40):
        bad = number % 5 == 3
        message = ios(messageId=f"pipe-{number}", **({"type": "group"} if bad else {}))
        requests.append(request_bytes(message))
        expected.append(501 if bad else 202)
    with patient.connect() as sock:
        sock.sendall(b"".join(requests))
        assert read_answers(sock, 40) == expected
    assert {f"pipe-{n}" for n in range(40) if n % 5 != 3} <= set(patient.stored())


def test_a_client_may_wait_for_leave_to_send_the_body(patient):
    request = request_bytes(ios(messageId="leave"), extra="Expect: 100-continue\r\n")
    head = request.index(b"\r\n\r\n") + 4
    with patient.connect() as sock:
        sock.sendall(request[:head])
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(request[head:])
        assert read_answers(sock, 1) == [202]


ODD = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00 this is TLS\r\n\r\n",
    "no number": b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST /segment HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    + TOKEN.encode()
    + b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a huge head": b"POST /segment HTTP/1.1\r\nHost: x\r\nX-Large: " + b"y" * 2_000_000,
    "many headers": b"POST /segment HTTP/1.1\r\n" + b"X: y\r\n" * 200_000,
    "a huge path": b"GET /" + b"a" * 2_000_000,
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_proper_http_is_refused_and_the_connection_ends(patient, what):
    with patient.connect() as sock:
        try:
            sock.sendall(ODD[what])
            received = ended_within(sock, 5)
        except ConnectionError:
            received = b""
    assert not received or received[9:12] in {b"400", b"431"}
    assert alive(patient)


def test_a_length_that_is_too_short_takes_what_it_says(patient):
    request = request_bytes(ios(messageId="short")).replace(
        f"Content-Length: {len(json.dumps(ios(messageId='short')))}".encode(), b"Content-Length: 20"
    )
    with patient.connect() as sock:
        sock.sendall(request)
        assert read_answers(sock, 2)[0] in {400, 401}
    assert "short" not in patient.stored()


def test_a_length_that_is_too_long_is_no_message(patient):
    request = request_bytes(ios(messageId="long"))
    with patient.connect() as sock:
        sock.sendall(request.replace(b"Content-Length: ", b"Content-Length: 1"))
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        received = sock.recv(4096)
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")
    assert "long" not in patient.stored()
    assert alive(patient)


def test_fifty_clients_at_once(patient):
    def post(number):
        return patient.post(ios(messageId=f"fifty-{number}"))[0]

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert set(pool.map(post, range(500))) == {202}
    assert {f"fifty-{number}" for number in range(500)} <= set(patient.stored())


def test_http_1_0_is_answered(patient):
    with patient.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert ended_within(sock, 5).startswith(b"HTTP/1.1 200 ")


# How it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(tmp_path, number):
    with serving(tmp_path / "o.sqlite3", stderr=subprocess.PIPE) as running:
        assert running.post(ios())[0] == 202
        assert running.stop(number) == 0
        assert running.process.stderr.read() == ""
        running.process.stderr.close()


def test_idle_and_half_said_requests_do_not_hold_it_up(tmp_path):
    with (
        serving(tmp_path / "o.sqlite3") as running,
        running.connect() as idle,
        running.connect() as half,
    ):
        idle.sendall(request_bytes(ios()))
        assert read_answers(idle, 1) == [202]
        half.sendall(b"POST /segment HTTP/1.1\r\n")
        time.sleep(0.1)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_under_load_nothing_that_was_answered_is_lost(tmp_path, number):
    outbox = tmp_path / "o.sqlite3"
    for life in range(2):
        with serving(outbox) as running:
            with Senders(
                running.port, lambda name, life=life: ios(messageId=f"{life}-{name}")
            ) as senders:
                until(lambda: len(senders.accepted) > 60)
                code = running.stop(number)
            assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        stored = running.stored()
        assert set(senders.accepted) <= set(stored)
        assert len(stored) == len(set(stored))
        assert set(senders.others) <= {503}
    with serving(outbox) as running:
        again = senders.accepted[-1]
        status, body = running.post(ios(messageId=again))
        assert (status, json.loads(body)["outcome"]) == (200, "duplicate")


def test_what_is_being_answered_when_the_signal_comes_is_answered(tmp_path):
    request = request_bytes(ios(messageId="last"))
    with serving(tmp_path / "o.sqlite3") as running:
        with running.connect() as sock:
            sock.sendall(request[:-5])
            time.sleep(0.2)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            sock.sendall(request[-5:])
            assert read_answers(sock, 1) == [202]
        assert running.process.wait(20) == 0
        assert running.stored() == ["last"]


def test_with_the_relay_everything_arrives_and_a_stop_leaves_the_rest_to_the_next(tmp_path):
    outbox = tmp_path / "o.sqlite3"
    with KochavaEmulator() as emulator:
        arguments = ("--endpoint", emulator.url)
        with (
            serving(outbox, *arguments, relay=True) as running,
            Senders(running.port, lambda name: ios(messageId=name)) as senders,
        ):
            until(lambda: len(senders.accepted) > 100)
            assert running.stop() == 0
        with serving(outbox, *arguments, relay=True) as running:
            until(lambda: emulator.counted >= len(set(running.stored())))
            assert running.stop() == 0
        ids = len(set(running.stored()))
        assert set(senders.accepted) <= set(running.stored())
        assert emulator.counted == ids
