"""Messages of somebody who means harm to the person at the terminal."""

import json
import os
import pty
import subprocess
import threading

import pytest

from kochava_segment import KochavaDestination, Rejected
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.printable import printable
from tests.cli.process import COMMAND, environment, run, start
from tests.messages import ios

# Clears the screen; sets the title of the window; the same in one byte; turns text around; begins a
# line; is a tag of rich's, alone and as a pair.
POISON = (
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x9b2J",
    "\u202egnp.exe",
    "m\n2026 ERROR",
    "[/x]",
    "[red]r[/]",
)


def on_terminal(*arguments, stdin=None):
    """What a command writes to a terminal, on which click and rich hold nothing back."""
    ours, theirs = pty.openpty()
    written = []

    def read():
        try:
            while piece := os.read(ours, 65_536):
                written.append(piece)
        except OSError:  # the last of them has closed it
            return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        subprocess.run(
            [*COMMAND, *map(str, arguments)],
            stdin=stdin or subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM="dumb", NO_COLOR="1", COLUMNS="200"),
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)
    return b"".join(written).decode()


def steers(text):
    """The characters in an output that do more than to be read, beside the ends of its lines."""
    return {char for char in text if not char.isprintable()} - {"\r", "\n"}


@pytest.fixture
def outbox(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with KochavaDestination("koexample", outbox=path, relay=False) as destination:
        for message_id in POISON:
            destination.enqueue(ios(messageId=message_id))
    return path


def test_a_list_of_an_outbox_shows_a_poisoned_message_id_and_obeys_none(outbox):
    shown = on_terminal("outbox", "list", "--state", "waiting", "--outbox", outbox)
    assert not steers(shown)
    for message_id in POISON:
        assert printable(message_id) in shown
    assert "\n2026 ERROR" not in shown


def test_what_an_outbox_could_not_deliver_is_reported_without_obeying_it(tmp_path):
    lines = "\n".join(json.dumps(ios(messageId=message_id)) for message_id in POISON)
    messages = tmp_path / "messages.jsonl"
    messages.write_text(lines)
    with KochavaEmulator(app_guids=["another"]) as kochava, messages.open() as given:
        shown = on_terminal(
            *("send", "--outbox", tmp_path / "o.sqlite3", "--app-guid", "koexample"),
            *("--endpoint", kochava.url),
            stdin=given,
        )
    assert shown.count("rejected: ") >= len(POISON)
    assert "[red]r[/]: rejected" in shown
    assert "m\\n2026 ERROR: rejected" in shown
    assert "\x9b" not in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown


def test_an_explanation_obeys_no_name_and_no_value(tmp_path):
    poisoned = dict.fromkeys(POISON, POISON[0])
    (tmp_path / "message.json").write_text(
        json.dumps(ios(event=POISON[1], messageId=POISON[0], properties=poisoned))
    )
    shown = on_terminal("explain", "--app-guid", "koexample", tmp_path / "message.json")
    assert "event_data.\\x1b[2J = " in shown
    assert not steers(shown)


def test_a_map_is_ascii(tmp_path):
    (tmp_path / "message.json").write_text(json.dumps(ios(messageId="".join(POISON))))
    shown = run("map", "--app-guid", "koexample", tmp_path / "message.json").stdout
    assert shown.isascii()
    assert not steers(shown)


def test_the_emulator_obeys_no_name_in_what_it_complains_of():
    import http.client

    process = start("emulator")
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = json.dumps({"device_ids": [], POISON[0]: 1, POISON[4]: 1})
        headers = {"Content-Type": "application/json", "Authentication-Key": "k"}
        connection.request("POST", "/accounts/7/privacy/scrub", body, headers)
        connection.getresponse().read()
        connection.close()
    finally:
        process.terminate()
        _, complaints = process.communicate(timeout=30)
    assert "\\x1b[2J is no field" in complaints
    assert not steers(complaints)
    assert "\n2026 ERROR" not in complaints


def test_a_message_id_forges_no_line_of_a_log_and_is_whole_in_its_fields(caplog):
    with (
        KochavaEmulator(app_guids=["another"]) as kochava,
        KochavaDestination("koexample", endpoint=kochava.url) as destination,
    ):
        for message_id in POISON:
            with pytest.raises(Rejected):
                destination.send(ios(messageId=message_id))
    sentences = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(sentences) == len(POISON)
    assert not any(map(steers, sentences))
    assert not any("\n" in sentence for sentence in sentences)
    assert [record.kochava_message_id for record in caplog.records][-len(POISON) :] == list(POISON)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä ス", "plain ä ス"),
        ("a\x1bb", "a\\x1bb"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u2028\u202e\ufeff", "\\u2028\\u202e\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_not_printed_is_written_as_python_writes_it(text, shown):
    assert printable(text) == shown
