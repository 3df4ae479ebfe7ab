"""Serves the application with uvicorn: bound, announced, and ended without losing anything."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from starlette.applications import Starlette

from kochava_segment.delivery.prometheus import PrometheusHook
from kochava_segment.server.http_protocol import PatientProtocol

IDLE_TIMEOUT = 75
"""Seconds that a connection may be idle between requests: longer than load balancers keep theirs."""

_MOST_AT_ONCE = 1_000  # connections; the rest is answered 503
_LAST_ANSWERS = 15  # seconds for what is being answered when a signal comes


def prometheus_hook() -> PrometheusHook:
    """A hook with a registry of its own, in which the process's own metrics are as well."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return PrometheusHook(registry)


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that it is known which port was free.

    Raises:
        OSError: if it cannot be bound.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket, host: str) -> str:
    """The URL under which a bound socket is reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"


def serve(app: Starlette, bound: socket.socket, on_listening: Callable[[], object]) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is being answered.

    Args:
        app: What is served.
        bound: The socket.
        on_listening: Is called once requests are answered.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_keep_alive=IDLE_TIMEOUT,
            timeout_graceful_shutdown=_LAST_ANSWERS,
        ),
        on_listening,
    )
    # uvicorn raises the signal anew when it has ended; it must not end what comes after.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_listening()
