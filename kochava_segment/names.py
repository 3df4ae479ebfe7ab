"""How names are compared, and which names and values are personal data."""

from __future__ import annotations

import re
from functools import lru_cache

_SEPARATORS = re.compile(r"[\s_.-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

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


@lru_cache(maxsize=4096)
def fold_name(name: str) -> str:
    """An event name as it is compared: trimmed, without case, runs of white space as one."""
    return " ".join(name.split()).casefold()


@lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()


def is_personal_trait(name: str) -> bool:
    """Whether a trait of this name describes a person: e-mail, phone, name, address or birthday."""
    return _folded(name) in _PERSONAL_TRAITS


def is_personal_property(name: str) -> bool:
    """The same for event properties, where `name` is the name of a product or a screen."""
    folded = _folded(name)
    return folded in _PERSONAL_TRAITS and folded != "name"


def looks_like_email(value: str) -> bool:
    """Whether the whole value is an e-mail address, white space around it aside."""
    return "@" in value and _EMAIL.fullmatch(value.strip()) is not None
