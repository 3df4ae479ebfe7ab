"""Never run: type checkers read it. Messages and payloads with their types, wherever a message goes in."""

import asyncio
from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any, cast

from typing_extensions import assert_type

from kochava_segment import (
    AsyncKochavaDestination,
    KochavaDestination,
    KochavaRequest,
    Outcome,
    Receipt,
)
from kochava_segment.schema import payload_schema
from kochava_segment.segment import functions
from kochava_segment.segment.functions import Functions
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.types import (
    Context,
    IdentifyMessage,
    KochavaEvent,
    KochavaIdentityLink,
    KochavaOptions,
    KochavaPayload,
    KochavaTrackPayload,
    PageMessage,
    ScreenMessage,
    SegmentMessage,
    TrackMessage,
)

context: Context = {
    "app": {"version": "3.2.1", "namespace": "com.example.skis"},
    "device": {"id": "7F2A", "advertisingId": None, "adTrackingEnabled": True, "type": "ios"},
    "os": {"name": "iOS", "version": "17.5"},
    "ip": "203.0.113.7",
    "consent": {"categoryPreferences": {"Advertising": True}},
}
options: KochavaOptions = {"app_guid": "koown", "gdpr_privacy_consent": {"gdpr_applies": 1}}
purchase: TrackMessage = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-42",
    "event": "Order Completed",
    "properties": {"revenue": 19.95, "currency": "EUR", "products": [{"product_id": "p1"}]},
    "context": context,
    "timestamp": datetime.now(tz=timezone.utc),
    "integrations": {"All": False, "Kochava": options, "Other": {"own": 1}},
}
identify: IdentifyMessage = {"type": "identify", "userId": "u-42", "traits": {"plan": "gold"}}
screen: ScreenMessage = {"type": "screen", "name": "Home", "timestamp": "2026-03-20T18:06:56Z"}
page: PageMessage = {"type": "page", "anonymousId": "a-42"}
messages: list[SegmentMessage] = [purchase, identify, screen, page]

# What is wrong is found before it runs.
TrackMessage(type="track")  # type: ignore[typeddict-item]  # pyright: ignore[reportCallIssue]  # ty: ignore[missing-typed-dict-key]
TrackMessage(type="screen", event="x")  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
IdentifyMessage(type="identify", user_id="u")  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportCallIssue]  # ty: ignore[unknown-typed-dict-constructor-key]
KochavaOptions(att="yes")  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]

kochava = KochavaDestination("koexample-app-guid", outbox="kochava.db")
assert_type(kochava.map(purchase), KochavaRequest)
assert_type(kochava.track(purchase), KochavaRequest)
assert_type(kochava.identify(identify), KochavaRequest)
assert_type(kochava.screen(screen), KochavaRequest)
assert_type(kochava.screen(page), KochavaRequest)
assert_type(kochava.idfa_update(purchase), KochavaRequest)
assert_type(kochava.send(purchase), Receipt)
assert_type(kochava.send_many(messages), Generator[Outcome, None, None])
assert_type(kochava.send_many([purchase]), Generator[Outcome, None, None])
assert_type(kochava.enqueue(purchase), Outcome)
assert_type(kochava.enqueue_many(messages), list[Outcome])
kochava.explain(purchase)
functions.on_track(purchase, {"apiKey": "koexample"})
Functions(kochava).on_batch(messages)
SegmentTracking("to-segment.sqlite3", "write-key").enqueue(purchase)


async def send() -> None:
    """The same, awaited."""
    async with AsyncKochavaDestination("koexample-app-guid") as sender:
        assert_type(await sender.send(purchase), Receipt)
        async for outcome in sender.send_many(messages):
            assert_type(outcome, Outcome)


asyncio.run(send())

event = cast("KochavaEvent", kochava.map(purchase).payload)
assert_type(event["data"]["event_name"], str)
assert_type(event["data"].get("usertime"), int | None)
assert_type(event["data"].get("device_ids"), dict[str, str] | None)
event["data"]["usertimes"]  # type: ignore[typeddict-item]  # pyright: ignore[reportGeneralTypeIssues]  # ty: ignore[invalid-typed-dict-key]


def name_of(payload: KochavaTrackPayload) -> str:
    """Those of `/track/json` are told apart by their action."""
    if payload["action"] == "event":
        return payload["data"]["event_name"]
    if payload["action"] == "update":
        return assert_type(payload["data"]["idfa"], str)
    return payload["kochava_app_id"]


anything: KochavaPayload = event
link: KochavaIdentityLink = {
    "kochava_app_id": "koexample",
    "device_id": {"idfa": "7F2A"},
    "data": {"user_id": "u-42"},
}
anything = link

assert_type(payload_schema(), dict[str, Any])
