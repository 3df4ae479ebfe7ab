"""`send --outbox`: everything into the outbox first, then out of it; what stops it can be resumed."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from kochava_segment.cli.logs import relay_heard
from kochava_segment.cli.messages import STDIN, Entry, read_entries
from kochava_segment.cli.relay import LAST_POSTS, in_words
from kochava_segment.cli.report import Report
from kochava_segment.cli.stopping import Stop
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import (
    FAILED_STATES,
    EntryFilter,
    OutboxStatus,
    count_pending,
    entries,
    has_pending,
    outbox_status,
)
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import OutboxError, OutboxFull
from kochava_segment.outcome import Outcome
from kochava_segment.plural import counted

_GROUP = 1_000
_LOOK_EVERY = 0.05  # seconds
_COUNT_EVERY = 1.0  # seconds; seldomer where there is much to count
_STARTED_WITHIN = 30.0  # seconds


def send_through_outbox(
    destination: KochavaDestination, files: Sequence[str], report: Report, stop: Stop
) -> bool:
    """Put all messages into the outbox of a destination, and wait until it has sent them.

    Returns:
        Whether everything that the outbox held was delivered.
    """
    box = destination.outbox
    with relay_heard(), _errors_in_words():
        read = stop.until_stopped(_identified(read_entries(files)))
        _fill(destination, report, report.taken(read), stop)
        destination.start_relay(wait=_STARTED_WITHIN)
        count_at = 0.0
        while not stop.stopped and has_pending(box):
            if time.monotonic() >= count_at:
                began = time.monotonic()
                report.sending(count_pending(box))
                took = time.monotonic() - began
                count_at = time.monotonic() + max(_COUNT_EVERY, 20 * took)
            time.sleep(_LOOK_EVERY)
        destination.stop_relay(LAST_POSTS)
        status = outbox_status(box)
        report.stopped = stop.stopped
        report.summarise()
        if status.failed:
            _keep_failed(box, files, report)
    _say_what_is_left(box.file.path, status)
    return not status.pending and not status.failed


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except OutboxError as error:
        raise click.ClickException(str(error)) from None


def _identified(read: Iterator[Entry]) -> Iterator[Entry]:
    """Give each message without a messageId one that another run will give it as well.

    It is made of what the message says and of where it stands: the same text elsewhere is another
    message.
    """
    before, of_line = ("", 0), 0
    places: dict[str | None, str] = {None: STDIN}
    for entry in read:
        if entry.file not in places:
            places[entry.file] = str(Path(entry.file or "").resolve())
        where = (places[entry.file], entry.line)
        of_line = of_line + 1 if where == before else 0
        before = where
        if isinstance(entry.message, dict) and entry.message.get("messageId") in (None, ""):
            content = json.dumps([*where, of_line, entry.message], sort_keys=True, default=str)
            digest = hashlib.sha256(content.encode()).hexdigest()
            message = {**entry.message, "messageId": f"line-{digest}"}
            yield Entry(line=entry.line, file=entry.file, message=message)
        else:
            yield entry


def _fill(
    destination: KochavaDestination, report: Report, messages: Iterator[Any], stop: Stop
) -> None:
    first = 0
    while group := list(islice(messages, _GROUP)):
        for outcome in _enqueue(destination, group, stop):
            report.add(outcome, first + outcome.index)
        first += len(group)


def _enqueue(destination: KochavaDestination, group: list[Any], stop: Stop) -> list[Outcome]:
    """Store messages, when there is room; nothing where a signal came first."""
    while True:
        try:
            return destination.enqueue_many(group)
        except OutboxFull:
            if not has_pending(destination.outbox):
                raise  # nothing is on its way out that could make room
            if stop.stopped:
                return []
            time.sleep(_LOOK_EVERY)


def _keep_failed(box: Outbox, files: Sequence[str], report: Report) -> None:
    """Report those messages of the input that the outbox could not deliver."""
    found = entries(box, EntryFilter(states=FAILED_STATES))
    if STDIN in files or not files:
        for entry in found:
            report.undelivered(None, entry.state, entry.reason, entry.message_id)
        return
    # There may be very many, so that the least is kept of each.
    reasons: dict[str | None, str | None] = {}
    failed = {
        entry.message_id: (sys.intern(entry.state), reasons.setdefault(entry.reason, entry.reason))
        for entry in found
        if entry.message_id is not None
    }
    for read in _identified(read_entries(files)):
        what = failed.get(read.message_id or "")
        if what is not None:
            report.undelivered(read, *what, read.message_id)


def _say_what_is_left(path: Path, status: OutboxStatus) -> None:
    click.echo(in_words(status))
    if status.maybe_repeated:
        times = counted(status.maybe_repeated, "time")
        click.echo(f"requests may have been counted twice {times} at most")
    if status.paused:
        click.echo("paused: Kochava refused the credentials; mend them and run this again")
    elif status.pending:
        click.echo("run this again with the same arguments to send what is left")
    if status.failed:
        click.echo(
            f"see what failed: kochava-segment outbox list --outbox {path}; then `outbox retry` or "
            "`outbox discard`"
        )
