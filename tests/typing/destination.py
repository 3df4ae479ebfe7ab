"""Never run: type checkers read it. What a user writes must be typed as the user expects."""

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any

from typing_extensions import assert_type

from kochava_segment import (
    Explanation,
    Forgotten,
    KochavaDestination,
    KochavaRequest,
    MappingWarning,
    Options,
    Outbox,
    OutboxStatus,
    Outcome,
    PostbackFields,
    Receipt,
    RetryPolicy,
)

kochava = KochavaDestination("koexample-app-guid")
KochavaDestination()
KochavaDestination(app_guid="koexample-app-guid", app_guids={"ios": "koexample-ios"})
KochavaDestination("koexample-app-guid", screens="view", nested="flatten", timeout=3)
KochavaDestination("koexample-app-guid", retry=RetryPolicy(max_attempts=3), max_rate=50)
KochavaDestination("koexample-app-guid", retry={"max_attempts": 3, "maybe_sent": "give_up"})
KochavaDestination("koexample-app-guid", postback_fields=PostbackFields(idfa="ios_idfa"))
KochavaDestination("koexample-app-guid", postback_fields={"idfa": "ios_idfa"})
KochavaDestination("koexample-app-guid", deny_properties=["a"], allow_properties=("b",))
assert_type(KochavaDestination.from_env(screens="off"), KochavaDestination)
assert_type(KochavaDestination.from_config("kochava.toml", max_rate=1), KochavaDestination)

# What is wrong is found before it runs.
KochavaDestination("koexample-app-guid", screens="all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
KochavaDestination("koexample-app-guid", max_rates=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
KochavaDestination("koexample-app-guid", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
KochavaDestination("koexample-app-guid", transport=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
kochava.send(b"{}")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]

message: dict[str, Any] = {"type": "track", "event": "Level Complete"}
frozen: Mapping[str, Any] = MappingProxyType(message)
request = kochava.map(frozen)
assert_type(request, KochavaRequest)
assert_type(kochava.track(message), KochavaRequest)
assert_type(kochava.identify(message), KochavaRequest)
assert_type(kochava.screen(message), KochavaRequest)
assert_type(kochava.idfa_update(message), KochavaRequest)
assert_type(kochava.explain(message), Explanation)
assert_type(kochava.options, Options)
assert_type(kochava.options.timeout, tuple[float, float])

assert_type(request.body, bytes)
assert_type(request.headers, Mapping[str, str])
assert_type(request.payload, dict[str, Any])
assert_type(request.message_id, str | None)
assert_type(request.warnings, tuple[MappingWarning, ...])
assert_type(request.warnings[0].code, str)
request.body = b""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # ty: ignore[invalid-assignment]

receipt = kochava.send(request)
assert_type(receipt, Receipt)
assert_type(kochava.send(frozen), Receipt)
assert_type(receipt.elapsed, float)
assert_type(receipt.maybe_repeated, bool)

outcomes = kochava.send_many([message, frozen, request], concurrency=4)
assert_type(outcomes, Generator[Outcome, None, None])

assert_type(kochava.enqueue(frozen), Outcome)
assert_type(kochava.enqueue_many([message, request]), list[Outcome])
assert_type(kochava.flush(timeout=1), OutboxStatus)
assert_type(kochava.forget("u-42"), Forgotten)
assert_type(kochava.outbox, Outbox)
KochavaDestination("koexample-app-guid", outbox="kochava.db", durability="full", devices=True)

assert_type(kochava.apple_search_ads_context({"attribution": True}), dict[str, Any])
assert_type(kochava.install_attribution({"idfa": ["a"]}), dict[str, Any])
assert_type(kochava.install_attribution([("idfa", "a"), ("ip", "b")]), dict[str, Any])

with KochavaDestination("koexample-app-guid") as entered:
    assert_type(entered, KochavaDestination)
