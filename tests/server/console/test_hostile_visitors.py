"""The console, as somebody sees it who has no token, or the token and nothing good in mind."""

import asyncio
import json
import logging

import pytest

from kochava_segment.server import create_app
from kochava_segment.server.console.sessions import _FAILURES_OF_ONE
from tests.messages import ios
from tests.server.asgi import acall, call
from tests.server.console.running_console import TOKEN, Visitor

FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Host": "console.example",
    "Origin": "http://console.example",
}
MARKUP = "<img src=x onerror=alert(1)>'\"{{7*7}}</textarea><script>alert(1)</script>"


@pytest.fixture
def app(destination):
    return create_app(destination, console_token=TOKEN)


def logged_in(app):
    answer = call(app, "POST", "/console/login", f"token={TOKEN}".encode(), FORM)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return {**FORM, "Cookie": cookie}


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "null", "", "//", "console.example", "http://\x80"]
)
def test_an_origin_that_is_none_is_refused_like_a_wrong_one(app, origin):
    answer = call(app, "POST", "/console/login", b"token=x", {**FORM, "Origin": origin})
    assert answer.status == 403


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/login", {"GET", "HEAD", "POST"}),
        ("/tester", {"GET", "HEAD", "POST"}),
        ("/failures/1", {"GET", "HEAD", "POST"}),
        ("/failures/retry", {"POST"}),
        ("/help", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_all_that_there_are(app, path, allowed):
    answer = call(app, "OPTIONS", f"/console{path}", headers=FORM)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_page_that_is_not_there_is_not_there_for_any_method(app, method):
    assert call(app, method, "/console/failures/-1", headers=FORM).status == 404


def test_a_page_of_another_name_for_this_machine_has_no_session(app):
    """DNS rebinding: the browser sends what it has for that name, and the cookie is not for it."""
    rebound = {"Host": "rebound.example", "Origin": "http://rebound.example"}
    answer = call(app, "GET", "/console/failures", headers=rebound)
    assert (answer.status, answer.headers["location"]) == (303, "/console/login")


def test_wrong_tokens_that_come_at_the_same_time_are_counted(app):
    async def guess():
        guesses = [acall(app, "POST", "/console/login", b"token=x", FORM) for _ in range(40)]
        return [answer.status for answer in await asyncio.gather(*guesses)]

    statuses = asyncio.run(guess())
    assert statuses.count(401) == _FAILURES_OF_ONE
    assert statuses.count(429) == 40 - _FAILURES_OF_ONE


def test_an_unexpected_error_is_no_traceback_and_quotes_nothing(app, caplog, monkeypatch):
    headers = logged_in(app)

    def stumble(*_):
        raise KeyError("ann@example.com")

    monkeypatch.setattr("kochava_segment.server.console.failures.count_entries", stumble)
    with caplog.at_level(logging.DEBUG):
        answer = call(app, "GET", "/console/failures", headers=headers)
    assert answer.status == 500
    assert b"ann@" not in answer.body
    assert "ann@" not in caplog.text
    assert "KeyError at test_hostile_visitors.py" in caplog.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_no_page_obeys_what_stands_in_a_message(console):
    visitor = Visitor(console.url).log_in()
    poisoned = ios(
        messageId=MARKUP,
        event=MARKUP,
        userId=MARKUP,
        properties={MARKUP: MARKUP},
        integrations={"Kochava": {"device_ids": {"custom": MARKUP}}},
    )
    console.receive(poisoned)
    pages = [
        visitor.get("/failures?state=delivered&state=waiting&reason=" + MARKUP),
        visitor.get("/failures?state=delivered&state=waiting&app=" + MARKUP),
        visitor.get("/failures/1"),
        visitor.post("/failures/1", {}),
        visitor.get("/delivery"),
        visitor.post("/tester", {"message": json.dumps(poisoned)}),
        visitor.post("/tester", {"message": MARKUP}),
        visitor.post("/tester/confirm", {"message": json.dumps(poisoned)}),
        visitor.post("/devices", {"user_id": MARKUP}),
        visitor.post("/devices/confirm", {"user_id": MARKUP}),
    ]
    for page in pages:
        assert page.status_code == 200, page.url
        assert "<img" not in page.text, page.url
        assert "<script>" not in page.text, page.url
        assert "49" not in page.text.partition("onerror")[2][:60], "a template was rendered twice"
        assert page.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    visitor.close()
