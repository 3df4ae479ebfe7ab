"""JSON is the same to the byte, with orjson and without."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from collections import OrderedDict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kochava_segment import json_codec
from tests.mapping.test_vectors import VECTORS

orjson = pytest.importorskip("orjson")


class Text(str):
    __slots__ = ()


class Items(list):
    pass


numbers = (
    st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.floats(-1e-3, 1e-3)
    | st.sampled_from([1e16, 1e15, 1e-4, 1e-5, -1e-7, 5e-324, 1.8e308, -0.0, 2**63, 2**64, 1e22])
)
texts = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["\ud800", "\x7f", "\x00\x1f", "/", '":', "null", "1e-5", " ", "ä", '\\":']
)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
odd = st.recursive(
    documents
    | st.builds(Text, texts)
    | st.dates()
    | st.sampled_from(
        [(1, 2), Items([1]), OrderedDict(b=1), {1: 2}, {None: 1}, {Text("k"): 1}, {1}]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def outcome(call, *arguments):
    """What a call gives, or the kind of error that it raises. NaN is equal to itself here."""
    try:
        return repr(call(*arguments))
    except Exception as error:  # noqa: BLE001  # the kind is what is compared
        return type(error)


def stdlib_encode(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"))
    return text.encode()


def encode(value, ascii_only):
    return json_codec.encode(value, ascii_only=ascii_only)


@pytest.fixture
def used(monkeypatch):
    """Counts how often orjson's own bytes are taken: what is compared is not the same code twice."""

    class Counting:
        loads = staticmethod(orjson.loads)

        @staticmethod
        def dumps(*arguments, **keywords):
            calls.append(arguments)
            return orjson.dumps(*arguments, **keywords)

    calls = []
    monkeypatch.setattr(json_codec, "orjson", Counting)
    monkeypatch.setattr(json_codec._COMPACT, "encode", None, raising=False)
    return calls


def test_orjson_writes_what_is_usual(used):
    assert json_codec.encode({"price": 9.5, "name": "ä/", "n": [1, True]}) == (
        '{"price":9.5,"name":"ä/","n":[1,true]}'.encode()
    )
    assert len(used) == 1


@pytest.mark.parametrize("text", ["iPhone-iOS", "e-", "e-5", "5e-", "e-x5e-5", "null", "0.0000"])
def test_text_that_looks_like_an_odd_number_does_no_harm(text):
    assert json_codec.encode([text, 0.5]) == stdlib_encode([text, 0.5], ascii_only=False)


def test_whoever_has_no_odd_numbers_has_orjson_s_bytes(used):
    value = {"id": "0e-5e-4b1e-4", "coupon": None, "price": 0.0001, "many": 1e300}
    assert json_codec.encode(value, odd_numbers=False) == stdlib_encode(value, ascii_only=False)
    assert len(used) == 1


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-4)
@example(math.nextafter(1e-4, 0))
@example(5e-324)
def test_numbers_that_are_not_odd_are_written_alike(number):
    if not json_codec.is_odd(number):
        assert orjson.dumps(number) == json.dumps(number).encode()


@given(value=odd, ascii_only=st.booleans())
@example(value={"a": 0.00001}, ascii_only=False)
@example(value=[1e-7, None, float("nan")], ascii_only=False)
@example(value=[None], ascii_only=True)
@example(value="\x7f", ascii_only=True)
def test_what_is_written_is_what_the_standard_library_writes(value, ascii_only):
    assert outcome(encode, value, ascii_only) == outcome(stdlib_encode, value, ascii_only)


def spaced(text):
    return text.replace(":", " : ").replace(",", ",\n\t")


def escaped(text):
    return text.replace('\\"', "\\u0022")


@st.composite
def texts_of_json(draw):
    """JSON in all its spellings, some of it broken, some with a key twice."""
    text = json.dumps(draw(documents), ensure_ascii=draw(st.booleans()))
    for respell in draw(st.lists(st.sampled_from([spaced, escaped]), max_size=2)):
        text = respell(text)
    pieces = draw(st.lists(st.sampled_from(REPEATED), max_size=2))
    text = f"[{','.join([text, *pieces])}]" if pieces else text
    return text.encode("utf-8", "surrogatepass")


REPEATED = [
    '{"a":1,"a":2}',
    '{"a" : 1,"b":"\\u0022:","a"\n:2}',
    '{"a":":","b":"\\":"}',
    '{"a":{"b":1},"b":{"a":1}}',
    '{"":1,"":1}',
    '{"\\u0061":1,"a":2}',
    '{"a\\u0022\\u003a":1,"b":1,"b":2}',
]


@given(texts_of_json() | st.binary(max_size=12))
@example(b"-0")
@example(b"1e400")
@example(b"[1e-400]")
@example(b"18446744073709551616")
@example(b"-9223372036854775809")
@example(b"12345678901234567890123.5")
@example(b"NaN")
@example(b'"\\ud800"')
@example(b"\xef\xbb\xbf1")
@example('{"a":1}'.encode("utf-16"))
@example(b"1" * 5000)
@example(b"[" * 100_000)
def test_what_is_read_is_what_the_standard_library_reads(text):
    assert outcome(json_codec.decode, text) == outcome(json.loads, text)


def refuse_repeated(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError
    return found


def refuse_constant(_name):
    raise ZeroDivisionError


STRICT = json.JSONDecoder(object_pairs_hook=refuse_repeated, parse_constant=refuse_constant)


@given(texts_of_json())
@example(b'{"a":1,"a":2}')
@example(b'{"a" :1,"b":2,"a":3}')
@example(b'{"a":"x\\u0022:","b":1,"b":2}')
@example(b'{"a":"x\\":","b":1,"b":2}')
@example(b'{"a":":","b":1,"b":2}')
@example(b'{"a":":","a":2}')
@example(b"[1,NaN]")
@example(b"\xff")
@example(b"[" * 400 + b"]" * 400)
@example(b"[" * 100_000)
def test_a_strict_decoder_is_spared_and_never_contradicted(text):
    def read(text):
        return STRICT.decode(text.decode("utf-8"))

    assert outcome(json_codec.decode_with, STRICT, text) == outcome(read, text)


def test_a_usual_document_spares_the_strict_decoder():
    text = json.dumps(VECTORS[0]["message"]).encode()
    assert json_codec.decode_with(None, text) == VECTORS[0]["message"]


PROGRAM = """
import json, sys
{block}
from kochava_segment import KochavaDestination, KochavaSegmentError, json_codec
assert (json_codec.orjson is None) is {blocked}
for vector in json.load(open({vectors!r})):
    for more in ({{}}, {{"api_key": "k", "api_secret": "s"}}):
        try:
            print(KochavaDestination(**{{**vector["options"], **more}}).map(vector["message"]).body)
        except KochavaSegmentError as error:
            print(error)
"""


def test_bodies_are_the_same_without_orjson():
    from tests.mapping import test_vectors

    vectors = f"{test_vectors.__file__.rpartition('/mapping/')[0]}/vectors/mapping.json"

    def bodies(*, blocked):
        block = "sys.modules['orjson'] = None" if blocked else ""
        program = PROGRAM.format(block=block, blocked=blocked, vectors=vectors)
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
        ).stdout

    with_orjson = bodies(blocked=False)
    assert with_orjson.count(b"kochava_app_id") > len(VECTORS)
    assert bodies(blocked=True) == with_orjson


def test_a_value_that_json_does_not_know_is_refused_as_ever():
    with pytest.raises(TypeError):
        json_codec.encode({"at": dt.date(2026, 1, 1)})
