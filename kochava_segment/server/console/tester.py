"""The tester: a message beside the request that it becomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from attrs import evolve, frozen
from starlette.responses import Response

from kochava_segment.delivery.signing import Credentials, auth_headers
from kochava_segment.destination import KochavaDestination
from kochava_segment.emulator import Complaint, KochavaEmulator
from kochava_segment.errors import DeliveryError
from kochava_segment.options import Options
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest
from kochava_segment.server.answers import Refusal
from kochava_segment.server.console.forms import Form
from kochava_segment.server.console.guard import Visit
from kochava_segment.server.console.snippets import as_curl, as_python_test
from kochava_segment.server.console.trial import PREFIX, Trial, changed_options, try_message

_SENT_WITHIN = 20.0  # seconds


@frozen(kw_only=True)
class Sent:
    """What came of sending.

    Attributes:
        where: `emulator` or `Kochava`.
        receipt: Its receipt, where it took the request.
        error: What happened otherwise.
        complaints: What the emulator found.
    """

    where: str
    receipt: Receipt | None = None
    error: DeliveryError | None = None
    complaints: Sequence[Complaint] = ()


@frozen
class Sample:
    """A message to start from."""

    title: str
    text: str


class TesterPage:
    """Maps messages, and sends them where a person says so.

    Args:
        destination: With whose options.
    """

    def __init__(self, destination: KochavaDestination) -> None:
        self._destination = destination
        self._samples = _load_samples()

    def show(self, visit: Visit) -> Response:
        """The page, with a sample where one was picked."""
        picked = visit.query.get("sample")
        number = int(picked) if picked.isascii() and picked.isdecimal() and len(picked) < 4 else -1
        text = self._samples[number].text if 0 <= number < len(self._samples) else ""
        return self._page(visit, self._try(Form({"message": [text]})), picked=number)

    def map(self, visit: Visit) -> Response:
        """The page with what a message becomes; its part alone where htmx asks."""
        return self._page(visit, self._try(visit.form))

    def send_to_emulator(self, visit: Visit) -> Response:
        """Send what was mapped to a local Kochava that is started for it."""
        trial, _ = self._mapped(visit)
        options = self._destination.options
        visit.log("sends a test message to the emulator")
        with KochavaEmulator(api_key=options.api_key, api_secret=options.api_secret) as kochava:
            with KochavaDestination(
                endpoint=kochava.url,
                api_key=options.api_key,
                api_secret=options.api_secret,
                hooks=(),
                retry={"max_attempts": 1},
                **changed_options(trial.options or options),
            ) as local:
                sent = _send(local, local.map(trial.message), "emulator")
            complaints = kochava.complaints
        return self._page(visit, trial, sent=evolve(sent, complaints=complaints))

    def confirm(self, visit: Visit) -> Response:
        """Ask whether what was mapped is really to be sent."""
        trial, request = self._mapped(visit)
        return visit.page(
            "tester_confirm.html",
            here="tester",
            trial=trial,
            request=request,
            data=request.payload.get("data", {}),
            permit=visit.session.permit(),
            prefix=PREFIX,
        )

    def send(self, visit: Visit) -> Response:
        """Send it to the real endpoint, once for each time that was asked."""
        trial, request = self._mapped(visit)
        if visit.form.get("sure") != "yes":
            raise Refusal(400, "tick the box to say that it is to be sent; nothing was")
        if not visit.session.use_permit(visit.form.get("permit")):
            raise Refusal(
                409, "it was sent already; start again in the tester to send it once more"
            )
        visit.log("sends a test message to the real endpoint")
        sent = _send(self._destination, _signed(request, self._destination.options), "Kochava")
        return self._page(visit, trial, sent=sent)

    def _try(self, form: Form) -> Trial:
        return try_message(form.get("message"), form, self._destination.options)

    def _mapped(self, visit: Visit) -> tuple[Trial, KochavaRequest]:
        trial = self._try(visit.form)
        if trial.explanation is None:
            raise Refusal(400, "this message gives no request that could be sent")
        return trial, trial.explanation.request

    def _page(
        self, visit: Visit, trial: Trial, *, sent: Sent | None = None, picked: int = -1
    ) -> Response:
        request = None if trial.explanation is None else trial.explanation.request
        signed = self._destination.options.signed
        return visit.page(
            "tester_result.html" if visit.is_part else "tester.html",
            here="tester",
            trial=trial,
            request=request,
            signed=signed,
            curl="" if request is None else as_curl(request, signed=signed),
            python=as_python_test(trial),
            sent=sent,
            prefix=PREFIX,
            samples=self._samples,
            picked=picked,
        )


def _send(destination: KochavaDestination, request: KochavaRequest, where: str) -> Sent:
    try:
        return Sent(where=where, receipt=destination.send(request, within=_SENT_WITHIN))
    except DeliveryError as error:
        return Sent(where=where, error=error)


def _signed(request: KochavaRequest, options: Options) -> KochavaRequest:
    if options.api_key is None or options.api_secret is None:
        return request
    signature = auth_headers(request.body, Credentials(options.api_key, options.api_secret))
    return evolve(request, headers={**request.headers, **signature})


def _load_samples() -> list[Sample]:
    # The demo's; read as a file, since the command line may not be installed.
    lines = (files("kochava_segment") / "cli" / "demo_messages.jsonl").read_text("utf-8")
    samples = []
    for line in filter(str.strip, lines.splitlines()):
        message: dict[str, Any] = json.loads(line)
        name = message.get("event") or message.get("name") or ""
        title = f"{message.get('type')} {name} ({message.get('messageId')})"
        samples.append(Sample(title, json.dumps(message, indent=2, ensure_ascii=False)))
    return samples
