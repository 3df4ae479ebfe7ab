"""`demo`: the whole path on one machine, with nothing to set up."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files

import click
from rich import box
from rich.console import Console
from rich.table import Table

from kochava_segment.cli.map import in_full
from kochava_segment.cli.messages import Entry, read_entries
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.cli.why import POINTER
from kochava_segment.destination import KochavaDestination
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.errors import EventFiltered
from kochava_segment.outcome import Outcome
from kochava_segment.plural import counted
from kochava_segment.request import KochavaRequest

_APP_GUID = "kodemo-ski-shop-a1b2"
_API_KEY, _API_SECRET = "DEMO-KEY", "demo-secret"  # the emulator's own
_CONSENT = "Advertising"  # the category that the messages have
_SHOWN_IN_FULL = "purchase"
_MEANINGS = {
    "accepted": "Kochava took it",
    "filtered": "not meant for Kochava: counted, and left alone",
    "invalid": "malformed: the reason says where",
    "unsupported": "Kochava has nothing like it",
    "rejected": "Kochava refused it",
    "exhausted": "Kochava could not be reached, or kept failing",
    "ambiguous": "the answer was lost: it may have been counted",
}
_STYLES = {"accepted": "green", "filtered": "cyan", "unsupported": "cyan"}
_OTHER_STYLE = "red"


@click.command(cls=SectionedCommand, short_help="See it all happen on this machine. Start here.")
@destination_options
def demo(load: Callable[..., KochavaDestination]) -> None:
    """Send example messages to a local Kochava and show what became of each.

    Nothing leaves this machine and no account is needed. The messages are bundled: installs with
    and without Apple Search Ads, a purchase, identify and Engage, a screen, one without consent,
    one that is broken.

    All options work, so you can see what they change: try `--screens view`. Only --endpoint,
    --api-key and --api-secret are set aside, since the demo has its own Kochava.

    Exit code: 0 if it came to its end, whatever became of the messages.
    """
    entries = _bundled()
    with KochavaEmulator(api_key=_API_KEY, api_secret=_API_SECRET, require_install=True) as kochava:
        fixed = {"endpoint": kochava.url, "api_key": _API_KEY, "api_secret": _API_SECRET}
        with load(**fixed) as given:
            if given.options.app_guid is None:
                fixed["app_guid"] = _APP_GUID
            consent = given.options.required_consent or (_CONSENT,)
        with load(**fixed, required_consent=consent) as destination:
            messages = (entry.error or entry.message for entry in entries)
            # One at a time: Engage knows the device by another id, so no order holds it back until
            # the install is there, and the local Kochava insists on that.
            outcomes = list(destination.send_many(messages, concurrency=1))
            outcomes.sort(key=lambda outcome: outcome.index)
            console = Console(highlight=False)
            _show_outcomes(console, entries, outcomes, destination)
            _show_request(console, entries, outcomes, destination)
            _summarise(console, outcomes, kochava)


def _bundled() -> list[Entry]:
    with as_file(files("kochava_segment.cli") / "demo_messages.jsonl") as path:
        return list(read_entries([str(path)]))


def _show_outcomes(
    console: Console,
    entries: list[Entry],
    outcomes: list[Outcome],
    destination: KochavaDestination,
) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("message", "Segment sends", "Kochava gets", "outcome"):
        table.add_column(column, overflow="fold")
    for entry, outcome in zip(entries, outcomes, strict=True):
        style = _STYLES.get(outcome.kind.value, _OTHER_STYLE)
        table.add_row(
            _name(entry),
            _segment_name(entry),
            _kochava_name(destination.map(entry.message)) if outcome.receipt else "-",
            f"[{style}]{outcome.kind.value}[/{style}]",
        )
    console.print("What became of the example messages:", markup=False)
    console.print(table)
    console.print("Why, and what was odd:", markup=False)
    for entry, outcome in zip(entries, outcomes, strict=True):
        for number, remark in enumerate(_remarks(outcome)):
            if number == 0:
                console.print(f"  {_name(entry)} ({outcome.kind.value})", markup=False)
            indented = textwrap.fill(
                remark, console.width, initial_indent="    ", subsequent_indent="    "
            )
            console.print(indented, markup=False, soft_wrap=True)


def _show_request(
    console: Console,
    entries: list[Entry],
    outcomes: list[Outcome],
    destination: KochavaDestination,
) -> None:
    sent = [entry for entry, outcome in zip(entries, outcomes, strict=True) if outcome.receipt]
    if not sent:
        return
    shown = next((entry for entry in sent if entry.message_id == _SHOWN_IN_FULL), sent[0])
    request = destination.map(shown.message)
    console.print(f"\nThe request of {shown.message_id} in full:\n", markup=False)
    console.print(in_full(request, reveal=True), markup=False, soft_wrap=True)


def _summarise(console: Console, outcomes: list[Outcome], kochava: KochavaEmulator) -> None:
    counts = Counter(outcome.kind.value for outcome in outcomes)
    console.print(f"\n{counted(len(outcomes), 'message')}:")
    for kind, count in counts.items():
        console.print(f"  {count:>2} {kind:<12} {_MEANINGS[kind]}")
    errors = sum(complaint.severity == "error" for complaint in kochava.complaints)
    checked = f"{counted(len(kochava.requests), 'signed request')} against Kochava's documents"
    console.print(f"\nThe local Kochava checked {checked}.")
    console.print(f"Errors found: {errors}. It is no proof of what the real Kochava does.")
    console.print("\nNext, with messages of yours (nothing is sent):")
    console.print("  kochava-segment map --app-guid YOUR_APP_GUID events.jsonl", soft_wrap=True)
    console.print(f"\nAnd {POINTER}", soft_wrap=True)


def _name(entry: Entry) -> str:
    return entry.message_id or f"line {entry.line}"


def _segment_name(entry: Entry) -> str:
    if not isinstance(entry.message, dict):
        return "?"
    name = entry.message.get("event") or entry.message.get("name") or ""
    return f"{entry.message.get('type')} {name}".strip()


def _kochava_name(request: KochavaRequest) -> str:
    name = request.payload["data"].get("event_name", "") if request.action == "event" else ""
    return f"{request.action} {name}".strip()


def _remarks(outcome: Outcome) -> Iterator[str]:
    if isinstance(outcome.error, EventFiltered):
        yield str(outcome.error)
    elif outcome.error is not None:
        problems = getattr(outcome.error, "problems", (outcome.error,))
        yield from map(str, problems)
    for warning in outcome.warnings:
        yield f"{warning.code}: {warning.field} {warning.detail}"
