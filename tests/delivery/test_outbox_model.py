"""Any order of events, by Hypothesis: real relays on a real file, stepped by hand, with a clock by hand.

The relays run their own code, one step at a time: a turn settles and leases, a step of work posts what
was leased of one device. Between any two steps a relay may die or stand still, time may pass, more may
be put in, a person may interfere.
"""

import logging
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kochava_segment.delivery import judging, leases, outbox_changes, outbox_purge
from kochava_segment.delivery import outbox as outbox_module
from kochava_segment.delivery import outbox_inspection as inspection
from kochava_segment.delivery import relay as relay_module
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.outbox import NewEntry, Outbox, OutboxSettings
from kochava_segment.delivery.outbox_inspection import EntryFilter
from kochava_segment.delivery.relay import Relay, RelaySettings
from kochava_segment.delivery.retry import RetryPolicy
from tests.delivery.outboxes import STATE, assert_consistent, request
from tests.long import many

_WINDOW, _RETENTION = 1_000.0, 5_000.0
_PENDING = {"waiting", "in flight"}
_FAILED = {"rejected", "exhausted", "ambiguous"}
_APPS = {"d1": "koapp", "d2": "koapp", "d3": "koother"}

_ANSWERS = {
    "accepted": Answer(200, {}, b'{"success":"1"}'),
    "rejected": Answer(400),
    "down": Answer(503),
    "come back": Answer(503, {"Retry-After": "5"}),
    "slow down": Answer(429, {"Retry-After": "30"}),
    "credentials": Answer(401),
    "never sent": TransportFailure("no route", maybe_sent=False),
    # Kochava counted it, and the answer was lost.
    "lost": TransportFailure("it was reset", maybe_sent=True),
}
_LIKELY = ["accepted"] * 6 + list(_ANSWERS)

# What a step may make of a state. Whatever is not named here stays as it is.
_BY_A_TURN = {
    "waiting": {"in flight", "delivered"},
    "in flight": {"waiting", "delivered", *_FAILED},
    "ambiguous": {"delivered"},
    "discarded": {"delivered"},
    "rejected": {"delivered"},
    "exhausted": {"delivered"},
}
_BY_A_RETRY = {state: {"waiting"} for state in _FAILED}
_BY_A_DISCARD = {state: {"discarded"} for state in (*_FAILED, "waiting")}
_BY_FORGETTING = {state: {"discarded"} for state in (*_FAILED, *_PENDING)}


_NO_LIMIT = SimpleNamespace(reserve=lambda **_: 0.0, slow_down=lambda: None, speed_up=lambda: None)


class _Clock:
    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return 50_000.0 + self.seconds

    def time(self):
        return 1_800_000_000.0 + self.seconds

    def sleep(self, _seconds):
        raise AssertionError("nothing may sleep")


class OutboxMachine(RuleBasedStateMachine):
    """An outbox with up to two relays, Kochava, and a person."""

    give_up = False

    def __init__(self):
        super().__init__()
        self.clock = _Clock()
        self._modules = {
            module: module.time
            for module in (outbox_module, leases, outbox_purge, inspection, judging, relay_module)
        }
        for module in self._modules:
            module.time = self.clock
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.sqlite3"
        self.box = self._opened()
        with self.box.file.writing():
            pass  # it is made
        self.plain = sqlite3.connect(self.path, isolation_level=None)
        self.relays = []
        self.answers = []
        self.duplicates = 0
        self.step = 0
        self.stored = {}  # number in the outbox: what is known of it
        self.bodies = {}
        self.last_states = {}
        self.names = 0

    def _opened(self):
        return Outbox(self.path, OutboxSettings(dedup_window=_WINDOW, retention=_RETENTION))

    def _rows(self, query, *parameters):
        return self.plain.execute(query, parameters).fetchall()

    def teardown(self):
        try:
            self._everything_ends()
        finally:
            self.plain.close()
            self.box.close()
            for one in self.relays:
                one.box.close()
            for module, original in self._modules.items():
                module.time = original
            self.folder.cleanup()

    @initialize(give_up=st.booleans())
    def choose_policy(self, give_up):
        self.give_up = give_up

    # What happens.

    @rule(
        device=st.sampled_from(sorted(_APPS)),
        action=st.sampled_from(["event", "event", "event", "install"]),
        again=st.integers(0, 3),
        count=st.integers(1, 4),
    )
    def enqueue(self, device, action, again, count):
        for _ in range(count):
            if again != 0:
                self.names += 1
            self._put(f"m-{self.names}", device, action)

    def _put(self, name, device, action):
        self.step += 1
        known = self._rows(
            f"SELECT {STATE}, changed_at FROM request JOIN app ON app.id = request.app "
            "WHERE message_id = ? AND action = ? AND guid = ? AND fingerprint IS NOT NULL",
            name, action, _APPS[device],
        )  # fmt: skip
        is_duplicate = any(
            state in _PENDING or changed_at >= self.clock.time() - _WINDOW
            for state, changed_at in known
        )
        body = b'{"step":%d}' % self.step
        made = request(name, device, action, _APPS[device], body=body)
        (new,) = self.box.put([NewEntry(request=made, user_id=f"u-{device}")])
        assert new is not is_duplicate
        if is_duplicate:
            self.duplicates += 1
            return
        ((number,),) = self._rows("SELECT MAX(id) FROM request")
        assert number not in self.stored, "a number is given once"
        self.bodies[body] = number
        self.stored[number] = SimpleNamespace(
            device=device,
            place=(int(action != "install"), number),
            since=self.step,
            counted=0,
            by_hand=False,
            refused=False,
        )
        self.last_states[number] = "waiting"

    @precondition(lambda self: len(self.relays) < 2)
    @rule(credentials=st.sampled_from([b"a", b"b"]))
    def start_relay(self, credentials):
        box = self._opened()
        one = SimpleNamespace(box=box, working=[])
        policy = RetryPolicy(
            max_attempts=3, base=4.0, cap=8.0, deadline=100.0,
            maybe_sent={"event": "give_up"} if self.give_up else "retry",
        )  # fmt: skip
        one.relay = Relay(
            box,
            SimpleNamespace(send=self._answer, close=lambda: None),
            prepare=lambda leased: leased,
            credentials=credentials,
            settings=RelaySettings(workers=2, lease=10.0, retry=policy),
        )
        one.relay._limiter = _NO_LIMIT
        one.relay._pace_of = lambda _: _NO_LIMIT
        self.relays.append(one)

    @precondition(lambda self: self.relays)
    @rule(
        which=st.integers(0, 1), answers=st.lists(st.sampled_from(_LIKELY), min_size=1, max_size=6)
    )
    def relay_works(self, which, answers):
        """One relay takes a turn, works on a device that it leased, and settles it."""
        one = self._relay(which)
        self._turn(one)
        self._work(one, answers)
        self._turn(one)

    @precondition(lambda self: self.relays)
    @rule(which=st.integers(0, 1))
    def relay_turns(self, which):
        self._turn(self._relay(which))

    @precondition(lambda self: self.relays)
    @rule(
        which=st.integers(0, 1), answers=st.lists(st.sampled_from(_LIKELY), min_size=1, max_size=6)
    )
    def relay_posts(self, which, answers):
        """Posts, and writes nothing down yet."""
        self._work(self._relay(which), answers)

    @precondition(lambda self: self.relays)
    @rule(which=st.integers(0, 1))
    def relay_dies(self, which):
        one = self._relay(which)
        self.relays.remove(one)
        one.box.close()

    @precondition(lambda self: self.relays)
    @rule(which=st.integers(0, 1))
    def relay_stops(self, which):
        one = self._relay(which)
        one.relay._stop.set()
        one.relay._stop_by = self.clock.monotonic() + 5
        self._finish_work(one)
        self._turn(one)
        self.relays.remove(one)
        one.box.close()

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 11.0, 31.0, 700.0, 1_500.0, 6_000.0]))
    def time_passes(self, seconds):
        self.clock.seconds += seconds

    @rule(
        state=st.sampled_from(["rejected", "exhausted", "ambiguous", "paused", "waiting", None]),
    )
    def person_retries(self, state):
        self.step += 1
        which = EntryFilter(states=(state,) if state else ())
        outbox_changes.retry(self.box, which)
        for number, now in self._states_after(_BY_A_RETRY).items():
            if now == "waiting":
                self.stored[number].since = self.step
                self.stored[number].by_hand = True

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def person_discards(self, data):
        number = data.draw(st.sampled_from(sorted(self.stored)))
        outbox_changes.discard(self.box, EntryFilter(ids=(number,)))
        changed = self._states_after(_BY_A_DISCARD)
        assert set(changed) <= {number}

    @rule(device=st.sampled_from(sorted(_APPS)))
    def user_is_forgotten(self, device):
        with self.box.file.writing() as cursor:
            outbox_changes.discard_user(cursor, f"u-{device}", [], "forgotten")
        self._states_after(_BY_FORGETTING)
        left = {
            state for number, state in self.last_states.items()
            if self.stored[number].device == device
        }  # fmt: skip
        assert left <= {"delivered", "discarded"}

    @rule()
    def purge(self):
        after = 0
        while after is not None:
            with self.box.file.writing() as cursor:
                after = self.box.purge_old(cursor, after, limit=3)
        self._states_after({})

    @rule()
    def reopen(self):
        self.box.close()
        self.box = self._opened()

    # How it happens.

    def _relay(self, which):
        return self.relays[which % len(self.relays)]

    def _turn(self, one):
        self.step += 1
        relay = one.relay
        relay._turn()
        assert relay._failure is None
        self._states_after(_BY_A_TURN)
        while relay._workers.have_backlog:
            (work,) = relay._workers._jobs.get_nowait()
            leased = [self.stored[request.id] for request in work.lane.requests]
            assert len({known.device for known in leased}) == 1
            assert leased == sorted(leased, key=lambda known: known.place), "in order"
            one.working.append((work, self.step))

    def _work(self, one, answers):
        if one.working:
            work, leased_at = one.working.pop(0)
            self.answers, self.leased_at = list(answers), leased_at
            workers = one.relay._workers
            workers._done(work, True, workers._work(work))  # noqa: FBT003  # as the thread does it
            one.relay._take(one.relay._results.get_nowait())

    def _finish_work(self, one):
        while one.working:
            self._work(one, ["accepted"])

    def _answer(self, posted):
        """Kochava: what a relay posts, and what it is answered."""
        name = self.answers.pop(0) if self.answers else "accepted"
        answer = _ANSWERS[name]
        number = self.bodies[posted.body]
        known = self.stored[number]
        for other_number, other in self.stored.items():
            before = other.device == known.device and other.place < known.place
            if before and other.since < self.leased_at and not other.counted and not other.refused:
                assert self.last_states.get(other_number) not in _PENDING, (
                    f"{number} was posted before {other_number}, which is of the same device"
                )
        if name in ("accepted", "lost"):
            known.counted += 1
        if name == "rejected":
            known.refused = True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _states_after(self, allowed):
        """Compare all states with those before: no step may change more than it is allowed to."""
        now = dict(self._rows(f"SELECT id, {STATE} FROM request"))
        changed = {}
        for number, before in self.last_states.items():
            after = now.get(number)
            if after is None:
                assert before not in _PENDING, f"{number} is lost"
            elif after != before:
                reachable = set(allowed.get(before, ()))
                if (
                    "in flight" in reachable
                ):  # a turn both leases and settles, takes back and leases
                    reachable |= allowed["in flight"]
                for through in tuple(reachable):
                    reachable |= allowed.get(through, set())
                assert after in reachable, f"{number}: {before} became {after}"
                changed[number] = after
            if after == "delivered":
                assert self.stored[number].counted, f"{number} was never accepted"
        self.last_states = now
        return changed

    # What always holds.

    @invariant()
    def everything_is_somewhere(self):
        now = dict(self._rows(f"SELECT id, {STATE} FROM request"))
        assert now == self.last_states, "only what is a rule changes a state"
        assert set(now) <= set(self.stored)
        purged = self._rows("SELECT state, SUM(count) FROM purged GROUP BY 1")
        gone = {state: count for state, count in purged if state in inspection.STATES}
        assert not _PENDING & set(gone)
        assert len(now) + sum(gone.values()) == len(self.stored)

    @invariant()
    def it_is_consistent(self):
        assert_consistent(self.box, lambda _, query: self._rows(query))

    @invariant()
    def the_status_counts_right(self):
        status = inspection.outbox_status(self.box)
        shown = Counter(status.states)
        shown["waiting"] += shown.pop("paused", 0)
        assert +shown == Counter(self.last_states.values())
        assert status.duplicates == self.duplicates
        assert status.pending == inspection.count_pending(self.box)
        assert status.pending == sum(state in _PENDING for state in self.last_states.values())
        if status.count("waiting", "in flight"):
            assert inspection.has_pending(self.box)

    @invariant()
    def what_may_have_counted_twice_is_counted(self):
        maybe_sent = dict(self._rows("SELECT id, maybe_sent FROM request"))
        for number, known in self.stored.items():
            if known.counted > 1 and self.last_states.get(number) == "delivered":
                assert maybe_sent[number] or known.by_hand

    def _everything_ends(self):
        """With a Kochava that is well and one relay that lives, nothing stays behind."""
        for one in tuple(self.relays):
            self.relays.remove(one)
            one.box.close()
        self.clock.seconds += 11
        outbox_changes.retry(self.box, EntryFilter(states=("paused",)))
        self._states_after(_BY_A_RETRY)
        self.start_relay(b"c")
        (one,) = self.relays
        for _ in range(200):
            self._turn(one)
            self._finish_work(one)
            self.clock.seconds += 5
            if not inspection.count_pending(self.box):
                break
        assert not inspection.count_pending(self.box), "something is stuck"
        self.everything_is_somewhere()
        self.it_is_consistent()
        assert self._rows("SELECT * FROM lane") == []


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(40, 30), pytest.param(many(10_000), 50, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_no_order_of_events_loses_repeats_or_disorders_anything(examples, steps, caplog):
    caplog.set_level(logging.CRITICAL, "kochava_segment.relay")
    run_state_machine_as_test(
        OutboxMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
