"""What is lost, and what is sent twice, when the machinery itself breaks."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from kochava_segment.beam import ReadFromSegmentArchive
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.beam.pipelines import TWO_PROCESSES, messages_of, run
from tests.cli.process import run as run_command
from tests.cli.process import start
from tests.long import many


def archive(tmp_path, messages, name="in.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(message) + "\n" for message in messages))
    return path


def sent(requests):
    """How often each message was counted: its device and its second tell it."""
    return Counter(
        (request.payload["kochava_device_id"], request.payload["data"]["usertime"])
        for request in requests
    )


def workers_of(process):
    """The worker processes of one of ours, each of which a shell has started."""
    shells = children(process.pid)
    return [worker for shell in shells for worker in children(shell) or [shell]]


def children(pid):
    of_threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in of_threads for child in path.read_text().split()]


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_ends_the_run_and_the_next_one_loses_nothing(tmp_path):
    path = archive(tmp_path, messages_of(devices=40, each=10))
    with KochavaEmulator(faults=Faults(latency=0.01)) as kochava:
        arguments = ("replay", path, "--app-guid", "koapp", "--endpoint", kochava.url)
        process = start(*map(str, arguments), "--processes", "2", "--concurrency", "2")
        try:
            wait_for(lambda: kochava.received >= 60)
            os.kill(workers_of(process)[0], signal.SIGKILL)
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 1
        assert "a worker process died" in stderr
        assert "what it has sent until then is in no output" in stderr
        time.sleep(0.5)
        before = kochava.counted
        time.sleep(0.5)
        assert kochava.counted == before < 400, "nobody goes on sending"
        again = run_command(*arguments, "--processes", "2")
        assert again.returncode == 0
        counts = sent(kochava.accepted)
        assert len(counts) == 400, "nothing is lost"
        assert counts.total() == 400 + before, "and what was sent before was sent twice"


def test_a_signal_ends_the_run(tmp_path):
    path = archive(tmp_path, messages_of(devices=40, each=10))
    with KochavaEmulator(faults=Faults(latency=0.05)) as kochava:
        arguments = ("replay", path, "--app-guid", "koapp", "--endpoint", kochava.url)
        process = start(*map(str, arguments), "--concurrency", "2")
        try:
            wait_for(lambda: kochava.received >= 5)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 1
    assert "the run ended early: stopped by a signal" in stderr


@pytest.mark.slow
def test_of_very_many_none_is_lost_and_repetitions_are_counted(tmp_path):
    devices, each = many(10_000), 10
    messages = messages_of(devices, each)
    repeated = messages[:: many(20)]
    for shard in range(4):
        archive(tmp_path, [*messages, *repeated][shard::4], f"in-{shard}.jsonl")
    log = tmp_path / "log"
    faults = Faults(error_rate=0.02, reset_before_reading=0.01, reset_after_reading=0.01, seed=1)
    with KochavaEmulator(faults=faults, log=log, keep=1) as kochava:
        ran = run(
            ReadFromSegmentArchive(str(tmp_path / "in-*.jsonl")),
            tmp_path,
            kochava,
            *TWO_PROCESSES,
            retry={"max_attempts": 20, "base": 0.01, "cap": 0.1},
        )
    assert ran.counts == {"accepted": devices * each, "duplicate": len(repeated)}
    ids = Counter()
    with log.open() as lines:
        for line in lines:
            body = json.loads(line)["body"]
            ids[body["kochava_device_id"], body["data"]["usertime"]] += 1
    assert len(ids) == devices * each
    # Only what lost its answer can have been counted twice, and the receipt says so.
    twice = sum(count > 1 for count in ids.values())
    told = sum(result["receipt"]["maybe_repeated"] for result in ran.of("accepted"))
    assert 0 < twice <= told
    assert ran.counters["maybe_repeated"] == told
