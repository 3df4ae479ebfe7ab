import pytest

from kochava_segment import InvalidEventPayload, KochavaDestination
from kochava_segment.errors import EventNotSupported

destination = KochavaDestination("koapp")


def test_a_postback_becomes_install_attributed():
    message = destination.install_attribution(
        {
            "network_name": "Net",
            "campaign_name": "{campaign_name}",
            "campaign_id": "7",
            "IDFA": ["X", "Y"],
            "kochava_device_id": "k1",
            "install_date": "1774030016",
            "ip": "203.0.113.7",
        }
    )
    assert message.pop("messageId").startswith("kochava-")
    assert message == {
        "type": "track",
        "event": "Install Attributed",
        "anonymousId": "k1",
        "timestamp": "2026-03-20T18:06:56Z",
        "properties": {
            "provider": "Kochava",
            "campaign": {"source": "Net", "name": "7", "id": "7"},
        },
        "context": {
            "device": {"id": "k1", "advertisingId": "X", "type": "ios"},
            "ip": "203.0.113.7",
        },
        "integrations": {"Kochava": False},
    }


def test_repeated_postbacks_have_one_message_id():
    first = destination.install_attribution([("adid", "A"), ("network_name", "organic")])
    again = destination.install_attribution({"NETWORK_NAME": "organic", "adid": "A"})
    assert first == again
    assert first["properties"]["campaign"] == {"source": "Organic"}


def test_postbacks_without_anybody_and_of_other_events():
    with pytest.raises(InvalidEventPayload):
        destination.install_attribution({"network_name": "Net"})
    with pytest.raises(EventNotSupported):
        destination.install_attribution({"event_name": "Purchase", "adid": "A"})


@pytest.mark.parametrize(
    ("attribution", "context"),
    [
        (
            {
                "Version3.1": {
                    "iad-attribution": "true",
                    "iad-campaign-id": "1",
                    "iad-keyword": "unknown",
                }
            },
            {"campaign": {"provider": "Apple", "source": "iAd", "id": "1"}},
        ),
        (
            {"attribution": True, "orgId": 4, "campaignId": 5},
            {"campaign": {"provider": "Apple", "source": "AdServices", "id": "5", "org_id": "4"}},
        ),
        ({"attribution": False, "orgId": 4}, {}),
        ({"iad-attribution": "false", "iad-campaign-id": "1"}, {}),
    ],
)
def test_apple_search_ads(attribution, context):
    assert destination.apple_search_ads_context(attribution) == context
