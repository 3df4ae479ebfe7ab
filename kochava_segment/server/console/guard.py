"""What every page asks first: who is there, and does a change come from a page of ours."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlsplit

from attrs import frozen
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kochava_segment.errors import OutboxError
from kochava_segment.log_events import CONSOLE_USED, WRONG_TOKEN
from kochava_segment.server.answers import Refusal, answer_failure
from kochava_segment.server.console.forms import Form, parse_form, read_form
from kochava_segment.server.console.pages import Pages, guarded
from kochava_segment.server.console.sessions import LASTS, Session, Sessions

_COOKIE = "kochava_segment_console"


@frozen
class Visit:
    """A request of somebody who is logged in.

    Attributes:
        request: The request.
        session: Their login.
        query: What stands in the address.
        form: What was posted; empty where nothing was.
        pages: Makes the answer.
    """

    request: Request
    session: Session
    query: Form
    form: Form
    pages: Pages

    @property
    def is_part(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    def page(self, template: str, **values: Any) -> Response:
        """The answer that a template makes."""
        known = {"session": self.session, "part": self.is_part, **values}
        return self.pages.page(self.request, template, known)

    def redirect(self, path: str, notice: str) -> Response:
        """Go on to a page of the console, which says what was done."""
        self.session.notice = notice
        return RedirectResponse(self.request.scope["root_path"] + path, 303)

    def log(self, text: str, *arguments: object) -> None:
        """Note what a person did, without content."""
        CONSOLE_USED.log(client=_client(self.request), reason=text % arguments)


Endpoint = Callable[[Visit], Response]
AsyncEndpoint = Callable[[Request], Any]


class Guard:
    """Lets people in, and changes through that their own pages make.

    Args:
        token: What people log in with.
        pages: Makes pages.
    """

    def __init__(self, token: str, pages: Pages) -> None:
        self._sessions = Sessions(token)
        self._pages = pages

    def page(self, endpoint: Endpoint) -> AsyncEndpoint:
        """An endpoint for who is logged in. It may block: it runs in a thread."""

        async def answer(request: Request) -> Response:
            session = self._sessions.get(request.cookies.get(_COOKIE, ""))
            if session is None:
                return self._to_login(request)
            form = Form()
            if request.method == "POST":
                _check_origin(request)
                form = await read_form(request)
                if not hmac.compare_digest(form.get("csrf").encode(), session.csrf.encode()):
                    raise Refusal(403, "this page is too old: go back, reload it and try again")
            visit = Visit(request, session, parse_form(request.url.query), form, self._pages)
            return await run_in_threadpool(endpoint, visit)

        return self.open(answer)

    def open(self, endpoint: AsyncEndpoint) -> AsyncEndpoint:
        """An endpoint for everybody: its refusals are pages, and it has the headers of all."""

        async def answer(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except Refusal as refusal:
                response = self._error(request, refusal.status, refusal.detail)
                response.headers.update(refusal.headers)
            except OutboxError as error:
                response = self._error(request, 503, str(error))
            except Exception as error:  # noqa: BLE001  # the server would log it with what it quotes
                response = answer_failure(request, "console", error)
            return guarded(response)

        return answer

    async def show_login(self, request: Request) -> Response:
        """Ask for the token."""
        return self._login_page(request)

    async def log_in(self, request: Request) -> Response:
        """Take the token."""
        origin = _check_origin(request)
        client = _client(request)
        form = await read_form(request)
        # Behind the form: tokens that come at the same time are counted one after the other.
        seconds = self._sessions.seconds_to_wait(client)
        if seconds:
            response = self._login_page(
                request, 429, f"Too many wrong tokens. Try again in {seconds} s."
            )
            response.headers["Retry-After"] = str(seconds)
            return response
        number = self._sessions.log_in(form.get("token").strip(), client)
        if number is None:
            WRONG_TOKEN.log(client=client)
            return self._login_page(request, 401, "That is not the token.")
        base = request.scope["root_path"]
        response = RedirectResponse(f"{base}/tester", 303)
        response.set_cookie(
            _COOKIE,
            number,
            max_age=int(LASTS),
            path=base,
            httponly=True,
            samesite="strict",
            secure=origin == "https",
        )
        return response

    def log_out(self, visit: Visit) -> Response:
        """End the session."""
        self._sessions.end(visit.request.cookies.get(_COOKIE, ""))
        base = visit.request.scope["root_path"]
        response = RedirectResponse(f"{base}/login", 303)
        response.delete_cookie(_COOKIE, path=base, httponly=True, samesite="strict")
        return response

    def _to_login(self, request: Request) -> Response:
        login = f"{request.scope['root_path']}/login"
        if request.headers.get("hx-request") == "true":
            return Response(status_code=401, headers={"HX-Redirect": login})
        return RedirectResponse(login, 303)

    def _login_page(self, request: Request, status: int = 200, problem: str = "") -> Response:
        return self._pages.page(request, "login.html", {"problem": problem}, status)

    def _error(self, request: Request, status: int, detail: str) -> Response:
        values = {"status": status, "detail": detail}
        return self._pages.page(request, "error.html", values, status)


async def not_found(_request: Request) -> NoReturn:
    """There is no such page."""
    raise Refusal(404, "there is no such page")


def _check_origin(request: Request) -> str:
    """The scheme of the page that a change comes from.

    The host alone is compared: behind a proxy that speaks TLS, we do not know our own scheme.
    """
    try:
        origin = urlsplit(request.headers.get("origin", ""))
    except ValueError:  # of an IPv6 address that is none
        origin = urlsplit("")
    if not origin.netloc or origin.netloc.lower() != request.headers.get("host", "").lower():
        raise Refusal(
            403,
            "this did not come from a page of this console; a proxy must pass on the Host header",
        )
    return origin.scheme


def _client(request: Request) -> str:
    return request.client.host if request.client else "?"
