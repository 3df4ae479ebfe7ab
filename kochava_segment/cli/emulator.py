"""`emulator`: the local Kochava as a command."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.errors import ConfigurationError


def _rate(name: str, what: str) -> click.Option:
    return click.Option(
        [f"--{name}"], type=click.FloatRange(0, 1), default=0.0, metavar="RATE", help=what
    )


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Milliseconds before each answer.",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append a JSON line for each accepted request: path, headers, body.",
)
@click.option(
    "--require-install", is_flag=True, help="Refuse what comes for a device before its install."
)
@click.option(
    "--api-key",
    envvar="KOCHAVA_SEGMENT_API_KEY",
    show_envvar=True,
    help="With --api-secret: requests must be signed.",
)
@click.option(
    "--api-secret",
    envvar="KOCHAVA_SEGMENT_API_SECRET",
    show_envvar=True,
    help="With --api-key: requests must be signed.",
)
@click.option(
    "--error-status",
    type=click.IntRange(200, 599),
    default=503,
    show_default=True,
    help="The status of --error-rate.",
)
@click.option(
    "--retry-after", metavar="SECONDS|DATE", help="The Retry-After header of these answers."
)
@click.option(
    "--trickle-ms",
    type=click.FloatRange(min=0),
    default=200.0,
    show_default=True,
    help="Milliseconds between the bytes of --trickle.",
)
@click.option("--seed", type=int, help="Makes the choice of what goes wrong repeatable.")
def emulator(
    port: int,
    latency_ms: float,
    log: Path | None,
    require_install: bool,  # noqa: FBT001  # click calls it
    api_key: str | None,
    api_secret: str | None,
    error_status: int,
    retry_after: str | None,
    trickle_ms: float,
    seed: int | None,
    **rates: float,
) -> None:
    """Run a local Kochava that checks what it is sent, and misbehaves when told to.

    It checks what Kochava's documents say, not what Kochava does. The first line printed is
    "listening on http://127.0.0.1:PORT"; each complaint follows as a line. Ctrl-C ends it.
    Rates are from 0 to 1.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        faults = Faults(
            latency=latency_ms / 1000,
            error_status=error_status,
            retry_after=retry_after,
            trickle_delay=trickle_ms / 1000,
            seed=seed,
            **rates,  # type: ignore[arg-type]  # all of them are rates
        )
        kochava = KochavaEmulator(
            port,
            api_key=api_key,
            api_secret=api_secret,
            faults=faults,
            require_install=require_install,
            log=log,
            on_complaint=lambda complaint: click.echo(str(complaint), err=True),
        ).start()
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot start: {error.strerror}") from None
    try:
        click.echo(f"listening on {kochava.url}")
        stopped.wait()
    finally:
        kochava.close()
    click.echo(f"{kochava.received} requests, {kochava.counted} accepted")


emulator.params += [
    _rate("error-rate", "How often --error-status is answered."),
    _rate("reset-before-reading", "How often the connection is reset before the request is read."),
    _rate("reset-after-reading", "How often it is reset after the request was counted."),
    _rate("half-answer", "How often the answer breaks off."),
    _rate("trickle", "How often the answer comes byte by byte."),
    _rate("success-zero", 'How often the answer is 200 with {"success": "0"}.'),
]
