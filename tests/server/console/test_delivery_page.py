import re

from kochava_segment.emulator import Faults
from tests.messages import ios
from tests.server.console.running_console import Visitor, running_console, text_of


def _counts(answer):
    """The totals of the legend, by series."""
    return {
        series: int(count.replace(",", ""))
        for count, series in re.findall(r"<strong>([\d,]+)</strong> (\w+)", answer.text)
    }


def _traffic(console):
    console.receive(
        *(ios(messageId=f"good-{number}") for number in range(3)),
        ios(messageId="off", integrations={"Kochava": False}),
        ios(messageId="broken", event=""),
        {"type": "group", "messageId": "group"},
    )
    console.kochava.faults = Faults(error_rate=1.0, error_status=400)
    console.receive(*(ios(messageId=f"bad-{number}") for number in range(2)))
    console.kochava.faults = Faults()


def test_messages_are_counted_by_what_became_of_them(console, visitor):
    _traffic(console)
    expected = {"accepted": 3, "filtered": 1, "waiting": 0, "failed": 2, "refused": 2}
    for window in ("hour", "day"):
        assert _counts(visitor.get(f"/delivery?window={window}")) == expected


def test_what_waits_is_counted(tmp_path):
    with running_console(tmp_path, relay=False) as running:
        running.destination.enqueue_many([ios(messageId="one"), ios(messageId="two")])
        one = Visitor(running.url).log_in()
        answer = one.get("/delivery")
        one.close()
    assert _counts(answer)["waiting"] == 2
    text = text_of(answer)
    assert "To be sent 2 requests" in text
    assert "Time to drain not known: nothing moves" in text
    assert "Relay in another process" in text


def test_after_a_restart_the_outbox_still_knows(tmp_path):
    with running_console(tmp_path) as running:
        _traffic(running)
    with running_console(tmp_path) as running:
        one = Visitor(running.url).log_in()
        answer = one.get("/delivery")
        one.close()
    counts = _counts(answer)
    assert (counts["accepted"], counts["failed"], counts["filtered"]) == (3, 2, 0)
    assert "of 3 requests in the outbox" in text_of(answer)


def test_the_chart_says_the_same_in_a_picture_in_words_and_in_a_table(console, visitor):
    _traffic(console)
    answer = visitor.get("/delivery")
    assert "3 accepted, 1 filtered, 0 waiting, 2 failed, 2 refused" in answer.text
    assert set(re.findall(r'<rect class="(\w+)"', answer.text)) == {
        "accepted",
        "filtered",
        "failed",
        "refused",
    }
    rows = re.findall(r'<tr><th scope="row">\d\d:\d\d</th>(.*?)</tr>', answer.text)
    numbers = [list(map(int, re.findall(r'<td class="count">(\d+)', row))) for row in rows]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [3, 1, 0, 2, 2]


def test_latency_has_its_percentiles_and_units(console, visitor):
    console.kochava.faults = Faults(latency=0.05)
    console.receive(*(ios(messageId=f"good-{number}") for number in range(3)))
    text = text_of(visitor.get("/delivery"))
    (answers,) = re.findall(r"50% (\d+) ms", text)
    assert 45 <= int(answers) < 500
    assert "Of 3 answers" in text


def test_reasons_are_ranked(console, visitor):
    _traffic(console)
    text = text_of(visitor.get("/delivery"))
    ranked = text[text.index("Reasons") :]
    assert ranked.index("2 rejected Kochava refused the request") < ranked.index(
        "1 filtered FILTERED_BY_INTEGRATIONS_OBJECT"
    )
    assert "1 invalid malformed" in ranked
    assert "1 unsupported Kochava has nothing like it" in ranked


def test_what_may_have_counted_twice_is_told(tmp_path):
    with running_console(tmp_path, outbox_retry={"max_attempts": 5, "base": 0.01}) as running:
        running.kochava.faults = Faults(script=["reset-after-reading", "ok"])
        running.receive(ios())
        one = Visitor(running.url).log_in()
        text = text_of(one.get("/delivery"))
        one.close()
    assert "Maybe counted twice 1 time at most" in text
    assert "1 accepted" in text


def test_an_app_that_was_slowed_says_for_how_long(console, visitor):
    console.kochava.faults = Faults(error_rate=1.0, error_status=429, retry_after="60")
    console.destination.enqueue(ios())
    for _ in range(100):
        if console.kochava.received:
            break
        console.destination.flush(0.05)
    console.destination.flush(0.2)
    assert re.search(
        r"koexample: Kochava answered 429, \d+ s more", text_of(visitor.get("/delivery"))
    )


def test_it_asks_for_itself_again_and_gets_a_part(visitor):
    page = visitor.get("/delivery?window=day").text
    assert 'hx-get="/console/delivery?window=day" hx-trigger="every 5s"' in page
    part = visitor.get("/delivery?window=day", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "every bar is 15 minutes" in part


def test_a_window_that_there_is_not_is_the_hour(visitor):
    assert "every bar is 1 minute" in text_of(visitor.get("/delivery?window=century"))
