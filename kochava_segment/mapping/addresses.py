"""IP addresses as messages and postbacks write them."""

from __future__ import annotations

import ipaddress
import re

# Nearly all addresses are written like these, and ipaddress takes ten times as long to say so. Of
# IPv6 without eight groups, these are only the ones with so few colons that no group is too many.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = "[0-9a-fA-F]{1,4}"
_GROUPS = f"(?:{_GROUP}(?::{_GROUP})*)?"
_MOST_COLONS = 7
_USUAL = re.compile(
    rf"{_OCTET}(?:\.{_OCTET}){{3}}|{_GROUPS}::{_GROUPS}|{_GROUP}(?::{_GROUP}){{{_MOST_COLONS}}}"
)


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    if text.count(":") <= _MOST_COLONS and _USUAL.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone, which means something on one machine alone
