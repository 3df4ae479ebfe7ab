"""Segment's messages, as far as this library reads them or every library sends them.

Segment, *Spec: Common Fields* and the specs of the calls. Numbers and booleans that arrive as text are
read as well: the types say what to write, not all that is understood.
"""

# Annotations are evaluated here: as text they do not tell TypedDict which keys are required.

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from typing_extensions import Required, TypedDict

from kochava_segment.types.payloads import GdprPrivacyConsent

Timestamp = str | datetime | int | float
"""ISO 8601 with any offset, UTC without one; a datetime likewise; or epoch seconds or milliseconds."""


class ContextApp(TypedDict, total=False):
    """The app. Segment, *Spec: Common Fields*.

    Attributes:
        name: Its name.
        version: Its version, which Kochava gets.
        build: The number of its build.
        namespace: Its bundle or package id, by which the option `app_guids` may choose an App GUID.
    """

    name: str
    version: str
    build: str
    namespace: str


class ContextDevice(TypedDict, total=False):
    """The device. Segment, *Spec: Common Fields*, and the sources of its mobile libraries.

    Attributes:
        id: The IDFV on Apple devices; on Android what the library made up.
        advertisingId: The IDFA or the Google advertising id.
        advertising_id: The same, as the Kochava page of Segment's docs writes it.
        idfa: The same, as older libraries write it.
        adTrackingEnabled: Whether the user lets ads be tracked.
        trackingStatus: Apple's answer: authorized, denied, restricted, notDetermined.
        attTrackingStatus: The same as Apple's number: 3 authorised, 2 denied, 1 restricted, 0 not
            determined.
        type: `ios` or `android`.
        manufacturer: Who made it.
        model: The name of its hardware, such as `iPhone16,2`.
        name: What its user calls it.
        token: Its push token.
        adServicesToken: The token of Apple's AdServices, on installs.
    """

    id: str | None
    advertisingId: str | None
    advertising_id: str | None
    idfa: str | None
    adTrackingEnabled: bool
    trackingStatus: str
    attTrackingStatus: int
    type: str
    manufacturer: str
    model: str
    name: str
    token: str
    adServicesToken: str


class ContextOS(TypedDict, total=False):
    """The operating system. Segment, *Spec: Common Fields*.

    Attributes:
        name: Its name, which tells the platform: iOS, iPadOS, tvOS, Android.
        version: Its version.
    """

    name: str
    version: str


class ContextCampaign(TypedDict, total=False):
    """What brought the user. Segment, *Spec: Common Fields*; for Apple Search Ads its iAd middleware.

    Attributes:
        source: Where from; `iAd` or `AdServices` for Apple Search Ads.
        medium: How.
        name: The campaign's name.
        term: What was searched for.
        content: Which advertisement; the keyword for Apple Search Ads.
        provider: Who said so; `Apple` for Apple Search Ads.
        id: The campaign's id.
        ad_creative: The creative; the organisation's name for Apple Search Ads.
        ad_group: The ad group's name.
        ad_group_id: The ad group's id.
        click_date: When the advertisement was clicked, ISO 8601.
        conversion_date: When the app was installed, ISO 8601.
        keyword_id: AdServices' keywordId.
        creative_set_id: AdServices' creativeSetId, or adId.
        org_id: AdServices' orgId.
        country_or_region: AdServices' countryOrRegion.
        conversion_type: AdServices' conversionType.
    """

    source: str
    medium: str
    name: str
    term: str
    content: str
    provider: str
    id: str
    ad_creative: str
    ad_group: str
    ad_group_id: str
    click_date: str
    conversion_date: str
    keyword_id: str
    creative_set_id: str
    org_id: str
    country_or_region: str
    conversion_type: str


class ContextConsent(TypedDict, total=False):
    """What the user agreed to. Segment, *Consent in Segment*.

    Attributes:
        categoryPreferences: Categories of your own, and whether the user agreed to each.
    """

    categoryPreferences: Mapping[str, bool]


class ContextPersonas(TypedDict, total=False):
    """Which audience or trait Engage computed. Segment, *Using Engage Data*.

    Attributes:
        computation_class: `audience`, `trait` or `journey_step`.
        computation_id: Its id.
        computation_key: Its name, by which its value stands in `traits` or `properties`.
        namespace: Where it was computed.
        space_id: The Engage space.
    """

    computation_class: str
    computation_id: str
    computation_key: str
    namespace: str
    space_id: str


class Context(TypedDict, total=False):
    """Where a message comes from. Segment, *Spec: Common Fields*.

    Attributes:
        active: Whether the user was there.
        app: The app.
        campaign: What brought the user.
        consent: What the user agreed to.
        device: The device.
        groupId: The user's group.
        ip: The IP address of the device. Server libraries leave it out: pass it on.
        library: The name and version of the library.
        locale: The language, such as `en-US`.
        network: The networks that the device is on.
        os: The operating system.
        page: The page of a browser.
        personas: What Engage computed.
        referrer: What led to the page or app.
        screen: Width, height and density of the screen.
        timezone: The time zone, such as `Europe/Berlin`.
        traits: What is known of the user.
        userAgent: The user agent of the device.
    """

    active: bool
    app: ContextApp
    campaign: ContextCampaign
    consent: ContextConsent
    device: ContextDevice
    groupId: str | None
    ip: str | None
    library: Mapping[str, Any]
    locale: str
    network: Mapping[str, Any]
    os: ContextOS
    page: Mapping[str, Any]
    personas: ContextPersonas
    referrer: Mapping[str, Any]
    screen: Mapping[str, Any]
    timezone: str
    traits: Mapping[str, Any]
    userAgent: str | None


class KochavaOptions(TypedDict, total=False):
    """`integrations.Kochava`: what the sender tells Kochava beside the message.

    Each name is read in camelCase as well. docs/mapping.md says what each does.

    Attributes:
        app_guid: The App GUID; it wins over all options.
        kochava_device_id: The app instance's name at Kochava.
        device_ids: Device ids by kind; they go over those that were found.
        att: Whether tracking is authorised.
        att_time: When the user answered, in epoch seconds.
        att_duration: How long the user took to answer, in seconds.
        att_detail: Anything more that the app knows of it.
        gdpr_privacy_consent: The user's consent, handed on as it is.
        ad_services_token: On installs: the token of Apple's AdServices.
    """

    app_guid: str
    kochava_device_id: str
    device_ids: Mapping[str, str]
    att: bool
    att_time: float
    att_duration: float
    att_detail: str
    gdpr_privacy_consent: GdprPrivacyConsent
    ad_services_token: str


class _Common(TypedDict, total=False):
    """What messages of every type have. Segment, *Spec: Common Fields*.

    Attributes:
        messageId: The message's own id, by which repeated ones are told.
        userId: The user, by an id of yours.
        anonymousId: The user before you know who it is.
        context: Where it comes from.
        integrations: Which destinations are to have it, `All` and others by name, with options.
        timestamp: When it happened.
        originalTimestamp: The same by the device's clock; read where `timestamp` is missing.
        sentAt: When the device sent it; read after that.
        receivedAt: When Segment received it; read last.
        request_ip: The IP address from which Segment received it; read where `context.ip` is missing.
        channel: `server`, `browser` or `mobile`.
        version: The version of Segment's API.
    """

    messageId: str
    userId: str | None
    anonymousId: str | None
    context: Context
    integrations: Mapping[str, bool | KochavaOptions | Mapping[str, Any]]
    timestamp: Timestamp
    originalTimestamp: Timestamp
    sentAt: Timestamp
    receivedAt: Timestamp
    request_ip: str
    channel: str
    version: str | int


class TrackMessage(_Common, total=False):
    """Something that a user did: it becomes an event or an install. Segment, *Spec: Track*.

    Attributes:
        type: `track`.
        event: What it was; `Application Installed` is the install.
        properties: What is told of it. Money is in units of `currency`, not in cents.
    """

    type: Required[Literal["track"]]
    event: Required[str]
    properties: Mapping[str, Any]


class IdentifyMessage(_Common, total=False):
    """Who a user is: it becomes an IdentityLink. Segment, *Spec: Identify*.

    Attributes:
        type: `identify`.
        traits: What is known of the user; what Engage computed is among it.
    """

    type: Required[Literal["identify"]]
    traits: Mapping[str, Any]


class _View(_Common, total=False):
    """A screen or page that was seen.

    Attributes:
        name: Its name.
        category: Its category.
        properties: What is told of it.
    """

    name: str | None
    category: str | None
    properties: Mapping[str, Any]


class ScreenMessage(_View):
    """A screen that was seen: an event where the option `screens` says so. Segment, *Spec: Screen*.

    Attributes:
        type: `screen`.
    """

    type: Literal["screen"]


class PageMessage(_View):
    """A page that was seen: as a screen. Segment, *Spec: Page*.

    Attributes:
        type: `page`.
    """

    type: Literal["page"]


SegmentMessage = TrackMessage | IdentifyMessage | ScreenMessage | PageMessage
"""Any of those that become something; `type` tells them apart."""
