"""Functions: what Segment, or who calls in its place, relies on."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kochava_segment import (
    AmbiguousDelivery,
    Answer,
    ConfigurationError,
    CredentialsRejected,
    EventFiltered,
    KochavaDestination,
    KochavaSegmentError,
    OutboxFull,
    OutcomeKind,
    RecordingTransport,
    Rejected,
    RetriesExhausted,
    TransportFailure,
    errors,
)
from kochava_segment.emulator import Faults
from kochava_segment.segment import functions as module
from kochava_segment.segment.function_errors import meaning_of
from kochava_segment.segment.functions import (
    BUDGET,
    DropEvent,
    EventNotSupported,
    FunctionError,
    Functions,
    InvalidEventPayload,
    RetryError,
    ValidationError,
)
from tests.messages import MISSING, android, ios

LOST = TransportFailure("the answer was lost", maybe_sent=True)
UNREACHED = TransportFailure("Kochava was not reached", maybe_sent=False)
HANDLERS = ("track", "identify", "screen", "page", "group", "alias", "delete")


def of_type(kind, **changes):
    return ios(type=kind, name="Home", **changes)


def answering(*answers, **options):
    """Functions over a transport that gives these answers in turn, the last of them for ever."""
    coming = list(answers)

    def answer(_request):
        what = coming.pop(0) if len(coming) > 1 else coming[0]
        if isinstance(what, Exception):
            raise what
        return Answer(what)

    transport = RecordingTransport(answer)
    policy = {"retry": {"max_attempts": 2, "base": 0}, **options}
    destination = KochavaDestination("koapp", transport=transport, hooks=(), **policy)
    return Functions(destination), transport


@pytest.fixture
def functions(kochava_emulator):
    with KochavaDestination(
        "koapp", endpoint=kochava_emulator.url, screens="view", hooks=()
    ) as destination:
        yield Functions(destination)


@pytest.fixture
def storing(kochava_emulator, tmp_path):
    with KochavaDestination(
        "koapp",
        endpoint=kochava_emulator.url,
        outbox=tmp_path / "outbox.db",
        devices=True,
        hooks=(),
    ) as destination:
        yield destination, Functions(destination)


# One event.


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("track", "event"),
        ("identify", "identity_link"),
        ("screen", "event"),
        ("page", "event"),
    ],
)
def test_each_handler_delivers_its_type(kochava_emulator, functions, kind, action):
    outcome = getattr(functions, f"on_{kind}")(of_type(kind))
    assert (outcome.kind, outcome.receipt.action) == (OutcomeKind.ACCEPTED, action)
    assert outcome.message_id == "m-1"
    assert kochava_emulator.counted == 1


@pytest.mark.parametrize("kind", ["group", "alias", "delete"])
def test_what_kochava_has_nothing_like_is_not_supported(functions, kind):
    with pytest.raises(EventNotSupported) as caught:
        getattr(functions, f"on_{kind}")(of_type(kind))
    assert caught.value.message_id == "m-1"


def test_without_an_outbox_deletion_says_what_to_configure(functions):
    with pytest.raises(EventNotSupported, match="needs the option outbox") as caught:
        functions.on_delete(of_type("delete"))
    (entry,) = functions.on_batch([of_type("delete")])
    assert entry == {"status": 501, "errormessage": str(caught.value)}


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("kind", [*HANDLERS, None])
def test_a_handler_takes_no_other_type(kochava_emulator, functions, handler, kind):
    if kind == handler:
        return
    with pytest.raises(InvalidEventPayload, match=f"type: must be {handler}"):
        getattr(functions, f"on_{handler}")(of_type(kind))
    assert kochava_emulator.received == 0


@pytest.mark.parametrize("event", [None, "track", [], 1])
def test_what_is_no_event_is_invalid(functions, event):
    with pytest.raises(InvalidEventPayload, match="must be an object"):
        functions.on_track(event)
    assert functions.on_batch([event])[0]["status"] == 400


@pytest.mark.parametrize(
    ("answers", "options", "changes", "error", "status", "attempts"),
    [
        ([503], {}, {}, RetryError, 503, 2),
        ([500], {}, {}, RetryError, 500, 2),
        ([429], {}, {}, RetryError, 429, 2),
        ([408], {}, {}, RetryError, 503, 2),
        ([UNREACHED], {}, {}, RetryError, 503, 2),
        ([LOST], {}, {}, RetryError, 503, 2),
        ([LOST, 400], {}, {}, RetryError, 503, 2),
        ([LOST, 501], {}, {}, RetryError, 503, 2),
        ([LOST, 500], {}, {}, RetryError, 500, 2),
        ([LOST], {"retry": {"maybe_sent": "give_up"}}, {}, ValidationError, 400, 1),
        (
            [LOST],
            {"retry": {"max_attempts": 1, "maybe_sent": {"event": "give_up"}}},
            {"event": "Application Installed"},
            RetryError,
            503,
            1,
        ),
        ([400], {}, {}, ValidationError, 400, 1),
        ([404], {}, {}, ValidationError, 404, 1),
        ([501], {}, {}, ValidationError, 400, 1),
        ([302], {}, {}, ValidationError, 400, 1),
        ([401], {}, {}, ValidationError, 401, 1),
        ([403], {}, {}, ValidationError, 403, 1),
        ([200], {}, {"integrations": {"Kochava": False}}, DropEvent, 200, 0),
        ([200], {"required_consent": ["ads"]}, {}, None, 200, 1),
        (
            [200],
            {"required_consent": ["ads"]},
            {"context__consent__categoryPreferences": {"ads": False}},
            DropEvent,
            200,
            0,
        ),
        ([200], {}, {"event": ""}, InvalidEventPayload, 400, 0),
        ([200], {}, {"properties": 3}, InvalidEventPayload, 400, 0),
        ([200], {}, {}, None, 200, 1),
    ],
)
def test_each_end_has_segment_s_name_and_status(answers, options, changes, error, status, attempts):
    event = ios(**changes)
    functions, transport = answering(*answers, **options)
    if error is None:
        functions.on_track(event)
    else:
        with pytest.raises(error) as caught:
            functions.on_track(event)
        assert type(caught.value) is error
        assert caught.value.message_id == "m-1"
        if error is not InvalidEventPayload:
            assert caught.value.status == status
            assert str(caught.value) == str(caught.value.__cause__)
    assert len(transport.requests) == attempts

    # A batch says the same.
    functions, _ = answering(*answers, **options)
    (entry,) = functions.on_batch([event])
    assert entry["status"] == status
    assert ("errormessage" in entry) == (status != 200)


def test_no_app_guid_for_an_event_is_a_validation_error():
    destination = KochavaDestination(
        app_guids={"com.other": "koother"}, transport=RecordingTransport(), hooks=()
    )
    with pytest.raises(ValidationError, match="app_guid"):
        Functions(destination).on_track(ios())
    (entry,) = Functions(destination).on_batch([ios()])
    assert entry["status"] == 400


def leaves(kind):
    return [leaf for sub in kind.__subclasses__() for leaf in leaves(sub)] or [kind]


@pytest.mark.parametrize(
    "kind", [kind for kind in leaves(KochavaSegmentError) if kind.__module__ == errors.__name__]
)
def test_every_error_of_the_library_means_something_to_segment(kind):
    made = {EventFiltered: lambda: EventFiltered(errors.FilterReason.LOOP, "")}
    error = made.get(kind, lambda: kind([]))()
    meaning = meaning_of(error)
    again = isinstance(meaning.translated(error), RetryError)
    retried = (RetriesExhausted, AmbiguousDelivery, errors.OutboxError)
    assert again == isinstance(error, retried)
    assert (meaning.status_of(error) in (429, 503)) == again


@pytest.mark.parametrize("error", [ValidationError, RetryError, DropEvent])
def test_errors_are_the_library_s_and_cross_processes(error):
    raised = error("why", message_id="m-1", status=418)
    copy = pickle.loads(pickle.dumps(raised))
    assert (type(copy), copy.detail, copy.message_id, copy.status) == (error, "why", "m-1", 418)
    assert isinstance(copy, FunctionError)
    assert isinstance(copy, KochavaSegmentError)


def test_errors_of_a_handler_s_own_become_entries_of_a_batch():
    functions, _ = answering(200)
    own = [ValidationError("a"), RetryError("b"), DropEvent("c"), RetryError("d", status=429)]
    entries = functions.on_batch([*own, ios()])
    assert entries == [
        {"status": 400, "errormessage": "a"},
        {"status": 503, "errormessage": "b"},
        {"status": 200},
        {"status": 429, "errormessage": "d"},
        {"status": 200},
    ]


def test_no_message_of_an_error_has_a_value_of_the_event():
    functions, _ = answering(400)
    event = ios(properties={"secret": "x" * 99}, userId="someone", event="Something Secret")
    with pytest.raises(ValidationError) as caught:
        functions.on_track(event)
    for value in ("someone", "Secret", "x" * 99):
        assert value not in str(caught.value)


# Time.


@pytest.mark.parametrize(
    "faults",
    [
        Faults(latency=5),
        Faults(error_rate=1, retry_after=0.4),
        Faults(error_rate=1, retry_after=60),
        Faults(reset_before_reading=1),
        Faults(trickle=1, trickle_delay=0.4),
    ],
    ids=["slow", "unavailable", "unavailable for long", "resets", "trickle"],
)
def test_the_answer_comes_within_the_budget_and_asks_for_another_try(kochava_emulator, faults):
    kochava_emulator.faults = faults
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, hooks=()) as destination:
        functions = Functions(destination, budget=1.0)
        began = time.monotonic()
        with pytest.raises(RetryError):
            functions.on_track(ios())
        assert time.monotonic() - began < 2


def test_a_batch_comes_within_the_budget_and_what_was_not_tried_is_to_be_sent_again(
    kochava_emulator,
):
    kochava_emulator.faults = Faults(latency=0.25)
    events = [ios(messageId=str(n), context__device__id=f"d{n}") for n in range(60)]
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, hooks=()) as destination:
        began = time.monotonic()
        entries = Functions(destination, budget=1.2, concurrency=4).on_batch(events)
        assert time.monotonic() - began < 3
    statuses = [entry["status"] for entry in entries]
    assert set(statuses) == {200, 503}
    assert 1 <= statuses.count(200) <= 20
    assert statuses.count(200) == kochava_emulator.counted
    assert "the time that the caller gave" in entries[-1]["errormessage"]


def test_a_retry_that_has_time_is_made(kochava_emulator, functions):
    kochava_emulator.faults = Faults(script=("503", "reset-before-reading"))
    assert functions.on_track(ios()).receipt.attempts == 3


def test_the_budget_leaves_segment_some_of_its_five_seconds():
    assert 4 <= BUDGET < 5


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"budget": 0.5}, "budget"),
        ({"budget": float("inf")}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"budget": "4"}, "budget"),
        ({"budget": True}, "budget"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 2.0}, "concurrency"),
    ],
)
def test_wrong_arguments_are_named(keywords, named):
    destination = KochavaDestination("koapp", transport=RecordingTransport())
    with pytest.raises(ConfigurationError) as caught:
        Functions(destination, **keywords)
    assert [problem.path for problem in caught.value.problems] == [named]


def test_an_outbox_that_blocks_is_refused(tmp_path):
    with (
        KochavaDestination("koapp", outbox=tmp_path / "o.db", when_full="block") as destination,
        pytest.raises(ConfigurationError, match="when_full"),
    ):
        Functions(destination)


# Batches.


def mixed(count, devices=40):
    """Events of every kind and fate, with the status that each is to have."""
    fates = (
        ({"properties": {"place": 0}}, 200),
        ({"event": "Order Completed", "properties": {"revenue": "9.99"}}, 200),
        ({"type": "identify"}, 200),
        ({"event": "Application Installed"}, 200),
        ({"type": "screen", "name": "Home"}, 200),
        ({"integrations": {"All": False}}, 200),
        ({"properties": []}, 400),
        ({"event": MISSING}, 400),
        ({"type": "group"}, 501),
        ({"type": "delete", "userId": "u-gone"}, 501),
    )
    events, statuses = [], []
    for n in range(count):
        changes, status = fates[n % len(fates)]
        start = ios if n % 2 else android
        events.append(start(messageId=str(n), context__device__id=f"d{n % devices}", **changes))
        statuses.append(status)
    return events, statuses


@pytest.mark.parametrize("count", [400, 1000])
def test_a_mixed_batch_is_answered_in_order_and_in_time(kochava_emulator, functions, count):
    kochava_emulator.faults = Faults(latency=0.016)
    events, statuses = mixed(count)
    began = time.monotonic()
    entries = functions.on_batch(events)
    assert time.monotonic() - began < 5
    assert [entry["status"] for entry in entries] == statuses
    assert all(bool(entry.get("errormessage")) == (entry["status"] != 200) for entry in entries)
    assert kochava_emulator.counted == count // 2  # screens are on


def test_an_entry_has_no_other_keys_than_segment_s(functions):
    for entry in functions.on_batch(mixed(20)[0]):
        assert set(entry) == ({"status"} if entry["status"] == 200 else {"status", "errormessage"})


def test_events_of_a_device_keep_their_order(kochava_emulator, functions):
    kochava_emulator.faults = Faults(latency=0.002)
    events = [
        ios(messageId=str(n), context__device__id=f"d{n % 9}", properties={"place": n})
        for n in range(300)
    ]
    functions.on_batch(events)
    arrived = {}
    for request in kochava_emulator.accepted:
        device = request.payload["kochava_device_id"]
        arrived.setdefault(device, []).append(request.payload["data"]["event_data"]["place"])
    assert arrived == {f"d{n}": list(range(n, 300, 9)) for n in range(9)}


def test_a_failing_event_harms_no_other(kochava_emulator, functions):
    kochava_emulator.faults = Faults(script=("400", "401", "success-zero"))
    statuses = [
        entry["status"]
        for entry in functions.on_batch(
            [ios(messageId=str(n), context__device__id="d") for n in range(6)]
        )
    ]
    assert statuses == [400, 401, 400, 200, 200, 200]


def test_a_batch_may_be_empty_or_any_iterable(functions):
    assert functions.on_batch([]) == []
    assert functions.on_batch(ios(messageId=str(n)) for n in range(3)) == [{"status": 200}] * 3


@pytest.mark.parametrize("events", [ios(), "events", b"events", None, 3])
def test_what_is_no_batch_is_refused(functions, events):
    with pytest.raises(InvalidEventPayload, match="must be a list of events"):
        functions.on_batch(events)


def test_reasons_of_what_was_filtered_are_logged(functions, caplog):
    caplog.set_level(logging.INFO, "kochava_segment.segment")
    functions.on_batch(
        [ios(integrations={"Kochava": False}), ios(), ios(integrations={"All": False})]
    )
    assert [record.getMessage() for record in caplog.records] == [
        "events of a batch that were filtered: 2, FILTERED_BY_INTEGRATIONS_OBJECT"
    ]


def test_events_are_not_changed(functions):
    events, _ = mixed(10)
    before = pickle.dumps(events)
    functions.on_batch(events)
    assert pickle.dumps(events) == before


def test_several_threads_share_functions(kochava_emulator, functions):
    def batch(thread):
        return functions.on_batch(
            [ios(messageId=f"{thread}-{n}", context__device__id=f"d{n}") for n in range(50)]
        )

    with ThreadPoolExecutor(4) as pool:
        for entries in pool.map(batch, range(4)):
            assert entries == [{"status": 200}] * 50
    assert kochava_emulator.counted == 200
    ids = {request.payload["kochava_device_id"] for request in kochava_emulator.accepted}
    assert len(ids) == 50


# With an outbox.


def test_with_an_outbox_events_are_stored_and_delivered_later(kochava_emulator, storing):
    destination, functions = storing
    kochava_emulator.faults = Faults(latency=2.0)
    began = time.monotonic()
    assert functions.on_track(ios()).kind is OutcomeKind.QUEUED
    assert functions.on_track(ios()).kind is OutcomeKind.DUPLICATE
    assert time.monotonic() - began < 2
    destination.flush(10)
    assert kochava_emulator.counted == 1


def test_with_an_outbox_a_batch_is_stored(kochava_emulator, storing):
    destination, functions = storing
    events, statuses = mixed(400)
    statuses = [
        200 if event["type"] == "delete" else status
        for event, status in zip(events, statuses, strict=True)
    ]
    began = time.monotonic()
    assert [entry["status"] for entry in functions.on_batch(events)] == statuses
    assert time.monotonic() - began < 5
    destination.flush(20)
    assert kochava_emulator.counted == 160  # screens are off, and nothing counts twice


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"integrations": {"Kochava": False}}, DropEvent),
        ({"properties": 3}, InvalidEventPayload),
    ],
)
def test_with_an_outbox_what_is_not_stored_has_its_name(storing, changes, error):
    _, functions = storing
    with pytest.raises(error):
        functions.on_track(ios(**changes))


def test_a_deletion_forgets_the_user(kochava_emulator, storing):
    destination, functions = storing
    functions.on_track(ios())
    destination.flush(10)
    link = {"type": "identify", "messageId": "m-2", "userId": "u-42", "traits": {"a": 1}}
    assert functions.on_identify(link).kind is OutcomeKind.QUEUED  # the device is known
    functions.on_delete({"type": "delete", "messageId": "m-3", "userId": "u-42"})
    with pytest.raises(InvalidEventPayload):
        functions.on_identify({**link, "messageId": "m-4"})
    assert kochava_emulator.counted >= 1


def test_a_deletion_names_its_user(storing):
    _, functions = storing
    with pytest.raises(InvalidEventPayload, match="userId"):
        functions.on_delete({"type": "delete", "messageId": "m-3"})


def test_an_outbox_that_takes_nothing_is_to_be_tried_again(storing, monkeypatch):
    destination, functions = storing
    assert functions.on_batch([ios()]) == [{"status": 200}]
    taken = []

    def full(entries, **_):
        taken.append(len(entries))
        raise OutboxFull("the outbox is full")

    monkeypatch.setattr(destination.outbox, "put", full)
    with pytest.raises(RetryError, match="the outbox is full") as caught:
        functions.on_track(ios(messageId="x"))
    assert caught.value.status == 503
    entries = functions.on_batch([ios(messageId=str(n)) for n in range(250)])
    assert entries == [{"status": 503, "errormessage": "the outbox is full"}] * 250
    assert taken == [1, 100]  # nothing may overtake what failed


def test_what_a_slow_outbox_did_not_take_in_time_is_to_be_sent_again(storing, monkeypatch):
    destination, _ = storing
    put = destination.outbox.put

    def slow(entries, **more):
        time.sleep(0.6)
        return put(entries, **more)

    monkeypatch.setattr(destination.outbox, "put", slow)
    events = [ios(messageId=str(n)) for n in range(300)]
    entries = Functions(destination, budget=1.0).on_batch(events)
    assert [entry["status"] for entry in entries] == [200] * 200 + [503] * 100
    assert entries[-1]["errormessage"] == "the time was up before this event was stored"
    monkeypatch.setattr(destination.outbox, "put", put)
    assert Functions(destination).on_batch(events) == [{"status": 200}] * 300


# With settings.


@pytest.fixture(autouse=True)
def _forget_destinations():
    yield
    module.close_kept()


@pytest.fixture
def settings(kochava_emulator):
    return {"appGuid": "koapp", "endpoint": kochava_emulator.url, "screens": "view"}


@pytest.mark.parametrize("kind", ["track", "identify", "screen", "page"])
def test_each_handler_takes_settings(kochava_emulator, settings, kind):
    handler = getattr(module, f"on_{kind}")
    assert handler(of_type(kind), settings).kind is OutcomeKind.ACCEPTED
    assert kochava_emulator.accepted[0].payload["kochava_app_id"] == "koapp"


@pytest.mark.parametrize("kind", ["group", "alias", "delete"])
def test_each_unsupported_type_has_its_handler_with_settings(settings, kind):
    with pytest.raises(EventNotSupported):
        getattr(module, f"on_{kind}")(of_type(kind), settings)


def test_a_batch_takes_settings(settings):
    events, statuses = mixed(20)
    assert [entry["status"] for entry in module.on_batch(events, settings)] == statuses


def test_wrong_settings_are_a_validation_error_that_names_them_all():
    wrong = {
        "appGuid": "koapp",
        "apiKye": "k",
        "maxRate": "fast",
        "nested": "sideways",
        "apiSecret": "s",
        "hooks": "print",
    }
    with pytest.raises(ValidationError) as caught:
        module.on_track(ios(), wrong)
    for named in ("apiKye", "maxRate", "nested", "apiKey", "hooks"):
        assert f"{named}:" in str(caught.value), named
    assert isinstance(caught.value.__cause__, ConfigurationError)
    with pytest.raises(ValidationError):
        module.on_batch([ios()], wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"appGiud": "koapp"}, "appGiud: is not an option; did you mean appGuid?"),
        ({"maxRate": -1}, "maxRate: must be greater than 0, and finite"),
        ({"appGuid": "koapp", "apiKey": "k"}, "apiSecret: is missing: apiKey and apiSecret go"),
        ({"identityTraits": ["email"]}, "add hashTraits={'email': 'sha256'}"),
        ({"outbox": "outbox.db", "whenFull": "block"}, "whenFull: must not be block"),
    ],
)
def test_what_is_told_of_settings_names_them_as_they_are_set(wrong, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValidationError) as caught:
        module.on_track(ios(), wrong)
    assert str(caught.value).startswith("the settings are wrong: ")
    assert told in str(caught.value)


def test_a_destination_is_made_once_for_equal_settings(settings, monkeypatch):
    made = []

    class Counted(KochavaDestination):
        def __init__(self, *args, **options):
            made.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr("kochava_segment.segment.function_settings.KochavaDestination", Counted)
    barrier = threading.Barrier(8)

    def call(n):
        barrier.wait()
        return module.on_track(ios(messageId=str(n)), dict(reversed(settings.items())))

    with ThreadPoolExecutor(8) as pool:
        assert {outcome.kind for outcome in pool.map(call, range(8))} == {OutcomeKind.ACCEPTED}
    assert len(made) == 1
    module.on_track(ios(), {**settings, "screens": "named"})
    assert len(made) == 2


def test_an_error_of_credentials_is_permanent():
    # Two names that readers may expect side by side.
    assert not issubclass(CredentialsRejected, Rejected)
    assert meaning_of(CredentialsRejected("")).raised is ValidationError
