"""A console for each test, and one browser for all."""

import pytest

from tests.browser import chromium  # noqa: F401  # a fixture
from tests.server.console.running_console import Visitor, running_console


@pytest.fixture
def console(tmp_path):
    """A console with the device directory on."""
    with running_console(tmp_path, devices=True) as running:
        yield running


@pytest.fixture(scope="module")
def shared_console(tmp_path_factory):
    """The same for tests that leave nothing behind in it."""
    with running_console(tmp_path_factory.mktemp("shared"), devices=True) as running:
        yield running


@pytest.fixture
def visitor(console):
    """Somebody who is logged in."""
    one = Visitor(console.url).log_in()
    yield one
    one.close()
