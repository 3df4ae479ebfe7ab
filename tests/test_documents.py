"""How input is split into documents, in process."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kochava_segment import documents as module
from kochava_segment.documents import documents

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},:\n\u2028é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a[{\\", max_size=3), inner)
    ),
    max_leaves=8,
)


def split(text):
    data = text if isinstance(text, bytes) else text.encode()
    return list(documents(io.BytesIO(data)))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "_PIECE_BYTES", 3)
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 20)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 2**20])
@settings(max_examples=50, deadline=None)
@given(messages=st.lists(_VALUES, min_size=1, max_size=5), indent=st.sampled_from([None, 0, 1, 4]))
def test_an_array_gives_its_elements_however_it_is_written_and_read(piece, messages, indent):
    before, module._PIECE_BYTES = module._PIECE_BYTES, piece
    try:
        found = split(json.dumps(messages, indent=indent, ensure_ascii=False))
    finally:
        module._PIECE_BYTES = before
    assert [json.loads(document) for _, document in found] == messages


@settings(max_examples=50, deadline=None)
@given(messages=st.lists(st.dictionaries(st.text(max_size=3), _VALUES), max_size=5))
def test_indented_objects_one_after_the_other_are_documents(messages):
    found = split("\n".join(json.dumps(message, indent=2) for message in messages))
    assert [json.loads(document) for _, document in found] == messages


def test_elements_of_an_array_have_their_lines():
    assert split('[\n\n  {"a": 1},\n  {"b":\n 2}, {"c": 3}\n]\n') == [
        (3, b'{"a": 1}'),
        (4, b'{"b":\n 2}'),
        (5, b'{"c": 3}'),
    ]


@pytest.mark.parametrize(
    "broken",
    ['{"b": 2', '{"b": "2}', '{"b": [2}', '{"b": ]}', "{b}", '{"b" "\\'],
    ids=ascii,
)
def test_a_broken_element_harms_no_other(broken):
    found = split(f'[\n  {{"a": 1}},\n  {broken},\n  {{"c": 3}},\n  {{"d": 4}}\n]\n')
    assert (2, b'{"a": 1}') in found
    assert (4, b'{"c": 3}') in found
    assert (5, b'{"d": 4}') in found
    assert 3 in {line for line, _ in found}


def test_elements_at_the_margin_are_told_apart_as_well():
    assert split('[\n{"a": 1},\n{"b": ,\n{"c": 3}\n]') == [
        (2, b'{"a": 1}'),
        (3, b'{"b":'),
        (4, b'{"c": 3}'),
    ]


def test_nested_objects_at_the_margin_do_not_split_an_element():
    text = '[\n{"a": [\n{"b": 1},\n{"c": 2}\n]},\n{"d": 3}\n]'
    assert [json.loads(document) for _, document in split(text)] == [
        {"a": [{"b": 1}, {"c": 2}]},
        {"d": 3},
    ]


def test_what_follows_an_array_is_passed_on():
    assert split('[1] junk\n{"a": 1}\n') == [(1, b"1"), (1, b" junk\n"), (2, b'{"a": 1}\n')]


def test_a_line_that_only_looks_like_the_start_of_an_object_holds_nothing_up():
    assert split('{"a": 1,\n{"b": 2}\n{"c":\n') == [
        (1, b'{"a": 1,\n'),
        (2, b'{"b": 2}\n'),
        (3, b'{"c":\n'),
    ]


@pytest.mark.usefixtures("small")
def test_lines_that_are_too_long_are_skipped():
    found = split(f'{{"a": 1}}\n"{"x" * 50}"\n{{"b": 2}}\n')
    assert found == [(1, b'{"a": 1}\n'), (2, module._TOO_LONG), (3, b'{"b": 2}\n')]


@pytest.mark.usefixtures("small")
def test_an_element_that_is_too_long_is_reported():
    found = split(f'[{{"a": 1}}, "{"x" * 50}"]')
    assert found[:2] == [(1, b'{"a": 1}'), (1, module._TOO_LONG)]


def test_white_space_alone_is_nothing():
    assert split("") == split("\n \n\t\n") == split("[]") == split("[ \n ]\n") == []


def test_a_byte_order_mark_is_no_content():
    assert split(b'\xef\xbb\xbf{"a": 1}') == [(1, b'{"a": 1}')]
    assert split(b'\xef\xbb\xbf[{"a": 1}]') == [(1, b'{"a": 1}')]


class _Failing(io.BytesIO):
    def readline(self, _size=-1):
        raise OSError(5, "Input/output error")


def test_a_read_that_fails_is_reported():
    assert list(documents(_Failing())) == [(1, "cannot be read: Input/output error")]
