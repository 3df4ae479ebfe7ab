"""Numbered messages of several devices, and what an emulator says became of them."""

from __future__ import annotations

from collections import Counter

from tests.messages import ios

DEVICES = 10


def message(number, devices=DEVICES, **changes):
    """The message of this number. The first of each device is its install, the others are events."""
    device = number % devices
    return ios(
        messageId=f"m{number}",
        event="Application Installed" if number < devices else f"e{number}",
        context__device__id=f"7F2A1C5E-0B1D-4E0B-9E6F-{device:012X}",
        context__device__advertisingId=f"EA7583CD-A667-48BC-B806-{device:012X}",
        **changes,
    )


def number_of(received):
    """The number of the message that a received request was made of."""
    payload = received.payload
    if payload["action"] == "install":
        return int(payload["kochava_device_id"].rpartition("-")[2], 16)
    return int(payload["data"]["event_name"][1:])


class Arrived:
    """What an emulator has counted, in order.

    Attributes:
        numbers: Of all that arrived.
        repeated: How often each arrived again.
    """

    def __init__(self, emulator):
        self.numbers = [number_of(received) for received in emulator.accepted]
        counted = Counter(self.numbers)
        self.repeated = {number: count - 1 for number, count in counted.items() if count > 1}

    def first_arrivals(self, device, devices=DEVICES):
        """The numbers of a device, each where it arrived first."""
        return list(dict.fromkeys(n for n in self.numbers if n % devices == device))

    def assert_in_order(self, devices=DEVICES):
        for device in range(devices):
            numbers = self.first_arrivals(device, devices)
            assert numbers == sorted(numbers), f"device {device}"
