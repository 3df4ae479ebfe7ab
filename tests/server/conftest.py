"""What the tests of the receiver start from."""

import pytest

from kochava_segment import KochavaDestination, RecordingTransport
from kochava_segment.server import create_app
from tests.server.asgi import SECRET, TOKEN


@pytest.fixture
def destination(tmp_path):
    """A destination with an outbox that nobody drains."""
    with KochavaDestination(
        "koexample",
        outbox=tmp_path / "outbox.sqlite3",
        relay=False,
        transport=RecordingTransport(),
    ) as kochava:
        yield kochava


@pytest.fixture
def app(destination):
    """A receiver with both kinds of authentication."""
    return create_app(destination, webhook_secret=SECRET, bearer_token=TOKEN)
