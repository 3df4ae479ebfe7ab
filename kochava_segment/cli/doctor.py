"""`doctor`: why it does not work, and what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import click
import requests
from attrs import frozen

from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.options import Options

_TIMEOUT = 5.0
_SKEW_ALLOWED = 60.0  # seconds


@frozen
class Finding:
    """What was found out, and what to do about it.

    Attributes:
        mark: `ok`, `note` or `fail`.
        what: What was looked at, and what it was.
        advice: What to do, where something is to be done.
    """

    mark: str
    what: str
    advice: str = ""


@click.command(cls=SectionedCommand, short_help="Find out why it does not work. No event is sent.")
@destination_options
def doctor(load: Callable[..., KochavaDestination]) -> None:
    """Check the configuration and the way to Kochava. No event is sent.

    Exit code: 0 if nothing stands in the way, 1 if something does.
    """
    with load() as destination:
        failed = False
        for finding in _findings(destination.options):
            click.echo(f"{finding.mark:<5} {finding.what}")
            if finding.advice:
                click.echo(f"      {finding.advice}")
            failed = failed or finding.mark == "fail"
    raise SystemExit(1 if failed else 0)


def _findings(options: Options) -> Iterator[Finding]:
    yield Finding("ok", "the configuration is valid")
    yield from _app_guids(options)
    yield from _credentials(options)
    yield from _urllib3()
    yield from _endpoint(options.endpoint)


def _app_guids(options: Options) -> Iterator[Finding]:
    if options.app_guid is not None or options.app_guids:
        yield Finding("ok", "an App GUID is set")
    else:
        advice = "set app_guid or app_guids (Kochava: Apps & Assets), or name one in each message"
        yield Finding("fail", "no App GUID is set", advice)


def _credentials(options: Options) -> Iterator[Finding]:
    if options.signed:
        yield Finding("ok", "api_key and api_secret are set: requests are signed")
    else:
        advice = "that is right unless your Kochava account has install authentication enabled"
        yield Finding("note", "no credentials are set: requests are not signed", advice)


def _urllib3() -> Iterator[Finding]:
    try:
        fork = version("urllib3-future")
    except PackageNotFoundError:
        yield Finding("ok", f"urllib3 {version('urllib3')} is the real one")
        return
    advice = "pip uninstall niquests urllib3-future; pip install --force-reinstall urllib3"
    yield Finding("fail", f"urllib3-future {fork} has overwritten urllib3", advice)


def _endpoint(endpoint: str) -> Iterator[Finding]:
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if requests.utils.get_environ_proxies(endpoint):
        yield Finding("note", "a proxy from the environment is used; names are resolved there")
    else:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            advice = "check the endpoint's spelling, and DNS on this machine"
            yield Finding("fail", f"{host} cannot be resolved: {error.strerror}", advice)
            return
        yield Finding("ok", f"{host} can be resolved")
    try:
        # The root, not an API path: nothing is counted.
        answer = requests.head(endpoint, timeout=_TIMEOUT, allow_redirects=False)
    except requests.exceptions.SSLError:
        advice = "set REQUESTS_CA_BUNDLE to your proxy's certificates, or update certifi"
        yield Finding("fail", f"the TLS certificate of {host} cannot be verified", advice)
    except requests.RequestException as error:
        advice = f"let this machine connect to {host}, port {port}; HTTPS_PROXY is honoured"
        yield Finding("fail", f"{host} cannot be reached: {type(error).__name__}", advice)
    else:
        secured = "over verified TLS" if parts.scheme == "https" else "over plain http"
        yield Finding("ok", f"{host} answers {secured}")
        yield from _clock(answer.headers.get("Date"))


def _clock(date: str | None) -> Iterator[Finding]:
    try:
        skew = time.time() - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        yield Finding("note", "the endpoint tells no time: the clock was not checked")
        return
    if abs(skew) <= _SKEW_ALLOWED:
        yield Finding("ok", "this machine's clock agrees with the endpoint's")
    else:
        advice = "synchronise it (NTP): usertime of messages made here will be wrong"
        yield Finding("fail", f"this machine's clock is {skew:+.0f} s off", advice)
