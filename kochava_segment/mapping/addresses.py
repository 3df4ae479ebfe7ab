"""IP addresses as messages and postbacks write them."""

from __future__ import annotations

import ipaddress
import re

# Most addresses are these, and ipaddress is several times as slow to say so.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    if _IPV4.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
