r"""Messages as bytes, in the form that Beam itself gives to simple values: its quickest.

Text may have half of a surrogate pair, as in `"\ud800"`: JSON can write it, UTF-8 cannot. Beam's coders
fail on it, and with them the whole run.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam.coders import FastPrimitivesCoder

_CODER = FastPrimitivesCoder()
_PICKLED = pickle.dumps(None, pickle.HIGHEST_PROTOCOL)[:1]  # no type of the coder begins like this


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
    return _CODER.decode(packed)


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
