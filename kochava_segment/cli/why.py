"""`why`: what a code means, and what to do about it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator

import click

from kochava_segment.advice import ADVICE, advice_on
from kochava_segment.emulator.checks import RULES

POINTER = "what a code means, and what to do: kochava-segment why CODE"
_WIDTH = 100


@click.command(short_help="Say what a warning, reason or outcome means, and what to do.")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
def why(codes: tuple[str, ...]) -> None:
    """Say what happened where a CODE was given, and what to do about it.

    CODEs are those of warnings and of the emulator's complaints, filter reasons, outcomes, the names
    of errors and the statuses that the receiver answers. Without one, all are listed.

    Exit code: 0 if all are known.
    """
    if not codes:
        click.echo("\n\n".join(_lists()))
        return
    for code in codes:
        entries = list(_entries(code))
        if not entries:
            raise click.UsageError(_unknown(code))
        click.echo("\n\n".join(entries))
        if code != codes[-1]:
            click.echo()


def _entries(code: str) -> Iterator[str]:
    for advice in advice_on(code):
        more = f"More: docs/errors.md#{advice.anchor}"
        yield _entry(
            f"{advice.code} ({advice.kind})", advice.cause, f"What to do: {advice.remedy}", more
        )
    for rule in RULES:
        if rule.code.casefold() == code.casefold():
            more = f"More: docs/emulator.md#{rule.code}"
            yield _entry(
                f"{rule.code} (the emulator's {rule.severity})",
                f"{rule.checks}.",
                f"Source: {rule.source}",
                more,
            )


def _entry(head: str, *paragraphs: str) -> str:
    filled = (
        textwrap.fill(
            text, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        for text in paragraphs
    )
    return "\n".join((head, *filled))


def _lists() -> Iterator[str]:
    codes_of: dict[str, list[str]] = {}
    for advice in ADVICE:
        codes_of.setdefault(advice.kind, []).append(advice.code)
    codes_of["emulator's complaint"] = [rule.code for rule in RULES]
    for kind, codes in codes_of.items():
        yield _entry(f"{kind}s", ", ".join(codes))


def _unknown(code: str) -> str:
    codes = [*(advice.code for advice in ADVICE), *(rule.code for rule in RULES)]
    known = {one.casefold(): one for one in codes}
    close = difflib.get_close_matches(code.casefold(), known, n=1)
    meant = f" Did you mean {known[close[0]]}?" if close else ""
    return f"no code is called that; `kochava-segment why` lists all.{meant}"
