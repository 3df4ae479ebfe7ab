"""What is fuzzed: functions that take bytes and fail where a promise is broken.

A fuzzer of bytes drives them (`atheris_run.py`), and so does Hypothesis, for a moment, in the suite.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import hmac
import itertools
import json
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request

from kochava_segment import ConfigurationError, KochavaDestination, MappingError, json_codec
from kochava_segment.delivery.signing import SECRET_HEADERS
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.segment.webhook import is_array, is_signed, sign
from kochava_segment.server.answers import Refusal
from kochava_segment.server.body import parse_json, read_body
from kochava_segment.server.postback import _of_form
from tests.emulator.requests import DELETION, HEADERS, LINK, TRACK
from tests.emulator.requests import payload as kochava_payload
from tests.messages import android, ios

Target = Callable[[bytes], None]

_SECRET = "shared-secret"
_LIMIT = 4096  # bytes of a body; the limit's place is what matters, not its size
_ENCODINGS = (b"", b"identity", b"gzip", b"x-gzip", b" GZIP ", b"br", b"gzip, gzip")


class Choices:
    """Makes choices of bytes; when they are used up, the first of everything is chosen."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0 on, below another of at most 256."""
        byte = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return byte % below

    def one_of(self, *items: Any) -> Any:
        return items[self.number(len(items))]

    def rest(self, most: int | None = None) -> bytes:
        """The next bytes, all that are left by default."""
        end = len(self._data) if most is None else self._at + most
        found = self._data[self._at : end]
        self._at += len(found)
        return found


# Bodies.


def bodies(data: bytes) -> None:
    """A body is read within its limit or refused, whatever is in it and in its headers."""
    choices = Choices(data)
    encoding = choices.one_of(*_ENCODINGS)
    packed = choices.number(2)
    size = choices.number(64) + 1
    length = choices.one_of(None, b"0", b"5000", b"-1", b"9" * 30, b"\xb2")
    content = choices.rest()
    sent = gzip.compress(content, mtime=0) if packed else content
    headers = [(b"content-encoding", encoding), (b"content-type", b"application/json")]
    if length is not None:
        headers.append((b"content-length", length))
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)] or [b""]
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    messages[-1]["more_body"] = False
    request = Request({"type": "http", "headers": headers}, _receiving(iter(messages)))
    try:
        body = _loop.run_until_complete(read_body(request, _LIMIT))
    except Refusal as refusal:
        _check_refusal(refusal)
        return
    assert len(body.content) <= _LIMIT
    assert len(body.sent) <= _LIMIT
    assert body.sent == sent
    if encoding in (b"", b"identity"):
        assert body.content == sent
    else:
        assert body.content == zlib.decompress(sent, 31)


_loop = asyncio.new_event_loop()


def _receiving(messages: Iterator[dict[str, Any]]) -> Any:
    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    return receive


def _check_refusal(refusal: Refusal) -> None:
    assert 400 <= refusal.status < 500
    assert refusal.answer().body
    _check_shown(refusal.detail)


def _check_shown(sentence: str) -> None:
    assert sentence.isprintable()


# JSON, and who signed it.


def documents(data: bytes) -> None:
    """What is read as JSON means the same to every reader, and an array is seen to be one."""
    try:
        document = parse_json(data)
    except Refusal as refusal:
        _check_refusal(refusal)
        return
    expected = json.loads(data.decode("utf-8"))
    assert _same(document, expected)
    # The receiver takes arrays with a token alone: none may pass for a single message.
    assert is_array(data) == isinstance(document, list)
    try:
        encoded = json_codec.encode(document)
    except ValueError:  # half a surrogate pair, or 1e999
        return
    assert encoded == json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    assert _same(json_codec.decode(encoded), document)
    assert (
        json_codec.encode(document, ascii_only=True)
        == json.dumps(document, separators=(",", ":")).encode()
    )


def _same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from 1.0 and True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def signatures(data: bytes) -> None:
    """A signature is right for its body, its secret and nothing else."""
    choices = Choices(data)
    place, flip = choices.number(256), choices.number(255) + 1
    body = choices.rest()
    try:
        signature = sign(body, _SECRET)
    except ValueError:
        assert is_array(body)
        assert not is_signed(body, "0" * 40, _SECRET)
        return
    assert is_signed(body, signature, _SECRET)
    assert is_signed(body, signature.upper(), _SECRET)
    assert not is_signed(body, signature, "another-secret")
    assert not is_signed(body, signature[:-1], _SECRET)
    if is_array(body):
        assert hmac.new(_SECRET.encode(), _first_of(body), "sha1").hexdigest() == signature
    elif body:
        at = place % len(body)
        changed = body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]
        # A bracket in front makes another kind of body of it.
        assert is_array(changed) or not is_signed(changed, signature, _SECRET)
    assert not is_signed(body, data.decode("latin-1")[:60], _SECRET)


def _first_of(array: bytes) -> bytes:
    """The bytes of an array's first element, found in another way."""
    text = array.decode()
    inner = text[text.index("[") + 1 :].lstrip(" \t\r\n")
    _, end = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode(inner)
    return inner[:end].encode()


# Messages.

_NAMES = (
    *"type event name userId anonymousId messageId timestamp originalTimestamp sentAt".split(),
    *"receivedAt properties traits context integrations request_ip version channel".split(),
    *"app device os ip userAgent campaign consent personas network locale screen".split(),
    *"id advertisingId advertising_id idfa adTrackingEnabled trackingStatus type model".split(),
    *"attTrackingStatus adServicesToken categoryPreferences namespace All Kochava".split(),
    *"app_guid appGuid kochava_device_id deviceIds device_ids att att_time att_detail".split(),
    *"gdpr_privacy_consent ad_services_token products product_id sku price revenue".split(),
    *"total value quantity currency order_id category query rating url action email".split(),
    *"source provider computation_key computation_class trait_key audience_key".split(),
    *"event_name network_name campaign_id click_date install_date idfv adid user_id".split(),
)
_WORDS = (
    *("track", "identify", "screen", "page", "group", "Application Installed"),
    *("Install Attributed", "Order Completed", "Product Added", "Products Searched", "Kochava"),
    *("ios", "Android", "authorized", "USD", "euro", "9.99", "1e999", "-0", "inf", "nan", "true"),
    *("2026-03-20T18:06:56.900Z", "2026-03-20T18:06:56+25:00", "9999-12-31T23:59:59-14:00"),
    *("203.0.113.7", "::1", "ann@example.com", "", " ", "\r\nX: y", "\x1b[2J", "\ud800", "\u2028"),
    *("iAd", "Apple", "unknown", "0" * 32, "{campaign_name}", "organic", "_install"),
)
_VALUES = (
    *(None, True, False, 0, 1, -1, 2**53, 2**64, 10**400, 10**5000, 1774030016, 1774030016900),
    *(0.1, 150.0, 1e21, 1e-7, 1e308, float("inf"), float("nan"), -0.0),
)


def _value(choices: Choices, depth: int) -> Any:
    kind = choices.number(8)
    if kind < 2 and depth < 6:
        return {
            _name(choices): _value(choices, depth + 1)
            for _ in range(choices.number(5 - depth // 2))
        }
    if kind == 2 and depth < 6:
        return [_value(choices, depth + 1) for _ in range(choices.number(4))]
    if kind < 5:
        return choices.one_of(*_WORDS)
    if kind < 7:
        return choices.one_of(*_VALUES)
    return choices.rest(choices.number(40)).decode("utf-8", "surrogateescape")


def _name(choices: Choices) -> str:
    if choices.number(8):
        return str(choices.one_of(*_NAMES))
    return choices.rest(choices.number(20)).decode("utf-8", "surrogateescape")


def _spoilt(choices: Choices, whole: dict[str, Any]) -> Any:
    """A good object in which some places hold anything."""
    for _ in range(choices.number(6) + 1):
        inner = whole
        while True:
            names = sorted(inner, key=str)
            name = choices.one_of(*names) if names and choices.number(4) else _name(choices)
            if isinstance(inner.get(name), dict) and choices.number(4):
                inner = inner[name]
                continue
            if choices.number(8):
                inner[name] = _value(choices, 1)
            else:
                inner.pop(name, None)
            break
    return whole


def _made(choices: Choices, *wholes: Callable[[], dict[str, Any]]) -> Any:
    """A spoilt good object, anything at all, or what JSON makes of the bytes."""
    kind = choices.number(8)
    if kind == 0:
        return _value(choices, 0)
    if kind == 1:
        try:
            return json.loads(choices.rest())
        except (ValueError, RecursionError):
            return None
    return _spoilt(choices, choices.one_of(*wholes)())


_COMMON: dict[str, Any] = {"app_guid": "koexample", "hooks": ()}
_DESTINATIONS = (
    KochavaDestination(**_COMMON),
    KochavaDestination(
        **_COMMON,
        api_key="the-key",
        api_secret="the-secret",
        screens="named",
        nested="flatten",
        encode_user_agent=True,
        identity_traits=["email", "plan"],
        hash_traits={"email": "sha256"},
    ),
    KochavaDestination(
        **_COMMON,
        screens="view",
        nested="drop",
        required_consent=["Advertising"],
        ad_user_data_consent="Advertising",
        event_names={"Level Up": "Level Complete"},
        allow_properties=["price", "currency"],
    ),
)


def messages(data: bytes) -> None:
    """A message gives a request that is whole, or an error that repeats nothing of it."""
    choices = Choices(data)
    destination = choices.one_of(*_DESTINATIONS)
    message = _made(choices, ios, android)
    before = copy.deepcopy(message)
    try:
        request = destination.map(message)
    except (MappingError, ConfigurationError) as error:
        _check_shown(str(error))
        assert _same(message, before)
        return
    assert _same(message, before)
    assert request.url.startswith("https://control.kochava.com/")
    assert request.url.isprintable()
    for name, value in request.headers.items():
        assert (name + value).isascii()
        assert (name + value).isprintable()
    assert set(request.headers) <= {*SECRET_HEADERS, "User-Agent"}
    assert b"the-secret" not in request.body
    assert json.loads(request.body, parse_constant=_refuse) == request.payload
    assert request == destination.map(message)
    assert all(warning.detail.isprintable() for warning in request.warnings)
    assert all(warning.field.isprintable() for warning in request.warnings)


def _refuse(constant: str) -> None:
    raise AssertionError(constant)


_POSTBACK = {
    "event_name": "_install",
    "network_name": "Example Ads",
    "campaign_name": "Spring",
    "campaign_id": "c-1",
    "click_date": "1774030016",
    "install_date": "1774030016",
    "idfa": "EA7583CD-A667-48BC-B806-42ECB2B48606",
    "kochava_device_id": "KS1",
    "user_id": "u-42",
    "ip": "203.0.113.7",
}


def postbacks(data: bytes) -> None:
    """A postback gives a message for Segment, or an error that repeats nothing of it."""
    choices = Choices(data)
    if choices.number(2):
        parameters = _made(choices, lambda: dict(_POSTBACK))
        pairs = parameters.items() if isinstance(parameters, dict) else parameters
    else:
        try:
            pairs = _of_form(choices.rest())
        except Refusal as refusal:
            _check_refusal(refusal)
            return
    try:
        message = _DESTINATIONS[0].install_attribution(pairs)
    except MappingError as error:
        _check_shown(str(error))
        return
    assert message["type"] == "track"
    assert message["integrations"]["Kochava"] is False
    assert message["messageId"].startswith("kochava-")
    assert message.get("userId") or message.get("anonymousId")


# The emulator.

_TARGETS = (TRACK, LINK, DELETION, "/", TRACK + "?a=b", "*", "", "/accounts/7/privacy/scrub")
_STATUSES = {200, 400, 401, 404, 405, 411, 413}


def judgements(data: bytes) -> None:
    """Every request has an answer, and is counted if nothing is wrong with it."""
    choices = Choices(data)
    signed, strict = choices.number(2), choices.number(2)
    kochava = KochavaEmulator(
        api_key="KEY" if signed else None,
        api_secret="SECRET" if signed else None,
        require_install=bool(strict),
        app_guids={"koapp"} if strict else None,
    )
    method, target = choices.one_of("POST", "POST", "POST", "GET"), choices.one_of(*_TARGETS)
    headers = {**HEADERS, **({"Authentication-Key": "k"} if choices.number(2) else {})}
    if choices.number(4) == 3:
        headers["Kochava-Api-Key"] = choices.rest(8).decode("latin-1")
    if choices.number(2):
        body = choices.rest()
    else:
        wholes = [lambda kind=kind: kochava_payload(kind) for kind in _KINDS]
        made = _made(choices, *wholes)
        try:
            body = json.dumps(made).encode()
        except ValueError:  # a number that Python does not write out
            body = b'{"data":{"usertime":1e999}}'
    status, answer = kochava.judge(method, target, headers, body, "ok")
    assert status in _STATUSES
    assert kochava.received == 1
    assert (status == 200) == (kochava.counted == 1)
    told = json.loads(answer)
    assert told.get("success") == ("1" if status == 200 else "0") or told.get("status") == "OK"
    for complaint in kochava.complaints:
        assert complaint.detail.isprintable()


_KINDS = ("event", "install", "update", "link", "deletion")

TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (bodies, documents, signatures, messages, postbacks, judgements)
}


def seeds(name: str) -> list[bytes]:
    """Inputs for a fuzzer to start from."""
    whole = [json.dumps(made()).encode() for made in (ios, android)]
    odd = [b'[{"a":1},2]', b' [ {"a":"\\u005d]"} ] ', b'{"a":1e400,"b":-0.0}', b'{"a":"\\ud800"}']
    numbers = [
        b'{"a":12345678901234567890,"b":0.00001,"c":1.0}',
        b"[" * 2000,
        b"null",
        b"\xef\xbb\xbf{}",
    ]
    plain = whole + odd + numbers
    prefixes = {
        "bodies": [bytes(head) for head in itertools.product((0, 2, 5), (0, 1), (5, 63), (0, 2))],
        "signatures": [b"\0\0", b"\x07\x80"],
        "messages": [bytes([place, 1]) for place in range(3)] + [bytes([1, 2, 0, 3, 9, 7, 200])],
        "postbacks": [b"\0", b"\1\1"],
        "judgements": [bytes([0, 0, 0, target, 1, 0, 1]) for target in range(4)],
    }
    form = [b"event_name=_install&idfa=%00&network_name=x", b"=&&a=%ff"]
    more = form if name == "postbacks" else []
    return [head + body for head in prefixes.get(name, [b""]) for body in plain + more]
