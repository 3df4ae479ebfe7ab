"""Paths into a message, such as `context.device.id`, for errors and warnings."""

from __future__ import annotations

import re

# A key can itself be personal data (`properties["x@example.com"]`), or endless. It is not shown then.
_PLAIN_KEY = re.compile(r"[\w $-]{1,64}")
_HIDDEN = "[…]"


def join(path: str, key: object) -> str:
    """The path of `key` inside `path`: of a name in an object, or of an index in a list."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else _HIDDEN
    return f"{path}.{name}" if path else name
