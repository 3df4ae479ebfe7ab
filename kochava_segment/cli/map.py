"""`map`: what would be sent, one JSON line a message."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from kochava_segment.cli.messages import Entry, read_entries
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.delivery.signing import SECRET_HEADERS
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import (
    ConfigurationError,
    EventFiltered,
    EventNotSupported,
    InvalidEventPayload,
    MappingError,
)
from kochava_segment.masking import masked
from kochava_segment.request import KochavaRequest

_HIDDEN = "***"
_GOOD = ("mapped", "filtered")


@click.command(
    "map", cls=SectionedCommand, short_help="Show what messages become. Nothing is sent."
)
@click.argument(
    "files",
    nargs=-1,
    metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@destination_options
def map_command(load: Callable[..., KochavaDestination], files: tuple[str, ...]) -> None:
    """Show what messages become, without sending anything.

    FILEs are JSON lines, a JSON array, or gzip of either; without FILE, standard input is read.
    Each message gives one JSON line, in the order of the input. Secrets are shown as ***.

    Exit code: 0 if all give a request or are filtered; 1 if some are not, as without an App GUID.
    """
    good = True
    with load() as destination:
        for entry in read_entries(files):
            result = _mapped(entry, destination)
            good = good and result["outcome"] in _GOOD
            line = {"line": entry.line, "messageId": entry.message_id, **result}
            if len(files) > 1:
                line["file"] = entry.file
            # ASCII, so that half a surrogate pair in a messageId cannot stop the terminal.
            click.echo(json.dumps(line, separators=(",", ":")))
    sys.exit(0 if good else 1)


def _mapped(entry: Entry, destination: KochavaDestination) -> dict[str, Any]:
    result: dict[str, Any] = {
        "outcome": "mapped",
        "request": None,
        "warnings": [],
        "reason": None,
        "problems": [],
    }
    try:
        if entry.error is not None:
            raise entry.error
        request = destination.map(entry.message)
    except EventFiltered as error:
        result |= {"outcome": "filtered", "reason": error.reason.value}
    except EventNotSupported as error:
        result |= {"outcome": "unsupported", "reason": error.detail}
    except (InvalidEventPayload, ConfigurationError) as error:
        result |= {"outcome": "invalid", "problems": problems_of(error)}
    else:
        result |= {"request": _shown(request), "warnings": warnings_of(request)}
    return result


def problems_of(error: MappingError | ConfigurationError) -> list[dict[str, str]]:
    """The problems of an error as JSON values."""
    problems = getattr(error, "problems", ())
    return [{"path": problem.path, "detail": problem.detail} for problem in problems]


def warnings_of(request: KochavaRequest) -> list[dict[str, str]]:
    """The warnings of a request as JSON values."""
    return [
        {"code": warning.code, "field": warning.field, "detail": warning.detail}
        for warning in request.warnings
    ]


def _shown(request: KochavaRequest) -> dict[str, Any]:
    return {"url": request.url, "headers": shown_headers(request), "body": request.payload}


def shown_headers(request: KochavaRequest) -> dict[str, str]:
    """The headers of a request, its secrets hidden."""
    return {
        name: _HIDDEN if name in SECRET_HEADERS else value
        for name, value in request.headers.items()
    }


def in_full(request: KochavaRequest, *, reveal: bool) -> str:
    """A request as it is sent, for reading: its line, its headers, its body.

    Args:
        request: The request. Its secrets are hidden.
        reveal: Show identifiers in full.
    """
    payload = request.payload
    if not reveal:
        payload = masked(payload, identity_link=request.action == "identity_link")
    headers = {"Content-Type": "application/json", **shown_headers(request)}
    lines = (
        f"{request.method} {request.url}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        json.dumps(payload, indent=2),  # ASCII, as above
    )
    return "\n".join(lines)
