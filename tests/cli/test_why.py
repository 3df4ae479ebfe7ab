"""`why` says what a code means and what to do, where a code may have come from."""

import json

import pytest
from click.testing import CliRunner

from kochava_segment.advice import ADVICE
from kochava_segment.cli import cli
from kochava_segment.emulator.checks import RULES
from kochava_segment.log_events import LOG_EVENTS
from tests.messages import ios

CODES = sorted({*(one.code for one in (*ADVICE, *RULES)), *(event.name for event in LOG_EVENTS)})


def why(*codes):
    return CliRunner().invoke(cli, ["why", *codes])


def test_a_code_with_what_happened_what_to_do_and_where_more_is():
    assert why("pii-user-id").output == (
        "pii-user-id (warning)\n"
        "  `userId` is an e-mail address and was left out.\n"
        "  What to do: Use an opaque id.\n"
        "  More: docs/errors.md#pii-user-id\n"
    )


def test_all_that_share_a_name_are_told():
    heads = [line for line in why("no-ip").output.splitlines() if line and line[0] != " "]
    assert heads == ["no-ip (warning)", "no-ip (the emulator's advice)"]


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_known_however_it_is_written(code):
    for written in (code.lower(), code.upper(), code.replace("_", "-"), code.replace(" ", "_")):
        done = why(written)
        assert done.exit_code == 0
        assert f"\n{code} (" in f"\n{done.output}"


def test_a_state_of_two_words_needs_no_quotes():
    assert why("in", "flight").output == why("in flight").output
    assert why("in", "flight").output.startswith("in flight (state)\n")


def test_a_record_of_the_log_with_its_sentence_and_what_to_do():
    assert why("outbox_has_room").output == (
        "outbox_has_room (log record)\n"
        "  WARNING: the outbox has room again\n"
        "  After `outbox_full`.\n"
        "  More: docs/observability.md#log-outbox_has_room\n"
    )
    assert "  WARNING: CLIENT gave a wrong token\n" in why("wrong_token").output


def test_no_place_of_a_field_is_left_in_a_sentence():
    assert "%" not in why(*(event.name for event in LOG_EVENTS)).output


def test_several_at_once():
    output = why("LOOP", "503").output
    assert output.index("LOOP (reason)") < output.index("503 (answer)")


def test_without_a_code_all_are_listed():
    output = why().output
    assert all(code in output for code in CODES)
    assert max(map(len, output.splitlines())) <= 100


def test_a_code_that_there_is_not():
    done = why("no-ipp")
    assert done.exit_code == 2
    assert "Did you mean no-ip?" in done.output
    assert "`kochava-segment why` lists all" in why("xyzzy").output


@pytest.mark.parametrize(
    ("message", "pointed"),
    [
        (json.dumps(ios()), False),
        ('{"type":"track","event":"Level Up","anonymousId":"a"}', True),
        ('{"type":"group"}', True),
        ('{"type":"track","event":"Level Up","integrations":{"Kochava":false}}', True),
    ],
)
def test_a_report_leads_there_where_it_has_codes(tmp_path, kochava_emulator, message, pointed):
    file = tmp_path / "events.jsonl"
    file.write_text(message)
    command = ["send", "--app-guid", "koapp", "--endpoint", kochava_emulator.url, str(file)]
    done = CliRunner().invoke(cli, command)
    assert ("kochava-segment why CODE" in done.output) is pointed
