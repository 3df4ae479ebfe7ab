import pytest

from kochava_segment.mapping.mapper import map_message
from kochava_segment.options import Options


@pytest.fixture
def map_with():
    """Maps a message with options."""

    def map_with(message, **options):
        return map_message(message, Options.load({"app_guid": "koapp", **options}))

    return map_with


@pytest.fixture
def data_of(map_with):
    """The data block that a message becomes."""
    return lambda message, **options: map_with(message, **options).payload["data"]


@pytest.fixture
def event_data_of(data_of):
    """The event_data that a message becomes."""
    return lambda message, **options: data_of(message, **options)["event_data"]


@pytest.fixture
def warnings_of(map_with):
    """The codes of the warnings that a message gives."""
    return lambda message, **options: [w.code for w in map_with(message, **options).warnings]
