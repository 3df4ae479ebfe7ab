"""Requests share transactions, and nothing else."""

import asyncio
import threading
import time

import pytest

from kochava_segment import InvalidEventPayload, OutboxFull, OutboxUnavailable, Outcome, OutcomeKind
from kochava_segment.server import group_commit as module
from kochava_segment.server.answers import Refusal
from kochava_segment.server.group_commit import GroupCommit, TooManyWaiting, put_in_time


def outcomes(messages):
    return [
        Outcome(index=index, message_id=message, kind=OutcomeKind.QUEUED)
        for index, message in enumerate(messages)
    ]


class Store:
    """Stores as an outbox does; holds on until it is let go."""

    def __init__(self, *, held=False):
        self.groups = []
        self.go = threading.Event()
        self.inside = threading.Event()
        if not held:
            self.go.set()

    def put(self, messages):
        self.inside.set()
        assert self.go.wait(10)
        self.groups.append(list(messages))
        return outcomes(messages)


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come about")


def test_a_single_request_does_not_wait_for_company():
    store = Store()
    commit = GroupCommit(store.put)
    began = time.monotonic()
    (outcome,) = asyncio.run(commit.put(["a"]))
    assert (outcome.message_id, outcome.index) == ("a", 0)
    assert store.groups == [["a"]]
    assert time.monotonic() - began < 1


def test_what_comes_while_a_group_is_stored_is_the_next_group():
    async def scenario():
        store = Store(held=True)
        commit = GroupCommit(store.put)
        first = asyncio.create_task(commit.put(["a"]))
        await until(store.inside.is_set)
        others = [asyncio.create_task(commit.put(list(names))) for names in ("b", "cd", "", "e")]
        await asyncio.sleep(0.01)
        store.go.set()
        results = await asyncio.gather(first, *others)
        assert store.groups == [["a"], ["b", "c", "d", "e"]]
        got = [[(one.message_id, one.index) for one in result] for result in results]
        assert got == [[("a", 0)], [("b", 0)], [("c", 0), ("d", 1)], [], [("e", 0)]]

    asyncio.run(scenario())


def test_a_group_has_a_size_and_a_large_request_stays_whole():
    async def scenario():
        store = Store(held=True)
        commit = GroupCommit(store.put)
        sizes = [1, 300, 200, 1, 4000, 499, 1]
        tasks = []
        for size in sizes:
            tasks.append(asyncio.create_task(commit.put(["x"] * size)))
            await asyncio.sleep(0)
            if len(tasks) == 1:
                await until(store.inside.is_set)
        store.go.set()
        assert [len(result) for result in await asyncio.gather(*tasks)] == sizes
        assert [len(group) for group in store.groups] == [1, 500, 1, 4000, 500]

    asyncio.run(scenario())


def test_one_group_at_a_time():
    inside = []
    most = []

    def put(messages):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.001)
        inside.pop()
        return outcomes(messages)

    async def scenario():
        commit = GroupCommit(put)
        results = await asyncio.gather(*(commit.put([str(n)]) for n in range(300)))
        assert [one.message_id for (one,) in results] == [str(n) for n in range(300)]

    asyncio.run(scenario())
    assert max(most) == 1


def test_an_outbox_that_takes_nothing_fails_the_whole_group():
    def put(_messages):
        raise OutboxFull("full")

    async def scenario():
        commit = GroupCommit(put)
        results = await asyncio.gather(
            *(commit.put(["a"]) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [OutboxFull] * 3

    asyncio.run(scenario())


def test_an_unforeseen_failure_stays_with_the_request_that_caused_it():
    def put(messages):
        if "bad" in messages:
            raise RuntimeError("unforeseen")
        return outcomes(messages)

    async def scenario():
        commit = GroupCommit(put)
        good, bad, other = await asyncio.gather(
            commit.put(["a", "b"]), commit.put(["bad"]), commit.put(["c"]), return_exceptions=True
        )
        assert [one.message_id for one in good] == ["a", "b"]
        assert isinstance(bad, RuntimeError)
        assert [one.message_id for one in other] == ["c"]
        assert [one.message_id for one in await commit.put(["d"])] == ["d"]

    asyncio.run(scenario())


def test_who_gave_up_is_not_stored_if_it_has_not_begun():
    async def scenario():
        store = Store(held=True)
        commit = GroupCommit(store.put)
        first = asyncio.create_task(commit.put(["a"]))
        await until(store.inside.is_set)
        gone = asyncio.create_task(commit.put(["gone"]))
        stays = asyncio.create_task(commit.put(["stays"]))
        await asyncio.sleep(0.01)
        gone.cancel()
        first.cancel()
        await asyncio.sleep(0.01)
        store.go.set()
        (kept,) = await stays
        assert kept.message_id == "stays"
        assert store.groups == [["a"], ["stays"]]

    asyncio.run(scenario())


def test_no_more_wait_than_fit_into_memory():
    async def scenario():
        store = Store(held=True)
        commit = GroupCommit(store.put, most_waiting=10)
        first = asyncio.create_task(commit.put(["x"] * 50))  # nobody waits: it may be large
        await until(store.inside.is_set)
        second = asyncio.create_task(commit.put(["y"] * 8))
        await asyncio.sleep(0.01)
        with pytest.raises(TooManyWaiting):
            await commit.put(["z"] * 3)
        third = asyncio.create_task(commit.put(["z"] * 2))
        await asyncio.sleep(0.01)
        store.go.set()
        assert [len(await task) for task in (first, second, third)] == [50, 8, 2]
        assert len(await commit.put(["again"])) == 1

    asyncio.run(scenario())


def test_draining_waits_for_all_that_was_given():
    async def scenario():
        commit = GroupCommit(Store().put)
        await commit.drain()  # nothing yet
        tasks = [asyncio.create_task(commit.put([str(n)])) for n in range(20)]
        await asyncio.sleep(0)
        await commit.drain()
        assert all(task.done() for task in tasks)

    asyncio.run(scenario())


def test_one_commit_serves_one_event_loop_after_another():
    commit = GroupCommit(Store().put)
    for name in "abc":
        (outcome,) = asyncio.run(commit.put([name]))
        assert outcome.message_id == name


@pytest.mark.parametrize(
    ("error", "wait"), [(OutboxFull("full"), "30"), (OutboxUnavailable("disk"), "5")]
)
def test_an_outbox_that_takes_nothing_is_a_503_that_says_when(error, wait):
    def put(_messages):
        raise error

    with pytest.raises(Refusal) as refusal:
        asyncio.run(put_in_time(GroupCommit(put), ["a"]))
    assert refusal.value.status == 503
    assert refusal.value.headers["Retry-After"] == wait


def test_an_outbox_that_takes_too_long_is_a_503_in_time(monkeypatch):
    monkeypatch.setattr(module, "STORED_WITHIN", 0.05)
    store = Store(held=True)

    async def scenario():
        began = time.monotonic()
        with pytest.raises(Refusal) as refusal:
            await put_in_time(GroupCommit(store.put), ["a"])
        assert time.monotonic() - began < 1
        store.go.set()
        assert refusal.value.status == 503
        assert "Retry-After" in refusal.value.headers

    asyncio.run(scenario())


def test_the_longest_wait_leaves_time_for_the_answer():
    assert module.STORED_WITHIN <= 4.5


def test_outcomes_of_errors_keep_their_place():
    def put(messages):
        return [Outcome.of_error(n, InvalidEventPayload([])) for n, _ in enumerate(messages)]

    async def scenario():
        commit = GroupCommit(put)
        results = await asyncio.gather(commit.put(["a"]), commit.put(["b", "c"]))
        assert [[one.index for one in result] for result in results] == [[0], [0, 1]]

    asyncio.run(scenario())
