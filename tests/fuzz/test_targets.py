"""For a moment, what is fuzzed at length elsewhere: `atheris_run.py` and `schemathesis_run.py`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds
from tests.long import many

mixed = st.lists(
    st.binary(max_size=60) | st.integers(0, 255).map(lambda n: bytes([n] * 3)), max_size=12
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzers_start_from_breaks_no_promise(name):
    found = seeds(name)
    assert found
    for seed in found:
        TARGETS[name](seed)


@pytest.mark.parametrize(
    "examples", [200, pytest.param(many(10_000), marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_promise(name, examples):
    starts = st.sampled_from(seeds(name))
    cut = st.builds(
        lambda seed, at, rest: seed[:at] + rest, starts, st.integers(0, 600), st.binary()
    )

    @settings(max_examples=examples, deadline=None)
    @given(mixed.map(b"".join) | cut)
    def holds(data):
        TARGETS[name](data)

    holds()
