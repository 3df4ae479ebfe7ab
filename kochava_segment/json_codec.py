"""JSON, both ways, with orjson where it is installed: faster, and the same to the byte.

The standard library decides what is right. What orjson would write or read in another way is left to
the standard library: small floats, integers of more than 64 bits, NaN, lone surrogates, subclasses,
everything that orjson refuses.
"""

from __future__ import annotations

import json
from typing import Any


def _find_orjson() -> Any:
    try:
        import orjson  # noqa: PLC0415  # the extra `fast`
    except ImportError:
        return None
    # Old ones write large floats in another way.
    return orjson if orjson.dumps(1e16) == b"1e+16" else None


orjson = _find_orjson()
_OPTIONS = (
    0
    if orjson is None
    # The standard library knows none of these, so orjson may not either.
    else orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() else ord(" ") for byte in range(256))
_SMALL = 1e-4  # Python writes what is smaller with an exponent
_LONG_NUMBER = b"0" * 19  # which may have more than 64 bits; orjson would read a float


def _encoder(*, ascii_only: bool) -> json.JSONEncoder:
    return json.JSONEncoder(
        ensure_ascii=ascii_only,
        check_circular=False,  # payloads are made here, of copies
        allow_nan=False,
        separators=(",", ":"),
    )


_COMPACT = _encoder(ascii_only=False)
_COMPACT_ASCII = _encoder(ascii_only=True)


def encode(value: Any, *, ascii_only: bool = False, odd_numbers: bool = True) -> bytes:
    r"""Encode a value made of JSON's types, compact, in UTF-8.

    Args:
        value: What is encoded.
        ascii_only: Write all other characters as `\uXXXX`.
        odd_numbers: Whether it may have numbers that are `is_odd` or not finite. Looking for them
            takes longer than all the rest, so whoever knows that there are none says so.

    Raises:
        ValueError: if it has a number that is not finite, or text that is no Unicode.
        TypeError: if it has something that JSON does not know.
    """
    if orjson is not None:
        try:
            encoded: bytes = orjson.dumps(value, option=_OPTIONS)
        except TypeError:
            pass
        else:
            doubtful = odd_numbers and _is_doubtful(encoded)
            if not doubtful and (not ascii_only or _is_plain_ascii(encoded)):
                return encoded
    return (_COMPACT_ASCII if ascii_only else _COMPACT).encode(value).encode()


def is_odd(number: float) -> bool:
    """Whether orjson may write a finite number in another way than Python: 0.00001 for 1e-05."""
    return 0 < abs(number) < _SMALL


def _is_doubtful(encoded: bytes) -> bool:
    """Whether there may be a number that Python writes as 1e-05, or NaN, for which orjson writes null.

    Without a regular expression, which would take longer than all the rest.
    """
    if b"0.0000" in encoded or b"null" in encoded:
        return True
    position = encoded.find(b"e-")
    while position > 0:
        # Names such as iPhone-iOS have it everywhere; a number has digits on both sides.
        if (
            encoded[position - 1 : position].isdigit()
            and encoded[position + 2 : position + 3].isdigit()
        ):
            return True
        position = encoded.find(b"e-", position + 2)
    return False


def _is_plain_ascii(encoded: bytes) -> bool:
    return encoded.isascii() and b"\x7f" not in encoded


def decode(text: bytes) -> Any:
    """What a JSON document says; of a key that occurs twice in an object, the last value.

    Raises:
        ValueError: if it is not JSON.
        RecursionError: if it is nested too deeply.
    """
    if orjson is not None and _LONG_NUMBER not in text.translate(_DIGITS):
        try:
            return orjson.loads(text)
        except ValueError:
            pass  # the standard library reads more, and has the messages
    return json.loads(text)


def decode_with(decoder: json.JSONDecoder, text: bytes) -> Any:
    """What a decoder that looks at the keys and constants of a document would make of it.

    The decoder is spared the work where it would find nothing: no key twice, and no NaN.

    Raises:
        ValueError: as the decoder does; UnicodeDecodeError if the text is not UTF-8.
        RecursionError: if it is nested too deeply.
    """
    if orjson is not None and _LONG_NUMBER not in text.translate(_DIGITS):
        try:
            document = orjson.loads(text)
            if not _may_repeat_keys(text, orjson.dumps(document)):
                return document
        except (ValueError, TypeError):
            pass
    return decoder.decode(text.decode("utf-8"))


def _may_repeat_keys(text: bytes, encoded: bytes) -> bool:
    """Whether a key of the text may be lost in what was made of it, encoded anew.

    Both have `":` for each key, and wherever a string has it. A key that is lost leaves the text with
    more of them, unless a string hides one behind an escape.
    """
    compact = text.translate(None, b" \t\r\n")
    return b"\\u00" in compact or compact.count(b'":') != encoded.count(b'":')
