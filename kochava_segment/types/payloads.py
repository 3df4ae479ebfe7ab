"""Kochava's payloads, the documents that the mapping makes of messages.

The JSON Schema that the package ships (`kochava_segment.schema`) is written from these types by
`python docs/schema.py`: what a Shape says of a value stands there, and the emulator judges by it.
"""

# Annotations are evaluated here: as text they do not tell TypedDict which keys are required.

from typing import Annotated, Any, Literal

from attrs import field, frozen
from typing_extensions import NotRequired, TypedDict


@frozen
class Shape:
    """What JSON Schema says of a value beside its type.

    Attributes:
        words: What it is, as the rest of "must be …".
        keywords: The schema's keywords.
    """

    words: str
    keywords: dict[str, Any] = field(factory=dict)


Text = Annotated[str, Shape("a string that is not blank", {"pattern": r"\S"})]

# As seconds, the limit lies in the year 5138; as milliseconds, it was passed in 1973.
EpochSeconds = Annotated[
    int,
    Shape(
        "a whole number of epoch seconds, not milliseconds",
        {"exclusiveMaximum": 100_000_000_000},
    ),
]
Seconds = Annotated[int, Shape("a whole number of seconds, 0 or more", {"minimum": 0})]
Bit = Annotated[Literal[0, 1], Shape("0 or 1")]
CurrencyCode = Annotated[
    str,
    Shape("an ISO 4217 code: three upper-case letters", {"pattern": "^[A-Z]{3}$", "maxLength": 3}),
]
Address = Annotated[
    str, Shape("an IPv4 or IPv6 address", {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
]
# The names are listed here once more, beside the mapping's table, on purpose: a slip in the one
# would go unseen if the emulator looked things up in the same one.
EventProperties = Annotated[
    dict[str, Any],
    Shape(
        "an object without the names that Kochava keeps for itself",
        {
            "propertyNames": {
                "not": {
                    "enum": [
                        "attribution_type",
                        "campaign",
                        "cracked",
                        "creative",
                        "fb_campaign",
                        "integration_type",
                        "integration_version",
                        "jailbroken",
                        "network",
                        "site",
                        "source",
                    ]
                }
            }
        },
    ),
]
Strings = Annotated[dict[str, str], Shape("an object of strings")]
Identities = Annotated[dict[str, Text], Shape("an object that is not empty", {"minProperties": 1})]


class AppTrackingTransparency(TypedDict):
    """What an Apple device's user answered when the app asked to track. Kochava, *Post-Install Event Setup*.

    Attributes:
        att: Whether tracking is authorised.
        att_time: When the user answered, in epoch seconds.
        att_duration: How long the user took to answer, in seconds.
        att_detail: Anything more that the app knows of it.
    """

    att: bool
    att_time: NotRequired[EpochSeconds]
    att_duration: NotRequired[Seconds]
    att_detail: NotRequired[str]


class GdprPrivacyConsent(TypedDict, total=False):
    """The user's consent under GDPR and the DMA. Kochava, *Post-Install Event Setup*.

    Attributes:
        gdpr_applies: 1 where the GDPR applies to the user.
        tc_string: The TCF consent string.
        ad_user_data: 1 where the user lets their data be used for advertising.
        ad_personalization: 1 where the user lets advertising be personalised.
    """

    gdpr_applies: Bit
    tc_string: str
    ad_user_data: Bit
    ad_personalization: Bit


IadAttributionDetails = TypedDict("IadAttributionDetails", {"Version3.1": Strings})
"""Apple's iAd attribution under its version: `iad-` keys to strings. Seen in other senders."""


class DeviceData(TypedDict, total=False):
    """The `data` of an install, which events have as well. Kochava, *Post-Install Event Setup*.

    The mapping always writes device_ids, device_ua and device_ver.

    Attributes:
        device_ids: The device's ids by kind: idfa and idfv, adid and android_id, or names of your own.
            "" where one is unknown.
        usertime: When it happened, in whole epoch seconds.
        origination_ip: The IP address of the device.
        device_ua: The user agent of the device; "" where it is unknown.
        device_ver: Model, system and its version, joined with hyphens; "" where one is unknown.
        app_version: The version of the app.
        app_tracking_transparency: On Apple devices. Without it Kochava drops the IDFA.
        device_limit_tracking: Whether the user limits ad tracking.
        gdpr_privacy_consent: The user's consent.
        ad_services_token: On installs: the token of Apple's AdServices, valid for 24 hours.
        iad_attribution_details: What Apple's iAd said of the install.
    """

    device_ids: Strings
    usertime: EpochSeconds
    origination_ip: Address
    device_ua: str
    device_ver: str
    app_version: str
    app_tracking_transparency: AppTrackingTransparency
    device_limit_tracking: bool
    gdpr_privacy_consent: GdprPrivacyConsent
    ad_services_token: Text
    iad_attribution_details: IadAttributionDetails


class EventData(DeviceData):
    """The `data` of an event. Kochava, *Post-Install Event Setup* and *Post-Install Event Examples*.

    Attributes:
        event_name: Kochava's name for the event.
        event_data: What is told of the event. Names that Kochava knows have its types, such as a
            number for price; others are allowed.
        currency: The currency of the price.
    """

    event_name: Text
    event_data: NotRequired[EventProperties]
    currency: NotRequired[CurrencyCode]


class IdfaData(TypedDict):
    """The `data` of an update. Seen in other senders.

    Attributes:
        idfa: The advertising id that has become known.
    """

    idfa: Text


class _Envelope(TypedDict):
    """What stands around `data`.

    Attributes:
        kochava_app_id: The App GUID.
        app_ver: On installs: the version of the app.
        kochava_device_id: The app instance on a device, under a name that stays the same; "" where
            it is unknown.
    """

    kochava_app_id: Text
    app_ver: NotRequired[str]
    kochava_device_id: str


class KochavaEvent(_Envelope):
    """A post-install event, for `/track/json`. Kochava, *Post-Install Event Setup*.

    Attributes:
        action: `event`.
        data: The event and its device.
    """

    action: Literal["event"]
    data: EventData


class KochavaInstall(_Envelope):
    """An install, for `/track/json`. Kochava, *Install Notification Setup*.

    Attributes:
        action: `install`.
        data: The device.
    """

    action: Literal["install"]
    data: DeviceData


class KochavaIdfaUpdate(TypedDict):
    """An advertising id that became known after the install, for `/track/json`. Seen in other senders.

    Attributes:
        action: `update`.
        kochava_app_id: The App GUID.
        kochava_device_id: The one of the install.
        data: The advertising id.
    """

    action: Literal["update"]
    kochava_app_id: Text
    kochava_device_id: Text
    data: IdfaData


class KochavaIdentityLink(TypedDict):
    """Identities of a device, for `/v1/cpi/identityLink.php`. Kochava, *IdentityLink Setup*.

    Attributes:
        kochava_app_id: The App GUID.
        device_id: The device's ids by kind (the name has no s).
        data: The identities by name: opaque ids or hashes, no e-mail addresses or names.
    """

    kochava_app_id: Text
    device_id: Identities
    data: Identities


class DataSubjectDevice(TypedDict):
    """A device of a data subject request.

    Attributes:
        id_type: The kind of the id: idfa, idfv, adid, android_id.
        id_value: The id.
    """

    id_type: Text
    id_value: Text


DataSubjectDevices = Annotated[
    list[DataSubjectDevice], Shape("a list that is not empty", {"minItems": 1})
]


class KochavaDataSubjectRequest(TypedDict):
    """A request to delete what Kochava knows of devices. Kochava, *Data Subject Request*.

    Attributes:
        device_ids: The devices.
    """

    device_ids: DataSubjectDevices


KochavaTrackPayload = KochavaEvent | KochavaInstall | KochavaIdfaUpdate
"""Those of `/track/json`; `action` tells them apart."""

KochavaPayload = KochavaTrackPayload | KochavaIdentityLink | KochavaDataSubjectRequest
"""Any of them."""
