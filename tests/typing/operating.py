"""Never run: type checkers read it. What those write who run it: outboxes, receivers, hooks, logs."""

import logging
from collections.abc import Mapping

from starlette.applications import Starlette
from typing_extensions import assert_type

from kochava_segment import (
    Answer,
    AsyncKochavaDestination,
    AsyncTransport,
    CredentialsRejected,
    DeliveryHook,
    DryRunTransport,
    ExplainedField,
    KochavaDestination,
    KochavaRequest,
    LeftOut,
    Outbox,
    OutboxError,
    OutboxFull,
    OutboxStatus,
    OutboxUnavailable,
    OutboxUnusable,
    RetriesExhausted,
    __version__,
)
from kochava_segment.delivery.opentelemetry import OpenTelemetryHook
from kochava_segment.delivery.outbox_changes import discard, retry
from kochava_segment.delivery.outbox_inspection import (
    EntryFilter,
    OutboxDepth,
    OutboxEntry,
    count_pending,
    entries,
    has_pending,
    outbox_depth,
    outbox_status,
)
from kochava_segment.delivery.prometheus import PrometheusHook
from kochava_segment.emulator import rules_table
from kochava_segment.json_log import JsonFormatter
from kochava_segment.schema import SCHEMA_FILE
from kochava_segment.segment import functions
from kochava_segment.segment.tracking import (
    MAX_MESSAGE_BYTES,
    SEGMENT,
    SEGMENT_EU,
    SegmentTracking,
)
from kochava_segment.segment.webhook import is_array, is_signed, sign
from kochava_segment.server import create_app

outbox = Outbox("kochava.sqlite3")
which = EntryFilter(states=("rejected",), older_than=3600)
assert_type(outbox_status(outbox), OutboxStatus)
assert_type(outbox_status(outbox).states, Mapping[str, int])
assert_type(outbox_depth(outbox), OutboxDepth)
assert_type(outbox_depth(outbox).oldest_age, float | None)
assert_type(has_pending(outbox), bool)
assert_type(count_pending(outbox), int)
assert_type(retry(outbox, which), int)
assert_type(discard(outbox, which, "too old"), int)
for entry in entries(outbox, which, bodies=True):
    assert_type(entry, OutboxEntry)
    assert_type(entry.reason, str | None)

hooks: list[DeliveryHook] = [PrometheusHook(app_guids=["koexample"]), OpenTelemetryHook()]
kochava = KochavaDestination("koexample", outbox="kochava.sqlite3", hooks=hooks)
tracking = SegmentTracking.beside("kochava.sqlite3", "write-key", SEGMENT_EU)
assert_type(tracking, SegmentTracking)
app = create_app(kochava, webhook_secret="secret", tracking=tracking)
assert_type(app, Starlette)
create_app(kochava, secret="secret")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ty: ignore[unknown-argument]
assert_type(sign(b"{}", "secret"), str)
assert_type(is_signed(b"{}", None, "secret"), bool)
assert_type(is_array(b"[]"), bool)
logging.StreamHandler().setFormatter(JsonFormatter())

explanation = kochava.explain({"type": "track", "event": "Level Up"})
assert_type(explanation.fields, tuple[ExplainedField, ...])
assert_type(explanation.fields[0].sources, tuple[str, ...])
assert_type(explanation.left_out, tuple[LeftOut, ...])

budget: float = functions.BUDGET
for handler in (
    functions.on_screen,
    functions.on_page,
    functions.on_group,
    functions.on_alias,
    functions.on_delete,
):
    handler({"type": "screen"}, {"apiKey": "koexample"})
functions.close_kept()

most: int = MAX_MESSAGE_BYTES
assert_type(rules_table(), str)
told: list[str] = [SEGMENT, SCHEMA_FILE, __version__]


class Echo:
    """An asynchronous transport of one's own."""

    async def send(self, request: KochavaRequest) -> Answer:
        """Answer at once."""
        return Answer(200, {}, request.body)

    async def close(self) -> None:
        """Nothing to close."""


transport: AsyncTransport = Echo()
AsyncKochavaDestination("koexample", transport=transport, max_rate=50)
AsyncKochavaDestination("koexample", transport=DryRunTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
AsyncKochavaDestination("koexample", outbox="kochava.sqlite3")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
KochavaDestination("koexample", transport=transport)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]


def hand_over(message: Mapping[str, object]) -> None:
    """All that an outbox may say."""
    try:
        kochava.enqueue(message)
    except (OutboxFull, OutboxUnavailable, OutboxUnusable) as error:
        own: OutboxError = error
        raise own from None


def handle(message: Mapping[str, object]) -> int | None:
    """What of a delivery a person looks at."""
    try:
        functions.on_track(message, {"apiKey": "koexample"})
    except functions.FunctionError as error:
        cause = error.__cause__
        if isinstance(cause, (CredentialsRejected, RetriesExhausted)):
            return assert_type(cause.status, int | None)
        return assert_type(error.status, int)
    return None
