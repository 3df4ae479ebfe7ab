"""All that the package logs is declared, and is written as it is declared."""

import ast
import io
import json
import logging
from pathlib import Path

import pytest
from pythonjsonlogger.json import JsonFormatter as PythonJsonFormatter

import kochava_segment
from kochava_segment import KochavaDestination, RetriesExhausted, log_events
from kochava_segment.emulator import Faults
from kochava_segment.json_log import JsonFormatter
from kochava_segment.log_events import FIELDS, LOG_EVENTS, LogEvent, Throttle, app_in_brief
from tests.messages import ios
from tests.records import fields

PACKAGE = Path(kochava_segment.__file__).parent
BY_CONSTANT = {name: value for name, value in vars(log_events).items() if type(value) is LogEvent}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls():
    """All calls of methods in the package, with the names of what is called."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                name = getattr(owner, "id", getattr(owner, "attr", ""))
                yield path, name, node


def written():
    """The calls that write declared records, with these: `ended` stands for either of two."""
    either = {"ended": ("DELIVERED", "NOT_DELIVERED")}
    for path, name, node in calls():
        if node.func.attr == "log":
            for constant in either.get(name, (name,)):
                if constant in BY_CONSTANT:
                    yield f"{path.name}:{node.lineno}", constant, node


def test_nothing_is_logged_but_what_is_declared():
    found = [
        f"{path.name}:{node.lineno}"
        for path, name, node in calls()
        if "logg" in name.lower() and node.func.attr in LEVELS
    ]
    assert found == []


def test_every_record_is_written_with_just_its_fields():
    places = list(written())
    for place, constant, node in places:
        given = [keyword.arg for keyword in node.keywords]
        assert sorted(given) == sorted(BY_CONSTANT[constant].fields), place
    assert {constant for _, constant, _ in places} == set(BY_CONSTANT)


def test_names_are_used_once_and_fields_are_all_described():
    assert len({event.name for event in LOG_EVENTS}) == len(LOG_EVENTS) == len(BY_CONSTANT)
    used = {name for event in LOG_EVENTS for name in event.fields} | {"event"}
    assert used == set(FIELDS)


def test_a_record_says_where_it_was_written(caplog):
    caplog.set_level(logging.DEBUG)
    log_events.WRONG_TOKEN.log(client="127.0.0.1")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("kochava_segment.console", logging.WARNING)
    assert record.filename == "test_log_events.py"
    assert record.getMessage() == "127.0.0.1 gave a wrong token"
    assert fields(record) == {"event": "wrong_token", "client": "127.0.0.1"}


def test_a_record_may_have_no_fields(caplog):
    log_events.OUTBOX_FULL.log()
    assert caplog.records[0].getMessage().startswith("the outbox is full and takes nothing")


def test_what_nobody_wants_is_not_made():
    class Unreadable:
        def __str__(self):
            raise AssertionError

    logger = logging.getLogger("tests.quiet")
    logger.setLevel(logging.CRITICAL)
    log_events.WRONG_TOKEN.log(logger, client=Unreadable())


@pytest.mark.parametrize(
    ("guid", "shown"), [("koexample-app-guid", "koexam"), ("koapp", "ko"), ("", ""), (None, None)]
)
def test_an_app_is_told_from_others_and_not_given_away(guid, shown):
    assert app_in_brief(guid) == shown


def test_of_one_kind_one_stands_for_those_that_were_held_back(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    throttle = Throttle(60.0)
    assert [throttle.take("a") for _ in range(3)] == [1, 0, 0]
    assert throttle.take("b") == 1
    now += 59.0
    assert throttle.take("a") == 0
    now += 1.0
    assert [throttle.take(kind) for kind in "aba"] == [4, 1, 0]
    now = 5.0  # the clock of a machine that has just been started
    assert throttle.take("a") == 2


@pytest.mark.parametrize("formatter", [JsonFormatter, PythonJsonFormatter])
def test_the_fields_are_in_lines_of_json(kochava_emulator, formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter())
    logger = logging.getLogger("kochava_segment")
    logger.addHandler(handler)
    kochava_emulator.faults = Faults(error_rate=1.0)
    options = {"endpoint": kochava_emulator.url, "retry": {"max_attempts": 2, "base": 0, "cap": 0}}
    try:
        with (
            KochavaDestination("koexample-app-guid", **options) as kochava,
            pytest.raises(RetriesExhausted),
        ):
            kochava.send(ios())
    finally:
        logger.removeHandler(handler)
    retry, failed = map(json.loads, stream.getvalue().splitlines())
    assert retry["kochava_event"] == "retry"
    assert retry["kochava_attempt"] == 1
    assert retry["kochava_wait"] == 0
    elapsed = failed.pop("kochava_elapsed")
    assert 0 <= elapsed < 60
    assert {name: value for name, value in failed.items() if name.startswith("kochava_")} == {
        "kochava_event": "not_delivered",
        "kochava_action": "event",
        "kochava_message_id": "m-1",
        "kochava_outcome": "RetriesExhausted",
        "kochava_attempt": 2,
        "kochava_status": 503,
        "kochava_app": "koexam",
    }
    assert failed["message"].startswith("event m-1: RetriesExhausted at attempt 2 (answer: 503, ")


def test_our_formatter_has_time_level_logger_and_traceback():
    record = logging.makeLogRecord(
        {"name": "app", "levelname": "ERROR", "msg": "%s", "args": ("ü\n",), "created": 0.5}
    )
    record.secret = "left out"
    line = JsonFormatter().format(record)
    assert line == (
        '{"time": "1970-01-01T00:00:00.500Z", "level": "ERROR", "logger": "app", '
        '"message": "\\u00fc\\n"}'
    )
    record.exc_info = (ValueError, ValueError("why"), None)
    assert "ValueError: why" in json.loads(JsonFormatter().format(record))["exception"]
