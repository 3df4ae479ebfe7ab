"""Apple Search Ads: iAd and AdServices attribution into Segment's context, and iAd on to Kochava.

The keys on Segment's side are those of its middleware, analytics-ios-iads-attribution 3.x; those on
Kochava's side are Apple's own. docs/mapping.md, sections 3 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kochava_segment.errors import InvalidEventPayload, Problem
from kochava_segment.mapping.message import Message, Section, is_unicode
from kochava_segment.mapping.numbers import decimal_text, is_finite
from kochava_segment.mapping.paths import join

IAD_VERSION = "Version3.1"

# Segment's campaign key, Apple's iAd key.
_IAD_KEYS = {
    "name": "iad-campaign-name",
    "id": "iad-campaign-id",
    "content": "iad-keyword",
    "ad_creative": "iad-org-name",
    "ad_group": "iad-adgroup-name",
    "ad_group_id": "iad-adgroup-id",
    "click_date": "iad-click-date",
    "conversion_date": "iad-conversion-date",
}

# Segment's campaign key, AdServices' keys, of which the first with a value counts.
_AD_SERVICES_KEYS = {
    "id": ("campaignId",),
    "ad_group_id": ("adGroupId",),
    "click_date": ("clickDate",),
    "keyword_id": ("keywordId",),
    "creative_set_id": ("creativeSetId", "adId"),
    "org_id": ("orgId",),
    "country_or_region": ("countryOrRegion",),
    "conversion_type": ("conversionType",),
}


def apple_search_ads_context(attribution: Mapping[str, Any]) -> dict[str, Any]:
    """See `KochavaDestination.apple_search_ads_context`."""
    if not isinstance(attribution, Mapping):
        raise InvalidEventPayload(
            [Problem("attribution", "must be an object, as Apple answers it")]
        )
    problems: list[Problem] = []
    versions = sorted(key for key in attribution if _starts_with(key, "version"))
    if versions:
        version = versions[-1]
        details = attribution[version]
        if not isinstance(details, Mapping):
            path = join("attribution", version)
            raise InvalidEventPayload([Problem(path, "must be an object of iad- keys")])
        attribution = details
    if any(_starts_with(key, "iad-") for key in attribution):
        source, flag = "iAd", "iad-attribution"
        keys: Mapping[str, tuple[str, ...]] = {
            key: (iad_key,) for key, iad_key in _IAD_KEYS.items()
        }
    else:
        source, flag, keys = "AdServices", "attribution", _AD_SERVICES_KEYS
    campaign: dict[str, str] = {}
    for key, apple_keys in keys.items():
        values = (_known_text(attribution, apple_key, problems) for apple_key in apple_keys)
        value = next((value for value in values if value is not None), None)
        if value is not None:
            campaign[key] = value
    attributed = _known_text(attribution, flag, problems)
    if problems:
        raise InvalidEventPayload(problems)
    # The middleware never checks the flag; where it is missing, known values speak for themselves.
    if not campaign or (attributed or "true").casefold() in {"false", "0"}:
        return {}
    return {"campaign": {"provider": "Apple", "source": source, **campaign}}


def _starts_with(key: object, start: str) -> bool:
    return isinstance(key, str) and key.casefold().startswith(start)


def _known_text(values: Mapping[str, Any], key: str, problems: list[Problem]) -> str | None:
    """The value at `key` as text; None where it is missing, empty or "unknown"."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and is_finite(value):
        return decimal_text(value)
    if not isinstance(value, str) or not is_unicode(value):
        detail = "must be a string of valid Unicode, a finite number or a boolean"
        problems.append(Problem(join("attribution", key), detail))
        return None
    text = value.strip()
    return None if text.casefold() in {"", "unknown"} else text


def iad_attribution_details(message: Message) -> dict[str, Any] | None:
    """What Kochava's `iad_attribution_details` is for a message, None where it has nothing for it."""
    if not (message.context.values.get("campaign") or message.properties.values.get("campaign")):
        return None  # as nearly all messages
    campaign, dates = _middleware_campaign(message)
    if campaign is None:
        return None
    details: dict[str, str] = {}
    for key, iad_key in _IAD_KEYS.items():
        section = dates if key.endswith("_date") and campaign.get(key) is None else campaign
        value = section.word(key)
        if value is not None and value.strip().casefold() != "unknown":
            details[iad_key] = value
    if not details:
        return None
    return {IAD_VERSION: {"iad-attribution": "true", **details}}


def _middleware_campaign(message: Message) -> tuple[Section | None, Section]:
    """The middleware's campaign, and the section that holds its dates in versions before 3."""
    for holder in (message.context, message.properties):
        # Other senders' campaigns may be anything, also no object.
        campaign_values = holder.values.get("campaign")
        if not campaign_values or not isinstance(campaign_values, (dict, Mapping)):
            continue
        campaign = holder.section("campaign")
        provider_and_dates = campaign if holder is message.context else holder
        if _says(provider_and_dates, "provider", "apple") and _says(campaign, "source", "iad"):
            return campaign, provider_and_dates
    return None, message.properties


def _says(section: Section, key: str, word: str) -> bool:
    value = section.get(key)
    return isinstance(value, str) and value.strip().casefold() == word
