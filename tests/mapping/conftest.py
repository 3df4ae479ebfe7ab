import pytest

from kochava_segment.errors import MappingError
from kochava_segment.mapping.mapper import map_message
from kochava_segment.options import Options


@pytest.fixture
def map_with():
    """Maps a message with options. Whatever the mapping says of it must read as a sentence."""

    def map_with(message, **options):
        try:
            request = map_message(message, Options.load({"app_guid": "koapp", **options}))
        except MappingError as error:
            for said in getattr(error, "problems", [error]):
                assert_sentence(said.detail)
            raise
        for warning in request.warnings:
            assert_sentence(warning.detail)
        return request

    return map_with


def assert_sentence(detail):
    """It goes on after a path or a reason: "must be a string"."""
    assert isinstance(detail, str)
    assert detail[0].islower() or detail.startswith(("context.", "integrations."))
    assert not detail.isupper()


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
