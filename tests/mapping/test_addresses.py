import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochava_segment.mapping.addresses import is_address


@given(st.ip_addresses().map(str))
def test_every_address_is_one(text):
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "here",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4/8",
        "::g",
        "fe80::1%eth0",
    ],
)
def test_other_text_is_none(text):
    assert not is_address(text)


@given(st.from_regex(r"\A[0-9.]{1,20}\Z"))
def test_the_quick_way_says_what_the_standard_library_says(text):
    try:
        expected = bool(ipaddress.ip_address(text))
    except ValueError:
        expected = False
    assert is_address(text) is expected
