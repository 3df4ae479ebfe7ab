"""`forget`: everything that is known of a user goes, here and at Kochava."""

from __future__ import annotations

from collections.abc import Callable

import click

from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, OutboxError
from kochava_segment.plural import counted


@click.command(cls=SectionedCommand, short_help="Forget a user, by their userId.")
@click.argument("user_id", metavar="USER")
@destination_options
def forget(load: Callable[..., KochavaDestination], user_id: str) -> None:
    """Forget a user, by their userId.

    Discards what of theirs is in the outbox undelivered, removes them from the device directory, and
    queues a data subject request to Kochava for each of their devices if --account-id and
    --account-key are set. The next relay sends these.

    Exit code: 0 if it was done, also where nothing was known; 1 if the outbox cannot be used.
    """
    with load(relay=False) as destination:
        try:
            done = destination.forget(user_id)
        except ConfigurationError:
            raise click.UsageError("--outbox is missing: it names the file to look in") from None
        except OutboxError as error:
            raise click.ClickException(str(error)) from None
    devices, discarded = counted(done.devices, "device"), counted(done.discarded, "request")
    click.echo(f"{devices} forgotten, {discarded} discarded")
    if done.deletion_requests:
        click.echo(f"queued: {counted(done.deletion_requests, 'data subject request')} to Kochava")
    elif done.devices:
        click.echo("Kochava was not told: set --account-id and --account-key for that")
