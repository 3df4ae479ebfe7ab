"""Devices and deletions: what is known of a user, and forgetting them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from kochava_segment.delivery.devices import DeviceDirectory
from kochava_segment.destination import KochavaDestination
from kochava_segment.masking import masked
from kochava_segment.server.answers import Refusal
from kochava_segment.server.console.guard import Visit


class DevicesPage:
    """Looks users up, and forgets them. Who they are is posted, so that no address and no log has it.

    Args:
        destination: Whose directory it is.
    """

    def __init__(self, destination: KochavaDestination) -> None:
        self._destination = destination
        options = destination.options
        self._directory = DeviceDirectory(
            destination.outbox.file, per_user=options.devices_per_user, days=options.devices_days
        )

    def show(self, visit: Visit) -> Response:
        """The page, before anybody was looked up."""
        return self._page(visit, "devices.html", user_id="", found=None, revealed=False)

    def look_up(self, visit: Visit) -> Response:
        """A user's devices."""
        user_id, reveal = _user_of(visit), visit.form.get("reveal") == "yes"
        if reveal:
            visit.log("reveals the devices of a user")
        found = []
        for device in self._directory.devices_of(user_id):
            ids = {"kochava_device_id": device.kochava_device_id, **device.device_ids}
            shown = ids if reveal else masked({"device_ids": ids})["device_ids"]
            found.append((device, {name: value for name, value in shown.items() if value}))
        return self._page(visit, "devices.html", user_id=user_id, found=found, revealed=reveal)

    def confirm(self, visit: Visit) -> Response:
        """Ask whether a user is really to be forgotten."""
        user_id = _user_of(visit)
        count = len(self._directory.devices_of(user_id))
        return self._page(visit, "devices_confirm.html", user_id=user_id, count=count)

    def forget(self, visit: Visit) -> Response:
        """Forget a user, and say what that removed."""
        user_id = _user_of(visit)
        if visit.form.get("sure") != "yes":
            raise Refusal(
                400, "tick the box to say that the user is to be forgotten; nothing was done"
            )
        forgotten = self._destination.forget(user_id)
        visit.log("forgets a user: %s", forgotten)
        return self._page(visit, "devices_forgotten.html", user_id=user_id, forgotten=forgotten)

    def _page(self, visit: Visit, template: str, **values: Any) -> Response:
        options = self._destination.options
        return visit.page(
            template,
            here="devices",
            tells_kochava=options.account_id is not None,
            per_user=options.devices_per_user,
            days=options.devices_days,
            **values,
        )


def _user_of(visit: Visit) -> str:
    user_id = visit.form.get("user_id").strip()
    if not user_id:
        raise Refusal(400, "enter a userId")
    return user_id
