"""Paths into a message, such as `context.device.id`, for errors and warnings."""

from __future__ import annotations

import re
from functools import reduce

Where = tuple[object, ...]
"""The names and indexes that lead to a value: `("properties", "products", 0, "sku")`."""

# A key can itself be personal data (`properties["x@example.com"]`), or endless. It is not shown then.
_PLAIN_KEY = re.compile(r"[\w $-]{1,64}")
_HIDDEN = "[…]"


def path_of(where: Where) -> str:
    """The path that leads to a value. Costly beside the mapping, so made only where it is told."""
    return reduce(join, where, "")


def join(path: str, key: object) -> str:
    """The path of `key` inside `path`: of a name in an object, or of an index in a list."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else _HIDDEN
    return f"{path}.{name}" if path else name
