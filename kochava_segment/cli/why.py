"""`why`: what a code means, and what to do about it."""

from __future__ import annotations

import difflib
import logging
import re
import textwrap
from collections.abc import Iterator

import click
from attrs import frozen

from kochava_segment.advice import ADVICE
from kochava_segment.emulator.checks import RULES
from kochava_segment.log_events import LOG_EVENTS, LogEvent

POINTER = "what a code means, and what to do: kochava-segment why CODE"
_WIDTH = 100
_PLACE = re.compile(r"%\((\w+)\)[\d.]*[a-z]")


@frozen
class _Entry:
    """What is said of a code.

    Attributes:
        code: The code.
        group: What it is a code of, where all are listed.
        kind: The same, where it is explained.
        paragraphs: The explanation.
    """

    code: str
    group: str
    kind: str
    paragraphs: tuple[str, ...]

    def __str__(self) -> str:
        return _filled(f"{self.code} ({self.kind})", *self.paragraphs)


@click.command(short_help="Say what a warning, reason or outcome means, and what to do.")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
def why(codes: tuple[str, ...]) -> None:
    """Say what happened where a CODE was given, and what to do about it.

    CODEs are those of warnings and of the emulator's complaints, filter reasons, outcomes, states in
    an outbox, the names of errors and of records in the log, and the statuses that the receiver
    answers. Without one, all are listed.

    Exit code: 0 if all are known.
    """
    entries_of: dict[str, list[_Entry]] = {}
    for entry in _all():
        entries_of.setdefault(_folded(entry.code), []).append(entry)
    if not codes:
        click.echo("\n\n".join(_lists()))
        return
    if _folded(" ".join(codes)) in entries_of:  # `why in flight`
        codes = (" ".join(codes),)
    for code in codes:
        if _folded(code) not in entries_of:
            raise click.UsageError(_unknown(code))
    found = [entry for code in codes for entry in entries_of[_folded(code)]]
    click.echo("\n\n".join(map(str, found)))


def _all() -> Iterator[_Entry]:
    for advice in ADVICE:
        more = f"More: docs/{advice.page}#{advice.anchor}"
        paragraphs = (advice.cause, f"What to do: {advice.remedy}", more)
        yield _Entry(advice.code, advice.kind, advice.kind, paragraphs)
    for rule in RULES:
        more = f"More: docs/emulator.md#{rule.code}"
        paragraphs = (f"{rule.checks}.", f"Source: {rule.source}", more)
        yield _Entry(
            rule.code, "emulator's complaint", f"the emulator's {rule.severity}", paragraphs
        )
    for event in LOG_EVENTS:
        more = f"More: docs/observability.md#log-{event.name}"
        level = logging.getLevelName(event.level)
        paragraphs = (f"{level}: {_sentence(event)}", event.meaning, more)
        yield _Entry(event.name, "log record", "log record", paragraphs)


def _folded(code: str) -> str:
    """A code without what people write one way or another: letter case, blanks, `-` and `_`."""
    return re.sub(r"[-_\s]+", "-", code.strip().casefold())


def _sentence(event: LogEvent) -> str:
    """The sentence of a record, the names of its fields in capitals."""
    return _PLACE.sub(lambda place: place[1].upper(), event.text)


def _filled(head: str, *paragraphs: str) -> str:
    filled = (
        textwrap.fill(
            text, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        for text in paragraphs
    )
    return "\n".join((head, *filled))


def _lists() -> Iterator[str]:
    codes_of: dict[str, list[str]] = {}
    for entry in _all():
        codes_of.setdefault(entry.group, []).append(entry.code)
    for group, codes in codes_of.items():
        yield _filled(f"{group}s", ", ".join(codes))


def _unknown(code: str) -> str:
    known = {_folded(entry.code): entry.code for entry in _all()}
    close = difflib.get_close_matches(_folded(code), known, n=1)
    meant = f" Did you mean {known[close[0]]}?" if close else ""
    return f"no code is called that; `kochava-segment why` lists all.{meant}"
