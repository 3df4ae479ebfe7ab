"""The rules of `/track/json` whose breach is an error.

What shape each field has is told by the schema alone; here are the codes and articles that go with it,
and what no schema can say.
"""

from __future__ import annotations

from collections.abc import Iterator

from kochava_segment.emulator.rule import (
    DEVICE,
    EVENT,
    EVENT_EXAMPLES,
    EVENT_SETUP,
    INSTALL_SETUP,
    SENDERS,
    TRACK,
    UPDATE,
    Finding,
    Rule,
    Sent,
)
from kochava_segment.emulator.schema_rules import RESERVED_KEYS, field_rule


def _no_device(sent: Sent) -> Iterator[Finding]:
    if sent.payload.get("kochava_device_id") == "" and not any(sent.device_ids.values()):
        yield "data.device_ids", "must name a device: there is no kochava_device_id either"


DATA_RULES = (
    field_rule("bad-action", TRACK, "action", EVENT_SETUP, must="must be event, install or update"),
    field_rule("bad-app-id", TRACK, "kochava_app_id", EVENT_SETUP),
    field_rule("bad-kochava-device-id", TRACK, "kochava_device_id", EVENT_SETUP),
    field_rule("bad-data", TRACK, "data", EVENT_SETUP, must="must be an object"),
    field_rule("bad-app-ver", TRACK, "app_ver", INSTALL_SETUP),
    field_rule("bad-device-ids", DEVICE, "data.device_ids", EVENT_SETUP),
    Rule(
        "no-device",
        "error",
        DEVICE,
        "A device id or a `kochava_device_id` must not be empty",
        EVENT_SETUP,
        _no_device,
    ),
    field_rule("bad-usertime", DEVICE, "data.usertime", EVENT_SETUP),
    Rule(
        "usertime-milliseconds",
        "error",
        DEVICE,
        "`data.usertime` must be in seconds",
        EVENT_SETUP,
        fields=("data.usertime exclusiveMaximum",),
        must="must be in seconds: this one is in milliseconds or finer",
    ),
    field_rule("bad-event-name", EVENT, "data.event_name", EVENT_SETUP),
    field_rule("bad-event-data", EVENT, "data.event_data", EVENT_SETUP, must="must be an object"),
    Rule(
        "reserved-key",
        "error",
        EVENT,
        f"`data.event_data` must not have the keys {', '.join(RESERVED_KEYS)}",
        EVENT_EXAMPLES,
        fields=("data.event_data propertyNames",),
    ),
    field_rule("bad-currency", EVENT, "data.currency", EVENT_SETUP),
    field_rule("bad-ip", DEVICE, "data.origination_ip", EVENT_SETUP),
    field_rule("bad-device-ua", DEVICE, "data.device_ua", EVENT_SETUP),
    field_rule("bad-device-ver", DEVICE, "data.device_ver", EVENT_SETUP),
    field_rule("bad-app-version", DEVICE, "data.app_version", EVENT_SETUP),
    field_rule("bad-att", DEVICE, "data.app_tracking_transparency", EVENT_SETUP),
    field_rule("bad-limit-tracking", DEVICE, "data.device_limit_tracking", SENDERS),
    field_rule("bad-gdpr-consent", DEVICE, "data.gdpr_privacy_consent", EVENT_SETUP),
    field_rule("bad-ad-services-token", DEVICE, "data.ad_services_token", SENDERS),
    field_rule("bad-iad-attribution", DEVICE, "data.iad_attribution_details", SENDERS),
    Rule(
        "bad-update",
        "error",
        UPDATE,
        "`data` must have a non-blank `idfa` alone, beside the install's `kochava_device_id`",
        SENDERS,
        fields=("kochava_device_id", "data.idfa", "data.*"),
    ),
)
