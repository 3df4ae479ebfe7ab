"""`doctor`: why it does not work, and what to do."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import requests
import urllib3

from kochava_segment.cli import service_checks
from kochava_segment.cli.finding import Finding
from kochava_segment.cli.live_check import PLATFORMS, LiveCheck
from kochava_segment.cli.options import SectionedCommand, destination_options
from kochava_segment.destination import KochavaDestination
from kochava_segment.options import Options

_TIMEOUT = 5.0
_SKEW_ALLOWED = 60.0  # seconds
_SECRET_IN_TOML = re.compile(r"^[ \t]*(api_key|api_secret|account_key)[ \t]*=", re.MULTILINE)


def _ip(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else str(ip_address(text.strip()))
    except ValueError:
        raise click.BadParameter("must be an IPv4 or IPv6 address", context, parameter) from None


@click.command(
    cls=SectionedCommand, short_help="Find out why it does not work. Nothing is sent unasked."
)
@click.option(
    "--live",
    is_flag=True,
    help="Then send one install and one purchase of a made-up phone, to a test app: shows them and asks "
    "before, says what to look for in Kochava's dashboard after.",
)
@click.option("--yes", is_flag=True, help="With --live: send without asking.")
@click.option(
    "--platform",
    type=click.Choice(PLATFORMS),
    default=None,
    help="With --live: what the phone is.  [default: ios]",
)
@click.option(
    "--ip",
    metavar="ADDRESS",
    callback=_ip,
    help="With --live: the phone's IP address; best your own public one.",
)
@click.option(
    "--reveal", is_flag=True, help="With --live: show its ids in full before they are sent."
)
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --live: write the two messages to FILE, for `map` and `send`.",
)
@destination_options
def doctor(load: Callable[..., KochavaDestination], *, live: bool, **wanted: Any) -> None:
    """Check the configuration, the outbox, the receiver's secrets and the way to Kochava.

    No event is sent, but for --live; the outbox is neither made nor drained. Of `serve`'s own options it
    sees those that are in the environment.

    Each line begins with ok, note or fail; below it stands what to do.

    With --live it goes on to the real Kochava if nothing stands in the way. docs/not-tried.md has the
    half hour that this is part of.

    Exit code: 0 if nothing stands in the way and, with --live, both were accepted; 1 if something does,
    a wrong configuration too.
    """
    given = {name: value for name, value in wanted.items() if value}
    if given and not live:
        raise click.UsageError(f"--{min(given)} needs --live")
    check = LiveCheck(**given)
    if live:
        check.require_somebody()
    failed = False
    for finding in _findings(load):
        click.echo(f"{finding.mark:<5} {finding.what}")
        if finding.advice:
            click.echo(f"      {finding.advice}")
        failed = failed or finding.mark == "fail"
    if live and failed:
        click.echo("\nNothing was sent: mend that first.")
    elif live:
        failed = not check.run(load)
    sys.exit(1 if failed else 0)


def _findings(load: Callable[..., KochavaDestination]) -> Iterator[Finding]:
    try:
        with load() as destination:
            options = destination.options
    except click.UsageError as error:
        yield Finding("fail", "the configuration is wrong", error.message.strip())
        yield from _urllib3()
        return
    yield Finding("ok", "the configuration is valid")
    yield from _app_guids(options)
    yield from _credentials(options)
    yield from _config_file(click.get_current_context().params.get("config"))
    yield from service_checks.outbox(options.outbox)
    yield from service_checks.receiver_secrets(os.environ)
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


def _config_file(path: Path | None) -> Iterator[Finding]:
    if path is None or os.name != "posix":
        return
    if path.stat().st_mode & stat.S_IROTH and _SECRET_IN_TOML.search(path.read_text("utf-8")):
        what = f"every user of this machine can read the secrets in {path}"
        yield Finding("note", what, f"chmod 600 {path}, or set them in the environment")


def _urllib3() -> Iterator[Finding]:
    advice = "pip uninstall niquests urllib3-future; pip install --force-reinstall urllib3"
    installed, found = _version("urllib3"), getattr(urllib3, "__version__", "of no known version")
    if fork := _version("urllib3-future"):
        yield Finding("fail", f"urllib3-future {fork} has overwritten urllib3", advice)
    elif installed != found:
        what = f"pip installed urllib3 {installed}, but Python finds {found}"
        yield Finding("fail", what, "pip install --force-reinstall urllib3")
    else:
        yield Finding("ok", f"urllib3 {installed} is the real one")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _endpoint(endpoint: str) -> Iterator[Finding]:
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if requests.utils.get_environ_proxies(endpoint):
        yield Finding("note", "a proxy from the environment is used; names are resolved there")
    else:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter for labels that DNS cannot have
            why = getattr(error, "strerror", None) or "it is no name that DNS can have"
            advice = "check the endpoint's spelling, and DNS on this machine"
            yield Finding("fail", f"{host} cannot be resolved: {why}", advice)
            return
        yield Finding("ok", f"{host} can be resolved")
    try:
        # The root, not an API path: nothing is counted.
        answer = requests.head(endpoint, timeout=_TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        yield _unreachable(error, host, port)
    else:
        secured = "over verified TLS" if parts.scheme == "https" else "over plain http"
        yield Finding("ok", f"{host} answers {secured}")
        yield from _clock(answer.headers.get("Date"))


def _unreachable(error: requests.RequestException, host: str, port: int) -> Finding:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            what = f"the TLS certificate of {host} cannot be verified: {cause.verify_message}"
            advice = "set REQUESTS_CA_BUNDLE to your proxy's certificates, or update certifi"
            return Finding("fail", what, advice)
    if isinstance(error, requests.exceptions.SSLError):
        what = f"{host}, port {port}, does not speak TLS as it should"
        return Finding("fail", what, "check the endpoint's port, and proxies on the way")
    if isinstance(error, requests.exceptions.ProxyError):
        what = "the proxy from the environment cannot be used"
        return Finding("fail", what, "check HTTPS_PROXY and HTTP_PROXY, or set NO_PROXY")
    if isinstance(error, requests.Timeout):
        why = f"no answer in {_TIMEOUT:g} s"
    else:
        said = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
        why = said[-1] if said else type(error).__name__
    advice = f"let this machine connect to {host}, port {port}; HTTPS_PROXY is honoured"
    return Finding("fail", f"{host}, port {port}, cannot be reached: {why}", advice)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it: requests and urllib3 keep it in several places."""
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        found = left.pop(0)
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            yield found
            left += [
                *found.args,
                getattr(found, "reason", None),
                found.__cause__,
                found.__context__,
            ]


def _clock(date: str | None) -> Iterator[Finding]:
    try:
        skew = time.time() - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        yield Finding("note", "the endpoint tells no time: the clock was not checked")
        return
    if abs(skew) <= _SKEW_ALLOWED:
        yield Finding("ok", "this machine's clock agrees with the endpoint's")
    else:
        where = "ahead of" if skew > 0 else "behind"
        advice = "synchronise it (NTP): usertime of messages made here will be wrong"
        yield Finding(
            "fail", f"this machine's clock is {abs(skew):.0f} s {where} the endpoint's", advice
        )
