"""The kinds of values that options take: how each is checked, and how it is written as text.

A check takes any Python value and gives the normalised one, or raises ValueError with the rest of a
sentence ("must be …"). A parser turns text, from an environment variable or a command line, into a
value for the check.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@frozen
class Kind:
    """How values of one kind are checked and written as text.

    Attributes:
        check: Gives the normalised value, or raises ValueError.
        parse: Gives a value for the check from text; None where the kind cannot be written as text.
        written: How to write it as text, for help pages.
    """

    check: Callable[[Any], Any]
    parse: Callable[[str], Any] | None
    written: str


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a string that is not blank")
    return value.strip()


def _secret(value: object) -> str:
    # HTTP headers and HMAC keys: anything else than visible ASCII is a copy-and-paste accident.
    if not isinstance(value, str) or not value or not all("!" <= char <= "~" for char in value):
        raise ValueError("must be a string of visible ASCII characters, without white space")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _parse_flag(text: str) -> bool:
    word = text.strip().casefold()
    if word not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return word in _TRUE


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError("must be a list of names")
    names = tuple(value)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("must be a list of names, each a string that is not blank")
    return tuple(dict.fromkeys(names))


def _parse_names(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        parsed: list[str] = _parse_json(text)
        return parsed
    return [name.strip() for name in text.split(",") if name.strip()]


def _text_mapping(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping of names to strings")
    for name, text in value.items():
        if not (isinstance(name, str) and name.strip() and isinstance(text, str) and text.strip()):
            raise ValueError("must map names to strings, none of them blank")
    return {name.strip(): text.strip() for name, text in value.items()}


def parse_mapping(text: str) -> dict[str, str]:
    """Read `name=value,name=value`, or a JSON object."""
    if text.lstrip().startswith("{"):
        parsed: dict[str, str] = _parse_json(text)
        return parsed
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("must be written name=value,name=value, or as a JSON object")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("starts like JSON and is not valid JSON") from None


def _positive(value: object) -> float:
    # bool is an int in Python, and no number of seconds.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number")
    if not 0 < value <= sys.float_info.max:
        raise ValueError("must be greater than 0, and finite")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number from 1 on")
    return value


def parse_number(text: str) -> float:
    """Read a decimal number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number") from None


def _timeout(value: object) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        seconds = _positive(value)
        return seconds, seconds
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return _positive(value[0]), _positive(value[1])
    raise ValueError("must be two numbers of seconds, (connect, read), or one for both")


def _parse_timeout(text: str) -> list[float]:
    seconds = [parse_number(part) for part in text.split(",")]
    return seconds * 2 if len(seconds) == 1 else seconds


def _endpoint(value: object) -> str:
    url = _text(value).rstrip("/")
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL: its port is not a number") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must be a base URL such as https://control.kochava.com")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be a base URL, without user name, query and fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https: plain http is for loopback addresses only")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def choice(*words: str) -> Kind:
    """One of a few words."""

    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return Kind(check, str.strip, " | ".join(words))


def instance(what: str, check: Callable[[Any], Any]) -> Kind:
    """A Python object, which cannot be written as text."""
    return Kind(check, None, what)


TEXT = Kind(_text, str, "TEXT")
SECRET = Kind(_secret, str.strip, "TEXT")
FLAG = Kind(_flag, _parse_flag, "true | false")
NAMES = Kind(_names, _parse_names, "NAME,NAME")
TEXT_MAPPING = Kind(_text_mapping, parse_mapping, "NAME=VALUE,NAME=VALUE")
POSITIVE = Kind(_positive, parse_number, "NUMBER")
COUNT = Kind(_count, parse_number, "NUMBER")
TIMEOUT = Kind(_timeout, _parse_timeout, "CONNECT,READ")
ENDPOINT = Kind(_endpoint, str, "URL")
