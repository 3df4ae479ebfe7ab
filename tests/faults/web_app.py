"""A WSGI application that is loaded before its server forks: its relay runs in the master by then."""

from __future__ import annotations

import os

from kochava_segment import KochavaDestination
from tests.faults.traffic import message

destination = KochavaDestination.from_env()
destination.enqueue(message(0))


def app(environ, start_response):
    """Enqueue the message whose number is the path; answer with the process that did."""
    destination.enqueue(message(int(environ["PATH_INFO"][1:])))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
