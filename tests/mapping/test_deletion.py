"""Data subject requests: what is to be deleted, where."""

import pytest

from kochava_segment.mapping.deletion import data_subject_request, path_of
from kochava_segment.mapping.identifiers import Device
from kochava_segment.options import Options
from tests.messages import ADID

ACCOUNT = {"account_id": "77", "account_key": "example-key"}


def phone(**changes):
    fields = {
        "platform": "android",
        "app_guid": "koapp",
        "kochava_device_id": "k-1",
        "device_ids": {"adid": ADID, "android_id": ""},
        **changes,
    }
    return Device(**fields)


@pytest.mark.parametrize(
    ("apps", "path"),
    [
        ({"koapp": "9"}, "/accounts/77/apps/9/privacy/scrub"),
        ({"koother": "9"}, "/accounts/77/privacy/scrub"),
        ({}, "/accounts/77/privacy/scrub"),
    ],
)
def test_the_known_device_ids_are_to_be_deleted(apps, path):
    options = Options.load({**ACCOUNT, "account_app_ids": apps})
    request = data_subject_request(phone(), options, "m-1")
    assert request.url == options.privacy_endpoint + path
    assert request.payload == {"device_ids": [{"id_type": "adid", "id_value": ADID}]}
    assert request.headers == {}
    assert path_of(request.url) == path
    assert (request.action, request.message_id) == ("deletion", "m-1")
    assert request.ordering_key == "account 77/koapp/k-1"
    assert "example-key" not in repr(request)


def test_without_an_account_or_a_device_there_is_nothing_to_ask():
    assert data_subject_request(phone(), Options.load({}), None) is None
    nobody = phone(device_ids={"adid": ""})
    assert data_subject_request(nobody, Options.load(ACCOUNT), None) is None
