"""OpenAPI descriptions of the receiver, its console and the emulator, for schemathesis.

What they say of bodies is loose on purpose: what is odd shall get as far as it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_ANY: Json = {}
_OBJECT: Json = {"type": "object"}


def _object(required: Sequence[str] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _words(*words: Any) -> Json:
    return {"enum": list(words)}


def _some(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


_PROBLEMS: Json = {
    "type": "array",
    "items": _object(("path", "detail"), path=_TEXT, detail=_TEXT),
}
_ERROR = _object(("error",), error=_TEXT, problems=_PROBLEMS)
_OUTCOME = _object(
    ("outcome",),
    outcome=_words("queued", "duplicate", "filtered", "unsupported", "invalid"),
    reason=_TEXT,
    problems=_PROBLEMS,
    warnings={"type": "array", "items": _object(("code", "field"), code=_TEXT, field=_TEXT)},
)
_COUNTS = _object(("counts", "not_taken"), counts=_OBJECT, not_taken={"type": "array"})

_DEVICE = _object(
    id=_TEXT,
    advertisingId=_some(_TEXT, _words("EA7583CD-A667-48BC-B806-42ECB2B48606", "0-0", "")),
    adTrackingEnabled=_some({"type": "boolean"}, _ANY),
    trackingStatus=_words("authorized", "denied", 3, None),
    type=_words("ios", "android", "iPhone", ""),
    model=_TEXT,
)
_CONTEXT = _object(
    device=_DEVICE,
    os=_object(name=_words("iOS", "Android", "Windows"), version=_some(_TEXT, {"type": "number"})),
    app=_object(version=_TEXT, namespace=_TEXT),
    ip=_some(_words("203.0.113.7", "::1"), _TEXT),
    userAgent=_TEXT,
    campaign=_OBJECT,
    consent=_object(categoryPreferences=_OBJECT),
    personas=_object(computation_key=_TEXT),
)
_MESSAGE = _object(
    type=_some(_words("track", "identify", "screen", "page", "group", "delete"), _TEXT),
    event=_some(_words("Application Installed", "Order Completed", "Install Attributed"), _TEXT),
    messageId=_some(_TEXT, _ANY),
    userId=_some(_TEXT, _ANY),
    anonymousId=_some(_TEXT, _ANY),
    timestamp=_some(_words("2026-03-20T18:06:56.900Z", 1774030016), _ANY),
    properties=_some(
        _object(
            price=_some({"type": "number"}, _TEXT),
            currency=_words("eur", "USD", "EURO", 5),
            products={"type": "array", "items": _some(_OBJECT, _ANY), "maxItems": 4},
        ),
        _OBJECT,
        _ANY,
    ),
    traits=_some(_OBJECT, _ANY),
    context=_some(_CONTEXT, _ANY),
    integrations=_some(_object(Kochava=_some(_OBJECT, {"type": "boolean"}), All=_ANY), _ANY),
)
_MESSAGES = _some(_MESSAGE, {"type": "array", "items": _some(_MESSAGE, _ANY), "maxItems": 6}, _ANY)

_POSTBACK_NAMES = (
    *"event_name network_name campaign_name campaign_id site_id sub_site_id creative_id".split(),
    *"click_date install_date idfa idfv adid android_id kochava_device_id ip user_agent".split(),
    *"user_id anonymous_id".split(),
)
_POSTBACK = _object(**dict.fromkeys(_POSTBACK_NAMES, _some(_TEXT, _ANY)))


def _answers(media: str, /, **statuses: Json) -> Json:
    """Responses by status; the names are statuses with an underscore in front."""
    return {
        status[1:]: {"description": status[1:], "content": {media: {"schema": schema}}}
        for status, schema in statuses.items()
    }


def _body(media: str, schema: Json) -> Json:
    return {"required": True, "content": {media: {"schema": schema}}}


def _in(place: str, name: str, schema: Json, *, required: bool = False) -> Json:
    return {"in": place, "name": name, "schema": schema, "required": required or place == "path"}


_REFUSALS = {"_400": _ERROR, "_408": _ERROR, "_413": _ERROR, "_415": _ERROR, "_503": _ERROR}


def receiver(postback_secret: str) -> Json:
    """What `serve` answers, without the console."""
    segment = {
        "security": [{"bearer": []}],
        "requestBody": _body("application/json", _MESSAGES),
        "responses": _answers(
            "application/json",
            _200=_some(_OUTCOME, _COUNTS),
            _202=_OUTCOME,
            _401=_ERROR,
            _501=_some(_OUTCOME, _COUNTS),
            **{**_REFUSALS, "_400": _some(_ERROR, _OUTCOME, _COUNTS)},
        ),
    }
    secret = _in("path", "secret", _words(postback_secret))
    taken = _answers("application/json", _200=_OUTCOME, _202=_OUTCOME, _404=_ERROR, **_REFUSALS)
    queries = [_in("query", name, _TEXT) for name in _POSTBACK_NAMES]
    probe = _object(("status",), status=_TEXT)
    paths: Json = {
        "/segment": {"post": segment, "put": segment, "patch": segment},
        "/kochava/postback/{secret}": {
            "get": {"parameters": [secret, *queries], "responses": taken},
            "post": {
                "parameters": [secret, *queries[:3]],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": _some(_POSTBACK, _ANY)},
                        "application/x-www-form-urlencoded": {"schema": _POSTBACK},
                    }
                },
                "responses": taken,
            },
        },
        "/healthz": {"get": {"responses": _answers("application/json", _200=probe)}},
        "/readyz": {"get": {"responses": _answers("application/json", _200=probe, _503=probe)}},
        "/metrics": {"get": {"responses": _answers("text/plain", _200=_TEXT)}},
    }
    return _document("The receiver", paths, {"bearer": {"type": "http", "scheme": "bearer"}})


_STATES = "waiting delivered rejected exhausted ambiguous discarded paused".split()
_WANTED = {
    "state": _some(_words(*_STATES), _TEXT),
    "reason": _TEXT,
    "app": _TEXT,
    "older": _some(_words("", "600", "86400"), _TEXT),
    "newer": _some(_words("", "600", "86400"), _TEXT),
    "id": _some({"type": "integer"}, _TEXT),
}
_TESTED = {
    "message": _some(
        _words('{"type":"track","event":"E"}', "{}", "[]", '{"type":"identify","userId":"u"}'),
        _TEXT,
    ),
    "option-tried": _words("1"),
    "option-screens": _some(_words("view", "off"), _TEXT),
    "option-event_names": _TEXT,
    "option-hash_traits": _TEXT,
    "option-nested": _TEXT,
    "permit": _TEXT,
    "sure": _words("yes", "no"),
}


def console(csrf: str) -> Json:
    """The pages of the console, as somebody sees them who is logged in."""
    wanted = [_in("query", name, schema) for name, schema in _WANTED.items()]
    number = _in("path", "id", {"type": "integer", "minimum": 0})
    page = _answers("text/html", **dict.fromkeys(("_200", "_400", "_404"), _TEXT))
    changed: Json = {"303": {"description": "done"}, **page}
    refused = _answers("text/html", _403=_TEXT, _409=_TEXT, _413=_TEXT, _415=_TEXT, _429=_TEXT)
    file = _answers("application/x-ndjson", _200=_TEXT)

    def shows(*parameters: Json, answers: Mapping[str, Any] = page) -> Json:
        return {"get": {"parameters": list(parameters), "responses": {**answers}}}

    def posts(fields: Mapping[str, Json], *parameters: Json) -> Json:
        form = _object(("csrf",), csrf=_words(csrf), **fields)
        return {
            "post": {
                "parameters": list(parameters),
                "requestBody": _body("application/x-www-form-urlencoded", form),
                "responses": {**changed, **refused, **_answers("text/html", _401=_TEXT)},
            }
        }

    user = {"user_id": _TEXT, "reveal": _words("yes", ""), "sure": _words("yes", "")}
    confirm = _in("query", "do", _some(_words("retry", "discard", "export"), _TEXT))
    exported = {**posts(_WANTED), **shows(*wanted, answers={**page, **file})}
    exported["post"]["responses"] |= {"200": file["200"]}
    token = {"token": _TEXT}
    paths: Json = {
        "/console/login": {**shows(), **posts(token)},
        "/console/tester": {**shows(_in("query", "sample", _TEXT)), **posts(_TESTED)},
        "/console/tester/confirm": posts(_TESTED),
        "/console/tester/send": posts(_TESTED),
        "/console/delivery": shows(_in("query", "window", _some(_words("hour", "day"), _TEXT))),
        "/console/failures": shows(*wanted, _in("query", "page", _some(_words("1", "2"), _TEXT))),
        "/console/failures/confirm": shows(*wanted, confirm),
        "/console/failures/retry": posts(_WANTED),
        "/console/failures/discard": posts(_WANTED),
        "/console/failures/export": exported,
        "/console/failures/{id}": {**shows(number), **posts({}, number)},
        "/console/devices": {**shows(), **posts(user)},
        "/console/devices/confirm": posts(user),
        "/console/devices/forget": posts(user),
        "/console/help": shows(),
    }
    return _document("The console", paths, {})


_DATA = _object(
    device_ids=_some(_object(idfa=_TEXT, idfv=_TEXT, adid=_TEXT), _ANY),
    usertime=_some({"type": "integer"}, _words(1774029981, 1774029981000), _ANY),
    event_name=_some(_words("Purchase", "Add to Cart"), _TEXT),
    event_data=_some(_object(price={"type": "number"}, source=_TEXT), _OBJECT, _ANY),
    currency=_some(_words("EUR"), _ANY),
    origination_ip=_some(_words("203.0.113.7"), _ANY),
    device_ua=_TEXT,
    device_ver=_some(_words("iPhone-iOS-17.5"), _TEXT),
    app_version=_TEXT,
    app_tracking_transparency=_some(_object(att={"type": "boolean"}), _ANY),
    gdpr_privacy_consent=_some(_object(gdpr_applies=_ANY), _ANY),
    iad_attribution_details=_some(_object(**{"Version3.1": _OBJECT}), _ANY),
)
_REQUEST = _object(
    action=_some(_words("event", "install", "update"), _ANY),
    kochava_app_id=_some(_words("koexample"), _ANY),
    kochava_device_id=_TEXT,
    app_ver=_TEXT,
    data=_some(_DATA, _ANY),
)
_LINK = _object(
    kochava_app_id=_TEXT, device_id=_some(_object(idfa=_TEXT), _ANY), data=_some(_OBJECT, _ANY)
)
_DELETION = _object(
    device_ids={"type": "array", "items": _some(_object(id_type=_TEXT, id_value=_TEXT), _ANY)}
)


def emulator() -> Json:
    """What the local Kochava answers."""
    accepted = _some(_object(("success",), success=_words("1")), _object(("status",), status=_TEXT))
    refusal = _object(("success", "error"), success=_words("0"), error=_TEXT)
    answers = _answers(
        "application/json",
        _200=accepted,
        **dict.fromkeys(("_400", "_401", "_404", "_405", "_411", "_413", "_414", "_431"), refusal),
    )

    def posts(schema: Json, *parameters: Json) -> Json:
        media = {
            "application/json": {"schema": _some(schema, _ANY)},
            "text/plain": {"schema": _TEXT},
        }
        body = {"content": media}
        one = {"parameters": list(parameters), "requestBody": body, "responses": answers}
        return {"post": one}

    agent = _in("header", "User-Agent", _TEXT)
    key = _in("header", "Authentication-Key", _TEXT)
    account = _in("path", "account", _some({"type": "integer"}, _TEXT))
    paths: Json = {
        "/track/json": posts(_REQUEST, agent, _in("header", "Kochava-Api-Key", _TEXT)),
        "/v1/cpi/identityLink.php": posts(_LINK, agent),
        "/accounts/{account}/privacy/scrub": posts(_DELETION, key, account),
    }
    return _document("The emulator", paths, {})


def _document(title: str, paths: Json, security: Json) -> Json:
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": security},
    }
