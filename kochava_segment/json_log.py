"""Log records as lines of JSON, with the standard library alone."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

from kochava_segment.log_events import PREFIX


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON.

        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())

    A line has `time` (ISO 8601, UTC), `level`, `logger`, `message`, this package's fields
    (docs/observability.md), and `exception` where there is a traceback. Other attributes of records
    are left out: who knows what other libraries put there.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name.startswith(PREFIX)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
