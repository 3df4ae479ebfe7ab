"""A user's device to Kochava's data subject request, which deletes what Kochava knows of it.

Kochava, *Data Subject Request* (privacy/scrub).
"""

from __future__ import annotations

from kochava_segment.mapping.identifiers import Device
from kochava_segment.mapping.mapper import encode
from kochava_segment.options import Options
from kochava_segment.request import KochavaRequest

ACTION = "deletion"
_ACCOUNTS = "/accounts/"


def path_of(url: str) -> str:
    """The path of such a request's URL, without what the endpoint has of one."""
    return url[url.rindex(_ACCOUNTS) :]


def data_subject_request(
    device: Device, options: Options, message_id: str | None
) -> KochavaRequest | None:
    """The request that deletes a device at Kochava; None where no account is configured.

    The key that authenticates it is added when it is sent, as signatures are.
    """
    if options.account_id is None or options.account_key is None or not device.known_ids:
        return None
    app = options.account_app_ids.get(device.app_guid)
    scope = f"{_ACCOUNTS}{options.account_id}" + (f"/apps/{app}" if app else "")
    ids = [{"id_type": name, "id_value": value} for name, value in device.known_ids.items()]
    # A queue of its own: should the account's key be refused, the app's events go on.
    return KochavaRequest(
        url=f"{options.privacy_endpoint}{scope}/privacy/scrub",
        headers={},
        body=encode({"device_ids": ids}, signed=False),
        ordering_key=f"account {options.account_id}/{device.ordering_key}",
        action=ACTION,
        message_id=message_id,
    )
