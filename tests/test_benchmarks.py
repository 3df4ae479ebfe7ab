"""The benchmarks run, and do the work that they time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.case import Case, Contender, Spread, measure
from benchmarks.sink import running_sink
from kochava_segment import KochavaDestination

ROOT = Path(__file__).parents[1]
MESSAGE = {"type": "track", "event": "Level Complete", "anonymousId": "a-1"}


def test_ratios_are_those_of_the_same_round():
    calls = []
    contenders = [
        Contender(name="one", run=lambda count: calls.append(("one", count))),
        Contender(name="bare", run=lambda count: calls.append(("bare", count)), baseline=True),
    ]
    case = Case(name="c", title="C", unit="u", count=7, rounds=2, contenders=contenders)
    one, bare = measure(case)
    assert (list(one.ratios), list(bare.ratios)) == (["bare"], [])
    # A round to warm up, then two; each begins with another one.
    assert [name for name, _ in calls] == ["one", "bare", "bare", "one", "one", "bare"]
    assert {count for _, count in calls} == {7}


def test_a_spread_is_the_middle_half():
    assert Spread.of([1, 2, 3, 4, 100]) == Spread(3, 2, 4)
    assert Spread.of([5]) == Spread(5, 5, 5)


def test_the_sink_counts_what_it_accepts():
    with running_sink() as sink, KochavaDestination("koexample", endpoint=sink.url) as kochava:
        assert [outcome.kind for outcome in kochava.send_many([MESSAGE] * 20)] == ["accepted"] * 20
        assert sink.count() == 20


def test_work_that_was_not_done_is_no_result():
    done = iter([0, 2])  # before and after
    lazy = Contender(name="lazy", run=lambda _: None, done=lambda: next(done))
    case = Case(name="c", title="C", unit="u", count=3, rounds=1, contenders=[lazy])
    with pytest.raises(RuntimeError, match="lazy: 2 arrived, not 3"):
        measure(case)


def test_the_sink_waits_when_told_to():
    with running_sink(0.05) as sink, KochavaDestination("koexample", endpoint=sink.url) as kochava:
        assert kochava.send(MESSAGE).elapsed >= 0.05


@pytest.mark.slow
def test_a_quick_run_measures_every_case():
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=ROOT,
    )
    report = json.loads(result.stdout)
    names = {path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py")} - {"__init__"}
    assert {case["name"] for case in report["cases"]} == names
    for case in report["cases"]:
        ratios = [name for result in case["results"] for name in result["ratios"]]
        assert ratios
        assert all(result["rate"]["median"] > 0 for result in case["results"])
