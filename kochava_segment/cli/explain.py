"""`explain`: where each field of one request comes from, for reading."""

from __future__ import annotations

from collections.abc import Callable

import click

from kochava_segment.cli.messages import read_entries
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.cli.why import POINTER
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, MappingError


@click.command(cls=SectionedCommand, short_help="Explain each field of the request of one message.")
@click.argument(
    "file",
    default="-",
    metavar="[FILE]",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@destination_options
def explain(load: Callable[..., KochavaDestination], file: str) -> None:
    """Explain the request that the first message of FILE becomes.

    For each Kochava field: its value, the Segment path that it came from and the rule; then what is
    left out, and why. Without FILE, standard input is read.

    Exit code: 0 if the message gives a request; 1 if it does not.
    """
    with load() as destination:
        entry = next(read_entries([file]), None)
        if entry is None:
            raise click.UsageError("there is no message to explain")
        try:
            if entry.error is not None:
                raise entry.error
            explanation = destination.explain(entry.message)
        except (MappingError, ConfigurationError) as error:
            click.echo(f"Line {entry.line} gives no request.")
            for sentence in str(error).split("; "):
                click.echo(f"  {sentence}")
            raise SystemExit(1) from None
    click.echo(str(explanation))
    if explanation.request.warnings:
        click.echo(f"\n{POINTER}")
