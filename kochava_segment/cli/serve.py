"""`serve`: the receiver as a process."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

from kochava_segment.cli.logs import log_options, log_to_stderr
from kochava_segment.cli.options import (
    MissingExtra,
    SectionedCommand,
    VariableOption,
    as_lines,
    destination_options,
)
from kochava_segment.delivery.instrumentation import LoggingHook
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, OutboxError
from kochava_segment.log_events import NO_SECRET, SHORT_SECRETS
from kochava_segment.option_kinds import ENDPOINT, SECRET, Kind, is_loopback
from kochava_segment.options import ENVIRONMENT_PREFIX

_NEEDS = ("starlette", "uvicorn", "httptools", "jinja2", "prometheus_client")
_SEGMENT = "https://api.segment.io"
_DEFAULT_PORT = 8080

_HELP = """Receive messages from Segment over HTTP and send them to Kochava.

The first line printed is "listening on http://HOST:PORT". Segment's Webhooks destination posts to
/segment, Kochava's install postback goes to /kochava/postback/SECRET; /healthz, /readyz and /metrics
are for your monitoring. --outbox is needed: a message is answered once it is stored there, and sent
from there. SIGTERM and Ctrl-C finish what is under way.

Give secrets in environment variables or in files that set them: other users of this machine can read
a command line. Another --host than this machine's own needs --webhook-secret or --bearer-token.

Exit code: 0 if a signal ended it; 1 if it could not listen, or not use the outbox.
"""


def _checked(
    kind: Kind, context: click.Context, parameter: click.Parameter, text: str | None
) -> Any:
    if text is None or not text.strip():
        return None
    try:
        return kind.check(text.strip())
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _own(name: str, description: str, **settings: Any) -> Callable[..., Any]:
    """An option of this command, with its variable. That of a secret may be empty, as for Kochava's."""
    variable = f"{ENVIRONMENT_PREFIX}{name.upper().replace('-', '_')}"
    settings = {"cls": VariableOption, **settings}
    return click.option(
        f"--{name}", envvar=variable, help=f"{description} [env: {variable}]", **settings
    )


def _secret(name: str, description: str) -> Callable[..., Any]:
    kind = SECRETS.get(name.replace("-", "_"), SECRET)
    return _own(
        name, description, cls=click.Option, metavar="TEXT", callback=partial(_checked, kind)
    )


def _in_a_path(value: object) -> str:
    text: str = SECRET.check(value)
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
        raise ValueError("must be letters, digits and . _ ~ - alone, since it stands in a URL")
    return text


_PATH = Kind(_in_a_path, str.strip, "TEXT")

SECRETS = {
    "webhook_secret": SECRET,
    "bearer_token": SECRET,
    "postback_secret": _PATH,
    "console_token": SECRET,
}
"""What lets somebody in, by the name of the option; each of the first two alone keeps strangers out."""

SHORTEST = 16
"""Characters of a secret that nobody guesses."""


class _Port(click.IntRange):
    """A port. Kubernetes sets KOCHAVA_SEGMENT_PORT to an URL where a service has our name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and "://" in value:
            return _DEFAULT_PORT
        return super().convert(value, param, ctx)


@click.command(
    cls=SectionedCommand, help=_HELP, short_help="Receive messages from Segment over HTTP."
)
@_own("host", "The address to listen on.", default="127.0.0.1", show_default=True, metavar="HOST")
@_own(
    "port",
    "The port; 0 takes a free one.",
    type=_Port(0, 65535),
    default=_DEFAULT_PORT,
    show_default=True,
    metavar="N",
)
@_secret("webhook-secret", "The shared secret of Segment's Webhooks destination.")
@_secret("bearer-token", "A token that senders may give in place of a signature; arrays need it.")
@_secret("postback-secret", "The secret in the URL of Kochava's install postback.")
@_secret("segment-write-key", "The write key of the source that install attributions go to.")
@_own(
    "segment-host",
    "Segment's HTTP API; https://events.eu1.segmentapis.com for workspaces in the EU.",
    metavar="URL",
    default=_SEGMENT,
    show_default=True,
    callback=partial(_checked, ENDPOINT),
)
@_own(
    "ready-within",
    "Seconds that a message may wait before /readyz says no.",
    type=click.FloatRange(min=0, min_open=True),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
)
@_own("console", "Serve the console at /console.", is_flag=True)
@_secret("console-token", "The token for the console; by default a new one, which is printed.")
@log_options
@destination_options
def serve(
    load: Callable[..., KochavaDestination],
    *,
    host: str,
    port: int,
    console: bool,
    segment_write_key: str | None,
    segment_host: str | None,
    log_format: str,
    log_level: str,
    **settings: Any,
) -> None:
    """Receive messages from Segment; the help page says more."""
    _check_exposure(host, console=console, **settings)
    if (settings["postback_secret"] is None) != (segment_write_key is None):
        raise click.UsageError(
            "--postback-secret and --segment-write-key go together: postbacks go to Segment"
        )
    modules = _with_extra()
    log_to_stderr(log_format, log_level)
    with ExitStack() as stack:
        # Closed in this order: what comes, before that to which it goes.
        destination = stack.enter_context(
            load(
                hooks=(LoggingHook(), modules.running.prometheus_hook(), *modules.history(console))
            )
        )
        if destination.options.outbox is None:
            raise click.UsageError("--outbox is missing: messages are stored there before they go")
        _check_writable(destination.outbox)
        bound = _bound(modules, host, port)
        stack.callback(bound.close)
        tracking = None
        if segment_write_key is not None:
            tracking = _tracking(destination, segment_write_key, segment_host)
            stack.callback(tracking.close)
            _check_writable(tracking.outbox)
        if not console:
            settings["console_token"] = None
        elif settings["console_token"] is None:
            settings["console_token"] = secrets.token_urlsafe(24)
            click.echo(f"the console's token is {settings['console_token']}", err=True)
        _warn_of_secrets(settings)
        app = modules.create_app(destination, tracking=tracking, **settings)
        url = modules.running.url_of(bound, host)
        modules.running.serve(app, bound, lambda: click.echo(f"listening on {url}"))


def _check_exposure(
    host: str,
    *,
    console: bool,
    webhook_secret: str | None,
    bearer_token: str | None,
    console_token: str | None,
    **_: Any,
) -> None:
    if is_loopback(host):
        return
    if webhook_secret is None and bearer_token is None:
        raise click.UsageError(
            f"--host {host} lets others in: set --webhook-secret or --bearer-token"
        )
    if console and console_token is None:
        raise click.UsageError(f"--host {host} lets others in: set --console-token")


def _warn_of_secrets(settings: Mapping[str, Any]) -> None:
    if settings["webhook_secret"] is None and settings["bearer_token"] is None:
        NO_SECRET.log()
    short = [
        f"--{name.replace('_', '-')}"
        for name in SECRETS
        if settings[name] is not None and len(settings[name]) < SHORTEST
    ]
    if short:
        SHORT_SECRETS.log(options=", ".join(short), count=SHORTEST)


class _Modules:
    """What the extra `server` brings."""

    def __init__(self) -> None:
        from kochava_segment.server import create_app, running  # noqa: PLC0415  # needs the extra

        self.create_app, self.running = create_app, running

    @staticmethod
    def history(console: bool) -> list[Any]:  # noqa: FBT001  # the flag of the command
        """The hook that the console's latencies come from."""
        if not console:
            return []
        from kochava_segment.server.console.history import DeliveryHistory  # noqa: PLC0415

        return [DeliveryHistory()]


def _with_extra() -> _Modules:
    try:
        return _Modules()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDS:
            raise
        detail = "serve needs an extra: pip install 'kochava-segment[cli,server]'"
        raise MissingExtra(detail) from None


def _bound(modules: _Modules, host: str, port: int) -> Any:
    try:
        return modules.running.bind(host, port)
    except OSError as error:
        detail = f"--host {host} --port {port} cannot be listened on: {error.strerror}"
        raise click.ClickException(detail) from None


def _check_writable(outbox: Outbox) -> None:
    """Say so at once, and not with every message."""
    try:
        with outbox.file.writing():
            pass
    except OutboxError as error:
        raise click.ClickException(str(error)) from None


def _tracking(destination: KochavaDestination, write_key: str, host: str | None) -> Any:
    from kochava_segment.segment.tracking import SegmentTracking  # noqa: PLC0415

    try:
        return SegmentTracking.beside(destination.options.outbox or "", write_key, host or _SEGMENT)
    except ModuleNotFoundError:
        detail = "--segment-write-key needs an extra: pip install 'kochava-segment[segment]'"
        raise MissingExtra(detail) from None
    except ConfigurationError as error:
        raise click.UsageError(as_lines(error)) from None
