r"""Messages as bytes: as JSON where that says it all, else as Beam's own coder for simple values does.

Text may have half of a surrogate pair, as in `"\ud800"`: JSON can write it, UTF-8 cannot. Beam's coders
fail on it, and with them the whole run.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam.coders import FastPrimitivesCoder

from kochava_segment.json_codec import orjson

_EXACT = (
    0
    if orjson is None
    else orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
_CODER = FastPrimitivesCoder()
# What packed messages begin with; the coder begins with the number of a type, which is neither.
_PICKLED = pickle.dumps(None, pickle.HIGHEST_PROTOCOL)[:1]
_JSON = b"{"


def pack_read(message: dict[str, Any]) -> bytes:
    """A message that was read from JSON. With orjson, it goes there and back in half the time."""
    if orjson is not None:
        try:
            packed: bytes = orjson.dumps(message, option=_EXACT)
        except TypeError:  # more than 64 bits, half of a surrogate pair, a value of your own
            return pack(message)
        if b"null" not in packed:  # which may have been NaN
            return packed
    return pack(message)


def pack(value: Any) -> bytes:
    """A value, with whatever types a pipeline put into it."""
    try:
        packed: bytes = _CODER.encode(value)
    except UnicodeEncodeError:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return packed


def unpack(packed: bytes) -> Any:
    """The value again, a new one at each call."""
    if packed.startswith(_PICKLED):
        return pickle.loads(packed)  # noqa: S301  # written by this pipeline, as all elements
    return orjson.loads(packed) if packed.startswith(_JSON) else _CODER.decode(packed)


def unpack_for_engines(packed: bytes) -> Any:
    """As `unpack`, but half of a surrogate pair is written out as an escape sequence."""
    value = unpack(packed)
    return _escaped(value) if packed.startswith(_PICKLED) else value


def text_for_engines(text: str) -> str:
    """The same text, where half of a surrogate pair is written out as an escape sequence."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return text_for_engines(value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return tuple(map(_escaped, value)) if isinstance(value, tuple) else value
