import json
from pathlib import Path

import pytest

from kochava_segment import KochavaDestination, errors

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mapping.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector_holds(vector):
    expected = vector["expect"]
    with KochavaDestination(**vector["options"]) as destination:
        if "request" not in expected:
            kind = getattr(errors, expected.get("error", "EventFiltered"))
            with pytest.raises(kind) as caught:
                destination.map(vector["message"])
            if "filtered" in expected:
                assert caught.value.reason.value == expected["filtered"]
            return
        request = destination.map(vector["message"])
    assert request.url == expected["request"]["url"]
    assert request.headers == expected["request"]["headers"]
    assert request.payload == expected["request"]["body"]
    assert sorted(warning.code for warning in request.warnings) == sorted(expected["warnings"])
