import json
import re
import sqlite3
from contextlib import closing

import pytest

from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.emulator import Faults
from tests.messages import IDFA, IDFV, ios
from tests.server.console.running_console import Visitor, running_console, text_of

REJECTING = Faults(error_rate=1.0, error_status=400)
FAILING = Faults(error_rate=1.0, error_status=503)
LOSING = Faults(reset_after_reading=1.0)


def _fail(console, faults, *names, **changes):
    console.kochava.faults = faults
    console.receive(*(ios(messageId=name, userId=f"user-of-{name}", **changes) for name in names))
    console.kochava.faults = Faults()


def _states(console):
    return {
        entry.message_id: entry.state
        for entry in entries(console.destination.outbox, EntryFilter(), limit=100)
    }


def _listed(answer):
    return re.findall(r'<td class="id">([^<]+)</td>', answer.text)


def _number(console, name):
    (entry,) = entries(console.destination.outbox, EntryFilter(message_id=name))
    return entry.id


def test_what_failed_is_listed_and_what_did_not_is_not(console, visitor):
    console.receive(ios(messageId="good"))
    _fail(console, REJECTING, "bad")
    answer = visitor.get("/failures")
    assert _listed(answer) == ["bad"]
    text = text_of(answer)
    assert "1 request match" in text
    assert "Kochava refused the request 400 1" in text


def test_nothing_that_failed_is_said_so(visitor):
    assert "No request has failed" in text_of(visitor.get("/failures"))


def test_the_list_is_filtered(console, visitor):
    _fail(console, REJECTING, "bad")
    _fail(console, FAILING, "down")
    _fail(console, REJECTING, "other", integrations={"Kochava": {"app_guid": "koother"}})
    for query, expected in (
        ("", ["bad", "down", "other"]),
        ("state=exhausted", ["down"]),
        ("state=exhausted&state=rejected&reason=ANSWERED", ["down"]),
        ("app=koother", ["other"]),
        ("older=600", []),
        ("newer=600", ["bad", "down", "other"]),
        ("reason=%27%25", []),
    ):
        assert _listed(visitor.get(f"/failures?{query}")) == expected, query


@pytest.mark.parametrize(
    "query",
    [
        "state=wrong",
        "id=x",
        "id=1&id=-1",
        "state=rejected&state=",
        "state=rejected&older=soon",
        "state=rejected&newer=-1",
    ],
)
def test_a_filter_that_cannot_be_read_never_means_more_than_was_asked(console, visitor, query):
    _fail(console, REJECTING, "bad")
    assert visitor.get(f"/failures?{query}").status_code == 400
    fields = [pair.split("=") for pair in query.split("&")]
    assert visitor.post("/failures/discard", fields).status_code == 400
    assert _states(console) == {"bad": "rejected"}


@pytest.mark.parametrize("path", ["/failures/retry", "/failures/discard", "/failures/export"])
@pytest.mark.parametrize("fields", [[], [("reason", "refused")]])
def test_a_change_has_to_say_which_are_meant(console, visitor, path, fields):
    _fail(console, REJECTING, "bad")
    assert visitor.post(path, fields).status_code == 400
    assert _states(console) == {"bad": "rejected"}


def test_long_lists_have_pages(console, visitor):
    _fail(console, REJECTING, *(f"bad-{number:03}" for number in range(60)))
    first = visitor.get("/failures")
    assert "1 to 50 of 60" in text_of(first)
    second = visitor.get("/failures?page=2")
    assert "51 to 60 of 60" in text_of(second)
    assert sorted(_listed(first) + _listed(second)) == [f"bad-{number:03}" for number in range(60)]
    assert "Nothing matches" in text_of(visitor.get("/failures?page=9"))


def test_one_is_shown_with_its_attempts_and_without_identifiers(tmp_path):
    retry = {"max_attempts": 3, "base": 0.01, "cap": 0.02}
    with running_console(tmp_path, outbox_retry=retry) as running:
        _fail(running, FAILING, "down", event="Signed Up")
        one = Visitor(running.url).log_in()
        answer = one.get(f"/failures/{_number(running, 'down')}")
        one.close()
    text = text_of(answer)
    assert "Kochava answered 503" in text
    assert "What to do: Send it again later: that is safe." in text
    assert "Attempts 3, of which 0 without an answer" in text
    assert "status 503" in text
    assert [
        int(number) for number in re.findall(r'<th scope="row" class="count">(\d)', answer.text)
    ] == [1, 2, 3]
    assert '"event_name": "Registration Complete"' in text
    for identifier in (IDFA, IDFV, "user-of-down", "203.0.113.7", "Mozilla/5.0 (iPhone)"):
        assert identifier not in text


def test_identifiers_are_revealed_for_one_and_not_for_long(console, visitor):
    _fail(console, REJECTING, "bad")
    path = f"/failures/{_number(console, 'bad')}"
    assert IDFA not in visitor.get(path).text
    assert IDFA in visitor.post(path).text
    assert IDFA not in visitor.get(path).text


def test_an_ambiguous_one_says_that_it_may_count_twice(console, visitor):
    _fail(console, LOSING, "lost", event="Order Completed")
    text = text_of(visitor.get(f"/failures/{_number(console, 'lost')}"))
    assert "sending it again may count it twice" in text
    asked = text_of(visitor.get("/failures/confirm?do=retry&state=ambiguous"))
    assert "Send 1 request again?" in asked
    assert "1 of them is ambiguous" in asked


def test_one_that_is_not_there_is_not_found(visitor):
    assert visitor.get("/failures/999").status_code == 404
    assert visitor.post("/failures/999").status_code == 404
    assert visitor.get("/failures/" + "9" * 40).status_code == 404


def test_asking_changes_nothing(console, visitor):
    _fail(console, REJECTING, "bad")
    for verb in ("retry", "discard", "export"):
        answer = visitor.get(f"/failures/confirm?do={verb}&state=rejected")
        assert "1 request" in text_of(answer)
    assert _states(console) == {"bad": "rejected"}
    assert visitor.get("/failures/confirm?do=burn").status_code == 404


def test_one_is_retried(console, visitor):
    _fail(console, REJECTING, "bad", "other")
    answer = visitor.post("/failures/retry", {"id": _number(console, "bad")})
    assert "1 request will be sent again." in text_of(answer)
    console.destination.flush(10)
    assert _states(console) == {"bad": "delivered", "other": "rejected"}
    assert "will be sent again" not in text_of(visitor.get("/failures"))  # it is said once


def test_all_that_match_are_retried(console, visitor):
    _fail(console, REJECTING, "bad", "worse")
    _fail(console, FAILING, "down")
    visitor.post("/failures/retry", [("state", "rejected")])
    console.destination.flush(10)
    assert _states(console) == {"bad": "delivered", "worse": "delivered", "down": "exhausted"}


def test_one_is_discarded(console, visitor):
    _fail(console, REJECTING, "bad", "other")
    visitor.post("/failures/discard", {"id": _number(console, "bad")})
    assert _states(console) == {"bad": "discarded", "other": "rejected"}
    text = text_of(visitor.get(f"/failures/{_number(console, 'bad')}"))
    assert "Discarded in the console" in text
    assert "Its body is gone" in text


def test_all_that_match_are_discarded_and_no_others(console, visitor):
    console.receive(ios(messageId="good"))
    _fail(console, REJECTING, "bad", "worse")
    _fail(console, FAILING, "down")
    answer = visitor.post(
        "/failures/discard", [("state", "rejected"), ("state", "exhausted"), ("reason", "refused")]
    )
    assert "2 requests discarded." in text_of(answer)
    states = {"good": "delivered", "bad": "discarded", "worse": "discarded", "down": "exhausted"}
    assert _states(console) == states


def test_a_paused_app_is_resumed(console, visitor):
    _fail(console, Faults(error_rate=1.0, error_status=401), "locked")
    assert _states(console) == {"locked": "paused"}
    assert "App koexample is paused" in text_of(visitor.get("/delivery"))
    visitor.post("/failures/retry", [("state", "paused"), ("app", "koexample")])
    console.destination.flush(10)
    assert _states(console) == {"locked": "delivered"}


def test_the_export_has_no_identifiers_until_they_are_asked_for(console, visitor):
    _fail(console, REJECTING, "bad", "worse", event="Signed Up")
    masked = visitor.get("/failures/export?state=rejected")
    assert masked.headers["content-disposition"].startswith("attachment")
    lines = [json.loads(line) for line in masked.text.splitlines()]
    assert [line["message_id"] for line in lines] == ["bad", "worse"]
    assert lines[0]["payload"]["data"]["event_name"] == "Registration Complete"
    assert IDFA not in masked.text
    assert "user-of-" not in masked.text
    visitor.get("/failures")
    full = visitor.post("/failures/export", [("state", "rejected")])
    assert IDFA in full.text
    assert "user-of-bad" in full.text


def test_a_reason_cannot_break_out_of_the_page(console, visitor):
    _fail(console, REJECTING, "<script>alert(1)</script>")
    for path in ("/failures", f"/failures/{_number(console, '<script>alert(1)</script>')}"):
        assert "<script>alert" not in visitor.get(path).text
    assert "<script>alert" not in visitor.get("/failures?reason=<script>alert(1)</script>").text


def test_an_outbox_that_cannot_be_used_is_said_so(tmp_path):
    with running_console(tmp_path, relay=False) as running:
        one = Visitor(running.url).log_in()
        running.destination.outbox.close()
        with closing(sqlite3.connect(tmp_path / "outbox.sqlite3")) as connection:
            connection.execute("PRAGMA user_version = 999")
        answer = one.get("/failures")
        one.close()
    assert answer.status_code == 503
    assert "That did not work" in text_of(answer)


def test_counts_agree_with_the_outbox(console, visitor):
    _fail(console, REJECTING, "bad", "worse")
    assert outbox_status(console.destination.outbox).failed == 2
    assert "2 requests match" in text_of(visitor.get("/failures"))
