"""`doctor --live`: one install and one event to the real Kochava, shown before, explained after."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from attrs import frozen

from kochava_segment.cli.map import in_full
from kochava_segment.delivery.answer import Answer
from kochava_segment.delivery.make_transport import make_transport
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.transport import Transport
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import (
    AmbiguousDelivery,
    ConfigurationError,
    CredentialsRejected,
    DeliveryError,
    MappingError,
    Rejected,
    RetriesExhausted,
)
from kochava_segment.options import Options
from kochava_segment.printable import printable
from kochava_segment.request import KochavaRequest

_SHOWN_BODY = 500  # characters
_PHONES: dict[str, dict[str, Any]] = {
    "ios": {
        "device": {"type": "ios", "model": "iPhone15,2", "adTrackingEnabled": False},
        "os": {"name": "iOS", "version": "17.4"},
        "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Mobile/15E148",
    },
    "android": {
        "device": {"type": "android", "model": "Pixel 8", "adTrackingEnabled": True},
        "os": {"name": "Android", "version": "14"},
        "userAgent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/122.0 Mobile Safari/537.36",
    },
}
PLATFORMS = tuple(_PHONES)
"""The platforms that there is a made-up phone of."""

_ACCEPTED = "Kochava took it, which does not mean that it counts: see below."
_WIDTH = 96
_MEANINGS: dict[type[DeliveryError], str] = {
    Rejected: "Kochava refused it for good. No article documents such an answer: please report it, "
    "without your App GUID.",
    CredentialsRejected: "Kochava refused the API key or the signature. Install authentication is "
    "enabled: api_key and api_secret are missing, or not those that Kochava gave you. If they are, the "
    "signature is computed differently: please report it.",
    RetriesExhausted: "It was certainly not counted: Kochava was not reached, or asks to come later.",
    AmbiguousDelivery: "The answer was lost: it may have been counted. Look for it as if it was.",
}


@frozen(kw_only=True)
class LiveCheck:
    """What is wanted of a check.

    Attributes:
        platform: Of which platform the made-up phone is.
        ip: Its IP address; None leaves it out.
        yes: Do not ask.
        reveal: Show identifiers in full before they are sent.
        save: A file that gets the two messages, to be sent again with `send`.
    """

    platform: str = "ios"
    ip: str | None = None
    yes: bool = False
    reveal: bool = False
    save: Path | None = None

    def require_somebody(self) -> None:
        """Refuse where nobody could say yes.

        Raises:
            click.UsageError: if there is no terminal, and no `yes`.
        """
        if not self.yes and (sys.stdin is None or not sys.stdin.isatty()):
            raise click.UsageError(
                "--live asks before it sends, and there is no terminal to ask at. Nothing was sent; "
                "--yes sends without asking"
            )

    def run(self, load: Callable[..., KochavaDestination]) -> bool:
        """Show, ask, send, explain; gives whether both were accepted."""
        with load() as configured:
            options = configured.options
        heard = _Heard(make_transport(options.transport, options.timeout))
        # Tried once: a repeated purchase might count twice, and one answer is easier to understand.
        once = RetryPolicy(max_attempts=1)
        with load(transport=heard, retry=once) as destination:
            messages = _messages(self.platform, self.ip, datetime.now(timezone.utc))
            try:
                requests = [destination.map(message) for message in messages]
            except (MappingError, ConfigurationError) as error:
                click.echo(f"fail  the {self.platform} phone gives no request: {error}")
                click.echo("      nothing was sent. Give --app-guid of a test app, or --platform")
                return False
            self._show(requests)
            if not self._agreed(options):
                click.echo("Nothing was sent.")
                return False
            self._keep(messages)
            sent = all(self._send(destination, request, heard) for request in requests)
        if sent:
            _tell_what_to_look_for(requests, options)
        return sent

    def _show(self, requests: list[KochavaRequest]) -> None:
        click.echo("\nThese two requests are to be sent, in this order, once:")
        for request in requests:
            click.echo(f"\n{in_full(request, reveal=self.reveal)}")
            for warning in request.warnings:
                click.echo(f"note  {warning.code}: {warning.field} {warning.detail}")

    def _agreed(self, options: Options) -> bool:
        host = urlsplit(options.endpoint).hostname
        click.echo(
            "\nThe phone does not exist, and its ids were made up just now. Kochava has no test mode: "
            "the install\nand the purchase will be in the reports of this app. Use a test app."
        )
        return self.yes or click.confirm(f"Send them to {host}?")

    def _keep(self, messages: list[dict[str, Any]]) -> None:
        if self.save is not None:
            lines = "".join(f"{json.dumps(message)}\n" for message in messages)
            try:
                self.save.write_text(lines, encoding="utf-8")
            except OSError as error:
                raise click.UsageError(
                    f"--save cannot be written: {error.strerror}. Nothing was sent"
                ) from None

    def _send(
        self, destination: KochavaDestination, request: KochavaRequest, heard: _Heard
    ) -> bool:
        click.echo(f"\nsending the {request.action}")
        try:
            receipt = destination.send(request)
        except DeliveryError as error:
            click.echo(f"fail  {heard.answer(destination.options) or error.detail}")
            _advise(f"{type(error).__name__}. {_MEANINGS[type(error)]}")
            if request.action == "install":
                _advise("The event was not sent: events count after their install.")
            return False
        click.echo(f"ok    {heard.answer(destination.options)}, after {receipt.elapsed:.2f} s")
        _advise(_ACCEPTED)
        return True


class _Heard:
    """A transport that remembers the last answer, which a receipt does not hold."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._answer: Answer | None = None

    def send(self, request: KochavaRequest) -> Answer:
        self._answer = None
        self._answer = self._transport.send(request)
        return self._answer

    def close(self) -> None:
        self._transport.close()

    def answer(self, options: Options) -> str:
        """The answer for reading, without secrets that it may repeat; empty where none came."""
        if self._answer is None:
            return ""
        text = self._answer.body.decode("utf-8", "replace")
        for secret in (options.api_key, options.api_secret):
            text = text.replace(secret, "***") if secret else text
        cut = f"{text[:_SHOWN_BODY]}..." if len(text) > _SHOWN_BODY else text
        # Through ASCII: what was sent is sent, and its answer must not fail on an old terminal.
        shown = printable(cut).encode("ascii", "backslashreplace").decode() or "(no body)"
        waits = self._answer.headers.get("retry-after")
        return f"{self._answer.status} {shown}{f' (Retry-After: {waits!a})' if waits else ''}"


def _advise(text: str) -> None:
    indent = " " * 6  # below the text of findings
    click.echo(click.wrap_text(text, _WIDTH, indent, indent))


def _messages(platform: str, ip: str | None, now: datetime) -> list[dict[str, Any]]:
    """An install of two hours ago and a purchase of one hour ago, of a phone that nobody has."""
    phone = _PHONES[platform]
    run, anonymous_id = uuid.uuid4().hex[:8], str(uuid.uuid4())
    if platform == "ios":
        ids = {"id": str(uuid.uuid4()).upper()}
    else:
        ids = {"id": uuid.uuid4().hex[:16], "advertisingId": str(uuid.uuid4())}
    context = {
        **phone,
        "app": {"version": "1.0.0"},
        "device": {**phone["device"], **ids},
        **({} if ip is None else {"ip": ip}),
    }
    purchase = {
        "order_id": f"doctor-{run}",
        "product_id": "doctor-1",
        "name": "Test of doctor --live",
        "revenue": 12.34,
        "currency": "EUR",
    }
    return [
        {
            "type": "track",
            "event": event,
            "messageId": f"doctor-{run}-{hours}",
            "anonymousId": anonymous_id,
            "timestamp": (now - timedelta(hours=hours)).isoformat(timespec="seconds"),
            "properties": properties,
            "context": context,
        }
        for event, hours, properties in (
            ("Application Installed", 2, {"version": "1.0.0"}),
            ("Order Completed", 1, purchase),
        )
    ]


def _tell_what_to_look_for(requests: list[KochavaRequest], options: Options) -> None:
    install, event = (request.payload for request in requests)
    data = event["data"]
    ids = ", ".join(f"{name} {value}" for name, value in data["device_ids"].items() if value)
    click.echo(
        f"""
Both were accepted. Whether they count, only Kochava's dashboard shows, often the next day. Look at
the app with the App GUID {event["kochava_app_id"]}:

  1. An install of the device {event["kochava_device_id"]}
     ({ids}), at {_time_of(install)}.
     If there is none: the App GUID is another app's, or the account lacks the S2S feature. Kochava
     accepts both without a word.
  2. An event "{data.get("event_name")}", in just this spelling, of the same device.
     If there is the install alone: ask Kochava whether it filters events, or did not tie them together.
  3. The time of the event is {_time_of(event)}.
     If it is the time of sending, or years away: usertime is not taken as seconds. Please report it.
  4. Its sum is {data.get("event_data", {}).get("price", "none")}, its currency {data.get("currency", "none")}, and it is there once.
  5. The device is {data.get("device_ver") or "of no known model"}; its country is that of the IP address
     {data.get("origination_ip", "(none was sent: Kochava's articles want one, give --ip)")}."""
    )
    if options.signed:
        click.echo(
            "\nThe requests were signed. Whether Kochava checks that: run this again with a wrong secret,\n"
            "KOCHAVA_SEGMENT_API_SECRET=wrong. If that is accepted as well, authentication is not enabled."
        )


def _time_of(payload: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(payload["data"]["usertime"], timezone.utc)
    return f"{at:%Y-%m-%d %H:%M} UTC"
