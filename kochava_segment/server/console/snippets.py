"""A mapped message to take away: as a curl command, and as a test in Python."""

from __future__ import annotations

import pprint
import re
import shlex
from typing import Any

from kochava_segment.delivery.signing import SECRET_HEADERS
from kochava_segment.request import KochavaRequest
from kochava_segment.server.console.trial import Trial, changed_options

_HIDDEN = "********"
_WIDTH = 88


def as_curl(request: KochavaRequest, *, signed: bool) -> str:
    """The request as a curl command; what is secret in it is hidden.

    Args:
        request: The request.
        signed: Whether it is signed when it is sent.
    """
    headers = {"Content-Type": "application/json", **request.headers}
    if signed:
        headers |= dict.fromkeys(("Kochava-Api-Key", "Kochava-Auth-Token"), _HIDDEN)
    lines = [f"curl {shlex.quote(request.url)}"]
    for name, value in headers.items():
        shown = _HIDDEN if name in SECRET_HEADERS else value
        lines.append(f"  -H {shlex.quote(f'{name}: {shown}')}")
    lines.append(f"  --data-raw {shlex.quote(request.body.decode())}")
    return " \\\n".join(lines)


def as_python_test(trial: Trial) -> str:
    """A test that maps the message as it was mapped here, and expects the same of it."""
    if trial.options is None or not isinstance(trial.message, dict):
        return ""
    options = changed_options(trial.options)
    arguments = [repr(options.pop("app_guid"))] if "app_guid" in options else []
    arguments += [f"{name}={value!r}" for name, value in options.items()]
    if trial.options.signed:  # signing changes the bytes, whatever the key
        arguments += ['api_key="a-key"', 'api_secret="a-secret"']
    destination = f"    with KochavaDestination({', '.join(arguments)}) as kochava:"
    if len(destination) > _WIDTH:
        listed = "".join(f"        {argument},\n" for argument in arguments)
        destination = f"    with KochavaDestination(\n{listed}    ) as kochava:"
    names = {"KochavaDestination", *filter(None, [trial.raised])}
    parts = [
        f"from kochava_segment import {', '.join(sorted(names))}\n",
        f"MESSAGE = {_literal(trial.message)}\n",
        f"\ndef test_{_name(trial)}():",
        destination,
        _expectation(trial),
    ]
    if trial.raised:
        parts.insert(0, "import pytest\n")
    if "inf" in _words(trial.message):
        parts.insert(0, 'inf = float("inf")  # what JSON makes of a number that is too large\n')
    return "\n".join(parts) + "\n"


def _expectation(trial: Trial) -> str:
    if trial.explanation is not None:
        request = trial.explanation.request
        codes = [warning.code for warning in request.warnings]
        return "\n".join(
            [
                "        request = kochava.map(MESSAGE)",
                "",
                f"    assert request.action == {request.action!r}",
                f"    assert [warning.code for warning in request.warnings] == {codes!r}",
                f"    assert request.payload == {_literal(request.payload, indent=4)}",
            ]
        )
    paths = [problem.path for problem in trial.problems]
    condition = {
        "filtered": f"error.value.reason == {trial.code!r}",
        "unsupported": "error.value.detail",
    }.get(trial.outcome, f"[problem.path for problem in error.value.problems] == {paths!r}")
    return "\n".join(
        [
            f"        with pytest.raises({trial.raised}) as error:",
            "            kochava.map(MESSAGE)",
            "",
            f"    assert {condition}",
        ]
    )


def _name(trial: Trial) -> str:
    message = trial.message
    said = message.get("event") or message.get("name") or message.get("type") or "message"
    words = re.findall(r"[a-z0-9]+", str(said).lower()[:60])
    return "_".join([*words, f"is_{trial.outcome}"])


def _literal(value: Any, indent: int = 0) -> str:
    text = pprint.pformat(value, width=_WIDTH - indent, sort_dicts=False)
    return text.replace("\n", "\n" + " " * indent)


def _words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {word for item in value.values() for word in _words(item)}
    if isinstance(value, list):
        return {word for item in value for word in _words(item)}
    return {str(abs(value))} if isinstance(value, float) else set()
