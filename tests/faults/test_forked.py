"""Forks from a process with a running relay: all send, nobody hangs, the fork repeats nothing."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.cli.process import environment
from tests.faults.processes import ROOT, drained, eventually, stored_numbers
from tests.faults.traffic import Arrived, message

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks"),
    # Python 3.12 warns of forks with threads, which is what these tests are about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

_TIMEOUT = 20  # seconds until a process counts as hanging
_GUNICORN = ("--preload", "--workers=2", "--bind=127.0.0.1:0")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def kochava():
    with KochavaEmulator(keep=10**6, faults=Faults(latency=0.005)) as emulator:
        yield emulator


@pytest.fixture
def destination(path, kochava):
    with KochavaDestination("koapp", endpoint=kochava.url, outbox=path, workers=4) as destination:
        yield destination


def _forked(work):
    """Do something in a forked child, which then leaves past all clean-up, as after os.fork."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def _exit_code(child):
    """The exit code of a child, which is not waited for without end."""

    def ended():
        found, status = os.waitpid(child, os.WNOHANG)
        return (status,) if found == child else None

    (status,) = eventually(ended, _TIMEOUT)
    return os.waitstatus_to_exitcode(status)


def _assert_each_arrived_once(kochava, numbers):
    assert sorted(Arrived(kochava).numbers) == sorted(numbers)


def test_children_and_parent_send_side_by_side(destination, kochava):
    def enqueue_and_flush(first):
        for number in range(first, first + 30):
            destination.enqueue(message(number))
        assert destination.flush(_TIMEOUT).pending == 0
        assert destination.stop_relay()

    for number in range(30):  # the relay has its hands full when the children are born
        destination.enqueue(message(number))
    children = [_forked(lambda first=first: enqueue_and_flush(first)) for first in (100, 200, 300)]
    for number in range(30, 60):
        destination.enqueue(message(number))
    assert [_exit_code(child) for child in children] == [0, 0, 0]
    assert destination.flush(_TIMEOUT).states == {"delivered": 150}
    _assert_each_arrived_once(
        kochava, [*range(60), *range(100, 130), *range(200, 230), *range(300, 330)]
    )


def test_a_fork_of_a_fork_sends(destination, kochava):
    def enqueue_and_fork():
        destination.enqueue(message(1))

        def enqueue_and_flush():
            destination.enqueue(message(2))
            destination.flush(_TIMEOUT)
            destination.stop_relay()

        assert _exit_code(_forked(enqueue_and_flush)) == 0
        destination.stop_relay()

    destination.enqueue(message(0))
    assert _exit_code(_forked(enqueue_and_fork)) == 0
    destination.flush(_TIMEOUT)
    _assert_each_arrived_once(kochava, [0, 1, 2])


def test_what_a_child_enqueues_is_kept_when_its_parent_closes_the_file_first(path, kochava):
    destination = KochavaDestination("koapp", endpoint=kochava.url, outbox=path, relay=False)
    destination.enqueue(message(0))
    told, tell = os.pipe()
    told_back, tell_back = os.pipe()

    def enqueue_before_and_after():
        destination.enqueue(message(1))
        os.write(tell_back, b".")
        os.read(told, 1)
        destination.enqueue(message(2))

    child = _forked(enqueue_before_and_after)
    os.read(told_back, 1)
    destination.close()  # the last one to close a file deletes its -wal: the child has it open
    os.write(tell, b".")
    assert _exit_code(child) == 0
    for pipe in (told, tell, told_back, tell_back):
        os.close(pipe)
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert stored_numbers(path) == [0, 1, 2]


def test_children_that_end_at_once_lose_nothing(path, kochava):
    destination = KochavaDestination(
        "koapp", endpoint=kochava.url, outbox=path, workers=4, lease=1.0
    )
    with destination:
        destination.enqueue(message(0))
        children = [
            _forked(lambda number=number: destination.enqueue(message(number)))
            for number in range(1, 9)
        ]
        assert [_exit_code(child) for child in children] == [0] * 8
    status = drained(path, kochava.url)
    assert status.states == {"delivered": 9}
    arrived = Arrived(kochava)
    assert set(arrived.numbers) == set(range(9))
    # os._exit stops nobody, so that what a child had in flight may have arrived.
    assert len(arrived.repeated) <= status.maybe_repeated


@pytest.mark.parametrize(
    "method",
    ["fork", *(pytest.param(other, marks=pytest.mark.slow) for other in ("spawn", "forkserver"))],
)
def test_children_of_multiprocessing_need_no_flush(destination, kochava, path, method):
    destination.enqueue(message(0))
    context = multiprocessing.get_context(method)
    children = [
        context.Process(target=_enqueue_in_child, args=(str(path), kochava.url, first))
        for first in (100, 200)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(_TIMEOUT)
        assert child.exitcode == 0
    assert destination.flush(_TIMEOUT).maybe_repeated == 0
    _assert_each_arrived_once(kochava, [0, *range(100, 110), *range(200, 210)])


def _enqueue_in_child(path, endpoint, first):
    destination = KochavaDestination("koapp", endpoint=endpoint, outbox=path)
    for number in range(first, first + 10):
        destination.enqueue(message(number))


def test_a_pool_of_forked_processes_shares_the_destination_of_its_parent(destination, kochava):
    destination.enqueue(message(0))
    _shared.append(destination)
    try:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(_enqueue_shared, range(1, 41))
            pool.close()
            pool.join()
    finally:
        _shared.clear()
    destination.flush(_TIMEOUT)
    _assert_each_arrived_once(kochava, range(41))


_shared = []


def _enqueue_shared(number):
    _shared[0].enqueue(message(number))


def _listening_at(errors):
    for line in errors:
        if "Listening at: " in line:
            return line.partition("Listening at: ")[2].split()[0]
    raise AssertionError("it does not listen")


def test_gunicorn_with_preload(kochava, path):
    config = pytest.importorskip("gunicorn.config")
    options = [*_GUNICORN]
    if "control_socket_disable" in config.make_settings():  # newer ones have it
        options.append("--no-control-socket")
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "tests.faults.web_app:app"],
        cwd=ROOT,
        env=environment(
            KOCHAVA_SEGMENT_OUTBOX=str(path),
            KOCHAVA_SEGMENT_ENDPOINT=kochava.url,
            KOCHAVA_SEGMENT_APP_GUID="koapp",
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = urlsplit(_listening_at(server.stderr)).netloc
        answered_by = set()
        deadline = time.monotonic() + _TIMEOUT
        number = 0
        # A worker that has answered is up; gunicorn forgets to stop one that is still starting.
        while number < 60 or (len(answered_by) < 2 and time.monotonic() < deadline):
            number += 1
            connection = HTTPConnection(address, timeout=_TIMEOUT)
            connection.request("POST", f"/{number}")
            answered_by.add(connection.getresponse().read())
            connection.close()
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=_TIMEOUT)
    assert len(answered_by) == 2
    assert server.returncode == 0, errors
    assert "Traceback" not in errors
    drained(path, kochava.url)
    # 0 is what the master enqueued before it forked.
    _assert_each_arrived_once(kochava, range(number + 1))


@pytest.mark.slow
def test_celery_with_prefork(kochava, path, tmp_path):
    pytest.importorskip("celery")
    variables = environment(
        KOCHAVA_SEGMENT_OUTBOX=str(path),
        KOCHAVA_SEGMENT_ENDPOINT=kochava.url,
        KOCHAVA_SEGMENT_APP_GUID="koapp",
        KOCHAVA_SEGMENT_LEASE="0.5",
        BROKER_FOLDER=str(tmp_path),
    )
    command = [sys.executable, "-m", "celery", "--app=tests.faults.tasks", "worker"]
    with (tmp_path / "log.txt").open("w") as log:
        worker = subprocess.Popen(
            [*command, "--pool=prefork", "--concurrency=2", "--loglevel=warning"],
            cwd=ROOT,
            env=variables,
            stdout=log,
            stderr=log,
        )
    try:
        subprocess.run(
            [sys.executable, "-m", "tests.faults.tasks"],
            cwd=ROOT,
            env=variables,
            check=True,
            timeout=60,
        )
        eventually(lambda: kochava.counted >= 41, timeout=60)
    finally:
        worker.terminate()
        assert worker.wait(_TIMEOUT) == 0, (tmp_path / "log.txt").read_text()
    drained(path, kochava.url)
    # 0 is what the worker enqueued before it forked.
    _assert_each_arrived_once(kochava, range(41))
