"""The console's pages by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from kochava_segment.destination import KochavaDestination
from kochava_segment.server.console.delivery import DeliveryPage
from kochava_segment.server.console.devices import DevicesPage
from kochava_segment.server.console.failures import FailuresPage
from kochava_segment.server.console.guard import AsyncEndpoint, Endpoint, Guard, not_found
from kochava_segment.server.console.history import DeliveryHistory
from kochava_segment.server.console.pages import Pages
from kochava_segment.server.console.tester import TesterPage
from kochava_segment.server.status import CountedStatus


def console(
    destination: KochavaDestination, status: CountedStatus, history: DeliveryHistory, token: str
) -> Mount:
    """The console, to be mounted at `/console`.

    Args:
        destination: Whose it is.
        status: Counts what its outbox holds.
        history: What the process remembers.
        token: What people log in with.
    """
    options = destination.options
    pages = Pages(devices=options.devices, endpoint=options.endpoint)
    guard = Guard(token, pages)
    tester = TesterPage(destination)
    delivery = DeliveryPage(destination, status, history)
    failures = FailuresPage(destination, history)
    shown: list[tuple[str, str, Endpoint]] = [
        ("GET", "/tester", tester.show),
        ("POST", "/tester", tester.map),
        ("POST", "/tester/emulator", tester.send_to_emulator),
        ("POST", "/tester/confirm", tester.confirm),
        ("POST", "/tester/send", tester.send),
        ("GET", "/delivery", delivery.show),
        ("GET", "/failures", failures.show),
        ("GET", "/failures/confirm", failures.confirm),
        ("POST", "/failures/retry", failures.retry),
        ("POST", "/failures/discard", failures.discard),
        ("GET", "/failures/export", failures.export),
        ("POST", "/failures/export", failures.export_revealed),
        ("GET", "/failures/{id:int}", failures.show_one),
        ("POST", "/failures/{id:int}", failures.reveal_one),
        ("POST", "/logout", guard.log_out),
        ("GET", "/help", lambda visit: visit.page("help.html", here="help")),
    ]
    if options.devices:
        devices = DevicesPage(destination)
        shown += [
            ("GET", "/devices", devices.show),
            ("POST", "/devices", devices.look_up),
            ("POST", "/devices/confirm", devices.confirm),
            ("POST", "/devices/forget", devices.forget),
        ]
    open_to_all: list[tuple[str, str, AsyncEndpoint]] = [
        ("GET", "/", _home),
        ("GET", "/login", guard.show_login),
        ("POST", "/login", guard.log_in),
        ("GET", "/static/{name}", pages.static),
    ]
    endpoints: dict[str, dict[str, AsyncEndpoint]] = {}
    for method, path, asked in open_to_all:
        endpoints.setdefault(path, {})[method] = guard.open(asked)
    for method, path, found in shown:
        endpoints.setdefault(path, {})[method] = guard.page(found)
    endpoints["/{path:path}"] = dict.fromkeys(("GET", "POST"), guard.open(not_found))
    return Mount(
        "/console",
        routes=[Route(path, _by_method(one), methods=list(one)) for path, one in endpoints.items()],
    )


def _by_method(endpoints: Mapping[str, AsyncEndpoint]) -> AsyncEndpoint:
    """One endpoint for a path, so that the answer to another method names all that there are."""

    async def answer(request: Request) -> Any:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return answer


async def _home(request: Request) -> Response:
    return RedirectResponse(f"{request.scope['root_path']}/tester", 303)
