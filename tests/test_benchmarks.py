"""The benchmarks run, and what they report is true."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import requests
from attrs import evolve

from benchmarks import cases, goals, page, running, sink
from benchmarks.case import Case, Contender, Setting
from benchmarks.cases import all_cases
from benchmarks.events import mapped, stream
from benchmarks.results import Found, Spread
from benchmarks.running import ContenderFailed, Pace, run, started
from benchmarks.sink import running_sink
from kochava_segment import KochavaDestination

ROOT = Path(__file__).parents[1]
MESSAGE = {"type": "track", "event": "Level Complete", "anonymousId": "a-1"}
PASS = Contender(
    name="pass", make="starting:start", arguments={"arguments": ["-c", "pass"]}, posts=False
)


@pytest.fixture(params=["c", "python"])
def kind_of_sink(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(sink, "_compiled", lambda **_: None)
    elif sink._compiled(tls=True) is None:
        pytest.skip("there is no C compiler, or no OpenSSL to compile with")


def run_quickly(*contenders, keep=lambda _: None):
    said = []
    case = Case(name="c", title="C", contenders=contenders, settings=[Setting(concurrency=2)])
    pace = Pace(until=time.monotonic() + 60, quick=True)
    return run(case, pace, said.append, keep), said


@pytest.mark.usefixtures("kind_of_sink")
@pytest.mark.parametrize("tls", [False, True])
def test_the_sink_counts_what_it_accepts(tls, monkeypatch):
    with running_sink(tls=tls) as server:
        if tls:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.certificate)
        with KochavaDestination("koexample", endpoint=server.url) as kochava:
            kinds = [outcome.kind for outcome in kochava.send_many([MESSAGE] * 20)]
            assert kinds == ["accepted"] * 20
            size = len(kochava.map(MESSAGE).body)
        assert server.received() == {"posts": 20, "bytes": 20 * size}


@pytest.mark.usefixtures("kind_of_sink")
def test_the_sink_waits_when_told_to():
    with (
        running_sink(0.05) as server,
        KochavaDestination("koexample", endpoint=server.url) as kochava,
    ):
        began = time.perf_counter()
        assert kochava.send(MESSAGE).elapsed >= 0.05
        # All wait side by side.
        assert list(kochava.send_many([MESSAGE | {"anonymousId": f"{n}"} for n in range(16)]))
        assert time.perf_counter() - began < 16 * 0.05


@pytest.mark.usefixtures("kind_of_sink")
@pytest.mark.parametrize("size", [1, 70_000, 400_000])
def test_the_sink_takes_bodies_that_come_in_pieces(size):
    with running_sink() as server, requests.Session() as session:
        for _ in range(3):
            assert session.post(server.url, data=b"x" * size).json() == {"success": "1"}
        assert server.received() == {"posts": 3, "bytes": 3 * size}


def test_bodies_have_the_size_that_was_asked_for():
    for size in (512, 2048, 32768):
        sizes = {len(request.body) for request in mapped(Setting(size=size))}
        assert max(sizes) - min(sizes) < 10
        assert abs(max(sizes) - size) < 20


def test_a_stream_has_as_many_events_a_device_as_was_asked_for():
    for each in (1, 10):
        messages = list(stream(Setting(events_per_device=each), 1000))
        assert len({message["messageId"] for message in messages}) == 1000
        devices = [message["context"]["device"]["id"] for message in messages]
        assert {devices.count(device) for device in set(devices)} == {each}
        assert all(one != other for one, other in itertools.pairwise(devices))


def test_what_was_measured_is_kept_after_each_round():
    kept = []
    found, said = run_quickly(PASS, cases.SESSION_POST, keep=kept.append)
    assert said == []
    assert kept == [found]
    contenders = found["settings"][0]["contenders"]
    assert set(contenders) == {PASS.name, cases.SESSION_POST.name}
    for of in contenders.values():
        assert of["rates"][0] > 0
        assert of["cpu_us"][0] > 0
        assert of["peak_mb"][0] > 5


def test_a_contender_that_posts_nothing_is_no_result():
    found, said = run_quickly(evolve(PASS, posts=True))
    assert found["settings"][0]["contenders"]["pass"]["failed"] == "0 requests arrived, not 9"
    assert len(said) == 1


def test_a_contender_that_fails_does_not_hold_up_the_others():
    broken = evolve(PASS, name="broken", arguments={"arguments": ["-c", "1 / 0"]})
    found, said = run_quickly(broken, PASS)
    contenders = found["settings"][0]["contenders"]
    assert "CalledProcessError" in contenders["broken"]["failed"]
    assert contenders["pass"]["rates"]
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks at processes in /proc")
def test_a_contender_that_takes_too_long_is_ended_with_what_it_has_started(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_FAREWELL", 0.2)
    note = tmp_path / "pid"
    program = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    slow = evolve(PASS, arguments={"arguments": ["-c", program]})
    with started(slow) as process, pytest.raises(ContenderFailed, match="took more than 3 s"):
        process.turn(Setting(concurrency=1), 1, None, patience=3)
    pid = int(note.read_text())
    until = time.monotonic() + 10
    while not is_dead(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert is_dead(pid)


def is_dead(pid):
    with contextlib.suppress(OSError):
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    return True


def test_a_contender_that_is_not_installed_is_left_out():
    found, _ = run_quickly(evolve(PASS, needs=["no_such_package.of_this_name"]))
    assert found["absent"] == {"pass": "needs no_such_package.of_this_name"}


def test_a_spread_is_the_middle_half():
    assert Spread.of([1, 2, 3, 4, 100]) == Spread(3, 2, 4)
    assert Spread.of([5]) == Spread(5, 5, 5)


def results(**rates):
    """Results of the case `throughput`."""
    contenders = {name: {"rates": of, "more": {}} for name, of in rates.items()}
    settings = [{**Setting().dimensions(), "contenders": contenders}]
    return Found({"cases": {"throughput": {"settings": settings}}})


def test_ratios_are_those_of_the_same_round():
    one, other = PASS, evolve(PASS, name="other")
    found = results(**{"pass": [10, 100, 30], "other": [5, 50, 15]})
    assert found.ratio("throughput", one, other) == Spread(2, 2, 2)
    assert found.ratio("throughput", one, evolve(PASS, name="absent")) is None


def test_a_goal_holds_when_the_median_reaches_it():
    bare = [100, 100, 100]
    for share, holds in ((0.76, "yes"), (0.74, "**no**")):
        rates = {cases.PYCURL.name: bare, cases.MANY_PYCURL.name: [10, share * 100, 99]}
        rows = {row[0]: row for row in goals.rows(results(**rates))}
        assert rows["`send_many`, pycurl, by bare pycurl"][3] == holds
        assert rows["Mapping, orjson"][2:] == ("not measured", "")


def test_every_goal_asks_for_something_that_is_measured():
    """A goal whose contender or setting has been renamed would be `not measured` for ever."""
    document = {"cases": {}}
    for case in all_cases():
        contenders = {
            contender.name: {"rates": [1], "peak_mb": [1], "more": {"median_us": [1]}}
            for contender in case.contenders
        }
        settings = [{**setting.dimensions(), "contenders": contenders} for setting in case.settings]
        document["cases"][case.name] = {"settings": settings}
    assert [row for row in goals.rows(Found(document)) if row[2] == "not measured"] == []


def test_the_page_shows_the_results_that_are_kept():
    found = Found(json.loads(page.RESULTS.read_text(encoding="utf-8")))
    text = (page.DOCS / page.PAGE).read_text(encoding="utf-8")
    stale = page.fresh(text, found) != text
    assert not stale, "docs/performance.md is stale: run python -m benchmarks.page"
    for name, chart in page.drawn(found):
        kept = page.DOCS / "images" / f"performance-{name}.svg"
        assert kept.read_text(encoding="utf-8") == chart


def test_a_run_that_had_no_time_for_anything_makes_a_page_all_the_same(tmp_path):
    document = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    for case in document["cases"].values():
        for setting in case["settings"]:
            for of in setting["contenders"].values():
                of.update(
                    rates=[], cpu_us=[], peak_mb=[], more={}, skipped="there was no time for it"
                )
    (tmp_path / page.PAGE).write_text((page.DOCS / page.PAGE).read_text())
    page.write(document, tmp_path)
    assert "there was no time for it" in (tmp_path / page.PAGE).read_text()
    assert not (tmp_path / "images").exists()


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_a_case_can_be_measured_alone(tmp_path):
    file = tmp_path / "results.json"
    said = benchmark("--quick", "--only", "mapping", "--json", str(file)).stdout
    found = json.loads(file.read_text())
    assert list(found["cases"]) == ["mapping"]
    for name, of in found["cases"]["mapping"]["settings"][0]["contenders"].items():
        assert name in said
        assert of["rates"][0] > 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="it is stopped by a signal")
def test_a_run_that_is_killed_leaves_what_it_has(tmp_path):
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(file)]
    command += ["--only", "mapping", "--only", "startup"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert "mapping" in json.loads(file.read_text())["cases"]


@pytest.mark.slow
def test_a_quick_run_measures_every_case(tmp_path):
    file = tmp_path / "results.json"
    benchmark("--quick", "--json", str(file))
    document = json.loads(file.read_text())
    expected = {case.name: case for case in all_cases(quick=True)}
    assert set(document["cases"]) == set(expected)
    for name, case in expected.items():
        found = document["cases"][name]
        assert len(found["settings"]) == len(case.settings)
        for setting in found["settings"]:
            taken_part = {*setting["contenders"], *found["absent"]}
            assert taken_part == {contender.name for contender in case.contenders}
            for contender, of in setting["contenders"].items():
                assert "failed" not in of, f"{name}, {contender}: {of['failed']}"
                assert of["rates"][0] > 0
    (tmp_path / page.PAGE).write_text((page.DOCS / page.PAGE).read_text())
    page.write(document, tmp_path)
    assert page._NOT_MEASURED not in (tmp_path / page.PAGE).read_text()
    charts = sorted((tmp_path / "images").glob("*.svg"))
    assert [chart.stem for chart in charts] == [
        "performance-concurrency",
        "performance-contenders",
        "performance-scale",
    ]
    for chart in charts:
        assert ET.parse(chart).getroot().tag == "{http://www.w3.org/2000/svg}svg"
