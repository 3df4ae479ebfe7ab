"""How names are compared, and which names and values are personal data."""

from __future__ import annotations

import re
from functools import lru_cache

_SEPARATORS = re.compile(r"[\s_.-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

# RFC 5321: 64 characters before the @, 255 after it.
_LONGEST_EMAIL = 320
_LONGEST_CACHED = 200

# Segment's reserved traits that name a person, and the spellings in use, without case and separators.
_PERSONAL_TRAITS = frozenset(
    {
        "address",
        "birthdate",
        "birthday",
        "dateofbirth",
        "email",
        "emailaddress",
        "firstname",
        "fullname",
        "lastname",
        "name",
        "phone",
        "phonenumber",
    }
)


def fold_name(name: str) -> str:
    """An event name as it is compared: trimmed, without case, runs of white space as one."""
    # Names come from strangers: thousands of endless ones must not stay in memory.
    return (
        _folded_event(name) if len(name) <= _LONGEST_CACHED else " ".join(name.split()).casefold()
    )


@lru_cache(maxsize=4096)
def _folded_event(name: str) -> str:
    return " ".join(name.split()).casefold()


def is_personal_trait(name: str) -> bool:
    """Whether a trait of this name describes a person: e-mail, phone, name, address or birthday."""
    return len(name) <= _LONGEST_CACHED and _is_personal(name)


def is_personal_property(name: str) -> bool:
    """The same for event properties, where `name` is the name of a product or a screen."""
    return len(name) <= _LONGEST_CACHED and _is_personal(name) and _folded(name) != "name"


@lru_cache(maxsize=4096)
def _is_personal(name: str) -> bool:
    return _folded(name) in _PERSONAL_TRAITS


def _folded(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()


def looks_like_email(value: str) -> bool:
    """Whether the whole value is an e-mail address, white space around it aside."""
    if "@" not in value:
        return False
    text = value.strip()
    # The pattern takes quadratic time on what almost matches, so the length comes first.
    return len(text) <= _LONGEST_EMAIL and _EMAIL.fullmatch(text) is not None
