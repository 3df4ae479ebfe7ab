"""What the log and the alert rules have, for `generate.py`."""

from __future__ import annotations

import logging
from pathlib import Path

from kochava_segment.log_events import FIELDS, LOG_EVENTS, PREFIX


def log_events() -> str:
    """All records: where they go, how loud, with which fields, and what they mean."""
    rows = [
        "| `kochava_event` | Logger, level | Fields | When, and what to do |",
        "| --- | --- | --- | --- |",
    ]
    for event in LOG_EVENTS:
        level = logging.getLevelName(event.level)
        fields = ", ".join(f"`{name}`" for name in sorted(event.fields))
        name = f'<a id="log-{event.name}"></a>`{event.name}`'
        rows.append(f"| {name} | `{event.logger}` {level} | {fields} | {event.meaning} |")
    return "\n".join(rows)


def log_fields() -> str:
    """All fields of records."""
    rows = ["| Field | What it says |", "| --- | --- |"]
    rows += [f"| `{PREFIX}{name}` | {meaning} |" for name, meaning in sorted(FIELDS.items())]
    return "\n".join(rows)


def alert_rules() -> str:
    """The file of alert rules."""
    text = Path(__file__).with_name("alert-rules.yml").read_text(encoding="utf-8")
    return f"```text\n{text.strip()}\n```"
