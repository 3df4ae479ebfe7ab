"""`AsyncKochavaDestination`: what it shares with the synchronous one, and what an event loop adds."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kochava_segment import (
    AmbiguousDelivery,
    Answer,
    AsyncKochavaDestination,
    ConfigurationError,
    InvalidEventPayload,
    KochavaDestination,
    OutcomeKind,
    RecordingTransport,
    Rejected,
    RetriesExhausted,
    RetryPolicy,
    TransportFailure,
)
from kochava_segment.delivery.async_in_order import run_in_order
from kochava_segment.delivery.concurrency import PinnedConcurrency
from kochava_segment.emulator import Faults
from tests.delivery.test_in_order import by_letter
from tests.delivery.test_send_many import messages
from tests.messages import ios

NO_WAIT = RetryPolicy(max_attempts=2, base=0, cap=0)


class Scripted:
    """Answers as it is told by `messageId`, after some seconds, and notes what is under way."""

    def __init__(self, answers=None, seconds=0.0):
        self.answers, self.seconds = answers or {}, seconds
        self.requests, self.cancelled, self.hooks = [], [], []
        self.under_way = self.most = 0
        self.closed = False

    async def send(self, request):
        self.requests.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        finally:
            self.under_way -= 1
        what = self.answers.get(request.message_id, 200)
        if isinstance(what, Exception):
            raise what
        return Answer(what) if isinstance(what, int) else what

    async def close(self):
        self.closed = True

    # As a hook.

    def attempt(self, event):
        self.hooks.append(event)

    retry_scheduled = outcome = attempt


def destination(transport, **options):
    return AsyncKochavaDestination(
        "koapp", **{"transport": transport, "retry": NO_WAIT, "hooks": [transport], **options}
    )


async def collect(outcomes):
    return [outcome async for outcome in outcomes]


def test_it_sends_over_http(kochava_emulator):
    async def main():
        async with AsyncKochavaDestination("koapp", endpoint=kochava_emulator.url) as kochava:
            receipt = await kochava.send(ios())
            outcomes = await collect(kochava.send_many(messages(200)))
        return receipt, outcomes

    receipt, outcomes = asyncio.run(main())
    assert (receipt.message_id, receipt.status, receipt.attempts) == ("m-1", 200, 1)
    assert sorted(outcome.index for outcome in outcomes) == list(range(200))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    assert kochava_emulator.counted == 201
    kochava_emulator.assert_no_complaints()


def test_messages_of_a_device_arrive_in_their_order(kochava_emulator):
    async def main():
        async with AsyncKochavaDestination("koapp", endpoint=kochava_emulator.url) as kochava:
            await collect(kochava.send_many(messages(300, devices=9), 16))

    asyncio.run(main())
    arrived = {}
    for request in kochava_emulator.accepted:
        device = request.payload["kochava_device_id"]
        arrived.setdefault(device, []).append(request.payload["data"]["event_data"]["place"])
    assert arrived == {f"d{n}": list(range(n, 300, 9)) for n in range(9)}


def test_the_pure_half_is_the_same():
    options = {"api_key": "key", "api_secret": "secret"}
    asynchronous = AsyncKochavaDestination("koapp", transport=Scripted(), **options)
    synchronous = KochavaDestination("koapp", transport=RecordingTransport(), **options)
    assert asynchronous.map(ios()) == synchronous.map(ios())
    for name in ("map", "explain", "install_attribution", "from_env", "from_config"):
        assert getattr(AsyncKochavaDestination, name).__doc__
        assert name not in vars(AsyncKochavaDestination)
        assert name not in vars(KochavaDestination)
    with pytest.raises(AttributeError, match="AsyncKochavaDestination is frozen"):
        asynchronous.anything = 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (400, Rejected),
        (503, RetriesExhausted),
        (TransportFailure("the answer was lost", maybe_sent=True), AmbiguousDelivery),
        (ZeroDivisionError(), AmbiguousDelivery),
    ],
)
def test_outcomes_are_those_of_the_synchronous_one(answer, error):
    transport = Scripted({"m-1": answer})
    with pytest.raises(error) as caught:
        asyncio.run(destination(transport).send(ios()))
    assert caught.value.message_id == "m-1"
    assert len(transport.requests) == caught.value.attempts


def test_every_message_has_its_outcome_whatever_becomes_of_it():
    items = [ios(messageId="a"), None, ios(messageId="b", type="group"), ios(messageId="c")]
    items += [InvalidEventPayload([], "d"), ios(messageId="e", integrations={"Kochava": False})]

    async def endless():
        for item in items:
            yield item

    for given_items in (items, endless()):
        transport = Scripted({"c": 400})
        outcomes = asyncio.run(collect(destination(transport).send_many(given_items)))
        kinds = {outcome.index: outcome.kind.value for outcome in outcomes}
        assert [kinds[index] for index in range(6)] == [
            "accepted",
            "invalid",
            "unsupported",
            "rejected",
            "invalid",
            "filtered",
        ]


def test_requests_are_under_way_side_by_side_and_no_more_than_allowed():
    transport = Scripted(seconds=0.01)
    asyncio.run(collect(destination(transport).send_many(messages(100, devices=100), 8)))
    assert transport.most == 8


def test_the_concurrency_adapts_if_nobody_pins_it():
    transport = Scripted(seconds=0.02)
    asyncio.run(collect(destination(transport).send_many(messages(600, devices=600))))
    assert transport.most > 8


def test_within_bounds_everything(kochava_emulator):
    kochava_emulator.faults = Faults(script=("trickle",) * 50)

    async def main():
        async with AsyncKochavaDestination(
            "koapp", endpoint=kochava_emulator.url, hooks=()
        ) as kochava:
            await kochava.send(ios(), within=1.0)

    began = time.monotonic()
    with pytest.raises((RetriesExhausted, AmbiguousDelivery)):
        asyncio.run(main())
    assert time.monotonic() - began < 3  # what a trickle takes at its own pace


# Ending early.


def test_closing_early_lets_attempts_end_and_starts_no_more():
    transport = Scripted(seconds=0.02)

    async def main():
        async with aclosing(destination(transport).send_many(messages(500), 4)) as outcomes:
            async for _ in outcomes:
                break
        sent = len(transport.requests)
        await asyncio.sleep(0.05)
        return sent

    sent = asyncio.run(main())
    assert sent == len(transport.requests) <= 12
    assert (transport.under_way, transport.cancelled) == (0, [])


def test_closing_early_does_not_wait_for_retries():
    transport = Scripted({"0": Answer(503, {"Retry-After": "50"})})

    async def main():
        kochava = destination(transport, retry=RetryPolicy())
        async with aclosing(kochava.send_many(messages(9, devices=9), 4)) as outcomes:
            async for _ in outcomes:
                break

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5


def test_closing_the_destination_ends_the_waits():
    transport = Scripted({str(n): Answer(503, {"Retry-After": "50"}) for n in range(9)})

    async def main():
        async with destination(transport, retry=RetryPolicy()) as kochava:
            sending = asyncio.create_task(collect(kochava.send_many(messages(9, devices=9), 4)))
            await asyncio.sleep(0.05)
        return await sending

    outcomes = asyncio.run(main())
    assert sorted(outcome.index for outcome in outcomes) == list(range(9))
    assert {outcome.error.detail for outcome in outcomes} == {"the destination was closed"}
    assert transport.closed


def test_a_cancelled_send_ends_at_once_and_tells_of_no_outcome():
    transport = Scripted(seconds=30)

    async def main():
        sending = asyncio.create_task(destination(transport).send(ios()))
        await asyncio.sleep(0.02)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5
    assert len(transport.cancelled) == 1
    assert transport.hooks == []


def test_a_cancelled_wait_for_the_next_attempt_ends_at_once():
    transport = Scripted({"m-1": Answer(503, {"Retry-After": "50"})})

    async def main():
        kochava = destination(transport, retry=RetryPolicy())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(kochava.send(ios()), 0.05)

    asyncio.run(main())
    assert len(transport.requests) == 1


def test_cancelling_who_waits_for_outcomes_cancels_what_is_under_way():
    transport = Scripted(seconds=30)

    async def main():
        sending = asyncio.create_task(
            collect(destination(transport).send_many(messages(50, devices=50), 4))
        )
        await asyncio.sleep(0.05)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(main()) == []
    assert len(transport.cancelled) == len(transport.requests) == 4


# Its options.


@pytest.mark.parametrize("transport", ["pycurl", "requests", RecordingTransport()])
def test_a_synchronous_transport_is_refused(transport):
    with pytest.raises(ConfigurationError, match="AsyncTransport"):
        AsyncKochavaDestination("koapp", transport=transport)


def test_an_outbox_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(ConfigurationError, match=r"outbox.*asyncio\.to_thread"):
        AsyncKochavaDestination("koapp", transport=Scripted(), outbox=tmp_path / "outbox.db")


def test_without_aiohttp_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "kochava_segment.delivery.aiohttp_transport", raising=False)
    with pytest.raises(ConfigurationError, match=r"kochava-segment\[async\]"):
        AsyncKochavaDestination("koapp")


@pytest.mark.parametrize("concurrency", [0, "4", True])
def test_a_concurrency_that_is_no_count_is_refused_at_once(concurrency):
    with pytest.raises(ConfigurationError, match="concurrency"):
        destination(Scripted()).send_many([], concurrency)


# The order, whatever the input.


@settings(max_examples=100, deadline=None)
@given(
    letters=st.lists(st.sampled_from("aab-c"), max_size=80),
    concurrency=st.integers(1, 6),
    asynchronous=st.booleans(),
)
def test_each_item_is_worked_on_once_and_the_order_of_a_key_is_kept(
    letters, concurrency, asynchronous
):
    items = [f"{letter}{place}" for place, letter in enumerate(letters)]
    active, order = [], []

    async def work(item):
        assert by_letter(item) is None or by_letter(item) not in active
        active.append(by_letter(item))
        assert len(active) <= concurrency
        order.append(item)
        await asyncio.sleep(0)
        active.remove(by_letter(item))
        return item

    async def source():
        for item in items:
            await asyncio.sleep(0)
            yield item

    async def main():
        pinned = PinnedConcurrency(concurrency)
        given_items = source() if asynchronous else items
        return await collect(run_in_order(given_items, work, key=by_letter, concurrency=pinned))

    results = asyncio.run(main())
    assert sorted(results) == sorted(items)
    for key in set(letters) - {"-"}:
        of_key = [item for item in items if item[0] == key]
        assert [item for item in order if item[0] == key] == of_key
        assert [item for item in results if item[0] == key] == of_key


@pytest.mark.parametrize(("letter", "most"), [("h", 2 * 64 + 1), ("-", 2 * 4)])
def test_endless_input_is_taken_as_room_comes_free(letter, most):
    taken = itertools.count()
    items = (f"{letter}{next(taken)}" for _ in itertools.count())

    async def main():
        go_on = asyncio.Event()

        async def work(item):
            await go_on.wait()
            return item

        run = run_in_order(items, work, key=by_letter, concurrency=PinnedConcurrency(2))
        first = asyncio.create_task(anext(run))
        await asyncio.sleep(0.02)
        so_far = next(taken)
        go_on.set()
        await first
        for _ in range(300):
            await anext(run)
        await run.aclose()
        return so_far

    assert asyncio.run(main()) == most
    assert 0 <= next(taken) - 1 - 301 <= 2 * (64 + 4)


def test_tasks_come_and_go_with_the_concurrency():
    async def main():
        pinned, active, seen = PinnedConcurrency(2), [], []

        async def work(item):
            active.append(item)
            seen.append(len(active))
            await asyncio.sleep(0.001)
            active.remove(item)

        run = run_in_order(itertools.count(), work, key=lambda _: None, concurrency=pinned)
        most = []
        for limit in (2, 12, 1, 6):
            pinned.limit = limit
            for _ in range(80):
                await anext(run)
            seen.clear()
            for _ in range(40):
                await anext(run)
            most.append(max(seen))
        await run.aclose()
        return most

    assert asyncio.run(main()) == [2, 12, 1, 6]


@pytest.mark.parametrize("where", ["input", "work"])
def test_an_error_is_raised_after_all_results(where):
    async def items():
        yield from_work("a1")
        yield "a2"
        yield "b1"
        if where == "input":
            raise OSError("the disk broke")

    def from_work(item):
        return "boom" if where == "work" else item

    async def work(item):
        if item == "boom":
            raise OSError("the disk broke")
        return item

    results = []

    async def main():
        run = run_in_order(items(), work, key=by_letter, concurrency=PinnedConcurrency(2))
        async for item in run:
            results.append(item)  # noqa: PERF401  # some come before it raises

    with pytest.raises(OSError, match="the disk broke"):
        asyncio.run(main())
    assert sorted(results) == (["a2", "b1"] if where == "work" else ["a1", "a2", "b1"])
