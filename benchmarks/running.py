"""Runs a case: its contenders take turns, round by round, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from attrs import evolve, field, frozen

from benchmarks import worker
from benchmarks.case import Case, Contender, Setting
from benchmarks.sink import Sink, running_sink
from benchmarks.worker import Turn

_FIRST_COUNT = 5
_GROWTH = 10
_FOR_EACH = 8  # since the end, when fewer are under way, is not the whole
_OVERTIME = 1.5  # times its budget, in which a case may finish a round on a busy machine
_NO_TIME = "there was no time for it"
_PATIENCE = 60.0  # seconds beyond what a turn should take
_FAREWELL = 5.0  # seconds that a process has to end by itself


@frozen(kw_only=True)
class Pace:
    """How much a run does.

    Attributes:
        until: When the whole run should be over, by `time.monotonic()`.
        quick: Only whether it works: one round of short turns, and no great counts.
        rates: The last rate of each contender, to guess how long the next turn takes.
    """

    until: float
    quick: bool = False
    rates: dict[str, float] = field(factory=dict)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.until - time.monotonic()


class ContenderFailed(Exception):
    """A contender did not do its work; the run goes on without it."""


@frozen
class Process:
    """A contender's process."""

    contender: Contender
    _process: Any = field(repr=False)
    _connection: Connection = field(repr=False)

    def turn(self, setting: Setting, count: int, sink: Sink | None, patience: float) -> Turn:
        """Let it work, and see that all has arrived.

        Raises:
            ContenderFailed: if it has not.
        """
        before = sink.received() if sink is not None else {}
        self._connection.send((setting, count))
        if not self._connection.poll(patience):
            raise ContenderFailed(f"took more than {patience:.0f} s")
        try:
            answer = self._connection.recv()
        except EOFError:
            raise ContenderFailed("its process has died") from None
        if not isinstance(answer, Turn):
            raise ContenderFailed(answer)
        if sink is not None:
            after = sink.received()
            arrived = after["posts"] - before["posts"]
            if arrived != answer.posted:  # what fails in silence is fast
                raise ContenderFailed(f"{arrived} requests arrived, not {answer.posted}")
            answer.more["body_bytes"] = (after["bytes"] - before["bytes"]) / arrived
        return answer

    def close(self) -> None:
        """End it, in peace if possible."""
        try:
            self._connection.send(None)
        except OSError:
            pass
        else:
            self._process.join(_FAREWELL)
        if self._process.is_alive():
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what it has started
            self._process.kill()
            self._process.join()


@contextmanager
def started(contender: Contender) -> Iterator[Process]:
    """A process for a contender."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=worker.serve, args=(theirs, contender))
    process.start()
    theirs.close()  # so that its end is noticed
    running = Process(contender, process, ours)
    try:
        yield running
    finally:
        running.close()


def run(
    case: Case, pace: Pace, say: Callable[[str], None], keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Measure a case.

    Args:
        case: What to measure.
        pace: How much.
        say: Told of what fails.
        keep: Given what is known so far, after each round.

    Returns:
        What was measured, for JSON.
    """
    return _Run(case, pace, say, keep).run()


class _Run:
    def __init__(
        self,
        case: Case,
        pace: Pace,
        say: Callable[[str], None],
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self._case, self._pace, self._say, self._keep = case, pace, say, keep
        self._stack = ExitStack()
        self._processes: dict[str, Process] = {}
        self._sinks: dict[tuple[float, bool], Sink] = {}
        self._counts: dict[tuple[int, str], int] = {}
        self._results: list[dict[str, Any]] = [
            {
                **setting.dimensions(),
                # In their order, whoever begins.
                "contenders": {
                    contender.name: _nothing()
                    for contender in case.contenders
                    if _takes_part(contender, setting)
                },
            }
            for setting in case.settings
        ]
        self._absent = {
            contender.name: f"needs {', '.join(contender.missing())}"
            for contender in case.contenders
            if contender.missing()
        }

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        rounds = 1 if self._pace.quick else self._case.rounds
        with self._stack:
            for number in range(rounds):
                round_began = time.monotonic()
                for index, setting in enumerate(self._case.settings):
                    if time.monotonic() - began > _OVERTIME * self._case.budget:
                        self._skip(index)
                    elif number < (setting.rounds or rounds):
                        self._take_turns(number, index, setting)
                self._keep(self._found(number + 1))
                now = time.monotonic()
                if now - began + (now - round_began) > self._case.budget:
                    break
                if now - round_began > self._pace.left:
                    break
        return self._found(number + 1)

    def _skip(self, index: int) -> None:
        for of in self._results[index]["contenders"].values():
            if not of["rates"]:
                of.setdefault("skipped", _NO_TIME)

    def _found(self, rounds: int) -> dict[str, Any]:
        return {
            "name": self._case.name,
            "title": self._case.title,
            "unit": self._case.unit,
            "rounds": rounds,
            "absent": self._absent,
            "settings": self._results,
        }

    def _take_turns(self, number: int, index: int, setting: Setting) -> None:
        contenders = self._case.contenders
        # Another one begins each time: what one leaves behind does not always hit the same next one.
        shift = (number + index) % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            found = self._results[index]["contenders"].get(contender.name)
            if found is None or "failed" in found or "skipped" in found:
                continue
            try:
                turn = self._turn(contender, index, setting)
            except ContenderFailed as failure:
                found["failed"] = str(failure).strip().splitlines()[-1]
                self._say(f"{contender.name}: {failure}")
                self._end(contender.name)
            else:
                if turn is None:
                    found["skipped"] = _NO_TIME
                else:
                    _note(found, turn)
                    self._pace.rates[contender.name] = turn.count / turn.seconds

    def _turn(self, contender: Contender, index: int, setting: Setting) -> Turn | None:
        sink = self._sink(setting)
        setting = evolve(setting, url=sink.url, certificate=sink.certificate)
        counting = sink if contender.posts else None
        process = self._process(contender)
        if setting.count is not None:
            return self._fixed(process, setting, counting)
        key = (index, contender.name)
        if key not in self._counts:
            turn = self._first(process, setting, counting)
            wanted = turn.count * self._case.seconds / turn.seconds
            self._counts[key] = max(1, int(max(wanted, min(turn.count, 4 * wanted))))
            return turn
        return process.turn(setting, self._counts[key], counting, self._patience)

    def _fixed(self, process: Process, setting: Setting, sink: Sink | None) -> Turn | None:
        count = setting.count or 0
        if self._pace.quick:
            count = min(count, 1000)
        rate = self._pace.rates.get(process.contender.name)
        # A third more for what is not timed, such as a file to be written.
        expected = 1.33 * count / rate if rate else 0.0
        if not self._pace.quick and expected > self._pace.left:
            return None
        return process.turn(setting, count, sink, _PATIENCE + 3 * expected)

    def _first(self, process: Process, setting: Setting, sink: Sink | None) -> Turn:
        """A turn that is long enough, and has several for each that is under way at once."""
        count = max(_FIRST_COUNT, 2 * setting.concurrency)
        seconds, least = self._case.seconds, _FOR_EACH * setting.concurrency
        while True:
            turn = process.turn(setting, count, sink, self._patience)
            short = turn.seconds < seconds / 2 or (count < least and turn.seconds < 2 * seconds)
            if self._pace.quick or not short:
                return turn
            growth = max(2.0, min(_GROWTH, seconds / turn.seconds))
            count = max(int(count * growth), least if count * growth > least / 2 else 0)

    @property
    def _patience(self) -> float:
        return _PATIENCE + 10 * self._case.seconds

    def _sink(self, setting: Setting) -> Sink:
        key = (setting.latency, setting.tls)
        if key not in self._sinks:
            self._sinks[key] = self._stack.enter_context(
                running_sink(setting.latency, tls=setting.tls)
            )
        return self._sinks[key]

    def _process(self, contender: Contender) -> Process:
        if contender.name not in self._processes:
            self._processes[contender.name] = self._stack.enter_context(started(contender))
        return self._processes[contender.name]

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.close()


def _takes_part(contender: Contender, setting: Setting) -> bool:
    too_many = contender.most is not None and setting.concurrency > contender.most
    return not too_many and not contender.missing()


def _nothing() -> dict[str, Any]:
    return {"rates": [], "cpu_us": [], "peak_mb": [], "more": {}, "count": 0}


def _note(found: dict[str, Any], turn: Turn) -> None:
    found["count"] = turn.count
    found["rates"].append(round(turn.count / turn.seconds, 3))
    found["cpu_us"].append(round(turn.cpu / turn.count * 1e6, 2))
    found["peak_mb"].append(round(turn.peak / 2**20, 2))
    more: Mapping[str, float] = turn.more
    for name, value in more.items():
        found["more"].setdefault(name, []).append(round(value, 2))
