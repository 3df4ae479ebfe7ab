"""What became of many messages: counted, shown as it happens, kept where it failed, summed up."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from typing_extensions import Self

from kochava_segment.cli.messages import Entry
from kochava_segment.cli.why import POINTER
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.plural import counted
from kochava_segment.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_SHOWN_FAILURES = 20
_PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
_GOOD = (
    OutcomeKind.ACCEPTED,
    OutcomeKind.FILTERED,
    OutcomeKind.QUEUED,
    OutcomeKind.DUPLICATE,
)


@contextmanager
def failed_file(path: Path | None) -> Iterator[TextIO | None]:
    """Open the file for what failed, if there is to be one."""
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


class Report:
    """Counts outcomes, keeps failures, shows progress.

    Args:
        failed: The file that gets a line for each message that failed.

    Attributes:
        stopped: Set it if a signal ended the input early.
    """

    def __init__(self, failed: TextIO | None) -> None:
        from rich.console import Console  # noqa: PLC0415  # help pages need not wait for it

        self.stopped = False
        self._failed = failed
        self._entries: dict[int, Entry] = {}  # those under way
        self._counts: Counter[OutcomeKind] = Counter()
        self._reasons: Counter[tuple[OutcomeKind, str]] = Counter()
        self._warnings: Counter[str] = Counter()
        self._failures = 0
        self._last: Entry | None = None
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._is_live = self._console.is_terminal  # asked once: the console asks the system
        self._began = self._shown_at = time.monotonic()
        self._progress = _progress_bar(self._console, hidden=not self._is_live)
        self._task = self._progress.add_task("sending", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:  # old versions of rich end what is hidden with an empty line
            self._progress.stop()

    @property
    def all_good(self) -> bool:
        """Whether everything that was read was accepted, filtered or queued, and all was read."""
        return not self.stopped and all(kind in _GOOD for kind in self._counts)

    def taken(self, entries: Iterator[Entry]) -> Iterator[Any]:
        """The messages of the entries, which are remembered until their outcome is known."""
        for index, entry in enumerate(entries):
            self._entries[index] = entry
            self._last = entry
            # What could not be read goes the same way, so that it is counted and reported once.
            yield entry.message if entry.error is None else entry.error

    def add(self, outcome: Outcome, index: int | None = None) -> None:
        """Count an outcome, and keep the message if it failed.

        Args:
            outcome: The outcome.
            index: The message's place in the input, where the outcome has another.
        """
        entry = self._entries.pop(outcome.index if index is None else index)
        self._counts[outcome.kind] += 1
        for warning in outcome.warnings:
            self._warnings[warning.code] += 1
        if outcome.kind is OutcomeKind.FILTERED:
            self._reasons[outcome.kind, outcome.reason or ""] += 1
        elif outcome.kind not in _GOOD:
            self._fail(entry, outcome.kind.value, outcome.reason)
        if self._is_live:
            self._progress.advance(self._task)
        elif self._is_due():
            self._console.print(f"{counted(self._counts.total(), 'message')} so far")

    def sending(self, pending: int) -> None:
        """Show how many messages of an outbox are still to be sent."""
        sentence = f"{pending} still to be sent"
        if self._is_live:
            self._progress.update(self._task, description=sentence)
        elif self._is_due():
            self._console.print(sentence)

    def undelivered(
        self, entry: Entry | None, state: str, reason: str | None, message_id: str | None
    ) -> None:
        """Keep a message that an outbox could not deliver.

        Args:
            entry: The message in the input, None where that cannot be read again.
            state: Its state in the outbox.
            reason: Why it is in that state.
            message_id: Its `messageId`.
        """
        self._fail(entry, state, reason, message_id)

    def _is_due(self) -> bool:
        """Whether it is time for another line where there is no terminal."""
        now = time.monotonic()
        if now - self._shown_at <= _PLAIN_EVERY:
            return False
        self._shown_at = now
        return True

    def _fail(
        self, entry: Entry | None, outcome: str, reason: str | None, message_id: str | None = None
    ) -> None:
        self._failures += 1
        where = message_id if entry is None else _where(entry)
        if self._failures <= _SHOWN_FAILURES:
            self._console.print(printable(f"{where}: {outcome}: {reason}"), markup=False)
        elif self._failures == _SHOWN_FAILURES + 1:
            self._console.print("more failures are counted, and kept with --failed")
        if self._failed is not None and entry is not None:
            line: dict[str, Any] = {"outcome": outcome, "reason": reason, "line": entry.line}
            # What was no JSON is kept as text: sent again, it is reported again.
            line["message"] = entry.message if entry.text is None else entry.text
            self._failed.write(json.dumps(line, default=str) + "\n")
            self._failed.flush()

    def summarise(self) -> None:
        """Print what became of everything."""
        elapsed = time.monotonic() - self._began
        click.echo(f"{counted(self._counts.total(), 'message')} in {elapsed:.1f} s")
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
        if self._warnings or self._failures or self._reasons:
            click.echo(POINTER)
        if self.stopped:
            last = (
                "nothing was taken" if self._last is None else f"last taken: {_where(self._last)}"
            )
            click.echo(f"stopped by a signal; {last}")


def _progress_bar(console: Console, *, hidden: bool) -> Progress:
    from rich.progress import (  # noqa: PLC0415  # as above
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=hidden,
    )


def _where(entry: Entry) -> str:
    return f"{entry.file}:{entry.line}" if entry.file else f"line {entry.line}"
