"""`replay`, as a process, against the emulator."""

import gzip
import json
import stat

import pytest

from kochava_segment.emulator import Faults, KochavaEmulator
from tests.cli.process import run
from tests.messages import ios

APP = ("--app-guid", "koapp", "--retry", "max_attempts=2,base=0.01")


@pytest.fixture
def archive(tmp_path):
    """Two files: what can be sent, one message twice, and three that cannot be."""
    good = [ios(messageId=f"m-{n}", userId=f"u-{n}", context__ip="odd") for n in range(6)]
    bad = [ios(messageId="g", type="group"), ios(messageId="e", event="")]
    lines = [json.dumps(message) + "\n" for message in (*good[:4], *bad)]
    (tmp_path / "a.jsonl").write_text("".join([*lines, "{broken\n"]))
    rest = [json.dumps(message) + "\n" for message in (*good[4:], good[0])]
    (tmp_path / "b.gz").write_bytes(gzip.compress("".join(rest).encode()))
    return tmp_path


def patterns(folder):
    return str(folder / "*.jsonl"), str(folder / "*.gz")


def test_a_dry_run_reports_and_sends_nothing(archive, kochava_emulator):
    report = archive / "report.json"
    result = run(
        *("replay", *patterns(archive), *APP, "--endpoint", kochava_emulator.url),
        *("--dry-run", "--report", report),
    )
    assert result.returncode == 1
    assert kochava_emulator.requests == ()
    assert "10 messages; nothing was sent\n  mapped             7\n" in result.stdout
    assert "  invalid            2\n" in result.stdout
    assert "  Level Up: mapped 7\n" in result.stdout
    assert "warnings: bad-ip 7\n" in result.stdout
    assert f"such as {archive / 'a.jsonl'}:7\n" in result.stdout
    found = json.loads(report.read_text())
    assert found["messages"] == 10
    assert found["outcomes"] == {"mapped": 7, "invalid": 2, "unsupported": 1}
    problems = {problem["outcome"]: problem for problem in found["problems"]}
    assert problems["unsupported"]["samples"] == [
        {"file": str(archive / "a.jsonl"), "line": 5, "messageId": "g"}
    ]
    assert "203.0.113" not in report.read_text(), "no values of messages"


def test_a_replay_sends_counts_and_keeps_what_failed(archive, kochava_emulator):
    kochava_emulator.faults = Faults(script=("success-zero",))
    failed = archive / "out" / "failed"
    result = run(
        *("replay", *patterns(archive), *APP, "--endpoint", kochava_emulator.url),
        *("--failed", failed, "--processes", 2, "--concurrency", 1),
    )
    assert result.returncode == 1
    assert result.stderr == ""
    for kind, count in (
        ("accepted", 5),
        ("rejected", 1),
        ("invalid", 2),
        ("unsupported", 1),
        ("duplicate", 1),
    ):
        assert f"  {kind:<12}{count:>8}\n" in result.stdout
    files = sorted((archive / "out").iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    kept = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert sorted(one["outcome"] for one in kept) == [
        *("invalid", "invalid", "rejected", "unsupported")
    ]
    rejected = [one["message"]["messageId"] for one in kept if one["outcome"] == "rejected"]
    again = run("send", *files, *APP, "--endpoint", kochava_emulator.url)
    assert "  accepted           1\n" in again.stdout
    assert len(rejected) == 1
    assert len(kochava_emulator.accepted) == 6


def test_all_good_is_exit_code_0_and_a_selection_is_kept_to(archive, kochava_emulator):
    result = run(
        *("replay", archive / "b.gz", *APP, "--endpoint", kochava_emulator.url),
        *("--since", "2026-03-20", "--until", "2026-03-21T00:00:00Z"),
        *("--event", "level  up", "--user", "u-4", "--user", "u-0"),
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 messages\n  accepted           2\n" in result.stdout
    assert len(kochava_emulator.accepted) == 2


def test_credentials_of_the_command_line_reach_the_workers(archive):
    with KochavaEmulator(api_key="key-1", api_secret="secret-1") as kochava:
        result = run(
            *("replay", archive / "b.gz", *APP, "--endpoint", kochava.url, "--processes", 2),
            *("--api-key", "key-1", "--api-secret", "secret-1"),
        )
        assert result.returncode == 0
        assert len(kochava.accepted) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name at least one INPUT"),
        (("a.jsonl", "--direct_num_worker=2"), "did you mean --direct_num_workers?"),
        (("nothing-*",), "no file matches nothing-*"),
        (("a.jsonl", "--outbox", "x"), "use `send --outbox`"),
        (("a.jsonl", "--since", "soon"), "must be a day or a time"),
        (("a.jsonl", "--runner", "FlinkRunner", "--max-rate", "5"), "--processes is missing"),
        (("a.jsonl", "--runner", "FlinkRunner", "--dry-run"), "needs --report FILE"),
    ],
)
def test_wrong_usage_is_exit_code_2_before_anything_is_sent(archive, arguments, said):
    result = run("replay", *arguments, *APP, "--endpoint", "http://127.0.0.1:9", cwd=archive)
    assert result.returncode == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""
