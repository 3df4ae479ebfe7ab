"""X-Signature, as Segment makes it and as others would like it to be."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochava_segment.segment.webhook import is_array, is_signed, sign
from tests.strategies import json_values

SECRET = "s3cret"


def hex_of(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha1).hexdigest()


def test_the_signature_is_hmac_sha1_in_hex():
    # Worked out with `openssl dgst -sha1 -hmac s3cret`.
    assert sign(b'{"a":1}', SECRET) == "79999786a1bff10cd4d7dd0b0752574af76be0b5"
    assert is_signed(b'{"a":1}', "79999786a1bff10cd4d7dd0b0752574af76be0b5", SECRET)


@pytest.mark.parametrize(
    "body",
    [
        b'{"price":1.50,"big":1e21,"text":"a\\u2028b"}',
        '{"text":"a\u2028b","name":"B\u00fcro \U0001f600"}'.encode(),
        b' { "a" : 1 }\n',
        b"",
        b"no JSON at all \xff",
    ],
)
def test_an_object_is_signed_as_it_stands(body):
    assert is_signed(body, hex_of(body), SECRET)
    assert not is_signed(body + b" ", hex_of(body), SECRET)


FIRSTS = [
    b'{"price":1.50,"big":1e21}',
    b'{"id":12345678901234567890123,"x":-0.0,"y":1E+5}',
    '{"text":"\u2028\u2029","name":"B\u00fcro \U0001f600"}'.encode(),
    b'{"text":"\\u2028 \\ud83d\\ude00 \\/ \\ud800"}',
    b'{"tricky":"],[}{\\"\\\\"}',
    b'{ "spaced" :\t[ 1 , 2 ]\r\n }',
    b'{"twice":1,"twice":2}',
    b'{"digits":' + b"9" * 5000 + b"}",
    b"{}",
    b"[[1],2]",
    b'"text"',
    b"1.50",
    b"null",
]


@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("before", [b"[", b" \r\n[\t ", b"[\n"])
@pytest.mark.parametrize("after", [b"]", b" ]\n", b',{"a":2.50}]', b" , 3 , {"])
def test_of_an_array_the_raw_bytes_of_the_first_element_are_signed(first, before, after):
    body = before + first + after
    assert is_signed(body, hex_of(first), SECRET)
    assert sign(body, SECRET) == hex_of(first)
    assert not is_signed(body, hex_of(first + b" "), SECRET)
    assert not is_signed(body, hex_of(b'{"a":2.50}'), SECRET)


@given(json_values, json_values, st.booleans())
def test_whatever_the_first_element_is_its_bytes_are_found(first, second, ascii_only):
    try:
        element = json.dumps(first, ensure_ascii=ascii_only, indent=1).encode()
        body = b"[ " + element + b" ,\n" + json.dumps(second).encode() + b"]"
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot write
        return
    assert is_signed(body, hex_of(element), SECRET)


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"[]",
        b"[ , 1]",
        b'[{"a":1',
        b"[\xff]",
        b'["\xed\xa0\x80"]',
        b"[\xef\xbb\xbf1]",
        b"[" * 200_000,
        b'[{"a":' * 100_000,
    ],
)
def test_an_array_without_a_first_element_has_no_right_signature(body):
    for signed in (body, b"", body[1:], body[1:-1]):
        assert not is_signed(body, hex_of(signed), SECRET)


@pytest.mark.parametrize(
    "signature",
    [None, "", " ", "0" * 40, "é" * 40, "\ud800", "7999", hex_of(b"{}", "other"), hex_of(b"{} ")],
)
def test_anything_else_is_wrong(signature):
    assert not is_signed(b"{}", signature, SECRET)


def test_letter_case_and_space_around_it_do_not_matter():
    assert is_signed(b"{}", f" {hex_of(b'{}').upper()} ", SECRET)


def test_no_secret_makes_nothing_right():
    assert not is_signed(b"{}", hex_of(b"{}", ""), "")


def test_the_secret_is_utf_8():
    assert is_signed(b"{}", hex_of(b"{}", "Schlüssel"), "Schlüssel")


@given(st.binary(max_size=40), st.none() | st.text(max_size=50))
def test_no_bytes_and_no_header_raise(body, signature):
    assert not is_signed(body, signature, SECRET) or signature.strip().lower() == sign(body, SECRET)


@pytest.mark.parametrize(
    ("body", "expected"), [(b"[1]", True), (b" \t\r\n[", True), (b"{}", False), (b"", False)]
)
def test_an_array_is_known_by_its_first_character(body, expected):
    assert is_array(body) is expected
