"""The events that all contenders send: purchases, none of them odd."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from benchmarks.case import Setting
from kochava_segment import KochavaDestination, KochavaRequest

_LEAST = 1024  # requests made beforehand: of so many devices that none has to wait for its last


def messages(count: int, devices: int = 50) -> list[dict[str, Any]]:
    """Purchases of several devices."""
    return [_message(f"m-{number}", number % devices) for number in range(count)]


def stream(setting: Setting, count: int) -> Iterator[dict[str, Any]]:
    """So many purchases, each with a messageId that never was; of devices as the setting says."""
    run = uuid.uuid4().hex[:12]
    filling = _filling(setting)
    devices = max(1, count // setting.events_per_device)
    for number in range(count):
        # Some way apart: neighbours are seldom of one device.
        yield _message(f"{run}-{number}", number * 7919 % devices, filling)


def mapped(setting: Setting) -> list[KochavaRequest]:
    """Some of the requests that these messages become: bare contenders post them again and again."""
    count = max(_LEAST, 8 * setting.concurrency)
    with KochavaDestination("koexample", endpoint=setting.url or "http://127.0.0.1") as kochava:
        return [kochava.map(message) for message in stream(setting, count)]


def _filling(setting: Setting) -> str:
    """Text that brings a body to the size that the setting asks for."""
    if setting.size is None:
        return ""
    with KochavaDestination("koexample") as kochava:
        without = len(kochava.map(_message("0" * 16, 0, "x")).body)
    return "x" * max(1, setting.size - without + 1)


def _message(message_id: str, device: int, filling: str = "") -> dict[str, Any]:
    products = {"products": [{"product_id": "p-1", "name": "Skis", "quantity": 2}]}
    agent = {"userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"}
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": message_id,
        "userId": f"u-{device}",
        "anonymousId": f"a-{device}",
        "timestamp": "2026-03-20T18:06:56.900Z",
        "properties": {
            "order_id": message_id,
            "revenue": "19.95",
            "currency": "EUR",
            **({"gift_note": filling} if filling else products),
        },
        "context": {
            "app": {"version": "3.2.1", "namespace": "com.example.skis"},
            "device": {
                "id": f"7F2A1C5E-0B1D-4E0B-9E6F-{device:012X}",
                "type": "ios",
                "model": "iPhone16,2",
                "adTrackingEnabled": False,
                "trackingStatus": "denied",
            },
            "os": {"name": "iOS", "version": "17.5"},
            "ip": "203.0.113.7",
            **({} if filling else agent),  # a small body has no room for it
        },
    }


def lines(setting: Setting, count: int) -> Iterator[bytes]:
    """The messages of `stream` as lines of JSON."""
    for message in stream(setting, count):
        yield json.dumps(message, separators=(",", ":")).encode() + b"\n"
