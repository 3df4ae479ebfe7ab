"""Makes pages of templates, with the headers that keep them to themselves."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.advice import ADVICE
from kochava_segment.plural import counted
from kochava_segment.server.answers import Refusal

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_GUARDS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers then send no Origin either, which changes are checked by.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"  # another version has another address
_IN_BACKTICKS = re.compile(r"`([^`]*)`")
_REMEDIES = {one.code: one.remedy for one in ADVICE if one.kind in ("warning", "error")}
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def guarded(response: Response) -> Response:
    """The answer with all headers that protect it."""
    for name, value in _GUARDS.items():
        response.headers.setdefault(name, value)
    return response


class Pages:
    """Templates and what goes with them, loaded once."""

    def __init__(self, **common: Any) -> None:
        folder = files(__package__) / "static"
        self._static = {name: (folder / name).read_bytes() for name in _STATIC}
        digest = hashlib.sha256(b"".join(self._static.values())).hexdigest()
        self._environment = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {**common, "version": digest[:12]}
        self._environment.filters |= {
            "age": shown_age,
            "clock": _clock,
            "counted": counted,
            "number": _number,
            "path": _path,
            "remedy": _REMEDIES.__getitem__,
            "sentence": _sentence,
            "duration": shown_duration,
        }

    def page(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        """A page, or the part of one that `template` is."""
        text = self._environment.get_template(template).render(
            base=request.scope["root_path"], **values
        )
        # A message can name half a character, which UTF-8 cannot write.
        content = text.encode("utf-8", "backslashreplace")
        return Response(content, status, media_type="text/html")

    async def static(self, request: Request) -> Response:
        """A style sheet, a script or a picture."""
        name = request.path_params["name"]
        if name not in self._static:
            raise Refusal(404, "there is no such file")
        headers = {"Cache-Control": _FOR_A_YEAR}
        return Response(self._static[name], headers=headers, media_type=_STATIC[name])


def shown_age(seconds: float) -> str:
    """How long something takes or is ago, for reading."""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def shown_duration(seconds: float) -> str:
    """A short time with its unit, for reading."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else shown_age(seconds)


def _sentence(text: str) -> Markup:
    """Words of the library as a sentence: what it puts in backticks is code."""
    first, space, rest = text.partition(" ")
    if first.isalpha():  # others are paths and names, and begin as they do
        first = first[0].upper() + first[1:]
    shown = str(escape(first + space + rest))
    return Markup(_IN_BACKTICKS.sub(r"<code>\1</code>", shown))  # noqa: S704  # it was escaped


def _path(text: str) -> Markup:
    """A path that may be broken after its dots."""
    return Markup(".<wbr>").join(text.split("."))


def _number(value: float) -> str:
    return f"{value:,}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
