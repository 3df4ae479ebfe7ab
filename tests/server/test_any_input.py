"""Whatever comes, the receiver answers, never with a 500, and never before it is stored."""

import asyncio
import gzip
import json
from itertools import pairwise
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kochava_segment import KochavaDestination
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server import create_app
from tests.long import many
from tests.server.asgi import SECRET, TOKEN, acall, signed
from tests.strategies import anything, postbacks

ALLOWED = {200, 202, 400, 401, 404, 405, 408, 413, 415, 501}


@pytest.fixture(scope="module")
def running():
    with (
        TemporaryDirectory() as folder,
        KochavaDestination(
            "koexample", outbox=f"{folder}/o.sqlite3", relay=False, devices=True
        ) as kochava,
        SegmentTracking(f"{folder}/s.sqlite3", "key", "http://127.0.0.1:9") as tracking,
    ):
        tracking._relay.start = lambda **_: None
        settings_ = {"postback_secret": SECRET, "tracking": tracking}
        apps = {
            "open": create_app(kochava, **settings_),
            "closed": create_app(kochava, webhook_secret=SECRET, bearer_token=TOKEN, **settings_),
        }
        loop = asyncio.new_event_loop()
        yield apps, kochava, tracking, loop
        loop.close()


texts = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            ["application/json", "application/json; charset=", "application/x-www-form-urlencoded"]
        )
        | texts,
        "Content-Encoding": st.sampled_from(["gzip", "identity", "br"]) | texts,
        "Content-Length": st.sampled_from(["0", "5", "-1", "9" * 30, "x", "4194305"]) | texts,
        "X-Signature": st.sampled_from(["0" * 40, ""]) | texts,
        "Authorization": st.sampled_from([f"Bearer {TOKEN}", "Bearer", "Bearer x"]) | texts,
    },
)


def as_bytes(document):
    return json.dumps(document).encode()


bodies = st.one_of(
    st.binary(max_size=60),
    anything.map(as_bytes),
    st.lists(anything, max_size=4).map(as_bytes),
    st.builds(lambda document, cut: as_bytes(document)[:cut], anything, st.integers(0, 200)),
    st.builds(lambda document: gzip.compress(as_bytes(document)), anything),
    st.builds(
        lambda kind, document: as_bytes({"type": kind, "userId": document, "messageId": document}),
        st.sampled_from(["delete", "track", "identify", "group"]),
        anything,
    ),
)


def cut(body, places):
    places = sorted({min(place, len(body)) for place in places} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)] or [b""]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["open", "closed"]),
    st.sampled_from(["POST", "PUT", "PATCH", "GET"]),
    bodies,
    headers,
    st.lists(st.integers(0, 100), max_size=4),
    st.booleans(),
)
def test_no_request_to_segment_is_a_failure_of_ours(
    running, which, method, body, given_headers, places, ends
):
    apps, _, _, loop = running
    answer = loop.run_until_complete(
        acall(
            apps[which],
            method,
            "/segment",
            headers=given_headers,
            pieces=cut(body, places),
            ends=ends,
        )
    )
    assert answer.status in ALLOWED
    json.loads(answer.body) if answer.status != 405 else None


@pytest.mark.slow
@settings(max_examples=many(10_000), deadline=None)
@given(st.sampled_from(["open", "closed"]), bodies, headers, st.lists(st.integers(0, 100)))
def test_no_request_to_segment_is_a_failure_of_ours_at_length(
    running, which, body, given_headers, places
):
    apps, _, _, loop = running
    answer = loop.run_until_complete(
        acall(apps[which], "POST", "/segment", headers=given_headers, pieces=cut(body, places))
    )
    assert answer.status in ALLOWED


@settings(max_examples=150, deadline=None)
@given(bodies)
def test_what_is_signed_is_taken_or_refused_with_a_reason(running, body):
    apps, kochava, _, loop = running
    answer = loop.run_until_complete(acall(apps["closed"], "POST", "/segment", body, signed(body)))
    assert answer.status in {200, 202, 400, 401, 501}
    if answer.status == 202 and b'"delete"' not in body:
        message_id = json.loads(body).get("messageId")
        if isinstance(message_id, str) and message_id.strip():
            found = entries(kochava.outbox, EntryFilter(message_id=message_id))
            assert list(found), "answered, and not stored"


queries = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    st.lists(
        st.sampled_from(["user_id=%ff", "user_id=u", "idfa=%00", "=", "&&", "network_name="])
    ).map("&".join),
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([SECRET, "wrong", "%2e%2e"]),
    st.sampled_from(["GET", "POST", "HEAD"]),
    queries,
    bodies | postbacks.map(as_bytes),
    headers,
)
def test_no_postback_is_a_failure_of_ours(running, secret, method, query, body, given_headers):
    apps, _, _, loop = running
    target = f"/kochava/postback/{secret}?{query}"
    answer = loop.run_until_complete(acall(apps["open"], method, target, body, given_headers))
    assert answer.status in ALLOWED


@settings(max_examples=60, deadline=None)
@given(postbacks)
def test_any_postback_as_json_is_taken_or_refused(running, postback):
    apps, _, _, loop = running
    body = as_bytes(postback)
    own = {"Content-Type": "application/json"}
    answer = loop.run_until_complete(
        acall(apps["open"], "POST", f"/kochava/postback/{SECRET}", body, own)
    )
    assert answer.status in {200, 202, 400}
