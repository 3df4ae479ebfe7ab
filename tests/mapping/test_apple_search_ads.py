"""Apple Search Ads: towards Segment, and from Segment to Kochava."""

import pytest

from kochava_segment import InvalidEventPayload, KochavaDestination
from tests.messages import MISSING, ios

destination = KochavaDestination("koapp")

IAD = {
    "iad-attribution": "true",
    "iad-campaign-name": "Spring",
    "iad-campaign-id": "1",
    "iad-keyword": "ski",
    "iad-org-name": "Org",
    "iad-adgroup-name": "Group",
    "iad-adgroup-id": "2",
    "iad-click-date": "2026-03-19T10:00:00Z",
    "iad-conversion-date": "2026-03-20T10:00:00Z",
}
# What the middleware makes of it, beside provider and source.
CAMPAIGN = {
    "name": "Spring",
    "id": "1",
    "content": "ski",
    "ad_creative": "Org",
    "ad_group": "Group",
    "ad_group_id": "2",
    "click_date": "2026-03-19T10:00:00Z",
    "conversion_date": "2026-03-20T10:00:00Z",
}
DATES = ("click_date", "conversion_date")


# Towards Segment


@pytest.mark.parametrize("wrapped", [IAD, {"Version3.1": IAD}, {"version3.1": IAD}])
def test_iad_gives_the_middleware_s_campaign(wrapped):
    context = destination.apple_search_ads_context(wrapped)
    assert context == {"campaign": {"provider": "Apple", "source": "iAd", **CAMPAIGN}}


def test_other_iad_keys_have_no_place():
    context = destination.apple_search_ads_context({**IAD, "iad-lineitem-id": "9"})
    assert context["campaign"].keys() == {"provider", "source", *CAMPAIGN}


def test_the_last_of_several_versions_counts():
    old = {"iad-campaign-id": "old"}
    for attribution in (
        {"Version3": old, "Version3.1": IAD},
        {"Version3.1": IAD, "Version3": old},
    ):
        assert destination.apple_search_ads_context(attribution)["campaign"]["id"] == "1"


AD_SERVICES = {
    "attribution": True,
    "orgId": 40669820,
    "campaignId": 542370539,
    "conversionType": "Download",
    "clickDate": "2026-03-19T10:00Z",
    "adGroupId": 542317095,
    "countryOrRegion": "US",
    "keywordId": 87675432,
    "creativeSetId": 542317136,
}


def test_ad_services_gives_text():
    assert destination.apple_search_ads_context(AD_SERVICES) == {
        "campaign": {
            "provider": "Apple",
            "source": "AdServices",
            "id": "542370539",
            "ad_group_id": "542317095",
            "click_date": "2026-03-19T10:00Z",
            "keyword_id": "87675432",
            "creative_set_id": "542317136",
            "org_id": "40669820",
            "country_or_region": "US",
            "conversion_type": "Download",
        }
    }


@pytest.mark.parametrize(
    ("changes", "creative_set"),
    [
        ({"adId": 5}, "542317136"),
        ({"creativeSetId": MISSING, "adId": 5}, "5"),
        ({"creativeSetId": None, "adId": 5.0}, "5"),
        ({"creativeSetId": "unknown", "adId": 5}, "5"),
    ],
)
def test_ad_id_stands_in_for_the_creative_set(changes, creative_set):
    attribution = {**AD_SERVICES, **changes}
    attribution = {key: value for key, value in attribution.items() if value is not MISSING}
    campaign = destination.apple_search_ads_context(attribution)["campaign"]
    assert campaign["creative_set_id"] == creative_set


@pytest.mark.parametrize("value", ["unknown", "Unknown", "", "  ", None])
def test_values_that_are_none_are_left_out(value):
    context = destination.apple_search_ads_context({**IAD, "iad-keyword": value})
    assert "content" not in context["campaign"]
    context = destination.apple_search_ads_context({**AD_SERVICES, "clickDate": value})
    assert "click_date" not in context["campaign"]


@pytest.mark.parametrize(
    "attribution",
    [
        {},
        {**IAD, "iad-attribution": "false"},
        {**IAD, "iad-attribution": "FALSE"},
        {**IAD, "iad-attribution": False},
        {"Version3.1": {**IAD, "iad-attribution": "0"}},
        dict.fromkeys(IAD, "unknown"),
        {"iad-attribution": "true"},
        {**AD_SERVICES, "attribution": False},
        {**AD_SERVICES, "attribution": 0},
        {"attribution": True},
    ],
)
def test_without_attribution_there_is_no_campaign(attribution):
    assert destination.apple_search_ads_context(attribution) == {}


def test_without_the_flag_known_values_speak_for_themselves():
    for attribution in ({"iad-campaign-id": "1"}, {"campaignId": 1}):
        assert destination.apple_search_ads_context(attribution)["campaign"]["id"] == "1"


@pytest.mark.parametrize(
    ("attribution", "path"),
    [
        (None, "attribution"),
        ([], "attribution"),
        ({"Version3.1": None}, "attribution.[…]"),
        ({"Version3": []}, "attribution.Version3"),
        ({"iad-keyword": ["a"]}, "attribution.iad-keyword"),
        ({"iad-keyword": "\ud800"}, "attribution.iad-keyword"),
        ({"campaignId": float("nan")}, "attribution.campaignId"),
        ({"campaignId": 10**400}, "attribution.campaignId"),
        ({"attribution": {}, "campaignId": 1}, "attribution.attribution"),
    ],
)
def test_what_is_no_attribution(attribution, path):
    with pytest.raises(InvalidEventPayload) as caught:
        destination.apple_search_ads_context(attribution)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert caught.value.problems[0].detail.startswith("must be")


def test_booleans_are_text():
    context = destination.apple_search_ads_context({**IAD, "iad-keyword": True})
    assert context["campaign"]["content"] == "true"


def test_all_problems_of_an_attribution_are_told():
    with pytest.raises(InvalidEventPayload) as caught:
        destination.apple_search_ads_context({"campaignId": [], "adGroupId": {}})
    assert len(caught.value.problems) == 2


# To Kochava


def details_of(data):
    return data.get("iad_attribution_details")


def without(campaign, *keys):
    return {key: value for key, value in campaign.items() if key not in keys}


def placed(version, campaign, event="Application Installed", provider="Apple", source="iAd"):
    """An install with the campaign where that version of the middleware puts it."""
    if version == 3:
        whole = {"provider": provider, "source": source, **campaign}
        return ios(event=event, properties={}, context__campaign=whole)
    return ios(
        event=event,
        properties={
            "provider": provider,
            "campaign": {"source": source, **without(campaign, *DATES)},
            **{date: campaign[date] for date in DATES if date in campaign},
        },
    )


@pytest.mark.parametrize(
    ("version", "event"),
    [
        (3, "Application Installed"),
        (3, "Order Completed"),
        (2, "Application Installed"),
        (1, "Install Attributed"),
    ],
)
def test_every_version_of_the_middleware_is_read(data_of, version, event):
    data = data_of(placed(version, CAMPAIGN, event))
    assert details_of(data) == {"Version3.1": IAD}


def test_there_and_back_again(data_of):
    context = destination.apple_search_ads_context(IAD)
    assert details_of(data_of(ios(context__campaign=context["campaign"]))) == {"Version3.1": IAD}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("provider", "source", "sent"),
    [
        ("apple", " IAD ", True),
        ("Apple", "AdServices", False),
        ("Kochava", "iAd", False),
        (None, "iAd", False),
        ("Apple", None, False),
        ("Apple", ["iAd"], False),
    ],
)
def test_only_apple_s_iad_is_meant(data_of, version, provider, source, sent):
    message = placed(version, CAMPAIGN, "Level Up", provider, source)
    assert (details_of(data_of(message)) is not None) is sent


@pytest.mark.parametrize("version", [2, 3])
def test_unknown_values_are_left_out(data_of, version):
    campaign = {**dict.fromkeys(CAMPAIGN, "unknown"), "id": 1, "content": "", "ad_group": None}
    assert details_of(data_of(placed(version, campaign))) == {
        "Version3.1": {"iad-attribution": "true", "iad-campaign-id": "1"}
    }


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("value", ["unknown", "UNKNOWN ", "", None])
def test_an_organic_install_has_no_attribution(data_of, version, value):
    assert details_of(data_of(placed(version, dict.fromkeys(CAMPAIGN, value)))) is None


def test_dates_inside_the_campaign_win_over_those_outside(data_of):
    message = placed(2, CAMPAIGN)
    message["properties"]["campaign"]["click_date"] = "inside"
    details = details_of(data_of(message))["Version3.1"]
    assert details["iad-click-date"] == "inside"
    assert details["iad-conversion-date"] == CAMPAIGN["conversion_date"]


@pytest.mark.parametrize("campaign", ["spring", 5, ["a"], {}, None])
def test_campaigns_of_other_senders_may_be_anything(map_with, campaign):
    request = map_with(ios(context__campaign=campaign))
    assert details_of(request.payload["data"]) is None
    assert request.warnings == ()
    map_with(ios(properties={"provider": "Apple", "campaign": campaign}))


def test_an_iad_value_of_a_wrong_type_names_its_path(map_with):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(placed(3, {"name": ["a"]}))
    assert [problem.path for problem in caught.value.problems] == ["context.campaign.name"]


def test_ad_services_campaigns_have_no_place_at_kochava(data_of):
    campaign = destination.apple_search_ads_context(AD_SERVICES)["campaign"]
    assert details_of(data_of(ios(context__campaign=campaign))) is None
