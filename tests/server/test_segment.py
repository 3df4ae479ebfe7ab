"""`/segment`: who may send what, and what is answered."""

import asyncio
import base64
import gzip
import json
import logging
import tracemalloc
import zlib

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from kochava_segment import (
    ConfigurationError,
    KochavaDestination,
    RecordingTransport,
)
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.server import body as body_module
from kochava_segment.server import create_app, group_commit
from tests.messages import MISSING, ios
from tests.records import logged
from tests.server.asgi import (
    BEARER,
    JSON,
    SECRET,
    TOKEN,
    acall,
    call,
    encoded,
    signed,
    zipped,
)

MESSAGE = ios()
BODY = encoded(MESSAGE)
TRUSTED = {**JSON, **BEARER}


def stored(destination):
    return [entry.message_id for entry in entries(destination.outbox, EntryFilter())]


# One message.


def test_a_signed_message_is_in_the_outbox_when_it_is_answered(app, destination):
    answer = call(app, "POST", "/segment", BODY, signed(BODY))
    assert (answer.status, answer.json["outcome"]) == (202, "queued")
    assert answer.headers["content-type"] == "application/json"
    (entry,) = entries(destination.outbox, EntryFilter(), bodies=True)
    assert entry.payload == destination.map(MESSAGE).payload


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_actions_may_use_other_methods(app, destination, method):
    assert call(app, method, "/segment", BODY, signed(BODY)).status == 202
    assert stored(destination) == ["m-1"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_but_no_more(app, method):
    assert call(app, method, "/segment", headers=TRUSTED).status == 405


def test_the_same_message_again_is_a_duplicate(app, destination):
    call(app, "POST", "/segment", BODY, signed(BODY))
    answer = call(app, "POST", "/segment", BODY, signed(BODY))
    assert (answer.status, answer.json) == (200, {"outcome": "duplicate", **_warnings(answer)})
    assert stored(destination) == ["m-1"]


def _warnings(answer):
    return {"warnings": answer.json["warnings"]} if "warnings" in answer.json else {}


def test_a_filtered_message_is_a_200_with_segment_s_reason(app, destination):
    body = encoded(ios(integrations={"All": False}))
    answer = call(app, "POST", "/segment", body, signed(body))
    assert (answer.status, answer.json) == (
        200,
        {"outcome": "filtered", "reason": "FILTERED_BY_INTEGRATIONS_OBJECT"},
    )
    assert stored(destination) == []


def test_an_invalid_message_is_a_400_with_every_path_and_no_value(app):
    body = encoded(ios(event=MISSING, context__device={"id": ["s3cr3t-value"]}))
    answer = call(app, "POST", "/segment", body, signed(body))
    assert answer.status == 400
    assert answer.json["outcome"] == "invalid"
    assert [problem["path"] for problem in answer.json["problems"]] == [
        "event",
        "context.device.id",
    ]
    assert b"s3cr3t" not in answer.body


@pytest.mark.parametrize("kind", ["group", "alias"])
def test_an_unsupported_type_is_a_501(app, kind):
    body = encoded(ios(type=kind))
    answer = call(app, "POST", "/segment", body, signed(body))
    assert (answer.status, answer.json["outcome"]) == (501, "unsupported")


def test_a_deletion_forgets_the_user(app, destination):
    call(app, "POST", "/segment", BODY, signed(BODY))
    body = encoded({"type": "delete", "userId": "u-42", "messageId": "d-1"})
    assert call(app, "POST", "/segment", body, signed(body)).status == 202
    assert outbox_status(destination.outbox).states == {"discarded": 1}


def test_odd_things_are_named_in_the_answer(app):
    body = encoded(ios(context__ip=MISSING))
    answer = call(app, "POST", "/segment", body, signed(body))
    assert {"code": "no-ip", "field": "context.ip"} in answer.json["warnings"]


# Who may.

WRONG = {**JSON, "X-Signature": "0" * 40}


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (JSON, "X-Signature is missing"),
        (WRONG, "X-Signature is wrong"),
        ({**JSON, "X-Signature": ""}, "X-Signature is wrong"),
        ({**TRUSTED, "X-Signature": "0" * 40}, "X-Signature is wrong"),
        ({**JSON, "Authorization": "Bearer nope"}, "bearer token is wrong"),
        ({**JSON, "Authorization": "Bearer"}, "bearer token is wrong"),
        ({**JSON, "Authorization": "Bearer é"}, "bearer token is wrong"),
        ({**signed(BODY), "Authorization": "Bearer nope"}, "bearer token is wrong"),
        (
            {**JSON, "Authorization": f"Basic {base64.b64encode(TOKEN.encode()).decode()}"},
            "missing",
        ),
        ({**JSON, "Authorization": TOKEN}, "missing"),
        (signed(BODY, "another-secret"), "X-Signature is wrong"),
        (signed(BODY + b" "), "X-Signature is wrong"),
    ],
)
def test_whoever_proves_nothing_or_something_wrong_is_refused(
    app, destination, caplog, headers, why
):
    answer = call(app, "POST", "/segment", BODY, headers)
    assert answer.status == 401
    assert why in answer.json["error"]
    assert "www-authenticate" in answer.headers
    assert stored(destination) == []
    (record,) = [r for r in caplog.records if r.name == "kochava_segment.server"]
    assert record.levelno == logging.WARNING
    assert "segment: 401 to 127.0.0.1" in record.getMessage()
    for secret in (SECRET, TOKEN, "nope", "u-42"):
        assert secret not in record.getMessage()


def test_a_bearer_token_stands_for_a_signature(app, destination):
    assert call(app, "POST", "/segment", BODY, TRUSTED).status == 202
    lower = {**JSON, "Authorization": f"bearer  {TOKEN} "}
    assert call(app, "POST", "/segment", BODY, lower).status == 200
    assert stored(destination) == ["m-1"]


def test_without_a_secret_the_token_is_needed(destination):
    app = create_app(destination, bearer_token=TOKEN)
    answer = call(app, "POST", "/segment", BODY, signed(BODY))
    assert (answer.status, "Authorization is missing" in answer.json["error"]) == (401, True)
    assert (
        call(app, "POST", "/segment", BODY, {**TRUSTED, "X-Signature": "of others"}).status == 202
    )


def test_without_a_token_the_signature_is_needed(destination):
    app = create_app(destination, webhook_secret=SECRET)
    assert call(app, "POST", "/segment", BODY, TRUSTED).status == 401
    assert call(app, "POST", "/segment", BODY, {**signed(BODY), **BEARER}).status == 202


def test_without_both_all_may(destination):
    assert call(create_app(destination), "POST", "/segment", BODY, JSON).status == 202


@pytest.mark.parametrize(
    "name", ["webhook_secret", "bearer_token", "postback_secret", "console_token"]
)
def test_an_empty_secret_is_none_that_could_be_guessed(destination, name):
    with pytest.raises(ConfigurationError, match=name):
        create_app(destination, **{name: ""})


def test_a_destination_without_an_outbox_is_refused():
    with KochavaDestination("koexample") as kochava, pytest.raises(ConfigurationError):
        create_app(kochava)


def test_nobody_s_body_is_read_who_has_no_header(app):
    answer = call(app, "POST", "/segment", headers=JSON, pieces=[b"x"] * 3, ends=False)
    assert answer.status == 401


# Arrays.


def batch(*messages):
    return encoded(list(messages))


def test_an_array_answers_with_counts_and_with_those_that_were_not_taken(app, destination):
    body = batch(
        ios(messageId="a"),
        ios(messageId="b", event=MISSING),
        ios(messageId="c", type="group"),
        ios(messageId="d", integrations={"Kochava": False}),
        7,
        ios(messageId="a"),
        ios(messageId="e"),
    )
    answer = call(app, "POST", "/segment", body, TRUSTED)
    assert answer.status == 200
    assert answer.json["counts"] == {
        "queued": 2,
        "invalid": 2,
        "unsupported": 1,
        "filtered": 1,
        "duplicate": 1,
    }
    listed = {one.pop("index"): one for one in answer.json["not_taken"]}
    assert sorted(listed) == [1, 2, 3, 4]
    assert [problem["path"] for problem in listed[1]["problems"]] == ["event"]
    assert listed[2]["outcome"] == "unsupported"
    assert listed[3] == {"outcome": "filtered", "reason": "FILTERED_BY_INTEGRATIONS_OBJECT"}
    assert [problem["path"] for problem in listed[4]["problems"]] == ["message"]
    assert stored(destination) == ["a", "e"]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([1, 2], 400),
        ([ios(type="group")], 501),
        ([1, ios(type="group")], 400),
        ([ios(integrations={"All": False})], 200),
        ([1, ios(integrations={"All": False})], 200),
        ([], 200),
    ],
)
def test_an_array_of_which_nothing_is_good_is_bad(app, messages, status):
    assert call(app, "POST", "/segment", batch(*messages), TRUSTED).status == status


def test_an_array_needs_the_token_where_there_is_a_secret(app, destination):
    body = batch(ios())
    answer = call(app, "POST", "/segment", body, signed(encoded(ios())))
    assert answer.status == 401
    assert "an array needs the bearer token" in answer.json["error"]
    assert stored(destination) == []


def test_the_signature_of_an_array_with_a_token_is_checked_all_the_same(app):
    body = batch(ios(), ios(messageId="m-2"))
    good = {**signed(encoded(ios())), **BEARER}
    assert call(app, "POST", "/segment", body, good).status == 200
    assert call(app, "POST", "/segment", body, {**signed(body), **BEARER}).status == 401


def test_an_array_needs_nothing_where_nothing_is_set(destination):
    assert call(create_app(destination), "POST", "/segment", batch(ios()), JSON).status == 200


def test_as_many_as_segment_sends_and_no_more(app, destination):
    many = [{"type": "group"}] * 3_999
    answer = call(app, "POST", "/segment", batch(ios(), *many), TRUSTED)
    assert answer.json["counts"] == {"queued": 1, "unsupported": 3_999}
    answer = call(app, "POST", "/segment", batch(ios(), ios(), *many), TRUSTED)
    assert (answer.status, "4000" in answer.json["error"]) == (413, True)
    assert stored(destination) == ["m-1"]


# Bodies.


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_may_come_in_pieces(app, size):
    pieces = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    assert call(app, "POST", "/segment", headers=signed(BODY), pieces=pieces).status == 202


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP"])
def test_a_body_may_be_compressed(app, name):
    packed, headers = zipped(BODY)
    headers["Content-Encoding"] = name
    assert call(app, "POST", "/segment", packed, headers).status == 202
    pieces = [packed[start : start + 5] for start in range(0, len(packed), 5)]
    assert call(app, "POST", "/segment", headers=headers, pieces=pieces).status == 200


def test_the_signature_may_be_of_the_compressed_bytes(app):
    packed, _ = zipped(BODY)
    headers = {**signed(packed), "Content-Encoding": "gzip"}
    assert call(app, "POST", "/segment", packed, headers).status == 202
    headers["X-Signature"] = "0" * 40
    assert call(app, "POST", "/segment", packed, headers).status == 401


def bad_gzip():
    packed = gzip.compress(BODY)
    return {
        "not gzip": BODY,
        "cut off": packed[:-9],
        "no checksum": packed[:-4],
        "wrong checksum": packed[:-8] + b"\0" * 8,
        "two members": packed + packed,
        "something after it": packed + b"{}",
        "empty": b"",
        "zlib": zlib.compress(BODY),
    }


@pytest.mark.parametrize("what", bad_gzip())
@pytest.mark.parametrize("size", [10_000, 3])
def test_what_is_not_the_gzip_that_it_says_is_a_400(app, what, size):
    content = bad_gzip()[what]
    pieces = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    headers = {**TRUSTED, "Content-Encoding": "gzip"}
    answer = call(app, "POST", "/segment", headers=headers, pieces=pieces)
    assert (answer.status, "gzip" in answer.json["error"]) == (400, True)


def test_a_bomb_goes_off_in_no_memory(app):
    bomb = gzip.compress(b" " * (300 * 2**20), 9)
    assert len(bomb) < 400_000
    headers = {**TRUSTED, "Content-Encoding": "gzip"}
    tracemalloc.start()
    answer = call(app, "POST", "/segment", bomb, headers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 413
    assert peak < 20 * 2**20


LIMIT = body_module.MAX_BODY_BYTES


def padded(size):
    return BODY + b" " * (size - len(BODY))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 202), (LIMIT + 1, 413)])
def test_a_body_has_a_limit_that_counts_decompressed(app, compressed, size, status):
    content = padded(size)
    content, headers = zipped(content, TRUSTED) if compressed else (content, TRUSTED)
    assert call(app, "POST", "/segment", content, headers).status == status


def test_the_limit_holds_without_a_length(app):
    async def scenario():
        taken = 0

        async def receive():
            nonlocal taken
            taken += 1
            assert taken < 100, "it goes on reading"
            return {"type": "http.request", "body": b" " * 2**17, "more_body": True}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/segment",
            "query_string": b"",
            "headers": [(n.lower().encode(), v.encode()) for n, v in TRUSTED.items()],
            "client": None,
        }
        await app(scope, receive, send)
        return sent[0]["status"], taken

    assert asyncio.run(scenario()) == (413, 33)


def test_a_length_over_the_limit_is_refused_before_anything_is_read(app):
    headers = {**TRUSTED, "Content-Length": str(LIMIT + 1)}
    assert call(app, "POST", "/segment", headers=headers, pieces=[b"{"], ends=False).status == 413


@pytest.mark.parametrize(
    "media",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_content_type_is_a_415(app, media):
    headers = {**BEARER, **({} if media is None else {"Content-Type": media})}
    assert call(app, "POST", "/segment", BODY, headers).status == 415


@pytest.mark.parametrize(
    "media",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
def test_json_is_known_by_all_its_names(app, media):
    assert call(app, "POST", "/segment", BODY, {**BEARER, "Content-Type": media}).status == 202


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip,br"])
def test_another_encoding_is_a_415_that_says_what_is_taken(app, encoding):
    answer = call(app, "POST", "/segment", BODY, {**TRUSTED, "Content-Encoding": encoding})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip")


NO_JSON = {
    "nothing": (b"", "must be JSON"),
    "half": (BODY[:-1], "must be JSON"),
    "two": (BODY + BODY, "must be JSON"),
    "bytes": (b'{"a":"\xff"}', "must be UTF-8"),
    "utf-16": (BODY.decode().encode("utf-16"), "must be UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + BODY, "must be JSON"),
    "NaN": (b'{"a":NaN}', "number that JSON does not know"),
    "infinity": (b"[-Infinity]", "number that JSON does not know"),
    "digits": (b'{"a":' + b"9" * 5000 + b"}", "too many digits"),
    "depth": (b'{"a":' * 100_000, "nested too deeply"),
    "brackets": (b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("what", NO_JSON)
def test_what_is_no_json_is_a_400(app, destination, what):
    content, why = NO_JSON[what]
    answer = call(app, "POST", "/segment", content, TRUSTED)
    assert answer.status == 400
    assert why in answer.json["error"]
    assert stored(destination) == []


@pytest.mark.parametrize("document", [3, "text", None, True, 1.5])
def test_json_that_is_no_message_is_a_400(app, document):
    answer = call(app, "POST", "/segment", encoded(document), TRUSTED)
    assert answer.status == 400
    assert answer.json["problems"] == [
        {"path": "message", "detail": "must be an object, as Segment's common fields define it"}
    ]


def test_a_key_that_occurs_twice_is_a_400_with_its_name(app):
    body = BODY.replace(b'"userId"', b'"anonymousId": "s3cr3t", "userId"', 1)
    answer = call(app, "POST", "/segment", body, TRUSTED)
    assert (answer.status, answer.json["problems"][0]["path"]) == (400, "anonymousId")
    assert b"s3cr3t" not in answer.body


def test_a_body_that_comes_too_slowly_is_a_408(app, monkeypatch):
    monkeypatch.setattr(body_module, "BODY_TIMEOUT", 0.05)

    async def scenario():
        async def receive():
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b" ", "more_body": True}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/segment",
            "query_string": b"",
            "headers": [(n.lower().encode(), v.encode()) for n, v in TRUSTED.items()],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])[b"connection"]

    assert asyncio.run(scenario()) == (408, b"close")


def test_a_client_that_goes_away_is_no_failure_of_ours(app, caplog):
    assert call(app, "POST", "/segment", headers=TRUSTED, pieces=[b"{"], ends=False).status == 400
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# The outbox.


def test_a_full_outbox_is_a_503_that_says_when_to_come_back(tmp_path):
    with KochavaDestination(
        "koexample",
        outbox=tmp_path / "outbox.sqlite3",
        relay=False,
        max_size=0.15,
        when_full="refuse",
    ) as kochava:
        app = create_app(kochava)
        for number in range(300):
            body = encoded(ios(messageId=f"m-{number}", properties={"text": "x" * 2000}))
            answer = call(app, "POST", "/segment", body, JSON)
            if answer.status != 202:
                break
        assert answer.status == 503
        assert (answer.json, answer.headers["retry-after"]) == (
            {"error": "the outbox is full"},
            "30",
        )
        assert number > 10
        assert len(stored(kochava)) == number


def test_a_locked_outbox_is_a_503_in_time_and_idempotent(app, destination, monkeypatch):
    monkeypatch.setattr(group_commit, "STORED_WITHIN", 0.1)
    call(app, "POST", "/segment", encoded(ios(messageId="first")), TRUSTED)

    async def scenario():
        with destination.outbox.file.writing():
            locked = await acall(app, "POST", "/segment", BODY, TRUSTED)
        monkeypatch.setattr(group_commit, "STORED_WITHIN", 4.5)
        return locked, await acall(app, "POST", "/segment", BODY, TRUSTED)

    locked, again = asyncio.run(scenario())
    assert (locked.status, locked.headers["retry-after"]) == (503, "5")
    assert again.status in {200, 202}
    assert stored(destination) == ["first", "m-1"]


def test_a_broken_outbox_is_a_503(tmp_path, caplog):
    path = tmp_path / "outbox.sqlite3"
    path.write_bytes(b"this is no database" * 1000)
    with KochavaDestination("koexample", outbox=path, relay=False) as kochava:
        answer = call(create_app(kochava), "POST", "/segment", BODY, JSON)
    assert answer.status == 503
    assert str(tmp_path) not in answer.body.decode() + caplog.text


def test_an_outbox_that_takes_nothing_is_told_and_not_with_each_request(
    tmp_path, caplog, monkeypatch
):
    path = tmp_path / "outbox.sqlite3"
    path.write_bytes(b"this is no database" * 1000)
    with KochavaDestination("koexample", outbox=path, relay=False) as kochava:
        app = create_app(kochava)
        for _ in range(5):
            call(app, "POST", "/segment", BODY, JSON)
        monkeypatch.setattr(
            app.state.refused_for_now, "_seconds", 0.0
        )  # as if so many seconds were over
        call(app, "POST", "/segment", BODY, JSON)
    told = logged(caplog, "takes_nothing")
    assert [(one["endpoint"], one["status"], one["count"]) for one in told] == [
        ("segment", 503, 1),
        ("segment", 503, 5),
    ]
    assert logged(caplog, "refused") == []


def test_requests_at_the_same_time_share_transactions(app, destination, monkeypatch):
    groups = []
    put = destination.outbox.put

    def counted(entries_, also=None):
        groups.append(len(entries_))
        return put(entries_, also=also)

    monkeypatch.setattr(destination.outbox, "put", counted)

    async def scenario():
        bodies = [encoded(ios(messageId=f"m-{n}")) for n in range(200)]
        return await asyncio.gather(
            *(acall(app, "POST", "/segment", body, TRUSTED) for body in bodies)
        )

    assert {answer.status for answer in asyncio.run(scenario())} == {202}
    assert len(stored(destination)) == 200
    assert len(groups) < 50


def test_nothing_of_a_message_is_logged(app, caplog):
    caplog.set_level(logging.DEBUG)
    for message in (MESSAGE, ios(event=MISSING), ios(type="group")):
        body = encoded(message)
        call(app, "POST", "/segment", body, signed(body))
        call(app, "POST", "/segment", body, WRONG)
        call(app, "POST", "/segment", body[:-1], TRUSTED)
    values = ("u-42", "a-42", "203.0.113.7", MESSAGE["context"]["device"]["id"], "Mozilla")
    assert len(caplog.records) >= 6
    assert not any(value in caplog.text for value in values)


def test_every_refusal_of_a_message_is_logged(app, caplog):
    for message, words in (
        (ios(event=MISSING), "segment: 400 to 127.0.0.1: 1 message invalid"),
        (ios(type="group"), "segment: 501 to 127.0.0.1: 1 message unsupported"),
        ([3, ios(type="group"), ios()], "1 message invalid, 1 message unsupported"),
    ):
        caplog.clear()
        call(app, "POST", "/segment", encoded(message), TRUSTED)
        assert words in caplog.text
    assert json.dumps(MESSAGE) not in caplog.text


def test_mounted_where_no_lifespan_is_run_it_works_all_the_same(tmp_path):
    transport = RecordingTransport()
    with KochavaDestination(
        "koexample", outbox=tmp_path / "o.sqlite3", transport=transport
    ) as kochava:
        outer = Starlette(routes=[Mount("/kochava", create_app(kochava, bearer_token=TOKEN))])
        assert call(outer, "POST", "/kochava/segment", BODY, TRUSTED).status == 202
        kochava.flush(10)
    assert [request.message_id for request in transport.requests] == ["m-1"]


def test_it_is_mounted_in_fastapi_as_well(destination):
    outer = FastAPI()
    outer.mount("/kochava", create_app(destination, bearer_token=TOKEN))
    assert call(outer, "POST", "/kochava/segment", BODY, TRUSTED).status == 202
    assert call(outer, "POST", "/kochava/segment", BODY, JSON).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/webhook/s3cr3t", 404), ("GET", "/segment", 405), ("POST", "/metrics", 405)],
)
def test_a_wrong_url_or_method_is_found_in_the_log(app, caplog, method, path, status):
    answer = call(app, method, path, BODY, TRUSTED)
    assert answer.status == status
    assert "error" in answer.json
    assert f"elsewhere: {status} to 127.0.0.1" in caplog.text
    assert "s3cr3t" not in caplog.text + answer.body.decode()
    assert status == 404 or answer.headers["allow"]
