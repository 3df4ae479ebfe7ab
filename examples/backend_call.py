"""A backend that tells Kochava of a purchase when the payment went through.

The destination is made once; `report_purchase` is called wherever a purchase is settled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from attrs import frozen

from kochava_segment import (
    AmbiguousDelivery,
    DeliveryError,
    EventFiltered,
    KochavaDestination,
    MappingError,
)

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Order:
    """What this backend knows of an order. The app sent `device` when it checked out."""

    order_id: str
    user_id: str
    total: str
    currency: str
    settled_at: datetime
    device: Mapping[str, Any]
    ip: str
    user_agent: str


def purchase_message(order: Order) -> dict[str, Any]:
    """The order as Segment's "Order Completed"."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"order-{order.order_id}",
        "userId": order.user_id,
        "timestamp": order.settled_at.isoformat(),
        "properties": {
            "order_id": order.order_id,
            "revenue": order.total,
            "currency": order.currency,
        },
        "context": {
            "device": order.device,
            "ip": order.ip,
            "userAgent": order.user_agent,
        },
    }


def report_purchase(kochava: KochavaDestination, order: Order) -> bool:
    """Send it. False if it should be sent again later: the caller keeps it."""
    try:
        receipt = kochava.send(purchase_message(order))
    except EventFiltered as filtered:
        logger.info("order %s is not for Kochava: %s", order.order_id, filtered.reason)
    except MappingError as error:
        logger.error("order %s cannot be reported: %s", order.order_id, error)  # noqa: TRY400
    except AmbiguousDelivery as error:
        # Again would perhaps be twice. This shop would rather miss a purchase than count two.
        logger.warning("order %s was perhaps counted: %s", order.order_id, error)
    except DeliveryError as error:
        logger.warning("order %s was not counted: %s", order.order_id, error)
        return False
    else:
        for warning in receipt.warnings:
            logger.info("order %s: %s at %s", order.order_id, warning.code, warning.field)
    return True


def main() -> None:
    """Report one order to where KOCHAVA_SEGMENT_* variables say."""
    order = Order(
        order_id="o-9",
        user_id="u-42",
        total="19.95",
        currency="EUR",
        settled_at=datetime(2026, 3, 20, 18, 6, 56, tzinfo=timezone.utc),
        device={"id": "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10", "type": "ios", "model": "iPhone16,2"},
        ip="203.0.113.7",
        user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
    )
    with KochavaDestination.from_env() as kochava:
        print("reported" if report_purchase(kochava, order) else "to be sent again")


if __name__ == "__main__":
    main()
