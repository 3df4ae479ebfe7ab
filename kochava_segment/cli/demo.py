"""`demo`: the whole path on one machine, with nothing to set up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from importlib.resources import as_file, files

import click
from rich.console import Console
from rich.table import Table

from kochava_segment.cli.map import shown_headers
from kochava_segment.cli.messages import Entry, read_entries
from kochava_segment.cli.options import destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.outcome import Outcome

_APP_GUID = "kodemo-ski-shop-a1b2"
_API_KEY, _API_SECRET = "DEMO-KEY", "demo-secret"  # the emulator's own
_SHOWN_IN_FULL = "demo-purchase"
_MEANINGS = {
    "accepted": "Kochava took it",
    "filtered": "not meant for Kochava: counted, and left alone",
    "invalid": "malformed: the reason says where",
    "unsupported": "Kochava has nothing like it",
    "rejected": "Kochava refused it",
    "exhausted": "Kochava could not be reached, or kept failing",
    "ambiguous": "the answer was lost",
}


@click.command()
@destination_options
def demo(load: Callable[..., KochavaDestination]) -> None:
    """Send example messages to a local Kochava and show what became of each.

    Nothing leaves this machine. The messages are bundled: installs with and without Apple Search
    Ads, a purchase, identify and Engage, a screen, one without consent, one that is broken.
    """
    context = click.get_current_context()
    overrides: dict[str, object] = {}
    if context.params.get("app_guid") is None:
        overrides["app_guid"] = _APP_GUID
    if context.params.get("required_consent") is None:
        overrides["required_consent"] = ["Advertising"]
    entries = _bundled()
    with KochavaEmulator(api_key=_API_KEY, api_secret=_API_SECRET, require_install=True) as kochava:
        credentials = {"api_key": _API_KEY, "api_secret": _API_SECRET}
        with load(endpoint=kochava.url, **credentials, **overrides) as destination:
            messages = (entry.error or entry.message for entry in entries)
            outcomes = sorted(destination.send_many(messages), key=lambda outcome: outcome.index)
            _show(entries, outcomes, destination, kochava)


def _bundled() -> list[Entry]:
    with as_file(files("kochava_segment.cli") / "demo_messages.jsonl") as path:
        return list(read_entries([str(path)]))


def _show(
    entries: list[Entry],
    outcomes: list[Outcome],
    destination: KochavaDestination,
    kochava: KochavaEmulator,
) -> None:
    console = Console(highlight=False)
    table = Table(title="What became of the example messages", title_justify="left")
    for column in ("message", "Segment", "Kochava", "outcome", "why, and what was odd"):
        table.add_column(column, overflow="fold")
    for entry, outcome in zip(entries, outcomes, strict=True):
        table.add_row(
            entry.message_id or f"line {entry.line}",
            _segment_name(entry),
            _kochava_name(entry, destination) if outcome.receipt else "",
            outcome.kind.value,
            _why(outcome),
        )
    console.print(table)
    shown = next(entry for entry in entries if entry.message_id == _SHOWN_IN_FULL)
    request = destination.map(shown.message)
    console.print(f"\nThe request of {_SHOWN_IN_FULL} in full:\n", markup=False)
    console.print(f"{request.method} {request.url}", markup=False, soft_wrap=True)
    for name, value in {"Content-Type": "application/json", **shown_headers(request)}.items():
        console.print(f"{name}: {value}", markup=False)
    console.print()
    console.print(json.dumps(request.payload, indent=2), markup=False, soft_wrap=True)
    counts = Counter(outcome.kind.value for outcome in outcomes)
    console.print(f"\n{len(outcomes)} messages:")
    for kind, count in counts.items():
        console.print(f"  {count:>2} {kind:<12} {_MEANINGS[kind]}")
    errors = [complaint for complaint in kochava.complaints if complaint.severity == "error"]
    console.print(
        f"The local Kochava checked {len(kochava.requests)} signed requests against Kochava's "
        f"documents and found {len(errors)} errors. It is no proof of what the real Kochava does.\n"
        "Next: kochava-segment map --app-guid YOUR_APP_GUID events.jsonl",
        soft_wrap=True,
    )


def _segment_name(entry: Entry) -> str:
    if not isinstance(entry.message, dict):
        return "?"
    name = entry.message.get("event") or entry.message.get("name") or ""
    return f"{entry.message.get('type')} {name}".strip()


def _kochava_name(entry: Entry, destination: KochavaDestination) -> str:
    request = destination.map(entry.message)
    name = request.payload["data"].get("event_name", "") if request.action == "event" else ""
    return f"{request.action} {name}".strip()


def _why(outcome: Outcome) -> str:
    lines = [] if outcome.error is None else [str(outcome.error)]
    lines += [f"{warning.code}: {warning.field} {warning.detail}" for warning in outcome.warnings]
    return "\n".join(lines)
