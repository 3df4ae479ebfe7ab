"""`emulator`: the local Kochava as a command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from kochava_segment.cli.options import SectionedCommand, as_lines, destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.emulator import Complaint, Faults, KochavaEmulator
from kochava_segment.errors import ConfigurationError
from kochava_segment.options import Options
from kochava_segment.plural import counted
from kochava_segment.printable import printable

_HELP = """Run a local Kochava that checks what it is sent, and misbehaves when told to.

It checks what Kochava's documents say, not what Kochava does. The first line printed is "listening
on http://127.0.0.1:PORT"; the complaints about each request follow on standard error, and a count
when Ctrl-C ends it. Point `--endpoint` of other commands at that address. `kochava-segment why CODE`
says where the rule of a complaint is from.

The options under "What goes wrong" are rates: 0.1 makes one request in ten go wrong. Together they
are 1 at most.

Of the options under "Destination" it uses --api-key and --api-secret, with which requests must be
signed, and --app-guid and --app-guids, with which requests for other apps are refused. All others
are checked and ignored, --endpoint too, so that the --config of your other commands will do.

Exit code: 0 if a signal ended it; 1 if it could not listen, or not write the --log.
"""
_FAULTS = "What goes wrong"


class _EmulatorCommand(SectionedCommand):
    sections = (*SectionedCommand.sections[:1], _FAULTS, *SectionedCommand.sections[1:])


class _FaultOption(click.Option):
    section = _FAULTS


def _rate(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(
        f"--{name}",
        cls=_FaultOption,
        type=click.FloatRange(0, 1),
        default=0.0,
        metavar="RATE",
        help=what,
    )


@click.command(
    cls=_EmulatorCommand, help=_HELP, short_help="Run a local Kochava that checks what it is sent."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port on 127.0.0.1; 0, the default, takes a free one.",
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
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
@click.option("--seed", type=int, metavar="N", help="Makes what goes wrong repeatable.")
@_rate("error-rate", "How often --error-status is answered.")
@click.option(
    "--error-status",
    cls=_FaultOption,
    type=click.IntRange(200, 599),
    default=503,
    metavar="STATUS",
    show_default=True,
    help="The HTTP status of --error-rate.",
)
@click.option(
    "--retry-after",
    cls=_FaultOption,
    metavar="SECONDS|DATE",
    help="The Retry-After header of these answers.",
)
@_rate("reset-before-reading", "How often the connection is reset before the request is read.")
@_rate("reset-after-reading", "How often it is reset after the request was counted.")
@_rate("half-answer", "How often the answer breaks off after the request was counted.")
@_rate("success-zero", 'How often the answer is 200 with {"success": "0"}.')
@_rate("trickle", "How often the answer comes byte by byte.")
@click.option(
    "--trickle-ms",
    cls=_FaultOption,
    type=click.FloatRange(min=0),
    default=200.0,
    metavar="N",
    show_default=True,
    help="Milliseconds between the bytes of --trickle.",
)
@destination_options
def emulator(
    load: Callable[..., KochavaDestination],
    port: int,
    latency_ms: float,
    log: Path | None,
    require_install: bool,  # noqa: FBT001  # click calls it
    error_status: int,
    retry_after: str | None,
    trickle_ms: float,
    seed: int | None,
    **rates: float,
) -> None:
    """Run a local Kochava; the help page says more."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with load() as destination:
        options = destination.options
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
            api_key=options.api_key,
            api_secret=options.api_secret,
            app_guids=_app_guids(options),
            faults=faults,
            require_install=require_install,
            log=log,
            on_complaint=_say,
        ).start()
    except ConfigurationError as error:
        raise click.UsageError(as_lines(error)) from None
    except OSError as error:
        raise click.ClickException(_why_not_started(error, port, log)) from None
    try:
        click.echo(f"listening on {kochava.url}")
        stopped.wait()
    finally:
        kochava.close()
    click.echo(f"{counted(kochava.received, 'request')}, {kochava.counted} accepted")


def _app_guids(options: Options) -> set[str] | None:
    return {*filter(None, [options.app_guid]), *options.app_guids.values()} or None


def _say(complaint: Complaint) -> None:
    with suppress(OSError):  # nobody reads it any more: that is no reason not to answer
        click.echo(printable(str(complaint)), err=True)


def _why_not_started(error: OSError, port: int, log: Path | None) -> str:
    if error.filename is not None:
        return f"--log {log} cannot be written: {error.strerror}"
    return f"--port {port} cannot be listened on: {error.strerror}"
