"""`relay`: drains an outbox, in a process of its own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import click

from kochava_segment.cli.logs import log_options, log_to_stderr
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.delivery.outbox_inspection import OutboxStatus, has_pending, outbox_status
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, OutboxError

_LOOK_EVERY = 0.2  # seconds
_STARTED_WITHIN = 30.0  # seconds
LAST_POSTS = 15.0
"""Seconds for what is under way when a signal comes."""


@click.command(
    cls=SectionedCommand, short_help="Send what an outbox holds, until Ctrl-C or SIGTERM."
)
@click.option("--until-empty", is_flag=True, help="End when nothing is left to send.")
@click.option(
    "--report-every",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to print what the outbox holds.",
)
@log_options
@destination_options
def relay(
    load: Callable[..., KochavaDestination],
    *,
    until_empty: bool,
    report_every: float,
    log_format: str,
    log_level: str,
) -> None:
    """Send what an outbox holds, until Ctrl-C or SIGTERM.

    For programs that put messages into an outbox with `relay=False`, or that no longer run. Several
    relays may work on one file. What is under way is finished before this ends.

    Exit code: 0 if a signal ended it or, with --until-empty, everything was delivered; 1 if something
    has failed or is left with --until-empty, or the outbox cannot be used.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    log_to_stderr(log_format, log_level)
    with load(relay=True) as destination:
        try:
            box = destination.outbox
        except ConfigurationError:
            raise click.UsageError("--outbox is missing: it names the file to drain") from None
        try:
            has_pending(box)  # what is no outbox is refused, not waited for
            click.echo(f"sending what is in {box.file.path}; Ctrl-C ends it")
            destination.start_relay(wait=_STARTED_WITHIN)
            report_at = time.monotonic() + report_every
            while not stopped.wait(_LOOK_EVERY):
                if until_empty and not has_pending(box):
                    break
                if time.monotonic() > report_at:
                    report_at = time.monotonic() + report_every
                    click.echo(in_words(outbox_status(box)))
            destination.stop_relay(LAST_POSTS)
            found = outbox_status(box)
        except OutboxError as error:
            raise click.ClickException(str(error)) from None
    click.echo(in_words(found))
    if until_empty and (found.failed or found.pending):
        raise SystemExit(1)


def in_words(found: OutboxStatus) -> str:
    """The counts of an outbox in a line."""
    counts = [f"{count} {state}" for state, count in found.states.items()]
    return f"the outbox holds: {', '.join(counts) or 'nothing'}"
