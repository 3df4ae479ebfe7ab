"""The JSON Schema of Kochava's payloads, the types that it is written from, and the mapping agree."""

import importlib.util
import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from typing_extensions import get_type_hints, is_typeddict

import kochava_segment
from kochava_segment import KochavaDestination, KochavaSegmentError
from kochava_segment.mapping.deletion import data_subject_request
from kochava_segment.mapping.device import CIRCUMSTANCES, DEVICE_AND_TIME
from kochava_segment.mapping.identifiers import Device
from kochava_segment.mapping.standard_events import RESERVED_KEYS
from kochava_segment.options import Options
from kochava_segment.schema import SCHEMA_FILE, payload_schema
from kochava_segment.types import payloads
from tests import strategies as some
from tests.long import many
from tests.messages import IDFA, IDFV, changed, ios

ROOT = Path(__file__).parents[1]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "mapping.json").read_text(encoding="utf-8"))
SCHEMA = payload_schema()
TYPES = {
    name: kind
    for name, kind in vars(payloads).items()
    if is_typeddict(kind) and not name.startswith("_")
}
KIND_OF = {
    "event": "KochavaEvent",
    "install": "KochavaInstall",
    "update": "KochavaIdfaUpdate",
    "identity_link": "KochavaIdentityLink",
}


def errors_of(payload, definition):
    """What a validator that knows all of JSON Schema has to say, formats included."""
    schema = {"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]}
    checker = Draft202012Validator.FORMAT_CHECKER
    errors = Draft202012Validator(schema, format_checker=checker).iter_errors(payload)
    return [error.json_path for error in errors]


def is_as_the_schema_says(request):
    return errors_of(request.payload, KIND_OF[request.action]) == []


def test_the_file_is_what_the_types_say():
    spec = importlib.util.spec_from_file_location("schema", ROOT / "docs" / "schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file = Path(kochava_segment.__file__).with_name(SCHEMA_FILE)
    stale = file.read_text(encoding="utf-8") != module.text()
    assert not stale, f"{SCHEMA_FILE} is stale: run python docs/schema.py"


def test_it_is_a_schema_of_the_draft_that_it_names():
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(SCHEMA)


def test_it_is_read_anew_so_that_nobody_changes_it_for_others():
    payload_schema()["$defs"].clear()
    assert payload_schema() == SCHEMA


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_type_and_its_definition_have_the_same_keys(name):
    definition = SCHEMA["$defs"][name]
    assert set(definition["properties"]) == set(get_type_hints(TYPES[name]))
    assert set(definition["required"]) == TYPES[name].__required_keys__
    assert definition["additionalProperties"] is False


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_field_is_described(name):
    if name != "IadAttributionDetails":  # it has one field, whose name no class could have
        assert all("description" in f for f in SCHEMA["$defs"][name]["properties"].values())


def test_the_schema_has_each_payload_and_nothing_that_is_no_type():
    told = [one["$ref"].rpartition("/")[2] for one in SCHEMA["anyOf"]]
    assert told == [kind.__name__ for kind in get_args(payloads.KochavaPayload)]
    assert {n for n, one in SCHEMA["$defs"].items() if "properties" in one} == set(TYPES)


def test_the_mapping_s_table_and_the_type_have_the_same_fields_of_the_device():
    fields = {field.key for field in (*DEVICE_AND_TIME, *CIRCUMSTANCES)}
    assert fields == set(payloads.DeviceData.__annotations__)


def test_the_mapping_s_table_and_the_schema_reserve_the_same_names():
    reserved = SCHEMA["$defs"]["EventProperties"]["propertyNames"]["not"]["enum"]
    assert set(reserved) == RESERVED_KEYS
    assert reserved == sorted(reserved)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if "request" in vector["expect"]],
    ids=lambda vector: vector["name"],
)
def test_every_vector_s_request_is_valid(vector):
    with KochavaDestination(**vector["options"]) as destination:
        assert is_as_the_schema_says(destination.map(vector["message"]))


@pytest.mark.parametrize(
    "examples", [200, pytest.param(many(10_000), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_whatever_the_mapping_makes_is_valid(examples):
    seen = set()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples < 1000,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(message=some.messages, options=some.options | some.signed_options)
    def holds(message, options):
        with KochavaDestination("koapp", **options) as destination:
            for make in (destination.map, destination.idfa_update):
                try:
                    request = make(message)
                except KochavaSegmentError:
                    continue
                seen.add(request.action)
                assert is_as_the_schema_says(request)

    holds()
    assert seen == set(KIND_OF)


def test_what_is_sent_to_delete_a_device_is_valid():
    options = Options.load({"app_guid": "koapp", "account_id": "7", "account_key": "k"})
    ids = {"idfa": IDFA, "idfv": IDFV, "adid": ""}
    device = Device(platform="apple", app_guid="koapp", kochava_device_id=IDFV, device_ids=ids)
    request = data_subject_request(device, options, "m-1")
    assert errors_of(request.payload, "KochavaDataSubjectRequest") == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"action": "purchase"}, "$.action"),
        ({"data__usertime": 1774029981000}, "$.data.usertime"),
        ({"data__currency": "EUR\n"}, "$.data.currency"),
        ({"data__currency": "eur"}, "$.data.currency"),
        ({"data__origination_ip": "here"}, "$.data.origination_ip"),
        ({"data__event_name": " "}, "$.data.event_name"),
        ({"data__event_data__source": "x"}, "$.data.event_data"),
        ({"data__price": 1}, "$.data"),
        ({"data__app_tracking_transparency": {}}, "$.data.app_tracking_transparency"),
        ({"data__gdpr_privacy_consent": {"gdpr_applies": True}},
         "$.data.gdpr_privacy_consent.gdpr_applies"),
    ],
)  # fmt: skip
def test_what_kochava_could_not_take_is_not_valid(change, path):
    payload = KochavaDestination("koapp").map(ios(properties={"price": 1})).payload
    assert errors_of(payload, "KochavaEvent") == []
    assert errors_of(changed(payload, **change), "KochavaEvent") == [path]
