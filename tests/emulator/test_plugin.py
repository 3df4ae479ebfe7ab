"""The pytest plugin, as a project that installed the package has it."""

import subprocess
import sys

# Hypothesis takes longer to load than all the rest.
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest")
_TESTS = """
import pytest
import requests

from kochava_segment import KochavaDestination

def test_good(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url) as destination:
        destination.send({
            "type": "track", "event": "Level Up", "anonymousId": "a-1",
            "timestamp": "2026-03-20T18:06:56Z",
            "context": {
                "device": {"id": "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10", "type": "ios"},
                "ip": "203.0.113.7", "userAgent": "Mozilla",
            },
        })
    assert kochava_emulator.counted == 1
    kochava_emulator.assert_no_complaints()

def test_each_test_has_an_emulator_of_its_own(kochava_emulator):
    assert kochava_emulator.requests == ()

def test_bad(kochava_emulator):
    requests.post(kochava_emulator.url + "/track/json", json=[], timeout=5)
    kochava_emulator.assert_no_complaints()
"""


def test_the_fixture_is_there_without_any_setup(tmp_path):
    (tmp_path / "test_example.py").write_text(_TESTS)
    result = subprocess.run(
        [*_PYTEST, "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "2 passed" in result.stdout
    assert "1 failed" in result.stdout
    assert "the Kochava emulator complains:" in result.stdout
    assert "body must be one object: there is no batch form (error not-an-object)" in result.stdout


def test_the_fixture_is_listed_with_what_it_is(tmp_path):
    result = subprocess.run(
        [*_PYTEST, "--fixtures", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "kochava_emulator" in result.stdout
    assert "A Kochava emulator on a free port" in result.stdout
