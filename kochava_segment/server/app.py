"""The application: what answers at which path, and what begins and ends with it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.log_events import Throttle
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server.answers import Refusal, answer_failure, log_refusal
from kochava_segment.server.group_commit import GroupCommit
from kochava_segment.server.health import Health
from kochava_segment.server.metrics import Metrics
from kochava_segment.server.postback import PostbackReceiver
from kochava_segment.server.receiving import SegmentReceiver
from kochava_segment.server.status import CountedDepth, CountedStatus

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    destination: KochavaDestination,
    *,
    webhook_secret: str | None = None,
    bearer_token: str | None = None,
    postback_secret: str | None = None,
    tracking: SegmentTracking | None = None,
    console_token: str | None = None,
    ready_within: float = 900.0,
) -> Starlette:
    """The receiver as an ASGI application, to be served or to be mounted in another one.

    Its lifespan starts the relays of the destination and of `tracking`, and ends by storing what has
    come and stopping them. Mounted where no lifespan is run, the first message starts them.

    Args:
        destination: Where messages go; it has an outbox. The caller closes it.
        webhook_secret: The shared secret that Segment signs with.
        bearer_token: A token that senders may give in place of a signature, and that arrays need
            where a secret is set. Without secret and token, everybody can send but web pages.
        postback_secret: What stands in the URL of Kochava's install postback; None takes none.
        tracking: Takes install attributions to Segment. The caller closes it.
        console_token: The token with which people log in to the console; None leaves it out.
        ready_within: Seconds that a message may wait in the outbox before `/readyz` says no.

    Raises:
        ConfigurationError: if the destination has no outbox, or a secret is empty.
    """
    secrets = {
        "webhook_secret": webhook_secret,
        "bearer_token": bearer_token,
        "postback_secret": postback_secret,
        "console_token": console_token,
    }
    empty = [Problem(name, "is empty") for name, value in secrets.items() if value == ""]
    if empty:
        raise ConfigurationError(empty)
    depth = CountedDepth(destination.outbox)
    status = CountedStatus(destination.outbox)
    metrics = Metrics(destination, tracking, depth)
    commit = GroupCommit(destination.enqueue_many)
    segment = SegmentReceiver(
        commit, metrics, webhook_secret=webhook_secret, bearer_token=bearer_token
    )
    postbacks = PostbackReceiver(destination, tracking, metrics, secret=postback_secret)
    commits = [one for one in (commit, postbacks.commit) if one is not None]
    health = Health(destination, tracking, depth, ready_within=ready_within)
    endpoints: tuple[tuple[str, str, Endpoint, list[str]], ...] = (
        ("segment", "/segment", segment.receive, ["POST", "PUT", "PATCH"]),
        ("postback", "/kochava/postback/{secret}", postbacks.receive, ["GET", "POST"]),
        ("healthz", "/healthz", health.alive, ["GET"]),
        ("readyz", "/readyz", health.ready, ["GET"]),
        ("metrics", "/metrics", metrics.exposed, ["GET"]),
    )
    routes: list[BaseRoute] = [
        Route(path, _answering(name, endpoint, metrics), methods=methods, name=name)
        for name, path, endpoint, methods in endpoints
    ]

    if console_token is not None:
        routes.append(_console(destination, status, metrics, console_token))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if destination.options.relay:
            destination.start_relay()
        if tracking is not None:  # nobody else would
            tracking.start_relay()
        yield
        for one in commits:
            await one.drain()
        await run_in_threadpool(destination.stop_relay)
        if tracking is not None:
            await run_in_threadpool(tracking.stop_relay)

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _not_here})
    app.state.refused_for_now = Throttle()
    app.state.destination = destination
    app.state.tracking = tracking
    app.state.metrics = metrics
    app.state.status = status
    app.state.console_token = console_token
    return app


def _console(
    destination: KochavaDestination, status: CountedStatus, metrics: Metrics, token: str
) -> BaseRoute:
    # Only who wants pages pays for what makes them.
    from kochava_segment.server.console.app import console  # noqa: PLC0415
    from kochava_segment.server.console.history import DeliveryHistory  # noqa: PLC0415

    hooks = destination.options.hooks
    history = next((hook for hook in hooks if isinstance(hook, DeliveryHistory)), None)
    # Without one among the hooks, it knows what the receiver did not pass on, and no latencies.
    history = history or DeliveryHistory()
    metrics.listeners.append(history.received)
    return console(destination, status, history, token)


async def _not_here(request: Request, error: Exception) -> Response:
    """Answer what no route is for. A wrong URL in Segment is found in the log."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = "there is nothing at this path" if status == 404 else "not with this method"
    log_refusal(request, "elsewhere", status, detail)
    return Refusal(status, detail, headers=headers).answer()


def _answering(name: str, endpoint: Endpoint, metrics: Metrics) -> Endpoint:
    """An endpoint whose refusals are answered and logged, and whose answers are counted."""

    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        try:
            response = await endpoint(request)
        except Refusal as refusal:
            response = refusal.answer()
            log_refusal(request, name, refusal.status, refusal.detail)
        except Exception as error:  # noqa: BLE001  # the server would log it with what it quotes
            response = answer_failure(request, name, error)
        metrics.answered(name, response.status_code, time.perf_counter() - began)
        return response

    return answer
