"""docs/errors.md has a place for each code and class, each with what to do; so has `why`."""

import re
from collections import Counter
from pathlib import Path

import advice_tables  # of docs
import pytest

from kochava_segment import FilterReason, OutcomeKind, errors
from kochava_segment.advice import ADVICE, Advice
from kochava_segment.delivery.outbox_inspection import STATES
from kochava_segment.emulator.checks import RULES
from kochava_segment.log_events import LOG_EVENTS
from kochava_segment.segment import function_errors

DOCS = Path(__file__).parents[2] / "docs"


def anchors(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return Counter(
        [heading.lower() for heading in re.findall(r"^### (\S+)$", prose, re.MULTILINE)]
        + re.findall(r'<a id="([^"]+)">', prose)
    )


ANCHORS = anchors("errors.md")
ERRORS = {
    name
    for module in (errors, function_errors)
    for name, value in vars(module).items()
    if isinstance(value, type)
    and issubclass(value, errors.KochavaSegmentError)
    and value.__module__ == module.__name__
}


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.anchor)
def test_each_code_has_one_place_with_what_to_do(advice):
    assert anchors(advice.page)[advice.anchor] == 1
    assert advice.cause.endswith(".")
    assert advice.remedy.endswith(".")


def test_there_is_no_other_place():
    classes = {name.lower() for name in (*ERRORS, "TransportFailure")}
    assert (
        set(ANCHORS) - classes
        == {one.anchor for one in ADVICE if one.page == "errors.md"} - classes
    )


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_each_class_has_its_place(name):
    assert ANCHORS[name.lower()] == 1


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("warning", advice_tables.warning_codes()),
        ("reason", {reason.value for reason in FilterReason}),
        ("outcome", {kind.value for kind in OutcomeKind}),
        ("answer", advice_tables.statuses()),
        ("state", set(STATES)),
    ],
)
def test_each_code_of_the_package_is_there_and_no_other(kind, codes):
    assert codes
    assert {advice.code for advice in ADVICE if advice.kind == kind} == codes


def test_codes_are_read_from_the_source():
    assert {"no-ip", "pii-trait", "not-finite", "reserved-key"} <= advice_tables.warning_codes()
    assert {"400", "401", "413", "501", "503"} <= advice_tables.statuses()


def test_a_code_without_advice_stops_the_pages(monkeypatch):
    known = advice_tables.warning_codes()
    monkeypatch.setattr(advice_tables, "warning_codes", lambda: known | {"new-code"})
    with pytest.raises(LookupError, match="the warning new-code has no advice"):
        advice_tables.warnings()


def test_advice_on_a_code_that_nobody_gives_stops_the_pages(monkeypatch):
    old = Advice("old-code", "warning", "It was.", "Nothing.")
    monkeypatch.setattr(advice_tables, "ADVICE", (*ADVICE, old))
    with pytest.raises(LookupError, match="the warning old-code is no code"):
        advice_tables.warnings()


def test_each_rule_of_the_emulator_has_its_place():
    page = (DOCS / "emulator.md").read_text(encoding="utf-8")
    assert re.findall(r'<a id="([^"]+)">', page) == [rule.code for rule in RULES]


def test_each_record_of_the_log_has_its_place():
    page = (DOCS / "observability.md").read_text(encoding="utf-8")
    assert re.findall(r'<a id="log-([^"]+)">', page) == [event.name for event in LOG_EVENTS]
