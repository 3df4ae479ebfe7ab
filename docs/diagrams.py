"""The diagrams of the pages, each a function that draws it. `generate.py` writes them.

The import graph is read from the code; the others say in words of ours how it works, and name files
and states: `tests/docs` holds that these exist.
"""

from __future__ import annotations

from collections.abc import Callable

from drawing import Drawing  # beside this file
from import_graph import imports


def message_path() -> str:
    """The path of one message through the files."""
    drawing = Drawing(940, 760, "The path of one message through the code")
    drawing.arrow((470, 64), (470, 82), (230, 82), (230, 104))
    drawing.arrow((470, 64), (470, 82), (710, 82), (710, 104))
    drawing.box((330, 20, 280, 44), "A Segment message", "a dict, as it came")
    drawing.arrow((230, 152), (230, 188))
    drawing.arrow((710, 152), (710, 188))
    drawing.box((40, 104, 380, 48), "send, send_many", "destination.py, in_order.py", kind="ours")
    drawing.box((520, 104, 380, 48), "enqueue, enqueue_many", "durable.py, devices.py", kind="ours")
    drawing.frame((40, 190, 860, 110), "mapping: pure, the same for both")
    steps = (
        ("Read it", "message.py"),
        ("Filter, choose", "mapper.py"),
        ("App and device", "identifiers.py"),
        ("Name and data", "event.py, identify.py"),
        ("Data block", "device.py"),
    )
    for number, step in enumerate(steps):
        left = 56 + number * 168
        drawing.box((left, 220, 156, 66), *step, kind="ours")
        if number:
            drawing.arrow((left - 12, 253), (left, 253))
    drawing.arrow((470, 300), (470, 332))
    drawing.box((330, 332, 280, 48), "KochavaRequest", "request.py: bytes, encoded once")
    drawing.arrow((330, 356), (230, 356), (230, 412))
    drawing.arrow((610, 356), (710, 356), (710, 412))
    drawing.box((40, 412, 380, 48), "Sign", "signing.py", kind="ours")
    drawing.box(
        (520, 412, 380, 48), "Store, in one transaction", "outbox.py, outbox_file.py", kind="ours"
    )
    drawing.arrow((230, 460), (230, 504))
    drawing.arrow((710, 460), (710, 504), label="enqueue has returned: queued", at=(800, 486))
    drawing.box(
        (40, 504, 380, 48), "Wait for its turn; judge; again or not",
        "delivery.py, steps.py, rate.py, retry.py", kind="ours",
    )  # fmt: skip
    drawing.box(
        (520, 504, 380, 48), "Lease, sign; judge; again or not",
        "relay.py, leases.py, judging.py, signing.py, rate.py", kind="ours",
    )  # fmt: skip
    drawing.arrow((300, 552), (300, 596), both=True)
    drawing.arrow((640, 552), (640, 596), both=True)
    drawing.arrow((120, 552), (120, 596))
    drawing.arrow((820, 552), (820, 596))
    drawing.box((40, 596, 170, 56), "Receipt, or an error", "outcome.py, errors.py", kind="good")
    drawing.box((730, 596, 170, 56), "Settled", "delivered, or to be read", kind="good")
    drawing.box(
        (230, 596, 480, 56), "Post it, once",
        "attempt.py, answer.py, requests_transport.py or pycurl_transport.py", kind="ours",
    )  # fmt: skip
    drawing.arrow(
        (470, 652), (470, 696), label="Answer, or TransportFailure", at=(570, 678), both=True
    )
    drawing.box((330, 696, 280, 44), "Kochava", "/track/json, identityLink.php", kind="theirs")
    return drawing.svg()


def outbox_states() -> str:
    """The states of a request in the outbox."""
    drawing = Drawing(900, 430, "The states of a request in the outbox")
    drawing.frame((140, 40, 420, 260), "pending")
    drawing.frame((680, 100, 204, 200), "failed")
    drawing.arrow((116, 140), (170, 140))
    drawing.arrow((290, 140), (410, 140), label="leased by a relay")
    drawing.arrow(
        (470, 120), (470, 86), (230, 86), (230, 120),
        label="tried again later, or its relay died", at=(350, 80),
    )  # fmt: skip
    drawing.arrow((200, 160), (200, 230), label="401 or\n403", at=(172, 192))
    drawing.arrow((250, 230), (250, 160), label="new credentials,\nor outbox retry", at=(307, 215))
    drawing.arrow((680, 288), (390, 288), (390, 182), (275, 182), (275, 160))
    drawing.label((622, 282), "outbox retry")
    for state, top, why in (
        ("delivered", 36, "accepted"),
        ("rejected", 126, "refused for good"),
        ("exhausted", 182, "no attempt or time left"),
        ("ambiguous", 238, "perhaps counted"),
    ):
        drawing.arrow((530, 140), (610, 140), (610, top + 24), (696, top + 24))
        kind = "good" if state == "delivered" else "bad"
        drawing.box((696, top, 172, 48), state, why, kind=kind)
    drawing.arrow((300, 300), (300, 380), (410, 380))
    drawing.arrow((780, 300), (780, 380), (530, 380))
    drawing.label((640, 374), "outbox discard, or its user is forgotten")
    drawing.box((16, 120, 100, 40), "enqueue")
    drawing.box((170, 120, 120, 40), "waiting", kind="ours")
    drawing.box((410, 120, 120, 40), "in flight", kind="ours")
    drawing.box((170, 230, 120, 40), "paused", kind="ours")
    drawing.box((410, 360, 120, 40), "discarded")
    return drawing.svg()


def attribution_loop() -> str:
    """How an install's attribution comes back to Segment, and goes no further round."""
    drawing = Drawing(900, 370, "Install attribution, from the app to Kochava and back to Segment")
    drawing.arrow((170, 70), (260, 70), label="events")
    drawing.arrow((420, 70), (560, 70), label="webhook")
    drawing.arrow((720, 110), (720, 260), label="install, with\ndevice ids", at=(775, 186))
    drawing.arrow((560, 300), (470, 300), label="postback")
    drawing.arrow((340, 260), (340, 110))
    drawing.label((340, 186), "Install Attributed, with\nintegrations: {Kochava: false}")
    drawing.arrow((260, 92), (215, 92), (215, 190), (170, 190))
    drawing.arrow((420, 92), (490, 92), (490, 165), (560, 165))
    drawing.label((490, 128), "Install\nAttributed")
    drawing.box((30, 40, 140, 70), "App", "Segment's SDK")
    drawing.box((260, 40, 160, 70), "Segment", kind="theirs")
    drawing.box((560, 40, 310, 70), "POST /segment", "receiving.py, then the outbox", kind="ours")
    drawing.box((560, 140, 130, 50), "LOOP", "filtered, not sent", kind="bad")
    drawing.box(
        (560, 260, 310, 80), "Kochava", "finds out where the install came from", kind="theirs"
    )
    drawing.box(
        (210, 260, 260, 80), "/kochava/postback/SECRET",
        "postback.py, install_attribution.py", "tracking.py: a queue on disk", kind="ours",
    )  # fmt: skip
    drawing.box((30, 160, 140, 60), "Others", "warehouse, analytics")
    return drawing.svg()


def deployment() -> str:
    """Who talks to whom where the receiver runs."""
    drawing = Drawing(890, 330, "The receiver in production: who talks to whom")
    drawing.frame((325, 24, 365, 290), "one machine: kochava-segment serve")
    drawing.arrow((150, 75), (210, 75), label="https")
    drawing.arrow((150, 150), (210, 150), label="https")
    drawing.arrow((290, 112), (350, 112))
    drawing.arrow((460, 112), (560, 112), label="stored first")
    drawing.arrow((615, 137), (615, 195))
    drawing.arrow((670, 220), (740, 220), label="https")
    drawing.arrow((150, 275), (350, 275), label="inside only")
    drawing.box((20, 50, 130, 50), "Segment", "/segment", kind="theirs")
    drawing.box((20, 125, 130, 50), "Kochava", "/kochava/postback", kind="theirs")
    drawing.box((210, 50, 80, 125), "Proxy", "TLS, limits")
    drawing.box((350, 82, 110, 60), "Receiver", "answers 202", kind="ours")
    drawing.box((560, 87, 110, 50), "Outbox", "kochava.sqlite3", kind="good")
    drawing.box((560, 195, 110, 50), "Relay", "signs, sends", kind="ours")
    drawing.box((350, 250, 150, 50), "/metrics, /readyz", "/console", kind="ours")
    drawing.box((20, 250, 130, 50), "You", "monitoring, browser")
    drawing.box((740, 195, 130, 50), "Kochava", "/track/json", kind="theirs")
    return drawing.svg()


DIAGRAMS: dict[str, Callable[[], str]] = {
    "architecture-imports": imports,
    "architecture-path": message_path,
    "attribution-loop": attribution_loop,
    "deployment": deployment,
    "outbox-states": outbox_states,
}
