"""The receiver and the console, as a Starlette application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kochava_segment.server.app import create_app

__all__ = ["create_app"]

_NEEDS = {"starlette", "uvicorn", "httptools", "jinja2", "prometheus_client"}


def __getattr__(name: str) -> Any:
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from kochava_segment.server.app import create_app  # noqa: PLC0415  # it needs the extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDS:
            raise
        detail = "the receiver needs an extra: pip install 'kochava-segment[server]'"
        raise ModuleNotFoundError(detail, name=error.name) from None
    return create_app
