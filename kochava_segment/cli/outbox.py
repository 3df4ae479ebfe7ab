"""`outbox`: what an outbox holds, and what a person can do about it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import click
from attrs import asdict
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kochava_segment.delivery import outbox_changes, outbox_salvage
from kochava_segment.delivery import outbox_inspection as inspection
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import EntryFilter, OutboxStatus
from kochava_segment.errors import OutboxError
from kochava_segment.masking import masked, shown_entry
from kochava_segment.plural import counted
from kochava_segment.printable import printable

_REDRAWN_EVERY = 1.0  # seconds
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group()
def outbox() -> None:
    """Look into an outbox, try again, give up, tidy up.

    An outbox is the file that --outbox names in `send` and `relay`. Device ids, addresses and user
    ids are cut short unless you say --reveal.

    Exit code: 0 if it was done; 1 if the outbox cannot be used, there is no such ID, or you said no.
    """


def _parse_age(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> float | None:
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        detail = "must be a number with a unit: 90s, 30m, 12h or 7d"
        raise click.BadParameter(detail, context, parameter) from None


def _file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--outbox",
        "path",
        metavar="FILE",
        required=True,
        envvar="KOCHAVA_SEGMENT_OUTBOX",
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The outbox file.",
    )(command)


def _on_outbox(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the opened outbox, and its errors a sentence instead of a traceback."""

    @wraps(command)
    def opened(path: Path, **options: Any) -> Any:
        box = Outbox(path)
        try:
            return command(box, **options)
        except OutboxError as error:
            raise click.ClickException(str(error)) from None
        finally:
            box.close()

    return _file_option(opened)


def _filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which entries are meant, as an EntryFilter."""

    @wraps(command)
    def with_filter(
        *arguments: Any,
        state: tuple[str, ...],
        reason: str | None,
        app: str | None,
        message_id: str | None,
        older_than: float | None,
        newer_than: float | None,
        ids: tuple[int, ...],
        **options: Any,
    ) -> Any:
        which = EntryFilter(
            states=state,
            reason=reason,
            app_guid=app,
            message_id=message_id,
            older_than=older_than,
            newer_than=newer_than,
            ids=ids,
        )
        return command(*arguments, which=which, **options)

    for option in (
        click.argument("ids", nargs=-1, type=int, metavar="[ID]..."),
        click.option(
            "--state",
            multiple=True,
            type=click.Choice(inspection.STATES),
            help="Only these states. May be given more than once.",
        ),
        click.option("--reason", metavar="TEXT", help="Only where the reason contains this."),
        click.option("--app", metavar="GUID", help="Only this App GUID."),
        click.option("--message-id", metavar="ID", help="Only the message with this messageId."),
        click.option(
            "--older-than", callback=_parse_age, metavar="AGE", help="Queued before: 30m, 12h, 7d."
        ),
        click.option(
            "--newer-than", callback=_parse_age, metavar="AGE", help="Queued since: 30m, 12h, 7d."
        ),
    ):
        with_filter = option(with_filter)
    return with_filter


@outbox.command()
@click.option("--watch", is_flag=True, help="Draw it anew every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@_on_outbox
def status(box: Outbox, *, watch: bool, as_json: bool) -> None:
    """Show how much is waiting, how old it is, how fast it goes, and what has failed."""
    if as_json:
        click.echo(json.dumps(_status_values(inspection.outbox_status(box))))
        return
    console = Console(highlight=False)
    if not watch:
        console.print(_drawn(inspection.outbox_status(box)))
        return
    try:
        with Live(_drawn(inspection.outbox_status(box)), console=console) as live:
            while True:
                time.sleep(_REDRAWN_EVERY)
                live.update(_drawn(inspection.outbox_status(box)))
    except KeyboardInterrupt:
        return


def _status_values(found: OutboxStatus) -> dict[str, Any]:
    values = asdict(found, recurse=False)
    for name in ("reasons", "purged"):
        values[name] = [
            {"state": state, "reason": reason, "count": count}
            for (state, reason), count in values[name].items()
        ]
    return {**values, "pending": found.pending, "failed": found.failed}


def _drawn(found: OutboxStatus) -> Group:
    facts = Table.grid(padding=(0, 2))
    to_drain = "" if found.time_to_drain is None else f", {_age(found.time_to_drain)} to drain"
    oldest = "" if found.oldest_age is None else f", the oldest for {_age(found.oldest_age)}"
    facts.add_row("pending", f"{found.pending}{oldest}")
    facts.add_row("rate", f"{found.rate:.1f} a second over the last minute{to_drain}")
    facts.add_row("failed", f"{found.failed}: see `kochava-segment outbox list`")
    facts.add_row(
        "seen again", f"{counted(found.duplicates, 'duplicate')}, not stored a second time"
    )
    times = counted(found.maybe_repeated, "time")
    facts.add_row("maybe twice", f"{times} at most, after lost answers and crashes")
    facts.add_row("size", f"{found.used_bytes / 2**20:.1f} MB")
    for guid in found.paused:
        facts.add_row("PAUSED", _cell(f"app {guid}: its credentials were refused"))
    table = Table()
    for column in ("state", "requests", "reason"):
        table.add_column(column, overflow="fold")
    for state in inspection.STATES:
        count = found.states.get(state, 0)
        if count:
            table.add_row(state, str(count), "")
        ranked = sorted(found.reasons.items(), key=lambda item: -item[1])
        for (of, reason), number in ranked:
            if of == state:
                table.add_row("", str(number), _cell(reason))
    for (state, reason), number in found.purged.items():
        table.add_row(_cell(f"{state}, forgotten"), str(number), _cell(reason))
    return Group(facts, table)


@outbox.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@click.option("--json", "as_json", is_flag=True, help="As JSON lines.")
@_filtered
@_on_outbox
def list_command(box: Outbox, *, which: EntryFilter, limit: int, as_json: bool) -> None:
    """List requests, by default those that have failed."""
    if which == EntryFilter():
        which = EntryFilter(states=inspection.FAILED_STATES)
    found = list(inspection.entries(box, which, limit=limit))
    if as_json:
        for entry in found:
            click.echo(json.dumps(shown_entry(entry, reveal=False)))
        return
    table = Table()
    for column in ("id", "state", "action", "messageId", "attempts", "status", "age", "reason"):
        table.add_column(column, overflow="fold")
    for entry in found:
        table.add_row(
            str(entry.id),
            entry.state,
            entry.action,
            _cell(entry.message_id or ""),
            str(entry.attempts),
            str(entry.status or ""),
            _age(time.time() - entry.queued_at),
            _cell(entry.reason or ""),
        )
    Console(highlight=False).print(table if found else "Nothing.")
    if len(found) == limit:
        click.echo(f"There may be more than {limit}: see --limit.", err=True)


@outbox.command()
@click.argument("number", type=int, metavar="ID")
@click.option("--reveal", is_flag=True, help="Show identifiers in full.")
@_on_outbox
def show(box: Outbox, *, number: int, reveal: bool) -> None:
    """Show one request with its body, as JSON."""
    entry = next(inspection.entries(box, EntryFilter(ids=(number,)), bodies=True), None)
    if entry is None:
        raise click.ClickException(
            f"the outbox has no request {number}: `outbox list` names those that it has"
        )
    click.echo(json.dumps(shown_entry(entry, reveal=reveal), indent=2))


@outbox.command()
@click.option("--all", "everything", is_flag=True, help="All that failed or backs off.")
@_filtered
@_on_outbox
def retry(box: Outbox, *, which: EntryFilter, everything: bool) -> None:
    """Send failed requests again, and those that back off at once; resume paused apps.

    An ambiguous request may have been counted: sending it again may count it twice.
    """
    count = outbox_changes.retry(box, _some_or_all(which, everything=everything))
    click.echo(f"{counted(count, 'request')} will be sent again by the next relay that looks")


@outbox.command()
@click.option("--all", "everything", is_flag=True, help="All that waits or has failed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filtered
@_on_outbox
def discard(box: Outbox, *, which: EntryFilter, everything: bool, yes: bool) -> None:
    """Give up on requests that wait or have failed. They stay counted; their bodies are deleted."""
    which = _some_or_all(which, everything=everything)
    if not yes:
        count = sum(1 for _ in inspection.entries(box, which))
        click.confirm(f"Give up on up to {counted(count, 'request')} for good?", abort=True)
    click.echo(f"{counted(outbox_changes.discard(box, which), 'request')} discarded")


def _some_or_all(which: EntryFilter, *, everything: bool) -> EntryFilter:
    if which == EntryFilter() and not everything:
        raise click.UsageError(
            "say which: IDs, --state, --reason, --app, --message-id, an age, or --all"
        )
    return which


@outbox.command()
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to.")
@click.option("--reveal", is_flag=True, help="Export identifiers in full.")
@click.option("--salvage", is_flag=True, help="Read what can be read of a damaged file.")
@_filtered
@_file_option
def export(
    path: Path, *, which: EntryFilter, output: Path | None, reveal: bool, salvage: bool
) -> None:
    """Write requests with their bodies as JSON lines, to a file or to standard output."""
    if not reveal:
        click.echo("identifiers are cut short: --reveal writes them in full", err=True)
    with _output(output) as file:
        if salvage:
            _salvage(path, file, reveal=reveal)
            return
        box = Outbox(path)
        try:
            for entry in inspection.entries(box, which, bodies=True):
                file.write(json.dumps(shown_entry(entry, reveal=reveal)) + "\n")
        except OutboxError as error:
            raise click.ClickException(str(error)) from None
        finally:
            box.close()


def _salvage(path: Path, file: TextIO, *, reveal: bool) -> None:
    for count, entry in enumerate(outbox_salvage.salvage(path)):
        if "unreadable" in entry:  # the last
            read = counted(count, "request")
            click.echo(f"{read} read; {entry['unreadable']} cannot be read", err=True)
            return
        if not reveal:
            entry["payload"] = masked(
                entry["payload"], identity_link=entry["action"] in ("identity_link", None)
            )
        file.write(json.dumps(entry) + "\n")


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise click.UsageError(f"--output cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yield file


@outbox.command()
@_on_outbox
def vacuum(box: Outbox) -> None:
    """Give the space of deleted requests back to the disk."""
    before, after = box.file.vacuum()
    click.echo(f"{before / 2**20:.1f} MB before, {after / 2**20:.1f} MB now")


def _cell(text: str) -> Text:
    """Text for a table, of which rich would else obey what stands in brackets."""
    return Text(printable(text))


def _age(seconds: float) -> str:
    for unit, length in reversed(_UNITS.items()):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"
