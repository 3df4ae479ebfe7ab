import pytest

from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.emulator import Faults
from tests.messages import ADID, IDFA, IDFV, android, ios
from tests.server.console.running_console import Visitor, running_console, text_of

ACCOUNT = {"account_id": "17", "account_key": "key-of-the-account"}


def test_a_user_is_looked_up_and_their_devices_are_cut_short(console, visitor):
    console.receive(ios(), android(messageId="m-2"))
    answer = visitor.post("/devices", {"user_id": " u-42 "})
    text = text_of(answer)
    assert "2 devices" in text
    assert "Platform apple" in text
    assert "Platform android" in text
    assert "idfa EA75…" in text
    for identifier in (IDFA, IDFV, ADID):
        assert identifier not in answer.text
    assert "u-42" not in answer.url


def test_devices_are_revealed_when_asked_for(console, visitor):
    console.receive(ios())
    visitor.get("/devices")
    answer = visitor.post("/devices", {"user_id": "u-42", "reveal": "yes"})
    assert IDFA in answer.text
    assert IDFV in answer.text


def test_a_user_without_devices_is_said_so(visitor):
    assert "0 devices" in text_of(visitor.post("/devices", {"user_id": "nobody"}))


@pytest.mark.parametrize("path", ["/devices", "/devices/confirm", "/devices/forget"])
def test_without_a_user_id_nothing_is_done(visitor, path):
    assert visitor.post(path, {"user_id": "  ", "sure": "yes"}).status_code == 400


def test_a_user_is_forgotten_after_a_confirmation(console, visitor):
    console.receive(ios(), ios(messageId="m-2", userId="another", anonymousId="b"))
    console.kochava.faults = Faults(error_rate=1.0, error_status=400)
    console.receive(ios(messageId="undelivered"))
    asked = visitor.post("/devices/confirm", {"user_id": "u-42"})
    assert "Devices known 1" in text_of(asked)
    assert "Kochava is not told" in text_of(asked)
    assert visitor.post("/devices/forget", {"user_id": "u-42"}).status_code == 400  # nothing ticked
    assert "1 device" in text_of(visitor.post("/devices", {"user_id": "u-42"}))

    answer = visitor.post("/devices/forget", {"user_id": "u-42", "sure": "yes"})
    text = text_of(answer)
    assert "Devices removed from the directory 1" in text
    assert "Undelivered requests discarded 1" in text
    assert "Data subject requests queued for Kochava 0" in text
    assert "u-42" not in answer.text
    visitor.get("/devices")
    assert "0 devices" in text_of(visitor.post("/devices", {"user_id": "u-42"}))
    assert "1 device" in text_of(visitor.post("/devices", {"user_id": "another"}))
    (entry,) = entries(console.destination.outbox, EntryFilter(message_id="undelivered"))
    assert entry.state == "discarded"


def test_kochava_is_told_where_the_account_is_known(tmp_path):
    with running_console(tmp_path, devices=True, relay=False, **ACCOUNT) as running:
        running.destination.enqueue(ios())
        one = Visitor(running.url).log_in()
        one.get("/devices")
        asked = text_of(one.post("/devices/confirm", {"user_id": "u-42"}))
        assert "a data subject request is queued" in asked
        answer = one.post("/devices/forget", {"user_id": "u-42", "sure": "yes"})
        assert "Data subject requests queued for Kochava 1" in text_of(answer)
        assert ACCOUNT["account_key"] not in answer.text
        one.close()
