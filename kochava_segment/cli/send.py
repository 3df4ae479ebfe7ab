"""`send`: map and send messages, and say what became of each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from kochava_segment.cli.durable_send import send_through_outbox
from kochava_segment.cli.messages import STDIN, read_entries
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.cli.report import Report, failed_file
from kochava_segment.cli.stopping import Stop
from kochava_segment.destination import KochavaDestination


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
    default=None,
    metavar="N",
    help="Requests under way at once.  [default: as many as pay off]",
)
@destination_options
def send(
    load: Callable[..., KochavaDestination],
    files: tuple[str, ...],
    failed: Path | None,
    concurrency: int | None,
) -> None:
    """Send messages to Kochava.

    FILEs are JSON lines, a JSON array, or gzip of either; without FILE, standard input is read.
    Ctrl-C stops taking messages, finishes what is under way and reports; a second Ctrl-C gives up
    on what is waiting to be tried again.

    With --outbox, messages go through that file: stopped or killed, the same command with the same
    file goes on where it was, without losing or repeating any. --workers is its --concurrency.

    Exit code: 0 if all were accepted, filtered or there twice; 1 if some were not, or a signal stopped
    it.
    """
    if failed is not None and any(_is_same(failed, name) for name in files):
        raise click.UsageError("--failed must be another file than those that are read")
    with ExitStack() as stack:
        destination = stack.enter_context(load())
        report = stack.enter_context(Report(stack.enter_context(failed_file(failed))))
        stop = stack.enter_context(Stop.on_signals(destination.close))
        if destination.options.outbox is not None:
            delivered = send_through_outbox(destination, files, report, stop)
            sys.exit(0 if report.all_good and delivered else 1)
        messages = report.taken(stop.until_stopped(read_entries(files)))
        for outcome in destination.send_many(messages, concurrency):
            report.add(outcome)
        report.stopped = stop.stopped
    report.summarise()
    sys.exit(0 if report.all_good else 1)


def _is_same(failed: Path, name: str) -> bool:
    return name != STDIN and failed.exists() and failed.samefile(name)
