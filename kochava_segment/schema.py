"""The JSON Schema of Kochava's payloads, which the package ships for tools in any language."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

SCHEMA_FILE = "kochava.schema.json"
"""Its name in the package: `importlib.resources.files("kochava_segment") / SCHEMA_FILE`."""


def payload_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, as a new dict at each call.

    Any of Kochava's payloads is valid by the whole of it, each kind by its definition, such as
    `#/$defs/KochavaEvent`. It says what Kochava's articles and other senders show; Kochava publishes
    no schema of its own. The emulator judges by it.
    """
    schema: dict[str, Any] = json.loads((files("kochava_segment") / SCHEMA_FILE).read_text("utf-8"))
    return schema
