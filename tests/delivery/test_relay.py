"""The relay: real threads and files, a transport that answers as it is told."""

import logging
import threading
import time
from collections import defaultdict

import pytest

from kochava_segment.delivery import leases
from kochava_segment.delivery import relay as module
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.judging import TOKEN_EXPIRED
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_changes import retry
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.delivery.relay import Relay, RelaySettings
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.transport import RecordingTransport
from kochava_segment.delivery.workers import ThreadedWorkers
from tests.delivery.outboxes import assert_consistent, lease, put, register, rows, states

OK = Answer(200, {}, b'{"success":"1"}')
QUICK = RetryPolicy(max_attempts=5, base=0.02, cap=0.02, deadline=60)


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


class _Hook:
    def __init__(self):
        self.events = defaultdict(list)

    def attempt(self, event):
        self.events["attempt"].append(event)

    def retry_scheduled(self, event):
        self.events["retry"].append(event)

    def outcome(self, event):
        self.events["outcome"].append(event)


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    yield box
    box.close()


@pytest.fixture
def relays(box, monkeypatch):
    """Makes relays of an outbox that look often, and stops them at the end."""
    monkeypatch.setattr(module, "_POLL", 0.03)
    made = []

    def make(answer=None, *, start=True, prepare=lambda request: request, **settings):
        hooks, credentials = settings.pop("hooks", ()), settings.pop("credentials", b"")
        transport = RecordingTransport(answer)
        settings = RelaySettings(**{"workers": 4, "retry": QUICK, **settings})
        relay = Relay(
            box,
            transport,
            prepare=prepare,
            credentials=credentials,
            settings=settings,
            hooks=hooks,
        )
        made.append(relay)
        if start:
            relay.start()
        return relay, transport

    yield make
    for relay in made:
        relay.stop(1.0)


def sent(transport):
    return [request.message_id for request in transport.requests]


def drained(box):
    return outbox_status(box).pending == 0


def test_everything_is_delivered_once_and_installs_go_first(box, relays):
    for device in range(10):
        put(box, *(f"{device}-{number}" for number in range(20)), device=f"d{device}")
        put(box, f"{device}-install", device=f"d{device}", action="install")
    _, transport = relays()
    wait_until(lambda: drained(box))
    assert len(sent(transport)) == len(set(sent(transport))) == 210
    for device in range(10):
        own = [name for name in sent(transport) if name.startswith(f"{device}-")]
        assert own == [f"{device}-install", *(f"{device}-{number}" for number in range(20))]
    assert set(states(box).values()) == {"delivered"}
    assert_consistent(box)


def test_what_is_put_in_later_is_sent_soon_when_it_is_woken(box, relays, monkeypatch):
    monkeypatch.setattr(module, "_POLL", 60.0)
    relay, transport = relays(lease=1000.0)
    relay.wait_until_started(5)
    for number in range(20):
        put(box, f"m-{number}", device=f"d{number}")
        relay.wake()
        wait_until(lambda number=number: len(transport.requests) > number, 5)


def test_what_another_process_puts_in_is_found_without_waking(box, relays):
    relay, transport = relays()
    relay.wait_until_started(5)
    put(box, "m-1")
    wait_until(lambda: sent(transport) == ["m-1"], 5)


def test_it_is_prepared_when_it_is_sent(box, relays):
    put(box, "m-1")
    _, transport = relays(prepare=lambda request: request.__class__(
        url="https://elsewhere.example/", headers={"Kochava-Api-Key": "now"}, body=request.body,
        ordering_key="", action=request.action, message_id=request.message_id,
    ))  # fmt: skip
    wait_until(lambda: drained(box))
    (request,) = transport.requests
    assert (request.url, request.headers["Kochava-Api-Key"]) == (
        "https://elsewhere.example/",
        "now",
    )
    assert request.body == b'{"number":"m-1"}'


def test_a_failing_device_keeps_its_order_and_holds_up_no_other(box, relays):
    put(box, "bad-1", "bad-2", device="bad")
    put(box, *(f"good-{number}" for number in range(30)), device="good")
    failures = iter([Answer(503)] * 3)

    def answer(request):
        return next(failures, OK) if request.message_id == "bad-1" else OK

    _, transport = relays(answer)
    wait_until(lambda: drained(box))
    assert [name for name in sent(transport) if name.startswith("bad")] == ["bad-1"] * 4 + ["bad-2"]
    (entry,) = entries(box, EntryFilter(message_id="bad-1"))
    assert (entry.state, entry.attempts, entry.status) == ("delivered", 4, 200)


@pytest.mark.parametrize(
    ("workers", "messages", "least", "most"), [(3, 60, 3, 3), (None, 400, 8, 256)]
)
def test_as_many_are_posted_at_once_as_were_asked_for_or_as_pay_off(
    box, relays, workers, messages, least, most
):
    for number in range(messages):
        put(box, f"m-{number}", device=f"d{number}")
    active, counts = set(), []

    def answer(request):
        active.add(request.message_id)
        counts.append(len(active))
        time.sleep(0.02)
        active.discard(request.message_id)
        return OK

    relays(answer, workers=workers)
    wait_until(lambda: drained(box))
    assert least <= max(counts) <= most


def test_devices_with_many_messages_keep_all_workers_busy(box, relays):
    for device in range(40):
        put(box, *(f"{device}-{number}" for number in range(20)), device=f"d{device}")
    active, counts = set(), []

    def answer(request):
        active.add(request.message_id)
        counts.append(len(active))
        time.sleep(0.02)
        active.discard(request.message_id)
        return OK

    relays(answer, workers=32)
    wait_until(lambda: drained(box))
    assert max(counts) == 32


def test_workers_that_do_not_pay_off_any_more_end(box, relays):
    relay, transport = relays(lambda _: time.sleep(0.001) or OK, workers=6)

    def send(first):
        for number in range(first, first + 60):
            put(box, f"m-{number}", device=f"d{number}")
        relay.wake()
        wait_until(lambda: drained(box) and len(transport.requests) == first + 60)
        return len(relay._workers._threads)

    assert send(0) == 6
    relay._concurrency.limit = 2
    assert send(60) == 2
    relay._concurrency.limit = 5
    assert send(120) == 5


def test_what_is_in_flight_grows_only_while_workers_run_out_of_work(box, relays, monkeypatch):
    relay, _ = relays(start=False, workers=2)
    for number in range(3000):
        put(box, f"m-{number}", device=f"d{number}")
    assert relay._most_in_flight == 32
    seen = []
    settle = leases.settle

    def note_and_settle(*given):
        seen.append(relay._most_in_flight)
        return settle(*given)

    monkeypatch.setattr(leases, "settle", note_and_settle)
    relay.start()
    wait_until(lambda: drained(box))
    assert 32 < max(seen) <= 256
    wait_until(lambda: relay._most_in_flight == 32)  # nothing is left to do


def test_waiting_takes_no_thread(box, relays):
    for number in range(20):
        put(box, f"bad-{number}", device=f"d{number}")
    put(box, "good", device="good")

    def answer(request):
        return OK if request.message_id == "good" else Answer(503, {"Retry-After": "600"})

    relays(answer, workers=2)
    wait_until(lambda: states(box)["good"] == "delivered")


@pytest.mark.parametrize(
    ("answer", "state", "attempts", "reason"),
    [
        (Answer(400), "rejected", 1, "Kochava refused the request"),
        (Answer(200, {}, b'{"success":"0"}'), "rejected", 1, "Kochava refused the request"),
        (Answer(500), "exhausted", 5, "Kochava answered 500"),
        (TransportFailure("no route", maybe_sent=False), "exhausted", 5, "no route"),
        (TransportFailure("it was reset", maybe_sent=True), "ambiguous", 5, "it was reset"),
        (RuntimeError("secret"), "ambiguous", 5, "the transport raised RuntimeError"),
    ],
)
def test_what_fails_ends_where_a_person_reads_it(box, relays, answer, state, attempts, reason):
    put(box, "m-1")

    def give(_request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    hook = _Hook()
    relays(give, hooks=[hook])
    wait_until(lambda: drained(box))
    (entry,) = entries(box, EntryFilter(), bodies=True)
    assert (entry.state, entry.attempts, entry.reason) == (state, attempts, reason)
    assert entry.payload == {"number": "m-1"}
    wait_until(lambda: hook.events["outcome"])
    (outcome,) = hook.events["outcome"]
    names = {"rejected": "Rejected", "exhausted": "RetriesExhausted"}
    assert outcome.outcome == names.get(state, "AmbiguousDelivery")
    assert len(hook.events["attempt"]) == attempts
    assert len(hook.events["retry"]) == attempts - 1


def test_a_policy_may_give_up_what_may_have_been_counted(box, relays):
    put(box, "e-1", device="d1")
    put(box, "i-1", device="d2", action="install")
    failures = {"e-1": 1, "i-1": 1}

    def answer(request):
        if failures[request.message_id]:
            failures[request.message_id] -= 1
            raise TransportFailure("it was reset", maybe_sent=True)
        return OK

    policy = RetryPolicy(base=0.01, maybe_sent={"event": "give_up"})
    relays(answer, retry=policy)
    wait_until(lambda: drained(box))
    assert states(box) == {"e-1": "ambiguous", "i-1": "delivered"}
    assert outbox_status(box).maybe_repeated == 1


def test_an_exhausted_request_lets_the_next_of_its_device_go(box, relays):
    put(box, "m-1", "m-2")
    _, transport = relays(lambda r: Answer(500) if r.message_id == "m-1" else OK)
    wait_until(lambda: drained(box))
    assert sent(transport) == ["m-1"] * 5 + ["m-2"]


def test_the_deadline_counts_what_was_waited_and_not_the_time_in_between(box, relays):
    put(box, "m-1")
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET queued_at = 0, changed_at = 0, waited = 59.99")
    relays(lambda _: Answer(503, {"Retry-After": "30"}))
    wait_until(lambda: drained(box))
    assert states(box) == {"m-1": "exhausted"}


# 429.


def test_a_429_rests_the_app_and_no_other(box, relays):
    for number in range(20):
        put(box, f"a-{number}", device=f"d{number}", app="koa")
        put(box, f"b-{number}", device=f"d{number}", app="kob")
    limited = threading.Event()

    def answer(request):
        if request.message_id.startswith("a-") and not limited.is_set():
            return Answer(429, {"Retry-After": "600"})
        return OK

    _, transport = relays(answer, workers=2)
    wait_until(lambda: sum(name.startswith("b-") for name in sent(transport)) == 20, 20)
    assert sum(name.startswith("a-") for name in sent(transport)) <= 2, "one for each worker"
    with_state = states(box)
    assert {with_state[f"a-{number}"] for number in range(20)} == {"waiting"}


def test_it_goes_on_after_the_rest_that_a_429_asked_for(box, relays):
    put(box, *(f"m-{number}" for number in range(3)))
    times = []

    def answer(_request):
        times.append(time.monotonic())
        return Answer(429, {"Retry-After": "1"}) if len(times) == 1 else OK

    relays(answer)
    wait_until(lambda: drained(box))
    assert times[1] - times[0] >= 0.95
    assert len(times) == 4


# Refused credentials.


def test_refused_credentials_pause_the_app_loudly_and_burn_nothing(box, relays, caplog):
    for number in range(30):
        put(box, f"m-{number}", device=f"d{number}")
    with caplog.at_level(logging.WARNING):
        _, transport = relays(lambda _: Answer(401), credentials=b"bad")
        wait_until(lambda: outbox_status(box).states == {"paused": 30})
        time.sleep(0.4)
    assert len(transport.requests) <= 4, "one for each worker"
    loud = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(loud) == 1
    assert "Kochava refused its credentials (status 401)" in loud[0].getMessage()
    assert {entry.attempts for entry in entries(box, EntryFilter())} == {0}


def test_other_credentials_go_on_where_the_refused_ones_paused(box, relays):
    put(box, "m-1", "m-2")
    bad, _ = relays(lambda _: Answer(403), credentials=b"bad")
    wait_until(lambda: outbox_status(box).paused == ("koapp",))
    bad.stop()
    relays(credentials=b"good")
    wait_until(lambda: drained(box))
    assert set(states(box).values()) == {"delivered"}


def test_a_relay_with_old_credentials_does_not_stop_one_with_new_ones(box, relays):
    """As while a deployment replaces one process after the other."""
    for number in range(20):
        put(box, f"m-{number}", device=f"d{number}")
    _, refused = relays(lambda _: Answer(401), credentials=b"old", lease=1.0)
    wait_until(lambda: outbox_status(box).paused == ("koapp",))
    for number in range(3):
        relays(lambda _: Answer(401), credentials=b"old", lease=1.0)
        relays(credentials=b"new", lease=1.0)
        put(box, *(f"{number}-{index}" for index in range(10)))
    wait_until(lambda: drained(box))
    assert len(refused.requests) <= 4


def test_the_same_refused_credentials_are_told_and_not_tried_again(box, relays, caplog):
    put(box, "m-1")
    with box.file.writing() as cursor:
        leases.pause(cursor, "koapp", b"bad")
    with caplog.at_level(logging.ERROR):
        relay, transport = relays(credentials=b"bad")
        relay.wait_until_started(5)
        time.sleep(0.3)
    assert transport.requests == ()
    assert "outbox retry --state paused" in caplog.text


def test_a_person_who_says_that_they_are_right_is_believed(box, relays):
    put(box, "m-1")
    mended = threading.Event()
    relays(lambda _: OK if mended.is_set() else Answer(401), credentials=b"same")
    wait_until(lambda: outbox_status(box).paused == ("koapp",))
    mended.set()
    retry(box, EntryFilter(states=("paused",)))
    wait_until(lambda: drained(box))


# Stopping and starting.


def test_stopping_finishes_what_is_under_way_and_leaves_the_rest(box, relays):
    put(box, *(f"m-{number}" for number in range(100)))
    begun, go = threading.Event(), threading.Event()

    def answer(_request):
        begun.set()
        go.wait(5)
        return OK

    relay, transport = relays(answer)
    assert begun.wait(5)
    threading.Timer(0.2, go.set).start()
    assert relay.stop(5.0)
    assert len(transport.requests) == 1
    assert states(box)["m-0"] == "delivered"
    assert outbox_status(box).states == {"delivered": 1, "waiting": 99}
    assert rows(box, "SELECT * FROM relay") == []
    assert_consistent(box)


def test_stopping_takes_no_longer_than_it_may(box, relays):
    put(box, "m-1")
    begun, go = threading.Event(), threading.Event()

    def answer(_request):
        begun.set()
        go.wait(20)
        return OK

    relay, _ = relays(answer)
    assert begun.wait(5)
    began = time.monotonic()
    assert not relay.stop(0.3)
    assert time.monotonic() - began < 5
    assert states(box) == {"m-1": "in flight"}
    assert_consistent(box)
    go.set()


def test_what_a_stopped_relay_left_in_flight_comes_back(box, relays, caplog):
    put(box, "m-1")
    go = threading.Event()
    relay, transport = relays(lambda _: go.wait(20) and OK, lease=1.0)
    wait_until(lambda: transport.requests)
    relay.stop(0.1)
    with caplog.at_level(logging.WARNING):
        relays(lease=1.0)
        wait_until(lambda: drained(box))
    go.set()
    assert "died; requests that it may have sent: 1" in caplog.text
    assert outbox_status(box).maybe_repeated == 1


def test_a_stopped_relay_is_started_again_only_when_that_is_meant(box, relays):
    relay, transport = relays()
    assert relay.stop()
    put(box, "m-1")
    relay.start()
    relay.wake()
    time.sleep(0.2)
    assert transport.requests == ()
    assert not relay.alive
    relay.start(again=True)
    wait_until(lambda: drained(box))
    assert relay.alive
    assert relay.stop()


def test_starting_it_twice_is_starting_it_once(relays):
    before = set(threading.enumerate())
    relay, _ = relays()
    relay.start()
    relay.start(again=True)
    own = set(threading.enumerate()) - before
    assert len(own) == 1, "the one that leases; those that post come with the work"
    relay.stop()
    wait_until(lambda: not any(thread.is_alive() for thread in own))


def test_a_relay_that_never_ran_is_stopped(relays):
    relay, _ = relays(start=False)
    assert relay.stop()


# What goes wrong in the relay itself.


def test_an_outbox_that_cannot_be_written_is_waited_for(box, relays, monkeypatch, caplog):
    monkeypatch.setattr(module, "_AFTER_FAILURE", 0.05)
    put(box, "m-1")
    answered = threading.Event()

    def answer(_request):
        monkeypatch.setattr(box.file, "path", box.file.path.with_name("gone") / "x")
        box.file.close()
        answered.set()
        return OK

    path = box.file.path
    with caplog.at_level(logging.WARNING):
        relay, transport = relays(answer)
        assert answered.wait(5)
        wait_until(lambda: not relay.alive)
        monkeypatch.setattr(box.file, "path", path)
        wait_until(lambda: relay.alive)
        wait_until(lambda: drained(box))
    assert len(transport.requests) == 1, "the answer was kept"
    assert "the relay waits" in caplog.text
    assert "the relay goes on" in caplog.text


def test_its_number_is_not_kept_when_it_could_not_be_stored(box, relays, monkeypatch):
    """Another relay may be given the same: both would settle what one of them has leased."""
    monkeypatch.setattr(module, "_AFTER_FAILURE", 0.05)
    failing = threading.Event()
    purge_old = box.purge_old

    def fail_once(cursor, after):
        if not failing.is_set():
            failing.set()
            raise ValueError("secret")
        return purge_old(cursor, after)

    monkeypatch.setattr(box, "purge_old", fail_once)
    relay, _ = relays()
    wait_until(lambda: failing.is_set() and relay.alive)
    wait_until(lambda: rows(box, "SELECT COUNT(*) FROM relay") == [(1,)])
    put(box, "m-1")
    wait_until(lambda: drained(box))


def test_an_error_of_its_own_is_told_without_its_values_and_survived(
    box, relays, monkeypatch, caplog
):
    monkeypatch.setattr(module, "_AFTER_FAILURE", 0.05)
    original, failed = leases.lease, []

    def fail_once(*arguments, **options):
        if not failed:
            failed.append(1)
            raise ValueError("mallory")
        return original(*arguments, **options)

    monkeypatch.setattr(leases, "lease", fail_once)
    put(box, "m-1")
    with caplog.at_level(logging.WARNING):
        relays()
        wait_until(lambda: drained(box))
    assert "the relay waits: ValueError in its own work" in caplog.text
    assert "mallory" not in caplog.text


def test_what_cannot_be_prepared_ends_as_exhausted_and_holds_up_no_other(box, relays):
    put(box, "bad", device="d1")
    put(box, "good", device="d2")

    def prepare(request):
        if request.message_id == "bad":
            raise KeyError("mallory")
        return request

    relays(prepare=prepare)
    wait_until(lambda: drained(box))
    assert states(box) == {"bad": "exhausted", "good": "delivered"}
    (entry,) = entries(box, EntryFilter(message_id="bad"))
    assert entry.reason == "could not be made ready to be sent: KeyError"


def test_nothing_is_posted_once_the_lease_has_run_out(box, relays):
    put(box, *(f"m-{number}" for number in range(5)))
    answers = []
    relay = None

    def answer(_request):
        answers.append(1)
        if len(answers) == 1:
            relay._leased_until = 0.0  # as after having been stopped for long
            other = register(box, "other", lease=1000.0)
            with box.file.writing() as cursor:
                leases.leave(cursor, relay._relay)
            lease(box, other)
        return OK

    relay, transport = relays(answer, start=False)
    relay.start()
    wait_until(lambda: states(box)["m-0"] == "delivered")
    time.sleep(0.3)
    assert sent(transport) == ["m-0"]
    assert set(list(states(box).values())[1:]) == {"in flight"}, "the other one has them"


def test_a_lease_that_was_lost_is_told_and_another_taken(box, relays, caplog):
    relay, _ = relays(lease=0.5)
    relay.wait_until_started(5)
    first = relay._relay
    with caplog.at_level(logging.WARNING):
        with box.file.writing() as cursor:
            cursor.execute("DELETE FROM relay")
        wait_until(lambda: relay._relay != first)
    assert "the lease had run out" in caplog.text
    put(box, "m-1")
    wait_until(lambda: drained(box))


def test_what_was_sent_twice_is_told(box, relays, caplog):
    put(box, "m-1")

    def answer(_request):
        with box.file.writing() as cursor:
            cursor.execute("UPDATE request SET state = 'delivered'")
            cursor.execute("DELETE FROM body")
        return OK

    with caplog.at_level(logging.WARNING):
        relays(answer)
        wait_until(lambda: "the lease had run out: 1" in caplog.text)


def test_it_tidies_up_from_time_to_time(box, relays):
    put(box, "old", "new")
    relay, _ = relays()
    wait_until(lambda: drained(box))
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET changed_at = 0, queued_at = 0 WHERE message_id = 'old'")
    relay._purge_at = 0.0
    wait_until(lambda: "old" not in states(box))
    assert states(box) == {"new": "delivered"}


def test_an_expired_ad_services_token_is_flagged(box, relays):
    body = b'{"data":{"usertime":1000},"ad_services_token":"x"}'
    put(box, "i-1", action="install", body=body)
    relays()
    wait_until(lambda: drained(box))
    (entry,) = entries(box, EntryFilter())
    assert (entry.state, entry.reason) == ("delivered", TOKEN_EXPIRED)


def test_no_more_is_sent_than_the_rate_allows(box, relays):
    for number in range(12):
        put(box, f"m-{number}", device=f"d{number}")
    began = time.monotonic()
    relays(max_rate=20.0)
    wait_until(lambda: drained(box))
    assert time.monotonic() - began > 0.4


def test_three_relays_on_one_file_send_all_in_order_and_nothing_twice(box, relays):
    order = defaultdict(list)
    lock = threading.Lock()

    def answer(request):
        with lock:
            order[request.ordering_key].append(int(request.message_id.split("-")[1]))
        return OK

    boxes = [Outbox(box.file.path) for _ in range(2)]
    made = [relays(answer)[0]]
    for other in boxes:
        relay = Relay(
            other, RecordingTransport(answer), prepare=lambda request: request,
            settings=RelaySettings(workers=4),
        )  # fmt: skip
        relay.start()
        made.append(relay)
    for number in range(40):
        for device in range(10):
            put(box, f"{device}-{number}", device=f"d{device}")
    wait_until(lambda: drained(box), 30)
    for relay in made:
        relay.stop()
    assert sorted(map(len, order.values())) == [40] * 10
    assert all(numbers == list(range(40)) for numbers in order.values())
    assert_consistent(box)
    for other in boxes:
        other.close()


def test_a_relay_that_cannot_start_workers_tries_again(box, relays, monkeypatch, caplog):
    start = ThreadedWorkers.start
    failures = iter([RuntimeError("can't start new thread")] * 2)

    def start_later(self, jobs):
        for failure in failures:
            raise failure
        start(self, jobs)

    monkeypatch.setattr(ThreadedWorkers, "start", start_later)
    monkeypatch.setattr(module, "_AFTER_FAILURE", 0.01)
    _, transport = relays()
    put(box, "m-1")
    wait_until(lambda: drained(box))
    assert len(transport.requests) == 1
    assert "RuntimeError in its own work" in caplog.text
