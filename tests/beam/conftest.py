"""All of it needs the extra `beam`, which other tests do without."""

import importlib.util
import os
from pathlib import Path

import pytest

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
collect_ignore_glob = [] if HAS_BEAM else ["test_*.py"]


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch):
    """Worker processes import the functions of these tests by name."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
