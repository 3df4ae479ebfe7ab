"""`send`: map and send messages, and say what became of each."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typing_extensions import Self

from kochava_segment.cli.messages import Entry, read_entries
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.outcome import Outcome, OutcomeKind

_SHOWN_FAILURES = 20
_PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
_GOOD = (OutcomeKind.ACCEPTED, OutcomeKind.FILTERED)


@click.command(cls=SectionedCommand, short_help="Send messages and say what became of each.")
@click.argument(
    "files",
    nargs=-1,
    metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@click.option(
    "--failed",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append each message that was neither accepted nor filtered, with its reason; `send` reads "
    "this file again.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Requests under way at once.",
)
@destination_options
def send(
    load: Callable[..., KochavaDestination],
    files: tuple[str, ...],
    failed: Path | None,
    concurrency: int,
) -> None:
    """Send messages to Kochava.

    FILEs are JSON lines, a JSON array, or gzip of either; without FILE, standard input is read.
    Ctrl-C stops taking messages, finishes what is under way and reports; a second Ctrl-C gives up
    on what is waiting to be tried again.

    Exit code: 0 if all were accepted or filtered, 1 if some were not, 2 for wrong usage.
    """
    if failed is not None and any(_is_same(failed, name) for name in files):
        raise click.UsageError("--failed must be another file than those that are read")
    with ExitStack() as stack:
        destination = stack.enter_context(load())
        report = stack.enter_context(_Report(stack.enter_context(_failed_file(failed))))
        stop = stack.enter_context(_Stop.on_signals(destination))
        messages = report.taken(stop.until_stopped(read_entries(files)))
        for outcome in destination.send_many(messages, concurrency):
            report.add(outcome)
        report.stopped = stop.stopped
    report.summarise()
    sys.exit(0 if report.all_good else 1)


def _is_same(failed: Path, name: str) -> bool:
    return name != "-" and failed.exists() and failed.samefile(name)


@contextmanager
def _failed_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    # Messages are personal data: for the eyes of their owner only.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise click.UsageError(f"--failed cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        yield file


class _Stop:
    """Ends the input at the first Ctrl-C, and the waiting at the second."""

    def __init__(self, destination: KochavaDestination) -> None:
        self.stopped = False
        self._reading = False
        self._destination = destination

    @classmethod
    @contextmanager
    def on_signals(cls, destination: KochavaDestination) -> Iterator[_Stop]:
        stop = cls(destination)
        before = {
            number: signal.signal(number, stop._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopped:
            self._destination.close()
            return
        self.stopped = True
        if self._reading:  # perhaps blocked in a read that nothing else would end
            raise _Interrupted

    def until_stopped(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """The entries, until the first signal."""
        while not self.stopped:
            try:
                self._reading = True
                entry = next(entries, None)
                self._reading = False
            except _Interrupted:
                return
            if entry is None:
                return
            yield entry


class _Interrupted(BaseException):
    """A signal came while input was awaited."""


class _Report:
    """Counts outcomes, keeps failures, shows progress."""

    def __init__(self, failed: TextIO | None) -> None:
        self.stopped = False
        self._failed = failed
        self._entries: dict[int, Entry] = {}  # those under way
        self._counts: Counter[OutcomeKind] = Counter()
        self._reasons: Counter[tuple[OutcomeKind, str]] = Counter()
        self._warnings: Counter[str] = Counter()
        self._failures = 0
        self._last_line = 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._began = self._shown_at = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("sending", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def all_good(self) -> bool:
        """Whether everything that was read was accepted or filtered, and all was read."""
        return not self.stopped and all(kind in _GOOD for kind in self._counts)

    def taken(self, entries: Iterator[Entry]) -> Iterator[Any]:
        """The messages of the entries, which are remembered until their outcome is known."""
        for index, entry in enumerate(entries):
            self._entries[index] = entry
            self._last_line = entry.line
            # What could not be read goes the same way, so that it is counted and reported once.
            yield entry.message if entry.error is None else entry.error

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, and keep the message if it failed."""
        entry = self._entries.pop(outcome.index)
        self._counts[outcome.kind] += 1
        self._warnings.update(warning.code for warning in outcome.warnings)
        if outcome.kind is OutcomeKind.FILTERED:
            self._reasons[outcome.kind, outcome.reason or ""] += 1
        elif outcome.kind is not OutcomeKind.ACCEPTED:
            self._fail(entry, outcome)
        self._progress.advance(self._task)
        if not self._console.is_terminal and time.monotonic() - self._shown_at > _PLAIN_EVERY:
            self._shown_at = time.monotonic()
            self._console.print(f"{self._counts.total()} messages so far")

    def _fail(self, entry: Entry, outcome: Outcome) -> None:
        self._failures += 1
        if self._failures <= _SHOWN_FAILURES:
            where = f"{entry.file}:{entry.line}" if entry.file else f"line {entry.line}"
            self._console.print(f"{where}: {outcome.kind}: {outcome.reason}", markup=False)
        elif self._failures == _SHOWN_FAILURES + 1:
            self._console.print("… more failures are counted, and kept with --failed")
        if self._failed is not None:
            line: dict[str, Any] = {
                "outcome": outcome.kind.value,
                "reason": outcome.reason,
                "line": entry.line,
            }
            # What was no JSON is kept as text: sent again, it is reported again.
            line["message"] = entry.message if entry.text is None else entry.text
            self._failed.write(json.dumps(line, default=str) + "\n")
            self._failed.flush()

    def summarise(self) -> None:
        """Print what became of everything."""
        elapsed = time.monotonic() - self._began
        click.echo(f"{self._counts.total()} messages in {elapsed:.1f} s")
        for kind in OutcomeKind:
            if self._counts[kind]:
                reasons = [
                    f"{reason} {count}"
                    for (of, reason), count in self._reasons.most_common()
                    if of is kind
                ]
                suffix = f"  ({', '.join(reasons)})" if reasons else ""
                click.echo(f"  {kind.value:<12}{self._counts[kind]:>8}{suffix}")
        if self._warnings:
            listed = ", ".join(f"{code} {count}" for code, count in self._warnings.most_common())
            click.echo(f"warnings: {listed}")
        if self.stopped:
            click.echo(f"stopped by a signal; the last line taken was {self._last_line}")
